"""The same bytes to a real nats-server and to a gateway of ours; the same bytes back."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.nats.leaf_transcripts import LEAF_TRANSCRIPTS, stripped
from tests.nats.sockets import SocketCase
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF, TRANSCRIPTS, Transcript

#: What two servers cannot have in common, and what only says which software it is.
DIFFERENT = {"server_id", "server_name", "version", "go", "port", "client_id"}


class TranscriptTests(SocketCase):
    """Every transcript, on real sockets."""

    def test_nats_server_answers_so(self) -> Deferred[None]:
        """What the transcripts say of nats-server is what it answers."""
        require_nats_server()
        server = NatsServer()
        server.start()
        self.addCleanup(server.stop)
        return Deferred.fromCoroutine(self.replay(server.port))

    def test_a_gateway_answers_so(self) -> Deferred[None]:
        """A gateway of ours answers each of them with the same bytes."""
        return Deferred.fromCoroutine(self.replay_at_gateway())

    async def replay_at_gateway(self) -> None:
        address = (await self.gateway()).address()
        assert address is not None
        await self.replay(address[1])

    async def replay(self, port: int) -> None:
        """Say everything, one connection for each."""
        for transcript in TRANSCRIPTS:
            await self.replay_one(port, transcript)

    async def replay_one(self, port: int, transcript: Transcript) -> None:
        """Say one of them; when nobody closes, a PONG shows that the answer is complete."""
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        is_closed = transcript.hears.endswith(EOF)
        talker.says(transcript.says + (b"" if is_closed else b"PING\r\n"))
        wanted = transcript.hears + (b"" if is_closed else b"PONG\r\n")
        heard = b""
        while not heard.endswith(EOF) and len(heard) < len(wanted):
            heard += await talker.hears(EOF if is_closed else b"PONG\r\n")
        if transcript.name == "a queue of two patterns":
            # Either member may get it.
            heard = heard.replace(b"w.x 2 0", b"w.x 1 0")
        if talker.ended_well is False:
            # Who closes before it has read everything cuts off its own last words.
            self.assertTrue(wanted.startswith(heard.removesuffix(EOF)), transcript.name)
        else:
            self.assertEqual(heard, wanted, transcript.name)
        talker.transport.abortConnection()

    def test_the_same_is_said_first(self) -> Deferred[None]:
        """INFO has the same fields with the same values, but for what says who is speaking."""
        require_nats_server()
        server = NatsServer()
        server.start()
        self.addCleanup(server.stop)
        return Deferred.fromCoroutine(self.compare(server.port))

    async def compare(self, theirs: int) -> None:
        address = (await self.gateway()).address()
        assert address is not None
        infos = []
        for port in (theirs, address[1]):
            talker = await self.talker(port)
            infos.append(info_of(await talker.hears(b" \r\n")))
        self.assertEqual(list(infos[1]), list(infos[0]))
        rest = [{key: info[key] for key in info.keys() - DIFFERENT} for info in infos]
        self.assertEqual(rest[1], rest[0])


class LeafTranscriptTests(SocketCase):
    """The port for leafs of real servers; gateways are held against the same scripts elsewhere."""

    def test_nats_server_answers_so(self) -> Deferred[None]:
        """What the transcripts say of nats-server is what both versions answer."""
        ports = []
        for binary in (BINARY, NEWER_BINARY):
            require_nats_server(binary)
            config = Path(self.mktemp())
            config.write_text("leafnodes { host: 127.0.0.1, port: -1 }")
            server = NatsServer("-c", str(config), binary=binary)
            server.start()
            self.addCleanup(server.stop)
            ports.append(server.leaf_port)
        return Deferred.fromCoroutine(self.replay(ports))

    async def replay(self, ports: list[int]) -> None:
        """Say everything to each of them, one connection for each."""
        for port in ports:
            for transcript in LEAF_TRANSCRIPTS:
                await self.replay_one(port, transcript)

    async def replay_one(self, port: int, transcript: Transcript) -> None:
        """Say one of them, until it is answered or closed."""
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        talker.says(transcript.says)
        end = EOF if transcript.hears.endswith(EOF) else b"PONG\r\n"
        heard = stripped(await talker.hears(end))
        if talker.ended_well is False:
            # Who closes before it has read everything cuts off its own last words.
            self.assertTrue(transcript.hears.startswith(heard.removesuffix(EOF)), transcript.name)
        else:
            self.assertEqual(heard, transcript.hears, transcript.name)
        talker.transport.abortConnection()
