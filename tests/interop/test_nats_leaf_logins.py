"""Leafs that show who they are, leafs that may not do everything, and TLS between leafs."""

from __future__ import annotations

import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from atbus.nats.gateway import Gateway
from atbus.nats.nkeys import Kind
from tests.channels.certificates import Files
from tests.interop.nats_server import BINARY, NEWER_BINARY
from tests.interop.test_nats_leafs import LeafCase
from tests.nats.signing import Key
from tests.nats.sockets import Talker

HUB_OF_KEYS = """
leafnodes {{ host: 127.0.0.1, port: -1 }}
authorization {{ users: [ {{ nkey: {nkey} }}, {{ user: free, password: free }} ] }}
"""
HUB_OF_AN_OPERATOR = """
leafnodes {{ host: 127.0.0.1, port: -1 }}
operator: {operator}
resolver: MEMORY
resolver_preload: {{ {account}: {token} }}
"""
HUB_WITH_RIGHTS = """
leafnodes {{ host: 127.0.0.1, port: -1 }}
accounts {{ A {{ users: [
  {{ user: bus, password: secret,
     permissions: {{ publish: ["orders.>"], subscribe: ["news.>", "ask.*"] }} }},
  {{ user: free, password: free }}
] }} }}
"""
HUB_WITH_TLS = """
leafnodes {{
  host: 127.0.0.1, port: -1
  tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{authority}", verify: true }}
}}
"""
LEAF_OF_OURS = """
server_name: leaf
leafnodes {{ reconnect: 1, remotes: [ {{ url: "{url}" {more} }} ] }}
"""
#: An account of NATS has nothing that its token does not give it.
UNLIMITED = {
    **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1),
    "wildcards": True,
}
FREE = b'CONNECT {"verbose":false,"user":"free","pass":"free"}\r\n'


class LoginCase(LeafCase):
    """What is the same for both versions."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def written(self, name: str, text: str) -> str:
        """Write a file, and say where it is."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    async def of(self, gateway: Gateway) -> Talker:
        """Connect a client to a gateway that takes part."""
        await self.met(lambda: any(link.takes_part for link in gateway.leafs.links))
        address = gateway.address()
        assert address is not None
        return await self.client(address[1])

    async def free(self, port: int) -> Talker:
        """Connect a client that may do everything to a server."""
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        talker.says(FREE + b"PING\r\n")
        await talker.hears(b"PONG\r\n")
        return talker

    async def leaf_of(self, port: int, **remote: Any) -> Gateway:
        """Start a gateway that is a leaf of a server."""
        return await self.gateway(leaf_remotes=[{"urls": [f"localhost:{port}"], **remote}])

    async def hub_of(self, remote: str, user: str = "", **nats: Any) -> tuple[Gateway, Talker]:
        """Start a gateway, and a server that is its leaf; connect a client to the server."""
        gateway = await self.gateway(leaf_listen="127.0.0.1:0", **nats)
        address = gateway.address("leaf_listen")
        assert address is not None
        url = f"nats-leaf://{user}localhost:{address[1]}"
        server = self.server(LEAF_OF_OURS, url=url, more=remote)
        return gateway, await self.client(server.port)

    async def stays_out(self, gateway: Gateway) -> None:
        """See a leaf come a second time, because it was not let in at the first one."""
        [solicitor] = gateway.leafs._solicitors
        await self.met(lambda: solicitor._attempts > 1)
        self.assertFalse(any(link.takes_part for link in gateway.leafs.links))

    async def is_heard(self, says: Talker, hears: Talker, subject: bytes) -> None:
        """Let one side say something to the other one."""
        hears.says(b"SUB %s 1\r\nPING\r\n" % subject)
        await hears.hears(b"PONG\r\n")
        await self.says_until_heard(says, hears, subject)

    async def within_rights(self, leaf: Talker, hub: Talker) -> None:
        """Of what is said on the side of the leaf only orders cross, and to it only news."""
        for side in (leaf, hub):
            side.says(b"SUB > 1\r\nSUB private.x 2\r\nSUB news.* q 3\r\nPING\r\n")
            await side.hears(b"PONG\r\n")
        await self.says_until_heard(hub, leaf, b"news.a")
        await self.says_until_heard(leaf, hub, b"orders.a")
        for subject in (b"private.x", b"news.a", b"orders.a"):
            leaf.says(b"PUB %s 9\r\nfrom leaf\r\n" % subject)
            hub.says(b"PUB %s 8\r\nfrom hub\r\n" % subject)
        leaf.says(b"PUB orders.b 4\r\nlast\r\n")
        hub.says(b"PUB news.b 4\r\nlast\r\n")
        await self.met(lambda: b"news.b" in leaf.heard and b"orders.b" in hub.heard)
        self.assertEqual(_crossed(leaf.heard, b"from hub"), {b"news.a"})
        self.assertEqual(_crossed(hub.heard, b"from leaf"), {b"orders.a"})


def _crossed(heard: bytes, text: bytes) -> set[bytes]:
    """Give the subjects on which somebody has heard a text."""
    lines = heard.split(b"\r\n")
    return {line.split()[1] for line, payload in pairwise(lines) if payload == text}


class LoginDebianTests(LoginCase):
    """nats-server 2.9."""

    binary = BINARY

    def test_a_key(self) -> Deferred[None]:
        """A node signs with its key what the server has drawn; with another key it stays out."""
        return Deferred.fromCoroutine(self.a_key())

    async def a_key(self) -> None:
        key = Key(Kind.USER)
        server = self.server(HUB_OF_KEYS, nkey=key.text)
        stranger = await self.leaf_of(
            server.leaf_port, nkey_file=self.written("other.nk", Key(Kind.USER).seed)
        )
        ours = await self.leaf_of(
            server.leaf_port, nkey_file=self.written("user.nk", f"{key.seed}\n")
        )
        await self.is_heard(await self.of(ours), await self.free(server.port), b"a")
        await self.stays_out(stranger)

    def test_credentials(self) -> Deferred[None]:
        """Two nodes for whom an operator vouches, with files of his, talk over the server."""
        return Deferred.fromCoroutine(self.credentials())

    async def credentials(self) -> None:
        operator, account = Key(Kind.OPERATOR), Key(Kind.ACCOUNT)
        server = self.server(
            HUB_OF_AN_OPERATOR,
            operator=operator.token(operator, "operator"),
            account=account.text,
            token=operator.token(account, "account", limits=UNLIMITED),
        )
        clients = []
        for number in range(2):
            user = Key(Kind.USER)
            text = user.credentials(account.token(user, "user", subs=-1, data=-1, payload=-1))
            path = self.written(f"{number}.creds", text)
            clients.append(
                await self.of(await self.leaf_of(server.leaf_port, credentials_file=path))
            )
        await self.is_heard(clients[0], clients[1], b"a")

    def test_what_a_hub_allows(self) -> Deferred[None]:
        """A node keeps to what it may do at a server, so that the connection stays."""
        return Deferred.fromCoroutine(self.what_a_hub_allows())

    async def what_a_hub_allows(self) -> None:
        server = self.server(HUB_WITH_RIGHTS)
        gateway = await self.leaf_of(server.leaf_port, user="bus", password="secret")
        ours = await self.of(gateway)
        [link] = gateway.leafs.links
        await self.within_rights(ours, await self.free(server.port))
        self.assertEqual(gateway.leafs.links, [link])

    def test_what_we_allow(self) -> Deferred[None]:
        """Of several servers that are leafs of a node each may do what its user may."""
        return Deferred.fromCoroutine(self.what_we_allow())

    async def what_we_allow(self) -> None:
        rights = {"publish": ["orders.>"], "subscribe": ["news.>"]}
        users = [
            {"user": "site", "password": "secret", "permissions": rights},
            {"user": "free", "password": "free"},
        ]
        gateway, theirs = await self.hub_of("", "site:secret@", leaf_users=users)
        ours = await self.of(gateway)
        [link] = gateway.leafs.links
        await self.within_rights(theirs, ours)
        self.assertEqual(gateway.leafs.links, [link])

    def test_tls_to_a_server(self) -> Deferred[None]:
        """A node begins TLS, believes the server, and shows a certificate of its own."""
        return Deferred.fromCoroutine(self.tls_to_a_server())

    async def tls_to_a_server(self) -> None:
        files = Files(self.folder)
        theirs, ours = files.options(), files.options()
        authority = str(self.folder / "authority.pem")
        server = self.server(
            HUB_WITH_TLS, certificate=theirs.certificate, key=theirs.key, authority=authority
        )
        shown = {"certificate_file": ours.certificate, "key_file": ours.key}
        files.new_authority("stranger")
        refused = [
            await self.leaf_of(server.leaf_port, tls=True, ca_file=authority),
            await self.leaf_of(
                server.leaf_port, tls=True, ca_file=str(self.folder / "stranger.pem"), **shown
            ),
        ]
        gateway = await self.leaf_of(server.leaf_port, tls=True, ca_file=authority, **shown)
        ours_talker, theirs_talker = await self.of(gateway), await self.client(server.port)
        await self.is_heard(ours_talker, theirs_talker, b"a")
        await self.is_heard(theirs_talker, ours_talker, b"b")
        for each in refused:
            await self.stays_out(each)

    def test_tls_of_a_server(self) -> Deferred[None]:
        """A server begins TLS with a node, believes it, and shows a certificate of its own."""
        return Deferred.fromCoroutine(self.tls_of_a_server())

    async def tls_of_a_server(self) -> None:
        files = Files(self.folder)
        theirs, ours = files.options(), files.options()
        authority = str(self.folder / "authority.pem")
        gateway, talker = await self.hub_of(
            f', tls {{ cert_file: "{theirs.certificate}", key_file: "{theirs.key}",'
            f' ca_file: "{authority}" }}',
            certificate_file=ours.certificate,
            key_file=ours.key,
            ca_file=authority,
            tls_verify=True,
            tls_optional=True,
        )
        far = await self.of(gateway)
        await self.is_heard(talker, far, b"a")
        await self.is_heard(far, talker, b"b")


class LoginNewerTests(LoginDebianTests):
    """The newest nats-server."""

    binary = NEWER_BINARY

    def test_a_server_with_a_key(self) -> Deferred[None]:
        """A server signs with its key what a node has drawn; the older one has no keys."""
        return Deferred.fromCoroutine(self.a_server_with_a_key())

    async def a_server_with_a_key(self) -> None:
        key = Key(Kind.USER)
        known = [{"nkey": Key(Kind.USER).text}, {"nkey": key.text}]
        gateway, theirs = await self.hub_of(f", nkey: {key.seed}", leaf_nkeys=known)
        await self.is_heard(theirs, await self.of(gateway), b"a")
