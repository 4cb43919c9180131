"""The reactor of a process that is there for nodes: one turn."""

from __future__ import annotations

from itertools import count

from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.pollreactor import PollReactor
from twisted.internet.task import Clock
from twisted.python import context, log

from atbus.channels.turn_ends import TurnEnds, turn_ends_of
from atbus.cli.short_turns import shorten_turns
from tests.cli.turns import Late, Reader, TurnCase


class TurnTests(TurnCase):
    """A turn of the reactor, in which several sockets have something to read."""

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
        now = count(1)
        reactor.seconds = lambda: float(next(now))
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

    def test_short_turns_without_a_look(self) -> None:
        """What is put off is not looked at in each turn of some microseconds, nor ever later."""
        reactor = self.shortened()
        late, now = Late(reactor.turn_ends), [0.0]
        reactor.seconds = lambda: now[0]
        looks = []
        for now[0] in (5.0, 5.00001, 5.00009, 5.00011, 5.00012, 4.0, 4.00001, 4.0002):
            reactor.callLater(0, lambda: None)
            reactor.doIteration(0)
            looks.append(len(late.calls))
        # The clock was set back, by what may be an hour.
        self.assertEqual(looks, [1, 1, 1, 2, 2, 3, 3, 4])
        self.assertEqual(set(late.calls), {"look"})

    def test_put_off_before_sleep(self) -> None:
        """What is put off by what is done before the process would sleep does not wait either."""
        reactor = self.shortened()
        now = count(1)
        reactor.seconds = lambda: float(next(now))
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
