"""A relay of bytes between real sockets, which delays, slices, holds and breaks."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from atbus.testing.toxic import Direction, ToxicRelay


@implementer(IHalfCloseableProtocol)
class Talker(Protocol):
    """Keeps what it is told, and says when it is enough."""

    transport: Any

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ended = False
        self.reason: Failure | None = None
        self._wanted: list[tuple[Deferred[None], Any]] = []

    def until(self, condition: Any) -> Deferred[None]:
        """Wait for something to be true of what came."""
        waiting: Deferred[None] = Deferred()
        self._wanted.append((waiting, condition))
        self._look()
        return waiting

    def _look(self) -> None:
        for waiting, condition in list(self._wanted):
            if condition():
                self._wanted.remove((waiting, condition))
                waiting.callback(None)

    @property
    def text(self) -> bytes:
        """Everything that came."""
        return b"".join(self.chunks)

    def dataReceived(self, data: bytes) -> None:
        self.chunks.append(data)
        self._look()

    def readConnectionLost(self) -> None:
        self.ended = True
        self._look()

    def writeConnectionLost(self) -> None:
        """That was us."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self._look()


class ToxicTests(TestCase):
    """Two programs and what stands between them."""

    timeout = 600

    def make_folder(self) -> Path:
        """Make a folder whose path is short enough for a socket."""
        folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, folder)
        return folder

    async def join(self, *, unix: bool = False) -> tuple[ToxicRelay, Talker, Talker]:
        """Connect two programs through a relay."""
        from twisted.internet import reactor  # noqa: TID251  # real sockets

        clock: Any = reactor
        far: Deferred[Talker] = Deferred()
        factory = Factory()

        def accept(_: object) -> Talker:
            talker = Talker()
            clock.callLater(0, far.callback, talker)
            return talker

        factory.buildProtocol = accept  # type: ignore[method-assign,assignment]
        near: Any
        target: Any
        if unix:
            folder = self.make_folder()
            places = [str(folder / name) for name in ("far", "near")]
            port = await UNIXServerEndpoint(clock, places[0]).listen(factory)
            target = UNIXClientEndpoint(clock, places[0])
            near = UNIXServerEndpoint(clock, places[1])
        else:
            port = await TCP4ServerEndpoint(clock, 0, interface="127.0.0.1").listen(factory)
            target = TCP4ClientEndpoint(clock, "127.0.0.1", port.getHost().port)
            near = TCP4ServerEndpoint(clock, 0, interface="127.0.0.1")
        relay = ToxicRelay(clock, near, target)
        address: Any = await relay.start()
        if unix:
            dial: Any = UNIXClientEndpoint(clock, places[1])
        else:
            dial = TCP4ClientEndpoint(clock, "127.0.0.1", address.port)
        one = await connectProtocol(dial, Talker())
        other = await far
        self.addCleanup(self.end, relay, port, one, other)
        return relay, one, other

    async def end(self, relay: ToxicRelay, port: Any, *talkers: Talker) -> None:
        """Leave nothing open."""
        await port.stopListening()
        await relay.stop()
        for talker in talkers:
            # One that has heard the last word does not read any more.
            talker.transport.abortConnection()
            await talker.until(lambda talker=talker: talker.reason is not None)
        self.assertEqual(relay.open, 0)

    async def test_it_passes_everything(self) -> None:
        """Untouched, it passes bytes and ends both ways, over TCP and over unix sockets."""
        for unix in (False, True):
            relay, one, other = await self.join(unix=unix)
            one.transport.write(b"x" * 3_000_000)
            await other.until(lambda other=other: len(other.text) == 3_000_000)
            other.transport.write(b"back")
            await one.until(lambda one=one: one.text == b"back")
            one.transport.loseWriteConnection()
            await other.until(lambda other=other: other.ended)
            other.transport.write(b" and back")
            await one.until(lambda one=one: one.text == b"back and back")
            other.transport.loseConnection()
            await one.until(lambda one=one: one.ended)
            one.transport.loseConnection()
            await one.until(lambda one=one: one.reason is not None)
            assert one.reason is not None
            self.assertIsInstance(one.reason.value, ConnectionDone)
            self.assertEqual(relay.accepted, 1)

    async def test_slices(self) -> None:
        """What was written at once arrives in as many pieces as was asked for, in order."""
        relay, one, other = await self.join()
        relay.slice_bytes = 1
        one.transport.write(b"0123456789" * 5)
        await other.until(lambda: len(other.text) == 50)
        self.assertEqual(other.text, b"0123456789" * 5)
        self.assertGreater(len(other.chunks), 1)

    async def test_latency(self) -> None:
        """Everything takes as long as was asked for."""
        relay, one, other = await self.join()
        relay.latency_seconds = 0.05
        began = relay.reactor.seconds()
        one.transport.write(b"late")
        await other.until(lambda: other.text == b"late")
        self.assertGreaterEqual(relay.reactor.seconds() - began, 0.05)

    async def test_one_way(self) -> None:
        """Of a way that is held neither bytes nor ends pass, the other one is open."""
        relay, one, other = await self.join()
        relay.hold(Direction.TO_TARGET)
        one.transport.write(b"held")
        one.transport.loseWriteConnection()
        other.transport.write(b"free")
        await one.until(lambda: one.text == b"free")
        self.assertEqual((other.text, other.ended), (b"", False))
        relay.let_go(Direction.TO_TARGET)
        await other.until(lambda: other.ended)
        self.assertEqual(other.text, b"held")

    async def test_reset(self) -> None:
        """Every connection breaks, on both sides, and not as if it had been closed."""
        relay, one, other = await self.join()
        one.transport.write(b"hello")
        await other.until(lambda: other.text == b"hello")
        relay.reset()
        for talker in (one, other):
            await talker.until(lambda talker=talker: talker.reason is not None)
            assert talker.reason is not None
            self.assertIsInstance(talker.reason.value, ConnectionLost)
