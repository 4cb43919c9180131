"""
Stand between two programs and spoil what passes: a relay of bytes that can be told to be bad.

What it listens on and what it dials are Twisted's endpoints, so it works for TCP and for unix
sockets. Everything may be changed while connections are open::

    relay = ToxicRelay(reactor, UNIXServerEndpoint(reactor, near), UNIXClientEndpoint(reactor, far))
    await relay.start()
    relay.slice_bytes = 1                   # one byte at a time
    relay.latency_seconds = 0.2             # each way
    relay.hold(Direction.TO_TARGET)         # one-way partition: neither bytes nor ends pass
    relay.let_go(Direction.TO_TARGET)       # what was held arrives, in order
    relay.reset()                           # every connection breaks, on both sides
    await relay.stop()

While a direction is held whoever dials is connected and hears nothing: a half-open connection.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IListeningPort,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

HELD_BYTES_MAX = 1_048_576
"""What is held of one direction of one connection before its sender is not read any more."""


class Direction(enum.Enum):
    """A way through the relay."""

    TO_TARGET = enum.auto()
    FROM_TARGET = enum.auto()


class ToxicRelay:
    """
    Pass connections on to a target, more or less.

    :param reactor: Its clock makes the delays.
    :param near: Where to listen.
    :param target: Where each connection goes on to.
    """

    def __init__(
        self, reactor: Any, near: IStreamServerEndpoint, target: IStreamClientEndpoint
    ) -> None:
        self.reactor = reactor
        self.latency_seconds = 0.0
        """How long everything takes, each way."""
        self.slice_bytes: int | None = None
        """The most that is written at once; each piece waits for a turn of its own."""
        self.held: set[Direction] = set()
        """The ways on which nothing passes."""
        self.accepted = 0
        """How many connections there have been."""
        self._near = near
        self._target = target
        self._port: IListeningPort | None = None
        self._pairs: set[_Pair] = set()

    async def start(self) -> IAddress:
        """
        Listen.

        :returns: The real address.
        :raises CannotListenError: It is taken.
        """
        self._port = await self._near.listen(_Sides(self._accept))
        return self._port.getHost()

    async def stop(self) -> None:
        """Listen no more, and break what is open."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        self.reset()

    def hold(self, *directions: Direction) -> None:
        """Let nothing pass on these ways, neither bytes nor the ends of connections."""
        self.held.update(directions)

    def let_go(self, *directions: Direction) -> None:
        """Let these ways be open again; what was held goes first."""
        self.held.difference_update(directions)
        for pair in list(self._pairs):
            pair.pump()

    def reset(self) -> None:
        """Break every connection at once."""
        for pair in list(self._pairs):
            pair.abort()

    @property
    def open(self) -> int:
        """How many connections pass through."""
        return len(self._pairs)

    def forget(self, pair: _Pair) -> None:
        """Note that both ends of a connection are gone."""
        self._pairs.discard(pair)

    def _accept(self) -> _Side:
        self.accepted += 1
        pair = _Pair(self)
        self._pairs.add(pair)
        dialling: Deferred[Any] = self._target.connect(_Sides(lambda: pair.far))
        # Whoever dialled a target that is not there sees the connection break.
        dialling.addErrback(lambda _: pair.abort())
        return pair.near


class _Sides(Factory):
    """Makes the protocols of the relay."""

    noisy = False

    def __init__(self, make: Callable[[], _Side]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> _Side:
        return self._make()


class _Pair:
    """One connection: its two sides, and the two ways between them."""

    def __init__(self, relay: ToxicRelay) -> None:
        self.near, self.far = _Side(self), _Side(self)
        there = _Way(relay, Direction.TO_TARGET, self.near, self.far)
        back = _Way(relay, Direction.FROM_TARGET, self.far, self.near)
        self.near.outgoing = self.far.incoming = there
        self.far.outgoing = self.near.incoming = back
        self.broken = False
        self._relay = relay
        self._ways = (there, back)

    def pump(self) -> None:
        """Go on."""
        for way in self._ways:
            way.pump()

    def abort(self) -> None:
        """Break both sides."""
        self.broken = True
        for way in self._ways:
            way.close()
        for side in (self.near, self.far):
            if side.transport is not None and not side.lost:
                side.transport.abortConnection()
        self._relay.forget(self)

    def side_lost(self) -> None:
        """Forget it when both sides are gone."""
        if self.near.lost and self.far.lost:
            for way in self._ways:
                way.close()
            self._relay.forget(self)


@implementer(IHalfCloseableProtocol)
class _Side(Protocol):
    """One end of a connection that passes through."""

    transport: Any
    outgoing: _Way
    incoming: _Way

    def __init__(self, pair: _Pair) -> None:
        self.lost = False
        self._has_ended = False
        self._is_ended = False
        self._pair = pair

    def connectionMade(self) -> None:
        """Take what waits."""
        if self._pair.broken:
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self.incoming, True)
        self._pair.pump()

    def dataReceived(self, data: bytes) -> None:
        """Hand it on."""
        self.outgoing.put(data)

    def readConnectionLost(self) -> None:
        """Hand on that there is no more; the other way stays open."""
        self._has_ended = True
        self.outgoing.put(_END)
        self._close_when_done()

    def end_writing(self) -> None:
        """Say that there is no more."""
        self._is_ended = True
        self.transport.loseWriteConnection()
        self._close_when_done()

    def _close_when_done(self) -> None:
        if self._has_ended and self._is_ended:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """That was us."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand on that it is over, and how."""
        self.lost = True
        self.outgoing.put(_END if reason.check(connectionDone.type) else _BREAK)
        self._pair.side_lost()


# What passes besides bytes: that one side has said its last, and that it is gone without a word.
_END = b""
_BREAK = None


@implementer(IPushProducer)
class _Way:
    """What goes from one side to the other, in order."""

    def __init__(
        self, relay: ToxicRelay, direction: Direction, source: _Side, sink: _Side
    ) -> None:
        self._relay = relay
        self._direction = direction
        self._source = source
        self._sink = sink
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._queued_bytes = 0
        self._due = 0.0
        self._call: IDelayedCall | None = None
        self._blocked = False
        self._over = False

    def put(self, data: bytes | None) -> None:
        """Queue something that the source said."""
        if self._over:
            return
        self._due = max(self._due, self._relay.reactor.seconds() + self._relay.latency_seconds)
        self._queue.append((self._due, data))
        self._queued_bytes += len(data or b"")
        if self._queued_bytes > HELD_BYTES_MAX and not self._source.lost:
            self._source.transport.pauseProducing()
        self.pump()

    def pump(self) -> None:
        """Pass on what may pass now."""
        relay = self._relay
        while self._queue and not (self._over or self._blocked or self._call):
            if self._direction in relay.held or self._sink.transport is None:
                return
            due, data = self._queue[0]
            wait = due - relay.reactor.seconds()
            if wait > 0:
                self._wait(wait)
                return
            self._queue.popleft()
            self._pass(due, data)

    def _pass(self, due: float, data: bytes | None) -> None:
        if self._sink.lost:
            return
        if not data:
            self._over = True
            self._sink.transport.unregisterProducer()
            if data is None:
                self._sink.transport.abortConnection()
            else:
                self._sink.end_writing()
            return
        size = self._relay.slice_bytes or len(data)
        if len(data) > size:
            self._queue.appendleft((due, data[size:]))
            self._wait(0)
        self._queued_bytes -= min(size, len(data))
        self._sink.transport.write(data[:size])
        if self._queued_bytes <= HELD_BYTES_MAX and not self._source.lost:
            self._source.transport.resumeProducing()

    def _wait(self, seconds: float) -> None:
        self._call = self._relay.reactor.callLater(seconds, self._woken)

    def _woken(self) -> None:
        self._call = None
        self.pump()

    def close(self) -> None:
        """Pass nothing more."""
        self._over = True
        self._queue.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    # What the sink's transport wants.

    def pauseProducing(self) -> None:
        """Wait."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._blocked = False
        self.pump()

    def stopProducing(self) -> None:
        """Wait for ever."""
        self._blocked = True
