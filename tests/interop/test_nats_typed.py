"""The how-tos about NATS: their commands, typed as they stand there, do what the pages say."""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from atbus.cli.check import Verdict
from atbus.cli.outcome import ExitCode
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.channels.certificates import Files
from tests.chaos.case import need
from tests.documents import captioned_blocks
from tests.interop.nats_beside import HELLO
from tests.interop.nats_server import NatsServer, require_nats_server
from tests.interop.test_nats_pages import BRIDGE, IN_THE_CLEAR, JOIN, LISTENERS, REPLACE
from tests.nats.sockets import Talker
from tests.nats.test_hashes import HASH_A
from tests.nats.transcripts import EOF
from tests.processes.harness import UP, NodeProcess
from tests.processes.pages import PageCase

UPSTREAM = "ipv4://10.0.0.1:7000"


class TypedCase(PageCase):
    """A reader with certificates."""

    def setUp(self) -> None:
        super().setUp()
        ours = Files(self.folder).options()
        for name in ("gateway", "route"):
            self.places[f"/etc/atbus/{name}.pem"] = ours.certificate
            self.places[f"/etc/atbus/{name}.key"] = ours.key
        self.places["/etc/nats/server.pem"] = ours.certificate
        self.places["/etc/nats/server.key"] = ours.key
        self.places["/etc/atbus/cluster-ca.pem"] = str(self.folder / "authority.pem")
        self.places |= dict(LISTENERS)

    async def talker(self, port: str) -> Talker:
        """Connect."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", int(port))
        talker: Talker = await connectProtocol(endpoint, Talker(self.reactor))
        self.addCleanup(talker.transport.abortConnection)
        await talker.hears(b" \r\n")
        return talker

    async def enters(self, port: str, user: str) -> Talker:
        """Connect somebody who has the password of the page."""
        talker = await self.talker(port)
        login = b'{"user":"%s","pass":"...",' % user.encode()
        talker.says(HELLO.replace(b"{", login) + b"PING\r\n")
        self.assertEqual(await talker.hears(b"PONG\r\n"), b"PONG\r\n")
        return talker


class JoinTests(TypedCase):
    """docs/howto/let-nats-clients-join.rst."""

    PAGE = JOIN

    def setUp(self) -> None:
        super().setUp()
        self.places[UPSTREAM] = f"unix://{self.folder}/root.sock"
        self.places["ipv4://127.0.0.1:7000"] = f"unix://{self.folder}/node.sock"

    async def begin(self, file: str) -> tuple[NodeProcess, str]:
        """
        Start a node with the page's command, below another one.

        :param file: Its configuration.
        :returns: It, and the port for clients; that for monitors is in its place then.
        """
        root = f'id = "0x10000"\nsubnets = ["0/16"]\nlisten = ["{self.places[UPSTREAM]}"]\n'
        await self.start("root", root).says(UP)
        self.write("node.toml", file)
        node = self.types("twistd -n --pidfile node.pid ")
        port = await self.serves(node)
        await node.says("is registered with its upstream 0x10000")
        return node, port

    async def serves(self, node: NodeProcess) -> str:
        """Wait until somebody can come; the port for clients."""
        port, monitor = [
            (await node.says(rf"nats {which}: 127\.0\.0\.1:(\d+)"))[1]
            for which in ("listen", "monitor")
        ]
        self.places["127.0.0.1:8222"] = f"127.0.0.1:{monitor}"
        return port

    async def seen(self) -> dict[str, list[str]]:
        """Look who is there, and what each has subscribed to."""
        need(shutil.which("curl"), "curl")
        shown = json.loads(await self.does("curl -s 'http://127.0.0.1:8222/connz?subs=1'"))
        return {
            each.get("authorized_user", ""): each.get("subscriptions_list", [])
            for each in shown["connections"]
        }

    async def test_a_file(self) -> None:
        """With the page's file a node runs, its clients talk with the bus, and are shown."""
        node, port = await self.begin(self.block("node.toml"))
        talker = await self.talker(port)
        talker.says(HELLO + b"SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n")
        self.assertEqual(await talker.hears(b"PONG\r\n"), b"MSG a 1 2\r\nhi\r\nPONG\r\n")
        self.assertEqual(await self.seen(), {"": ["a"]})
        self.assertEqual(await node.stops(), -signal.SIGTERM)

    async def test_a_node_alone(self) -> None:
        """What the first command starts takes clients, is asked by ``atbus``, and shows them."""
        node = self.types("twistd -n atbus --id auto ")
        adder = await self.talker(await self.serves(node))
        adder.says(HELLO + b"SUB sum adders 1\r\nPING\r\n")
        self.assertEqual(await adder.hears(b"PONG\r\n"), b"PONG\r\n")
        asking = self.types("atbus req --via ")
        asked = await adder.hears(b" 3\r\n3 4\r\n")
        adder.says(b"PUB %s 1\r\n7\r\n" % asked.split()[3])
        self.assertEqual(await asking.ends(), 0)
        self.assertEqual(asking.output, "7\n")
        self.assertEqual(await self.seen(), {"": ["sum"]})

    async def test_an_application(self) -> None:
        """The program for nodes answers as a part of one, to clients and to ``atbus``."""
        self.make("sums.py")
        _, port = await self.begin(self.block("node.toml") + self.block("the end of node.toml"))
        self.assertEqual(await self.does("atbus req --via "), "7\n")
        talker = await self.talker(port)
        talker.says(HELLO + b"SUB box 1\r\nPUB sum box 4\r\n30 5\r\n")
        self.assertEqual(await talker.hears(b"35\r\n"), b"MSG box 1 2\r\n35\r\n")

    async def changes(self, node: NodeProcess, file: str, says: str) -> None:
        """Change the file, look at it, tell the process; what it says of that."""
        self.write("node.toml", file)
        await self.does("atbus config check node.toml")
        await self.does("kill -HUP $(cat node.pid)")
        await node.says(says)

    async def test_users_change(self) -> None:
        """
        Who may do less keeps his connection, who is not in the file any more is closed, others
        notice nothing; a file with a fault changes nothing, and the log says what it is.
        """
        head = self.block("node.toml").partition("[nats]")[0]
        users = self.block("node.toml with users").replace("[nats]\n", IN_THE_CLEAR)
        clerk = '[[nats.users]]\nuser = "clerk"\npassword = "..."\n'
        node, port = await self.begin(head + users + clerk)
        shop, clerk_there = await self.enters(port, "shop"), await self.enters(port, "clerk")
        shop.says(b"SUB _INBOX.a.1 1\r\nSUB _INBOX.b.1 2\r\nPING\r\n")
        self.assertEqual(await shop.hears(b"PONG\r\n"), b"PONG\r\n")
        # A fault, first.
        hashed = users.replace('"..."', '"$2a$11$abcdefghijklmnopqrstuv"')
        self.write("node.toml", head + hashed)
        check = self.types("atbus config check node.toml")
        self.assertEqual(await check.ends(), ExitCode.USAGE, check.output)
        self.assertIn("is a hash", check.output)
        await self.does("kill -HUP $(cat node.pid)")
        await node.says("is a hash")
        self.assertEqual(set(await self.seen()), {"shop", "clerk"})
        fewer = users.replace('["_INBOX.>"]', '["_INBOX.b.>"]')
        await self.changes(node, head + fewer + clerk, "runs with another nats")
        self.assertIn(b"Permissions Violation", await shop.hears(b"'\r\n"))
        self.assertEqual((await self.seen())["shop"], ["_INBOX.b.1"])
        await self.changes(node, head + fewer, "runs with another nats")
        self.assertTrue((await clerk_there.hears(EOF)).endswith(EOF))
        shop.says(b"PING\r\n")
        self.assertEqual(await shop.hears(b"PONG\r\n"), b"PONG\r\n")

    async def test_programs_on_the_bus(self) -> None:
        """Nodes ask members of a group as clients do, and are members themselves."""
        names: dict[str, Any] = {}
        exec(self.block("sums.py"), names)
        root = await self.node(0x10000, subnets=[(0, 16)], listen=[self.places[UPSTREAM]])
        child = await self.node(0x10001, upstream=self.places[UPSTREAM])
        names["answer"](root, {})
        await root.subscribe("known", lambda _: None).everywhere()
        with redirect_stdout(StringIO()) as printed:
            await Deferred.fromCoroutine(names["ask"](child))
        self.assertEqual(printed.getvalue(), "7\n")

    async def node(self, bus_id: int, **options: Any) -> Node:
        """Start a node of this process."""
        node = Node(NodeConfig(id=bus_id, **options), self.reactor)
        self.addCleanup(node.stop)
        await node.start()
        return node


class CheckTests(TypedCase):
    """What ``atbus`` says of the files of the other two pages."""

    PAGE = BRIDGE

    async def test_a_site(self) -> None:
        """The file is good and makes a leaf; what is wrong in one is found by name."""
        require_nats_server()
        file = self.write("hub.conf", self.block("hub.conf"))
        hub = NatsServer("-c", str(file))
        hub.start()
        self.addCleanup(hub.stop)
        for there in ("10.0.0.1:7422", "10.0.0.2:7422"):
            self.places[there] = f"127.0.0.1:{hub.leaf_port}"
        self.places["ipv4://10.0.1.9:7000"] = f"unix://{self.folder}/root.sock"
        good = self.block("site.toml")
        self.write("site.toml", good)
        await self.does("chmod 600 site.toml")
        self.assertTrue((await self.does("atbus check config site.toml")).startswith("OK: "))
        root = f'id = "0x10000"\nsubnets = ["0/16"]\nlisten = ["unix://{self.folder}/root.sock"]\n'
        await self.start("root", root).says(UP)
        node = self.types("twistd -n --pidfile= atbus --config site.toml")
        await node.says(f"leaf 127.0.0.1:{hub.leaf_port} takes part")
        self.assertEqual(await node.stops(), -signal.SIGTERM)
        self.write("site.toml", good.replace('user = "bus"', 'usr = "bus"'))
        check = self.types("atbus check config site.toml")
        self.assertEqual(await check.ends(), Verdict.CRITICAL, check.output)
        self.assertIn("nats.leaf_remotes[0]", check.output)

    async def test_hashes(self) -> None:
        """A hash is taken in the place of a password if it is whole; if not, that is said."""
        text = self.here(captioned_blocks(REPLACE)["gateway.toml"])
        for password, code in (
            ("...", Verdict.OK),
            *(((HASH_A, Verdict.OK),) if find_spec("bcrypt") else ()),
            ("$2a$11$abcdefghijklmnopqrstuv", Verdict.CRITICAL),
        ):
            file = self.write("gateway.toml", text.replace('"..."', f'"{password}"'))
            file.chmod(0o600)
            check = self.shell("atbus check config gateway.toml")
            self.assertEqual(await check.ends(), code, check.output)
        self.assertIn("is a hash", check.output)

    async def test_in_the_clear(self) -> None:
        """Without TLS a site, and a member of a cluster, have to say that they want it so."""
        clear = {
            "site.toml": ("tls = true\n", "ca_file = "),
            "member.toml": ("certificate_file = ", "key_file = ", "ca_file = "),
        }
        for caption, lines in clear.items():
            text = "".join(
                line
                for line in self.block(caption).splitlines(keepends=True)
                if not line.startswith(lines)
            )
            allowed = text.replace("[nats]\n", "[nats]\nallow_insecure = true\n")
            # Who listens so is told of it all the same.
            told = Verdict.WARNING if caption == "member.toml" else Verdict.OK
            for file, verdict in ((text, Verdict.CRITICAL), (allowed, told)):
                self.write(caption, file).chmod(0o600)
                check = self.shell(f"atbus check config {caption}")
                self.assertEqual(await check.ends(), verdict, check.output)
                self.assertEqual("allow_insecure" in check.output, verdict is Verdict.CRITICAL)
