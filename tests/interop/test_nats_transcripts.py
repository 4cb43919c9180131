"""The same bytes to a real nats-server and to a gateway of ours; the same bytes back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from tests.documents import DOCS
from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.nats.leaf_transcripts import LEAF_TRANSCRIPTS, stripped
from tests.nats.sockets import SocketCase
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF, LOGIN_TRANSCRIPTS, TRANSCRIPTS, ZEROS, Transcript

_NOBODY = re.compile(rb" \d+ \d+\r\nNATS/1\.0 503\r\nNats-Subject: (?:a|nobody)\r\n\r\n")
#: What two servers cannot have in common, and what only says which software it is.
DIFFERENT = {"server_id", "server_name", "version", "go", "port", "client_id"}


class TranscriptTests(SocketCase):
    """Every transcript, on real sockets."""

    def serves(self, binary: str | None = BINARY, *arguments: str) -> int:
        """Start a server; gives its port."""
        require_nats_server(binary)
        server = NatsServer(*arguments, binary=binary)
        server.start()
        self.addCleanup(server.stop)
        return server.port

    def test_nats_server_answers_so(self) -> Deferred[None]:
        """What the transcripts say of nats-server is what it answers."""
        return Deferred.fromCoroutine(self.replay(self.serves()))

    def test_a_newer_one_answers_so(self) -> Deferred[None]:
        """So does the newest, but that since 2.12 it names the subject that nobody listens to."""
        return Deferred.fromCoroutine(self.replay(self.serves(NEWER_BINARY)))

    def test_zeros(self) -> Deferred[None]:
        """Both servers take zeros in front of sizes and repeat them; a gateway takes them only."""
        return Deferred.fromCoroutine(self.zeros())

    async def zeros(self) -> None:
        for binary in (BINARY, NEWER_BINARY):
            await self.replay_one(self.serves(binary), ZEROS)
        address = (await self.gateway()).address()
        assert address is not None
        plain = re.sub(rb" 0+(?=\d)", b" ", ZEROS.hears)
        await self.replay_one(address[1], ZEROS._replace(hears=plain))

    def test_before_the_login(self) -> Deferred[None]:
        """Both servers and a gateway answer alike to who has to say who he is, and says else."""
        return Deferred.fromCoroutine(self.before_the_login())

    async def before_the_login(self) -> None:
        gateway = await self.gateway(user="u", password="p")
        address = gateway.address()
        assert address is not None
        login = ("--user", "u", "--pass", "p")
        ports = [self.serves(each, *login) for each in (BINARY, NEWER_BINARY)]
        for port in (*ports, address[1]):
            for transcript in LOGIN_TRANSCRIPTS:
                await self.replay_one(port, transcript)

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
            heard = older(heard + await talker.hears(EOF if is_closed else b"PONG\r\n"))
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
        return Deferred.fromCoroutine(self.compare(self.serves()))

    def test_what_newer_ones_say_besides(self) -> Deferred[None]:
        """INFO of the newest server has no field more than those that the manual names."""
        return Deferred.fromCoroutine(self.compare_newer(self.serves(NEWER_BINARY)))

    def test_what_is_advertised(self) -> Deferred[None]:
        """Where an address is advertised, INFO of both servers and of a gateway has that one."""
        return Deferred.fromCoroutine(self.what_is_advertised())

    async def what_is_advertised(self) -> None:
        gateway = await self.gateway(advertise=["bus.example:4333"])
        address = gateway.address()
        assert address is not None
        told = ("--client_advertise", "bus.example:4333")
        ports = [self.serves(each, *told) for each in (BINARY, NEWER_BINARY)]
        for port in (*ports, address[1]):
            info = info_of(await (await self.talker(port)).hears(b" \r\n"))
            self.assertEqual((info["host"], info["port"]), ("bus.example", 4333))

    async def compare(self, port: int) -> None:
        theirs, ours = await self.infos(port)
        self.assertEqual(list(ours), list(theirs))
        for key in theirs.keys() - DIFFERENT:
            self.assertEqual(ours[key], theirs[key], key)

    async def compare_newer(self, port: int) -> None:
        theirs, ours = await self.infos(port)
        self.assertEqual(ours.keys() - theirs.keys(), set())
        page = (DOCS / "reference/nats.rst").read_text(encoding="utf-8")
        for key in theirs.keys() - ours.keys():
            self.assertIn(f"``{key}``", page)
        for key in ours.keys() - DIFFERENT:
            self.assertEqual(ours[key], theirs[key], key)

    async def infos(self, theirs: int) -> list[dict[str, Any]]:
        """Hear what a server and a gateway say first."""
        address = (await self.gateway()).address()
        assert address is not None
        infos = []
        for port in (theirs, address[1]):
            talker = await self.talker(port)
            infos.append(info_of(await talker.hears(b" \r\n")))
        return infos


def older(heard: bytes) -> bytes:
    """Take out the header that servers have written since 2.12 where nobody gets a question."""
    return _NOBODY.sub(rb" 16 16\r\nNATS/1.0 503\r\n\r\n", heard)


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
