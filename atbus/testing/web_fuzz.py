"""
Hostile requests over HTTP, for `atbus.testing.hostile`: to the pages of a gateway for monitors, and
to its listener for WebSocket.

An input is what a browser says: requests, and after an upgrade messages with sentences of NATS,
damaged, cut into chunks and read by the real site of a gateway on a node. Whatever it is, nothing
fails: no exception gets as far as a log. What is in frames that are in order is read byte for byte,
wherever they and their messages begin and end.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from random import Random
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.nats.frames import Frames
from atbus.nats.gateway import Gateway
from atbus.nats.settings import read_gateway
from atbus.testing.clock import HeapClock
from atbus.testing.logged import logged_errors
from atbus.testing.mutation import chunks
from atbus.testing.nats_fuzz import damaged, hostile_client
from atbus.testing.network import VirtualNetwork

_PEER: Final = IPv4Address("TCP", "192.0.2.1", 9)
_PAGES: Final = (
    *(b"varz", b"connz", b"routez", b"leafz", b"subsz", b"subscriptionsz", b"healthz", b"", b"x"),
)
_ARGUMENTS: Final = (
    *(b"subs=1", b"subs=detail", b"limit=5", b"offset=-1", b"sort=idle", b"sort=x", b"state=all"),
    *(b"cid=1", b"cid=99999999999", b"user=a", b"test=a.b", b"test=a..b", b"callback=f"),
    *(b"limit=%", b"state=closed", b"callback=f(", b"cid=", b"test=%ff", b"&&", b"offset=\xb2"),
)
_UPGRADE: Final = (
    b"GET /any HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
#: Continuation, text, bytes, close, ping, pong, and what is none.
_OPCODES: Final = (0, 1, 2, 2, 2, 2, 8, 9, 10, 3)
_END: Final = b"\r\n\r\n"
_MESSAGES_MAX: Final = 4
_ARGUMENTS_MAX: Final = 3
_REQUESTS_MAX: Final = 2
#: What tells an answer: ``HTTP/1.1 200``.
_BEGINNING_BYTES: Final = 12


def hostile_browser(random: Random) -> tuple[bytes, Callable[[], str]]:
    """
    Make what a browser says.

    :param random: Draws.
    :returns: It, and what has it read.
    """
    _doors()
    upgrades = random.random() < 0.5
    if upgrades and random.random() < 0.4:
        return _in_frames(random)
    if upgrades:
        said = damaged(random, _UPGRADE) if random.random() < 0.2 else _UPGRADE
        said += b"".join(_message(random) for _ in range(random.randint(0, _MESSAGES_MAX)))
    else:
        said = b"".join(_request(random) for _ in range(random.randint(1, _REQUESTS_MAX)))
        said = damaged(random, said) if random.random() < 0.6 else said
    pieces = chunks(random, said)
    return said, lambda: take_browser(pieces, upgrades=upgrades)


def _in_frames(random: Random) -> tuple[bytes, Callable[[], str]]:
    """Make a conversation in frames that are in order, the last of them perhaps not complete."""
    content = hostile_client(random)
    said, place, begins = bytearray(), 0, True
    while place < len(content):
        part = content[place : place + random.choice((0, 1, 7, 130, 5000))]
        place += len(part)
        if random.random() < 0.2:
            said += _frame(random, 0x80 | random.choice((9, 10)), b"?")
        ends = random.random() < 0.5
        length = (1 << 32) if place == len(content) and random.random() < 0.5 else len(part)
        said += _frame(random, (0x80 if ends else 0) | (2 if begins else 0), part, length)
        begins = ends
    pieces = chunks(random, bytes(said))

    def read() -> str:
        frames, found = Frames(), bytearray()
        for piece in pieces:
            frames.add(piece)
            while frames.is_unread:
                found += frames.take()
        if found != content or frames.ended is not None:
            raise AssertionError(f"{bytes(found)!r} was in frames, not {content!r}")
        return take_browser([_UPGRADE, *pieces], upgrades=True)

    return _UPGRADE + bytes(said), read


def _request(random: Random) -> bytes:
    count = random.randint(0, _ARGUMENTS_MAX)
    arguments = b"&".join(random.choice(_ARGUMENTS) for _ in range(count))
    method = random.choice((b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT"))
    path = random.choice(_PAGES) + (b"?" + arguments if arguments else b"")
    return b"%b /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (method, path)


def _message(random: Random) -> bytes:
    """Write a message of WebSocket, which may lie about its length or bear no mask."""
    content = hostile_client(random)[:1000]
    first = 0x80 if random.random() < 0.9 else random.choice((0, 0x70, 0xF0))
    first |= random.choice(_OPCODES)
    length = len(content) if random.random() < 0.9 else random.choice((0, 5, 1 << 16, 1 << 62))
    return _frame(random, first, content, length, is_masked=random.random() < 0.95)


def _frame(
    random: Random, first: int, content: bytes, length: int = -1, *, is_masked: bool = True
) -> bytes:
    """Write a frame that begins with a byte; its length is that of its content, unless given."""
    length, mask = len(content) if length < 0 else length, random.randbytes(4)
    masked = 0x80 if is_masked else 0
    if length < 126:
        head = bytes((first, masked | length))
    elif length < 1 << 16:
        head = bytes((first, masked | 126)) + struct.pack("!H", length)
    else:
        head = bytes((first, masked | 127)) + struct.pack("!Q", length)
    repeated = mask * (len(content) // 4 + 1)
    return head + mask + bytes(one ^ other for one, other in zip(content, repeated, strict=False))


class _Transport(StringTransport):
    """A connection that is closed when it is told to be, and keeps how the first answer begins."""

    def write(self, data: bytes) -> None:
        """Send something, which is no memory of ours any more."""
        if self.io.tell() < _BEGINNING_BYTES:
            self.io.write(data[:_BEGINNING_BYTES])

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send something in pieces, likewise."""
        for piece in data:
            self.write(piece)

    def setTcpNoDelay(self, _enabled: object) -> None:
        """Nothing is delayed."""

    def loseConnection(self) -> None:
        """Read on no more."""
        self.disconnecting = True

    @property
    def is_closed(self) -> bool:
        return bool(self.disconnecting or self.disconnected)


@implementer(IListeningPort)
class _Port:
    """Where one site listens, as far as a gateway asks."""

    def __init__(self, number: int) -> None:
        self._number = number

    def getHost(self) -> IPv4Address:
        """Say where."""
        return IPv4Address("TCP", "127.0.0.1", self._number)

    def startListening(self) -> None:
        """It listens from its beginning."""

    def stopListening(self) -> None:
        """It is not asked to."""

    def startReading(self) -> None:  # noqa: N802  # Twisted's name
        """Accept connections, which are made by whoever has the site."""

    def stopReading(self) -> None:  # noqa: N802  # likewise
        """Accept none, likewise."""


class _Reactor(HeapClock):
    """The part of a reactor that listens; it notes how long its later turns take."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[int, Any] = {}
        self.turns_seconds: list[float] = []

    def _make_next(self, at: float) -> None:
        began = time.thread_time()
        super()._make_next(at)
        self.turns_seconds.append(time.thread_time() - began)

    def listenTCP(self, port: int, factory: Any, *_how: object, **_more: object) -> _Port:
        """Keep what listens."""
        self.sites[port] = factory
        return _Port(port)


def take_browser(pieces: Sequence[bytes], *, upgrades: bool) -> str:
    """
    Take what a browser says, as a gateway does.

    :param pieces: The chunks.
    :param upgrades: Whether it is at the door for WebSocket.
    :returns: What is counted.
    :raises AssertionError: Something of ours failed.
    """
    reactor, sites = _doors()
    reactor.turns_seconds.clear()
    transport = _Transport(peerAddress=_PEER)
    with logged_errors() as errors:
        protocol = sites[upgrades].buildProtocol(_PEER)
        protocol.makeConnection(transport)
        for piece in _cut_behind_request(pieces) if upgrades else pieces:
            if not transport.is_closed:
                protocol.dataReceived(piece)
        reactor.advance(0.1)
        protocol.connectionLost(Failure(ConnectionDone()))
        reactor.advance(0.1)
    if errors:
        raise AssertionError("; ".join(errors))
    answer = transport.value()[:_BEGINNING_BYTES].decode("ascii", "replace")
    return f"browser {answer[9:]}" if answer.startswith("HTTP/1.") else "browser is not answered"


def _cut_behind_request(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Let a browser wait for its answer, if its first piece has a whole request."""
    for place, piece in enumerate(pieces):
        end = piece.find(_END) + len(_END) if place == 0 and _END in piece else len(piece)
        yield piece[:end]
        if end < len(piece):
            yield piece[end:]


def longest_turn(took_seconds: float) -> float:
    """
    Tell how long others had to wait for the last browser at a time.

    :param took_seconds: Of processor time, what it took in all.
    :returns: What the longest turn of the reactor took, seconds.
    """
    later = _doors()[0].turns_seconds
    return max(took_seconds - sum(later), *later, 0.0)


@cache
def _doors() -> tuple[_Reactor, dict[bool, Any]]:
    """Open the two doors of a gateway, once for each process; the second is for WebSocket."""
    network = VirtualNetwork()
    nats = {"listen": "127.0.0.1:1", "monitor": "127.0.0.1:2", "websocket": "127.0.0.1:3"}
    node = network.node(id=1, nats=nats)
    settings = read_gateway(node.config)
    assert settings is not None
    reactor = _Reactor()
    gateway = Gateway(node, settings, reactor, random=Random(1), wall=lambda: 1_700_000_000.0)
    gateway.startService()
    network.start(node)
    return reactor, {False: reactor.sites[2], True: reactor.sites[3]}
