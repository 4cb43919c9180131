"""The reactor of a process that is there for nodes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.pollreactor import PollReactor
from twisted.internet.task import Clock
from twisted.python import context, log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.channels.turn_ends import TurnEnds, turn_ends_of
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


class TurnTests(SynchronousTestCase):
    """A turn of the reactor, in which several sockets have something to read."""

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

    def test_everybody_reads_in_one_turn(self) -> None:
        """Who has something to read is asked to, in one turn, and no context is made for it."""
        reactor, seen = self.shortened(), []

        def read() -> None:
            seen.append(context.get(log.ILogContext)["system"])

        for _ in range(3):
            self.reader(reactor, read)
        reactor.iterate(0)
        self.assertEqual(seen, ["-"] * 3)
        reactor.iterate(0)
        self.assertEqual(len(seen), 3)

    def test_one_that_fails_ends_alone(self) -> None:
        """A reader that raises is logged and ended; the others read."""
        reactor, seen = self.shortened(), []
        bad = self.reader(reactor, lambda: 1 / 0)
        self.reader(reactor, lambda: seen.append(1))
        reactor.iterate(0)
        self.assertEqual(seen, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsInstance(bad.lost[0].value, ZeroDivisionError)
        self.assertNotIn(bad, reactor.getReaders())

    def test_one_that_has_read_everything(self) -> None:
        """A reader that says that it has ended is told so and asked no more, as ever."""
        reactor = self.shortened()
        done = self.reader(reactor, lambda: CONNECTION_DONE)
        reactor.iterate(0)
        self.assertIsInstance(done.lost[0].value, ConnectionDone)
        self.assertNotIn(done, reactor.getReaders())

    def test_one_that_another_has_ended(self) -> None:
        """A reader that another one has ended in the same turn is not asked."""
        reactor, seen = self.shortened(), []
        readers: list[Reader] = []

        def read() -> None:
            seen.append(1)
            for reader in readers:
                reactor.removeReader(reader)

        readers += [self.reader(reactor, read), self.reader(reactor, read)]
        reactor.iterate(0)
        self.assertEqual(seen, [1])

    def test_the_other_side_hangs_up(self) -> None:
        """What is more than something to read goes the reactor's own way, with its context."""
        reactor, seen = self.shortened(), []
        reader = self.reader(
            reactor, lambda: seen.append(context.get(log.ILogContext)["system"])
        )
        reader.hang_up()
        reactor.iterate(0)
        self.assertEqual(seen, ["reader"])

    def test_the_end_of_a_turn(self) -> None:
        """What is asked for its end is done in the same turn, before anything is read."""
        reactor, seen = self.shortened(), []
        self.reader(reactor, lambda: seen.append("read"))
        reactor.callLater(0, reactor.turn_ends.calls.append, lambda: seen.append("end"))
        reactor.iterate(0)
        self.assertEqual(seen, ["end", "read"])

    def test_no_sleep_with_what_is_put_off(self) -> None:
        """What is put off is done before the process sleeps, and not while there is work."""
        reactor = self.shortened()
        late = Late(reactor.turn_ends)
        self.reader(reactor, lambda: None)
        reactor.iterate(60)
        self.assertEqual(late.calls, ["look"])
        reactor.callLater(0, reactor.callLater, 0, lambda: None)
        reactor.iterate(0)
        self.assertEqual(late.calls, ["look"] * 2)
        # What is done then sets a timer, and that is when the process wakes.
        late.then = lambda: reactor.callLater(0, lambda: None)
        reactor.iterate(60)
        self.assertEqual(late.calls, ["look"] * 3 + ["now"])

    def test_put_off_before_sleep(self) -> None:
        """What is put off by what is done before the process would sleep does not wait either."""
        reactor = self.shortened()
        late, later = Late(reactor.turn_ends), Late(reactor.turn_ends)
        del reactor.turn_ends.deferring[later]
        late.then = lambda: reactor.turn_ends.deferring.setdefault(later)
        reactor.iterate(60)
        self.assertEqual((late.calls, later.calls), (["look", "now"], []))
        later.then = lambda: reactor.callLater(0, lambda: None)
        reactor.iterate(60)
        self.assertEqual(later.calls, ["look", "now"])

    def test_an_end_that_stops_the_reactor(self) -> None:
        """Nobody waits in a reactor that was stopped at the end of a turn."""
        reactor = self.shortened()

        def stop() -> None:
            reactor._justStopped = True

        reactor.turn_ends.calls.append(stop)
        reactor.doIteration(60)
        reactor._justStopped = False
        reactor.turn_ends.calls.append(lambda: reactor.turn_ends.calls.append(stop))
        reactor.doIteration(60)
        self.assertEqual(reactor.turn_ends.calls, [stop])

    def test_who_knows_the_ends(self) -> None:
        """A reactor with short turns tells their ends, another one nobody."""
        self.assertIsInstance(turn_ends_of(self.shortened()), TurnEnds)
        self.assertIsNone(turn_ends_of(self.reactor()))
        self.assertIsNone(turn_ends_of(Clock()))

    def test_other_reactors(self) -> None:
        """A reactor that is not Twisted's on epoll stays as it is, and so does a short one."""
        self.assertFalse(shorten_turns(Clock()))
        poll = self.reactor(PollReactor)
        self.assertFalse(shorten_turns(poll))
        self.assertIs(type(poll), PollReactor)
        self.assertFalse(shorten_turns(self.shortened()))
