"""The layer that encrypts: what is written comes out at the other end, in few calls."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

from atbus.address import parse_address
from atbus.channels.outgoing import PIECE_BYTES
from atbus.channels.tls import _ConnectionCreator
from atbus.channels.tls_layer import TlsLayer
from tests.channels.test_tls import TlsTests


class Program(Protocol):
    """Writes something as soon as it can, and keeps what it hears."""

    def __init__(self, early: bytes) -> None:
        self.early = early
        self.heard = b""

    def connectionMade(self) -> None:
        self.end.write(self.early)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    @property
    def end(self) -> Any:
        return self.transport


class Meeting(Factory):
    """Has the program that a connection is for."""

    noisy = False

    def __init__(self, program: Program) -> None:
        self.program = program

    def buildProtocol(self, addr: object) -> Program:
        return self.program


class LayerTests(TlsTests):
    """Two layers with nothing but memory between them."""

    def setUp(self) -> None:
        super().setUp()
        self.ends: list[tuple[Any, StringTransport]] = []

    def begin(self, early: bytes = b"") -> list[Program]:
        """Connect two programs, and let them finish the handshake."""
        programs = []
        for dials in (True, False):
            program = Program(early)
            creator = _ConnectionCreator(
                self.files.credentials(), parse_address("tls+ipv4://127.0.0.1:7000")
            )
            layers = TLSMemoryBIOFactory(creator, dials, Meeting(program))
            layers.protocol = TlsLayer
            layer, transport = layers.buildProtocol(None), StringTransport()
            self.ends.append((layer, transport))
            programs.append(program)
            layer.makeConnection(transport)
        self.carry()
        return programs

    def carry(self) -> None:
        """Bring what each of the two has written to the other one, until nothing is left."""
        while any(transport.value() for _, transport in self.ends):
            for (_, written), (other, _) in zip(self.ends, reversed(self.ends), strict=True):
                data = written.value()
                written.clear()
                if data:
                    other.dataReceived(data)

    async def test_a_piece_in_one_call(self) -> None:
        """All records of a piece of the queue are made by one call of OpenSSL."""
        one, other = self.begin()
        piece = bytes(range(256)) * (PIECE_BYTES // 256)
        layer = self.ends[0][0]
        self.assertEqual(one.end.getHandle().send(piece), PIECE_BYTES)
        layer.flush()
        self.carry()
        self.assertEqual(other.heard, piece)

    async def test_words_before_the_handshake(self) -> None:
        """What is written before the handshake is done leaves when it is, once and in order."""
        early = bytes(range(256)) * 1000
        for program in self.begin(early):
            self.assertEqual(program.heard, early)

    async def test_what_comes_too_late(self) -> None:
        """Once the connection has been aborted nothing is encrypted any more."""
        one, other = self.begin()
        one.end.abortConnection()
        self.ends[0][1].clear()
        one.end.write(b"too late")
        self.assertEqual(self.ends[0][1].value(), b"")
        self.assertEqual(other.heard, b"")
