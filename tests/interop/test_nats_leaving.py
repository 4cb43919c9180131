"""The process of a gateway that is a leaf of a real nats-server is stopped."""

from __future__ import annotations

import re
import signal

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import LoopingCall, deferLater

from tests.interop.nats_beside import HELLO
from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.interop.test_nats_leafs import HUB
from tests.nats.sockets import Talker
from tests.nats.transcripts import EOF
from tests.processes.harness import NodeProcess, ProcessCase

ROOT = """
id = "0x10000"
listen = ["unix://{folder}/root.sock"]
subnets = ["0/16"]
[nats]
listen = "127.0.0.1:0"
"""
GATEWAY = """
id = "ID"
upstream = "unix://{folder}/root.sock"
drain_seconds = 3600
[nats]
"""
#: An application that owes an answer for ever, and who waits for that.
STUBBORN = """
[application]
callable = "tests.processes.witness:never"
"""
ASKER = """
id = "0x10003"
upstream = "unix://{folder}/root.sock"
[application]
callable = "tests.processes.witness:ask"
settings = { target = 0x10001 }
"""


class SignalsOfDebianTests(ProcessCase):
    """Beside nats-server 2.9, with a client there and one at a node of the bus."""

    binary = BINARY
    #: How a gateway is told of the server, and what it logs when it serves.
    told = 'leaf_remotes = [ { urls = ["127.0.0.1:PORT"] } ]'
    serves = "leaf .* takes part"

    def setUp(self) -> None:
        super().setUp()
        require_nats_server(self.binary)

    def start_server(self) -> int:
        """Start the server, and say where it lets gateways in."""
        config = self.write("hub.conf", HUB.format(name="hub", port=-1))
        self.server = NatsServer("-c", str(config), binary=self.binary)
        self.server.start()
        self.addCleanup(self.server.stop)
        return self.server.leaf_port

    async def begin(self) -> None:
        """Start the server and the bus, with one gateway that serves."""
        self.place = self.start_server()
        root = self.start("root", ROOT)
        port = int((await root.says(r"nats listen: 127\.0\.0\.1:(\d+)"))[1])
        self.second = await self.gateway("second", "0x10002")
        self.ours, self.theirs = await self.client(port), await self.client(self.server.port)
        self.directions = ((self.ours, self.theirs, b"up"), (self.theirs, self.ours, b"down"))
        for says, hears, subject in self.directions:
            hears.says(b"SUB %s 1\r\nPING\r\n" % subject)
            await hears.hears(b"PONG\r\n")
            await says.says_until(b"PUB %s 4\r\nopen\r\n" % subject, hears, subject)

    async def gateway(self, name: str, bus_id: str, more: str = "") -> NodeProcess:
        """Start a gateway below the root, and wait until it serves."""
        config = GATEWAY.replace("ID", bus_id) + self.told.replace("PORT", str(self.place))
        process = self.start(name, config + more)
        await process.says(self.serves)
        return process

    async def begin_with_two(self, more: str = "") -> None:
        """Let one with a lower id take over: each knows of the other."""
        await self.begin()
        self.first = await self.gateway("first", "0x10001", more)
        await self.second.says("another gateway serves")

    async def client(self, port: int) -> Talker:
        """Connect a client; it is closed after the test."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        talker: Talker = await connectProtocol(endpoint, Talker(self.reactor))
        self.addCleanup(self.hang_up, talker)
        talker.says(HELLO + b"PING\r\n")
        await talker.hears(b"PONG\r\n")
        return talker

    def hang_up(self, talker: Talker) -> Deferred[bytes]:
        """Close a connection."""
        talker.transport.abortConnection()
        return Deferred.fromCoroutine(talker.hears(EOF))

    def talk(self) -> None:
        """Let both say one thing more."""
        self.count += 1
        for says, _, subject in self.directions:
            says.says(b"PUB %s 6\r\n%06d\r\n" % (subject, self.count))

    def start_talking(self) -> LoopingCall:
        """Let them go on with it."""
        self.count = 0
        talking = LoopingCall(self.talk)
        talking.clock = self.reactor
        talking.start(0.001)
        self.addCleanup(self.stop_talking, talking)
        return talking

    @staticmethod
    def stop_talking(talking: LoopingCall) -> None:
        """Let them say no more."""
        if talking.running:
            talking.stop()

    async def test_nothing_is_lost(self) -> None:
        """Each message comes once and in order, and the process ends as it was told to."""
        await self.begin_with_two()
        talking = self.start_talking()
        await deferLater(self.reactor, 0.2, lambda: None)
        self.assertEqual(await self.first.stops(), -signal.SIGTERM)
        await self.second.says(self.serves)
        await deferLater(self.reactor, 0.2, self.stop_talking, talking)
        for says, hears, subject in self.directions:
            says.says(b"PUB %s 6\r\nlast!!\r\n" % subject)
            heard = await hears.hears(b"last!!\r\n")
            numbers = re.findall(rb"MSG %s 1 6\r\n(\d{6})" % subject, heard)
            self.assertEqual(numbers, [b"%06d" % each for each in range(1, self.count + 1)])
        self.assertNotIn("Traceback", self.first.output + self.second.output)

    async def test_the_one_that_serves_is_killed(self) -> None:
        """The next one takes over; what is on its way may be lost, and nothing comes twice."""
        await self.begin_with_two()
        talking = self.start_talking()
        await deferLater(self.reactor, 0.2, lambda: None)
        self.assertEqual(await self.first.stops(signal.SIGKILL), -signal.SIGKILL)
        await self.second.says(self.serves)
        for says, hears, subject in self.directions:
            late = b"MSG %s 1 4\r\nlate\r\n" % subject
            await says.says_until(b"PUB %s 4\r\nlate\r\n" % subject, hears, late)
        # From here on both ways are open.
        until = self.count + 200
        while self.count < until:
            await deferLater(self.reactor, 0.01, lambda: None)
        self.stop_talking(talking)
        for says, hears, subject in self.directions:
            says.says(b"PUB %s 6\r\nlast!!\r\n" % subject)
            heard = await hears.hears(b"last!!\r\n")
            found = re.findall(rb"MSG %s 1 6\r\n(\d{6})" % subject, heard)
            numbers = [int(each) for each in found]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertEqual(numbers[-200:], [*range(self.count - 199, self.count + 1)])
        self.assertNotIn("Traceback", self.second.output)

    async def test_the_second_signal(self) -> None:
        """Who waits for a gateway that stands still waits no longer then, also for its node."""
        await self.begin_with_two(STUBBORN)
        self.start("asker", ASKER)
        await self.first.says("was asked")
        self.second.freeze()
        self.addCleanup(self.second.thaw)
        self.first.forget()
        self.first.kill(signal.SIGTERM)
        await self.first.says("Received SIGTERM")
        self.assertNotIn("is stopping", self.first.output)
        self.assertEqual(await self.first.stops(), -signal.SIGTERM)
        self.assertNotIn("Traceback", self.first.output)

    async def test_alone(self) -> None:
        """Where there is no other gateway the end is as before."""
        await self.begin()
        self.assertEqual(await self.second.stops(), -signal.SIGTERM)
        self.assertNotIn("Traceback", self.second.output)


class SignalsOfNewerTests(SignalsOfDebianTests):
    """The same beside the newest nats-server."""

    binary = NEWER_BINARY


class MemberSignalsOfDebianTests(SignalsOfDebianTests):
    """The gateways are members of the cluster that the server is in."""

    told = 'cluster = { name = "C1", listen = "127.0.0.1:0", routes = ["127.0.0.1:PORT"] }'
    serves = r"route [\d.:]+ takes part"

    def start_server(self) -> int:
        """Start the server, and say where it lets gateways in."""
        self.server = NatsServer(
            *("-n", "one", "--cluster_name", "C1", "--cluster", "nats://127.0.0.1:-1"),
            binary=self.binary,
        )
        self.server.start()
        self.addCleanup(self.server.stop)
        return self.server.route_port


class MemberSignalsOfNewerTests(MemberSignalsOfDebianTests):
    """The same with the newest nats-server."""

    binary = NEWER_BINARY
