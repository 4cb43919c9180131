"""Reactors with short turns, what they read, and who puts something off there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.channels.turn_ends import TurnEnds
from atbus.cli.short_turns import ShortTurns, shorten_turns


@implementer(IReadDescriptor)
class Reader:
    """
    Something to read: one end of a pair of sockets, whose other end has spoken.

    :param read: What becomes of it; gives why it has ended, if it has.
    """

    def __init__(self, reactor: Any, read: Callable[[], object]) -> None:
        self._socket, self._other = socket.socketpair()
        self._other.send(b"x")
        self.read = read
        self.lost: list[Failure] = []
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "reader"

    def doRead(self) -> Any:
        self._socket.recv(1)
        return self.read()

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)

    def hang_up(self) -> None:
        self._other.close()

    def close(self) -> None:
        self._socket.close()
        self._other.close()


class Late:
    """
    Somebody who has put something off.

    :param ends: Of the turns of a reactor.
    """

    def __init__(self, ends: TurnEnds) -> None:
        self.calls: list[str] = []
        self.then: Callable[[], object] = lambda: None
        self._ends = ends
        ends.deferring[self] = None

    def look(self) -> None:
        self.calls.append("look")

    def do_now(self) -> None:
        self.calls.append("now")
        del self._ends.deferring[self]
        self.then()


class TurnCase(SynchronousTestCase):
    """Reactors of a test's own."""

    def reactor(self, kind: Callable[[], Any] = EPollReactor) -> Any:
        reactor = kind()

        def close() -> None:
            for waker in reactor._internalReaders:
                waker.connectionLost(Failure(CONNECTION_DONE))

        self.addCleanup(close)
        return reactor

    def reader(self, reactor: Any, read: Callable[[], object]) -> Reader:
        reader = Reader(reactor, read)
        self.addCleanup(reader.close)
        return reader

    def shortened(self) -> Any:
        reactor = self.reactor()
        self.assertTrue(shorten_turns(reactor))
        self.assertIsInstance(reactor, ShortTurns)
        return reactor
