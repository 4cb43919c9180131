"""
Hostile connections over TLS, for `atbus.testing.hostile`.

An input is a handshake and a frame of somebody who has a good certificate, of which bytes are
changed, taken out, doubled or cut short on their way. Either side of ours is tried. Whatever it is,
the connection becomes a channel or ends by name, and what is changed is read by nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.address import parse_address
from atbus.channels.authority import Authority
from atbus.channels.credentials import Credentials
from atbus.channels.interfaces import ChannelOptions, IChannelReceiver
from atbus.channels.tls import TlsScheme
from atbus.channels.tls_files import TlsOptions
from atbus.handshake.certificate import parse_identity
from atbus.testing.clock import HeapClock
from atbus.testing.recording import RecordingReceiver, frame_of

_ADDRESS: Final = parse_address("tls+ipv4://127.0.0.1:7000")
_PEER: Final = IPv4Address("TCP", "127.0.0.1", 9)
_FRAME: Final = frame_of(100)
_READ_BYTES: Final = 1 << 16
_FLIGHTS_MAX: Final = 6
_DAMAGES_MAX: Final = 3


def hostile_connection(random: Random) -> tuple[bytes, Callable[[], str]]:
    """
    Choose what happens to a connection.

    :param random: Draws.
    :returns: How it is drawn, and what has it read.
    """
    # The time that the first one takes is not the input's.
    _credentials()
    number = random.randrange(1 << 32)
    return b"%d" % number, lambda: _Conversation(Random(number)).run()


class _Socket:
    """What a transport has below it: takes options, and has no room."""

    def setsockopt(self, *_option: object) -> None:
        return

    def send(self, _data: bytes) -> int:
        raise BlockingIOError


class _Wire(StringTransport):
    """A transport that tells whether it was closed."""

    @property
    def is_closed(self) -> bool:
        return bool(self.disconnecting or self.disconnected)

    def getHandle(self) -> _Socket:
        return _Socket()

    def take(self) -> bytes:
        """Give what was written since, and ask for more as long as there is."""
        for _ in range(_FLIGHTS_MAX):
            if self.producer is not None:
                self.producer.resumeProducing()
        data = self.value()
        self.clear()
        return bytes(data)


class _Reactor(MemoryReactor):
    """A reactor whose ports have a log, as real ones have."""

    def listenTCP(self, *where: Any, **how: Any) -> Any:
        """Listen nowhere."""
        port: Any = super().listenTCP(*where, **how)  # type: ignore[no-untyped-call]  # Twisted's
        port._logger = Logger()  # noqa: SLF001  # as the real one's is
        return port


@cache
def _credentials() -> Credentials:
    """Make a node's, once for each process; what was read is used when its files are gone."""
    issued = Authority.new("test", days=2)
    authority = Authority(issued.certificate, issued.key)
    node = authority.issue(parse_identity("atbus://test/0x0/63"), ("127.0.0.1",), timedelta(days=1))
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("node.pem", "node.key", "authority.pem")]
        node.write(*paths[:2])
        paths[2].write_bytes(issued.certificate)
        certificate, key, authorities = map(str, paths)
        return Credentials(
            TlsOptions(certificate=certificate, key=key, authorities=authorities, realm="test")
        )


class _Conversation:
    """
    One connection: our side is the real one, the other side is OpenSSL alone.

    :param random: Draws.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._dials = random.random() < 0.5
        self._receiver = RecordingReceiver()
        self._wire = _Wire()
        self._damages = random.randint(1, _DAMAGES_MAX)
        # Which flight of the other side is damaged: it has two of its own and answers of TLS.
        self._victim = random.randrange(4)
        self._other = SSL.Connection(_credentials().context(dials=not self._dials), None)
        self._other.set_app_data(SimpleNamespace(certificate_fault=None))
        if self._dials:
            self._other.set_accept_state()
        else:
            self._other.set_connect_state()

    def run(self) -> str:
        """
        Let both sides talk.

        :returns: What is counted.
        :raises AssertionError: Our side did what it may not.
        """
        protocol = self._ours()
        protocol.makeConnection(self._wire)
        was_damaged = False
        for flight in range(_FLIGHTS_MAX):
            said = self._answer(self._wire.take())
            if flight == self._victim and said:
                changed = self._damaged(said)
                was_damaged, said = changed != said, changed
            for piece in (said[: len(said) // 2], said[len(said) // 2 :]):
                if piece and not self._wire.is_closed:
                    protocol.dataReceived(piece)
        # A reactor says so as well where we have closed it.
        protocol.connectionLost(Failure(ConnectionLost()))
        if _credentials().watching:
            raise AssertionError("a connection that has ended looks at the files")
        wrong = [frame for frame in self._receiver.frames if frame != _FRAME]
        if wrong:
            raise AssertionError(f"what was damaged was read: {wrong!r}")
        if not was_damaged and not self._receiver.frames:
            raise AssertionError("a good connection was not used")
        return "tls damaged" if was_damaged else "tls read"

    def _ours(self) -> Any:
        """Make our side, as a listener or a dialer does."""
        reactor: Any = _Reactor()
        options = ChannelOptions(frame_limit=1 << 16, tls=_credentials())
        scheme = TlsScheme(reactor, options, HeapClock())
        if self._dials:
            scheme.connect(_ADDRESS, self._receiver).addErrback(lambda _failure: None)
            return reactor.tcpClients[-1][2].buildProtocol(_PEER)
        scheme.listen(_ADDRESS, self._accept)
        return reactor.tcpServers[-1][1].buildProtocol(_PEER)

    def _accept(self, _peer: str) -> IChannelReceiver:
        return self._receiver

    def _answer(self, heard: bytes) -> bytes:
        """Have the other side hear something; gives what it says."""
        if heard:
            self._other.bio_write(heard)
        try:
            self._other.do_handshake()
            if not self._receiver.frames:
                self._other.send(_FRAME)
            self._other.recv(_READ_BYTES)
        except SSL.Error:
            # It waits for more, or has seen the end; what it has to say, it says.
            pass
        try:
            return self._other.bio_read(_READ_BYTES)
        except SSL.Error:
            return b""

    def _damaged(self, said: bytes) -> bytes:
        changed = bytearray(said)
        random = self._random
        for _ in range(self._damages):
            place = random.randrange(len(changed))
            match random.randrange(5):
                case 0:
                    changed[place] ^= 1 << random.randrange(8)
                case 1:
                    changed[place : place + 2] = random.choice((b"\0\0", b"\xff\xff", b"\x16\x03"))
                case 2:
                    del changed[place : place + random.randint(1, 20)]
                    changed = changed or bytearray(b"\x15")
                case 3:
                    changed[place:place] = changed[: random.randint(1, 300)]
                case _:
                    del changed[max(1, place) :]
        return bytes(changed)
