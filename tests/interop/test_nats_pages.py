"""The how-tos about clusters of NATS: their files, with real servers, do what the pages say."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from atbus.nats.gateway import Gateway
from atbus.nats.nkeys import Kind
from atbus.node.config import NodeConfig
from atbus.node.reload import reconfigure
from atbus.node.toml import parse_config
from tests.channels.certificates import Files
from tests.documents import DOCS, captioned_blocks, commands
from tests.interop.nats_beside import HELLO, ServerCase
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.interop.test_nats_clusters import members
from tests.interop.test_nats_lame_duck import NEWS, Stream, urls_in
from tests.nats.signing import UNLIMITED_ACCOUNT, Key
from tests.nats.sockets import Talker
from tests.nats.transcripts import EOF

BRIDGE = "howto/bridge-two-sites-over-nats.rst"
REPLACE = "howto/replace-a-nats-cluster.rst"
JOIN = "howto/let-nats-clients-join.rst"
#: What the servers have for each other anyway.
CLUSTER = """
server_name: {name}
cluster {{
  name: C1, listen: "127.0.0.1:-1", authorization {{ user: "bus", password: "secret" }}
  tls {{ cert_file: "/etc/nats/server.pem", key_file: "/etc/nats/server.key"
         ca_file: "/etc/nats/bus-ca.pem", timeout: 60 }}
  routes: [ {routes} ]
}}
"""
USERS = """
authorization { users: [
  { user: "shop", password: "...",
    permissions: { publish: ["orders.>"], subscribe: ["_INBOX.>"] } }
  { user: "clerk", password: "..." }
] }
"""
ACCOUNTS = """
accounts {
  SHOP { users: [ { user: "clerk", password: "..." } ] }
  OTHER { users: [ { user: "stranger", password: "..." } ] }
}
"""
OPERATOR = """
operator: {operator}
resolver: MEMORY
resolver_preload: {{ {account}: {token} }}
"""
MONITOR = "http: 8222"
#: How a server lets its clients go without much ado.
SOON = """
lame_duck_grace_period: "200ms"
lame_duck_duration: "30s"
"""
SITE_ID = 'id = "0x10001"\n'
#: Clients of these tests know no TLS.
IN_THE_CLEAR = "[nats]\ntls_optional = true\n"
#: Where things listen on the pages; here the system chooses.
LISTENERS = (
    ("port: 7422", "host: 127.0.0.1, port: -1"),
    ("http: 8222", 'http: "127.0.0.1:-1"'),
    ("127.0.0.1:4222", "127.0.0.1:0"),
    ("0.0.0.0:4222", "127.0.0.1:0"),
    ("127.0.0.1:8222", "127.0.0.1:0"),
)


class PageCase(ServerCase):
    """What is the same for both versions and all pages."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)
        ours = Files(self.folder).options()
        authority = str(self.folder / "authority.pem")
        #: The nodes at the top of sites that run.
        self._roots: set[int] = set()
        self._files = {
            "/etc/nats/server.pem": ours.certificate,
            "/etc/nats/server.key": ours.key,
            "/etc/nats/bus-ca.pem": authority,
            "/etc/atbus/gateway.pem": ours.certificate,
            "/etc/atbus/gateway.key": ours.key,
            "/etc/atbus/route.pem": ours.certificate,
            "/etc/atbus/route.key": ours.key,
            "/etc/atbus/cluster-ca.pem": authority,
        }

    def here(self, text: str, **places: int) -> str:
        """
        Put into a text of a page what is different here.

        :param places: The ports of hosts that the page has, such as ``first`` for 10.0.0.1.
        """
        hosts = {"first": "10.0.0.1", "second": "10.0.0.2", "ours": "10.0.1.1"}
        for old, new in (*LISTENERS, *self._files.items()):
            # A port that the system has chosen may begin like one of the page.
            text = new.join(re.split(re.escape(old) + r"(?!\d)", text))
        for name, port in places.items():
            for listener in (7422, 6222):
                text = text.replace(f"{hosts[name]}:{listener}", f"127.0.0.1:{port}")
        self.assertNotIn("10.0.", text)
        self.assertNotIn("/etc/", text)
        return text

    def written(self, *texts: str, takes_routes: bool = False, **places: int) -> NatsServer:
        """Start a server with a configuration of several texts."""
        text = self.here("\n".join(texts), **places)
        config = text.replace("{", "{{").replace("}", "}}")
        return self.server(config, takes_routes=takes_routes)

    def two_servers(self, *texts: str) -> tuple[NatsServer, NatsServer]:
        """Start a cluster."""
        first = self.written(*texts, CLUSTER.format(name="first", routes=""), takes_routes=True)
        route = f'"nats-route://bus:secret@127.0.0.1:{first.route_port}"'
        cluster = CLUSTER.format(name="second", routes=route)
        return first, self.written(*texts, cluster, takes_routes=True)

    async def gateway_of(self, text: str, bus_id: int = 0x10001, **places: int) -> Gateway:
        """Start a node with a configuration of a page; it has an id besides."""
        _, gateway = await self.started(self.config_of(text, bus_id, **places))
        assert gateway is not None
        return gateway

    def config_of(self, text: str, bus_id: int = 0x10001, **places: int) -> NodeConfig:
        """Read a configuration of a page; it has an id besides."""
        head = f'id = "{bus_id:#x}"\n'
        if SITE_ID in text:
            text, head = text.replace(SITE_ID, head), ""
        return parse_config(head + self.here(text, **places))

    async def site(self, bus_id: int = 0x10001, **places: int) -> Gateway:
        """Start a node of a site, below another one, which is there already for the second."""
        root = bus_id & ~0xFFFF
        path = f"unix://{self.folder}/{root:#x}.sock"
        if root not in self._roots:
            await self.node(root, subnets=[(0, 16)], listen=[path])
            self._roots.add(root)
        text = captioned_blocks(BRIDGE)["site.toml"].replace("ipv4://10.0.1.9:7000", path)
        return await self.gateway_of(text, bus_id, **places)

    async def shown(self, command: str, server: NatsServer) -> dict[str, Any]:
        """Give a command of the pages, with which one looks at a server; what that tells."""
        self.assertIn(command, commands(BRIDGE) + commands(REPLACE))
        return await self.told(command.replace("10.0.0.1:8222", f"127.0.0.1:{server.monitor_port}"))

    async def told(self, command: str) -> dict[str, Any]:
        """Give a command, and read what comes."""
        return dict(json.loads(await deferToThread(said_by, shlex.split(command))))

    async def at(self, gateway: Gateway) -> Talker:
        """Connect a client to a gateway."""
        address = gateway.address()
        assert address is not None
        return await self.client(address[1])


class DebianTests(PageCase):
    """Servers 2.9."""

    def test_two_sites(self) -> Deferred[None]:
        """Clients at two buses and at the cluster talk with each other."""
        return Deferred.fromCoroutine(self.two_sites())

    async def two_sites(self) -> None:
        one, other, (first, second) = await self.bridge()
        shown = await self.shown("curl -s http://10.0.0.1:8222/leafz", first)
        self.assertEqual(shown["leafnodes"], 2)
        names = {leaf.get("name") for leaf in shown["leafs"]}
        self.assertEqual(names, self.names_of("site-1"))
        await self.converse(one, other)
        await self.converse(await self.client(second.port), other)

    async def bridge(self) -> tuple[Talker, Talker, tuple[NatsServer, NatsServer]]:
        """Start two sites over a cluster; give a client of each, and the servers."""
        files = captioned_blocks(BRIDGE)
        first, second = self.two_servers(files["hub.conf"], MONITOR)
        places = {"first": first.leaf_port, "second": second.leaf_port}
        sites = [await self.site(**places)]
        await self.logged(f"leaf 127.0.0.1:{first.leaf_port} takes part")
        sites.append(await self.site(0x20001, **places))
        await self.met(
            lambda: all(any(link.takes_part for link in each.leafs.links) for each in sites)
        )
        one, other = [await self.at(each) for each in sites]
        return one, other, (first, second)

    def names_of(self, *names: str) -> set[str | None]:
        """Say which names a server tells: this version none."""
        return {None for _ in names}

    def test_two_nodes_of_a_site(self) -> Deferred[None]:
        """The one with the lower id is the leaf, and the other one when that is gone."""
        return Deferred.fromCoroutine(self.two_nodes_of_a_site())

    async def two_nodes_of_a_site(self) -> None:
        server = self.written(captioned_blocks(BRIDGE)["hub.conf"])
        places = {"first": server.leaf_port, "second": server.leaf_port}
        # The file says what is to be changed for the second node.
        self.assertIn('``"0x10002"``', (DOCS / BRIDGE).read_text(encoding="utf-8"))
        second = await self.site(0x10002, **places)
        await self.met(lambda: any(link.takes_part for link in second.leafs.links))
        first = await self.site(**places)
        await self.met(lambda: any(link.takes_part for link in first.leafs.links))
        await self.met(lambda: not second.leafs.links)
        ours, theirs = await self.at(second), await self.client(server.port)
        await self.converse(ours, theirs)
        await first.stopService()
        await first.node.stop()
        await self.met(lambda: any(link.takes_part for link in second.leafs.links))
        await self.converse(ours, theirs)

    def test_a_site_with_a_token(self) -> Deferred[None]:
        """A site for which the operator of the cluster vouches is let in with his file."""
        return Deferred.fromCoroutine(self.a_site_with_a_token())

    async def a_site_with_a_token(self) -> None:
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        files = captioned_blocks(BRIDGE)
        trusts = OPERATOR.format(
            operator=operator.token(operator, "operator"),
            account=account.text,
            token=operator.token(account, "account", limits=UNLIMITED_ACCOUNT),
        )
        server = self.written(files["hub-of-operator.conf"], trusts)
        vouched = user.credentials(account.token(user, "user", subs=-1, data=-1, payload=-1))
        path = self.folder / "site.creds"
        path.write_text(vouched)
        self._files["/etc/atbus/site.creds"] = str(path)
        places = {"first": server.leaf_port, "second": server.leaf_port}
        await self.gateway_of(files["credentials.toml"], **places)
        await self.logged(f"leaf 127.0.0.1:{server.leaf_port} takes part")

    def test_a_site_in_an_account(self) -> Deferred[None]:
        """A site is in the account that the hub names, and talks with its users only."""
        return Deferred.fromCoroutine(self.a_site_in_an_account())

    async def a_site_in_an_account(self) -> None:
        files = captioned_blocks(BRIDGE)
        server = self.written(files["hub-of-accounts.conf"], ACCOUNTS)
        places = {"first": server.leaf_port, "second": server.leaf_port}
        ours = await self.at(await self.site(**places))
        await self.logged(f"leaf 127.0.0.1:{server.leaf_port} takes part")
        await self.orders(ours, await self.enters(server.port, "clerk"))
        stranger = await self.enters(server.port, "stranger")
        stranger.says(b"SUB orders.* 1\r\nPING\r\n")
        await stranger.hears(b"PONG\r\n")
        await self.orders(ours, await self.enters(server.port, "clerk"))
        stranger.says(b"PING\r\n")
        self.assertEqual(await stranger.hears(b"PONG\r\n"), b"PONG\r\n")

    def test_a_server_as_a_leaf(self) -> Deferred[None]:
        """A server that is the leaf of a node gets news, and brings orders."""
        return Deferred.fromCoroutine(self.a_server_as_a_leaf())

    async def a_server_as_a_leaf(self) -> None:
        files = captioned_blocks(BRIDGE)
        text = files["hub.toml"].replace("[nats]\n", IN_THE_CLEAR)
        gateway = await self.gateway_of(text, ours=0)
        address = gateway.address("leaf_listen")
        assert address is not None
        server = self.written("server_name: leaf", files["leaf.conf"], ours=address[1])
        await self.met(lambda: any(link.takes_part for link in gateway.leafs.links))
        ours, theirs = await self.at(gateway), await self.client(server.port)
        for says, hears, subject in ((theirs, ours, b"orders.a"), (ours, theirs, b"news.a")):
            hears.says(b"SUB %s 1\r\nPING\r\n" % subject)
            await hears.hears(b"PONG\r\n")
            await self.says_until_heard(says, hears, subject)

    def test_a_member(self) -> Deferred[None]:
        """A node is a member of a cluster, with a route to each server."""
        return Deferred.fromCoroutine(self.a_member())

    async def a_member(self) -> None:
        first, second = self.two_servers(MONITOR)
        places = {"first": first.route_port, "second": second.route_port}
        text = captioned_blocks(BRIDGE)["member.toml"]
        text = 'name = "site-1"\n' + text.replace("[nats]\n", '[nats]\nmonitor = "127.0.0.1:0"\n')
        gateway = await self.gateway_of(text, ours=0, **places)
        # A server that was told of the node may have dialed it before it was dialed.
        for name in ("first", "second"):
            await self.logged(f" takes part: '{name}'")
        self.assertEqual(members(gateway), 2)
        shown = await self.shown("curl -s http://10.0.0.1:8222/routez", first)
        # A newer server has several routes to each of its own kind.
        ids = {route["remote_id"] for route in shown["routes"]}
        self.assertEqual(len(ids), 2)
        monitor = gateway.address("monitor")
        assert monitor is not None
        ours = await self.told(f"curl -s http://127.0.0.1:{monitor[1]}/varz")
        self.assertIn(ours["server_id"], ids)
        names = {route.get("remote_name") for route in shown["routes"]}
        self.assertEqual(names, self.names_of("second", "site-1"))
        asks = await self.at(gateway)
        for server in (first, second):
            await self.converse(asks, await self.client(server.port))

    def test_replacing(self) -> Deferred[None]:
        """The same user asks from a gateway what a client of the cluster answers, then without."""
        return Deferred.fromCoroutine(self.replacing())

    async def replacing(self) -> None:
        files = captioned_blocks(REPLACE)
        first, second = self.two_servers(files["hub.conf"], USERS, MONITOR)
        places = {"first": first.leaf_port, "second": second.leaf_port}
        beside = files["gateway.toml"].replace("[nats]\n", IN_THE_CLEAR)
        alone = beside.partition("[[nats.leaf_remotes]]")[0]
        # Who answers moves last, and may do more than who asks.
        clerk = '[[nats.users]]\nuser = "clerk"\npassword = "..."\n'
        gateway = await self.gateway_of(beside + clerk, **places)
        await self.logged(f"leaf 127.0.0.1:{first.leaf_port} takes part")
        address = gateway.address()
        assert address is not None
        shop = await self.enters(address[1], "shop")
        await self.is_seen(gateway, "shop")
        await self.orders(shop, await self.enters(second.port, "clerk"))
        shop.says(b"PUB private 2\r\nhi\r\n")
        await shop.hears(b'Permissions Violation for Publish to "private"\'\r\n')
        shop.transport.loseConnection()
        await shop.hears(EOF)
        for server, count in ((second, 1), (first, 0)):
            shown = await self.shown("curl -s http://10.0.0.1:8222/connz", server)
            # Newer servers list leafs as well, and say so.
            kinds = [each.get("kind") for each in shown["connections"]]
            self.assertEqual(len(kinds) - kinds.count("Leafnode"), count, kinds)
        # This is what SIGHUP does.
        reconfigure(gateway.node, self.config_of(alone + clerk))
        await self.met(lambda: not gateway.leafs.links)
        first.stop()
        second.stop()
        await self.orders(
            await self.enters(address[1], "shop"), await self.enters(address[1], "clerk")
        )

    def test_a_restart(self) -> Deferred[None]:
        """Clients of a server that is to take leafs go to another one, and others miss nothing."""
        return Deferred.fromCoroutine(self.a_restart())

    async def a_restart(self) -> None:
        files, pid_file = captioned_blocks(REPLACE), self.folder / "server.pid"
        first, second = self.two_servers(SOON)
        moves = await self.talker(first.port)
        moves.says(NEWS)
        await self.met(lambda: b"PONG\r\n" in moves.heard)
        stays = Stream(await self.client(second.port), await self.client(second.port), b"stays")
        await stays.begin(self)
        pid_file.write_text(str(first.pid))
        [command] = [each for each in commands(REPLACE) if each.startswith("nats-server --signal")]
        _, *words = shlex.split(command.replace("/run/nats-server.pid", str(pid_file)))
        assert self.binary is not None
        await deferToThread(subprocess.check_call, [self.binary, *words])
        await self.met(lambda: first.has_ended and moves.ended_well is not None)
        self.assertIn(b'"ldm":true', moves.heard)
        self.assertIn(f"127.0.0.1:{second.port}", urls_in(moves))
        moved = await self.client(second.port)
        route = f'"nats-route://bus:secret@127.0.0.1:{second.route_port}"'
        again = CLUSTER.format(name="first", routes=route)
        server = self.written(files["hub.conf"], again, takes_routes=True)
        places = {"first": server.leaf_port, "second": server.leaf_port}
        beside = files["gateway.toml"].replace("[nats]\n", IN_THE_CLEAR)
        await self.gateway_of(beside, **places)
        await self.logged(f"leaf 127.0.0.1:{server.leaf_port} takes part")
        await self.converse(await self.client(server.port), moved)
        self.assertEqual(await stays.end(self), [])

    async def enters(self, port: int, user: str) -> Talker:
        """Connect somebody, in the clear."""
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        login = b'{"user":"%s","pass":"...",' % user.encode()
        talker.says(HELLO.replace(b"{", login) + b"PING\r\n")
        self.assertEqual(await talker.hears(b"PONG\r\n"), b"PONG\r\n")
        return talker

    async def is_seen(self, gateway: Gateway, user: str) -> None:
        """Look who is there, as both pages say."""
        monitor = gateway.address("monitor")
        assert monitor is not None
        command = "curl -s 'http://127.0.0.1:8222/connz?subs=1'"
        for page in (JOIN, REPLACE):
            self.assertIn(command, commands(page))
        shown = await self.told(command.replace(":8222/", f":{monitor[1]}/"))
        [client] = shown["connections"]
        self.assertEqual(client["authorized_user"], user)
        self.assertNotIn("subscriptions_list", client)

    async def orders(self, asks: Talker, answers: Talker) -> None:
        """Ask until the question is known to be wanted; the answer comes then."""
        answers.says(b"SUB orders.* 1\r\nPING\r\n")
        await answers.hears(b"PONG\r\n")
        asks.says(b"SUB _INBOX.shop.* 2\r\n")
        while not answers.heard.startswith(b"MSG orders.new 1 _INBOX.shop.1 4\r\n"):
            asks.says(b"PUB orders.new _INBOX.shop.1 4\r\nwhat\r\n")
            await deferLater(self.reactor, 0.02, lambda: None)
        answers.says(b"PUB _INBOX.shop.1 4\r\nthat\r\n")
        await asks.hears(b"MSG _INBOX.shop.1 2 4\r\nthat\r\n")


class NewerTests(DebianTests):
    """The newest version."""

    binary = NEWER_BINARY

    def names_of(self, *names: str) -> set[str | None]:
        """Say which names a server tells: all."""
        return {*names}

    def test_a_group_at_both_sites(self) -> Deferred[None]:
        """Members at both sites share what is published at either, and nothing is lost."""
        return Deferred.fromCoroutine(self.a_group_at_both_sites())

    async def a_group_at_both_sites(self) -> None:
        one, other, _ = await self.bridge()
        await self.share(one, other)


def said_by(curl: list[str]) -> bytes:
    """Run curl; where there is none, ask likewise. Nobody on the way is asked instead."""
    if shutil.which("curl"):
        return subprocess.check_output([*curl, "--noproxy", "*"])
    with build_opener(ProxyHandler({})).open(curl[-1]) as answer:
        said: bytes = answer.read()
    return said
