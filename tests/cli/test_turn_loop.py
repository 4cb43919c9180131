"""The reactor of a process that is there for nodes: turn after turn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.cli.turns import Late, TurnCase


class Idle:
    """
    A poller that stops its reactor instead of waiting.

    :param poller: Asks the kernel.
    """

    def __init__(self, reactor: Any, poller: Any) -> None:
        self._reactor = reactor
        self._poller = poller
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def poll(self, timeout: float, most: int) -> Any:
        self.asked += 1
        if timeout and "sleeps" in vars(self):
            self.sleeps(timeout)
        elif timeout:
            ends = self._reactor._justStopped or not self._reactor.running
            assert not ends, "one that is stopped is not to wait"
            self._reactor.stop()
        return self._poller.poll(0, most)


class Broken:
    """A poller that fails."""

    def poll(self, timeout: float, most: int) -> Any:
        raise OSError("broken")


class LoopTests(TurnCase):
    """A reactor with short turns that runs, and what it calls."""

    def setUp(self) -> None:
        self.now = 100.0
        self.seen: list[str] = []
        self.loop = self.shortened()
        self.loop.seconds = lambda: self.now

    def see(self, what: str) -> None:
        self.seen.append(what)

    def said(self) -> list[str]:
        """Give what is logged from now on."""
        lines: list[str] = []

        @implementer(ILogObserver)
        class Lines:
            def __call__(self, event: LogEvent) -> None:
                lines.append(formatEvent(event))

        observer = Lines()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return lines

    def run_loop(self, first: Callable[[], object]) -> None:
        """
        Run the reactor until nothing is to be called any more.

        :param first: Called in its first turn.
        """
        self.loop._poller = Idle(self.loop, self.loop._poller)
        self.loop.callWhenRunning(first)
        self.loop.run(installSignalHandlers=False)

    def test_order(self) -> None:
        """What is due is called in the order of its time, or else in that of its asking."""

        def ask() -> None:
            self.loop.callLater(2, self.see, "third")
            self.loop.callLater(1, self.see, "first")
            self.loop.callLater(1, self.see, what="second")
            self.now += 5
            self.loop.callLater(0, self.see, "fourth")

        self.run_loop(ask)
        self.assertEqual(self.seen, ["first", "second", "third", "fourth"])

    def test_one_that_is_older(self) -> None:
        """What was asked for long ago is called before what is due since a moment."""
        self.loop.callLater(5, self.see, "old")

        def ask() -> None:
            self.loop.callLater(3, self.see, "older")
            self.now += 1
            self.loop.callLater(0, later)

        def later() -> None:
            self.now += 9
            self.loop.callLater(0, self.see, "new")

        self.run_loop(ask)
        self.assertEqual(self.seen, ["older", "old", "new"])

    def test_later_turns(self) -> None:
        """What is asked for by a call comes in the next turn, after what was to be read in this."""

        def ask() -> None:
            self.loop.callLater(0, again, 3)

        def again(times: int) -> None:
            self.see("called")
            if times == 2:
                self.reader(self.loop, lambda: self.see("read"))
            if times:
                self.loop.callLater(0, again, times - 1)

        self.run_loop(ask)
        self.assertEqual(self.seen, ["called", "called", "read", "called", "called"])

    def turns(self, count: int, seconds: float, each: Callable[[int], object]) -> None:
        """
        Take turns of which each asks for the next one.

        :param count: How many.
        :param seconds: How long one takes.
        :param each: Called with its number in each.
        """

        def go_on(number: int) -> None:
            each(number)
            self.now += seconds
            if number < count:
                self.loop.callLater(0, go_on, number + 1)

        self.run_loop(lambda: self.loop.callLater(0, go_on, 1))

    def test_turns_without_end(self) -> None:
        """
        Who always has something due asks in vain so often, and then every 20 microseconds.

        What there is to be read then waits for no longer than that.
        """
        read: list[float] = []

        def each(number: int) -> None:
            if number == 55:
                self.reader(self.loop, lambda: read.append(self.now))
                read.append(self.now)

        self.turns(200, 1e-6, each)
        added, found = read
        self.assertTrue(1.5e-6 < found - added < 21e-6, found - added)
        # Before it was there 16 times and twice, after it 16 times and six times.
        self.assertTrue(38 <= self.loop._poller.asked <= 44, self.loop._poller.asked)

    def test_turns_that_take_their_time(self) -> None:
        """In turns that are longer the kernel is asked each time."""
        self.turns(100, 20e-6, lambda number: None)
        self.assertGreaterEqual(self.loop._poller.asked, 100)

    def test_turns_of_a_clock_that_is_set_back(self) -> None:
        """A time in the past is no reason not to ask."""
        self.turns(100, -1e-6, lambda number: None)
        self.assertGreaterEqual(self.loop._poller.asked, 100)

    def test_turns_after_something(self) -> None:
        """Who has found something, or has slept, asks in each of the next turns."""
        asked: list[int] = []

        def each(number: int) -> None:
            asked.append(self.loop._poller.asked)
            if number == 50:
                self.reader(self.loop, lambda: self.see(f"{number}"))
            elif number == 120:
                self.loop._poller.sleeps = self.sleep
                self.loop.callLater(1, self.turns_on, asked)

        self.turns(120, 1e-6, each)
        gaps = [later - one for one, later in pairwise(asked)]
        self.assertEqual(sum(gaps[:16]), 16)
        self.assertLessEqual(sum(gaps[20:50]), 2)
        found = gaps.index(1, 50)
        self.assertEqual(gaps[found : found + 16], [1] * 16)
        self.assertLessEqual(sum(gaps[found + 20 : 119]), 3)
        self.assertEqual(gaps[-10:], [1] * 10)

    def turns_on(self, asked: list[int], left: int = 10) -> None:
        """Take some turns more."""
        asked.append(self.loop._poller.asked)
        if left:
            self.loop.callLater(0, self.turns_on, asked, left - 1)

    def sleep(self, seconds: float) -> None:
        """Let time pass, once."""
        del self.loop._poller.sleeps
        self.now += seconds

    def test_second_thoughts(self) -> None:
        """Who is called may cancel and put off what is due as well, and is told what still is."""

        def ask() -> None:
            self.loop.callLater(0, think)
            calls.extend(self.loop.callLater(0, self.see, what) for what in ("1", "2", "3", "4"))
            gone = self.loop.callLater(0, self.see, "0")
            gone.cancel()

        def think() -> None:
            self.assertEqual(self.loop.getDelayedCalls(), calls)
            calls[0].cancel()
            calls[1].delay(7)
            calls[2].reset(7)
            self.assertEqual(self.loop.getDelayedCalls(), calls[1:])
            self.loop.callLater(0, look)

        def look() -> None:
            self.assertEqual(self.seen, ["4"])
            self.assertEqual(self.loop.getDelayedCalls(), calls[1:3])
            self.assertEqual(self.loop._cancellations, 0)
            self.now += 6
            self.loop.callLater(0, wait)

        def wait() -> None:
            self.assertEqual(self.seen, ["4"])
            self.now += 1

        calls: list[Any] = []
        self.run_loop(ask)
        self.assertEqual(self.seen[0], "4")
        self.assertEqual(sorted(self.seen), ["2", "3", "4"])

    def test_one_alone(self) -> None:
        """One that is alone in its turn comes when it is due, and is not to come any more then."""

        def ask() -> None:
            call = self.loop.callLater(0, lambda: self.see(f"{call.active()}"))

        self.run_loop(ask)
        self.assertEqual(self.seen, ["False"])
        self.assertEqual(self.loop.getDelayedCalls(), [])

    def test_one_alone_that_is_taken_back(self) -> None:
        """It may be cancelled."""
        self.run_loop(lambda: self.loop.callLater(0, self.see, "gone").cancel())
        self.assertEqual((self.seen, self.loop._cancellations), ([], 0))

    def test_one_alone_that_is_put_off(self) -> None:
        """It may be put off, and it may not be due at all."""
        self.run_loop(lambda: self.loop.callLater(0, self.see, "late").delay(3))
        self.assertEqual(self.seen, [])
        self.assertEqual(len(self.loop.getDelayedCalls()), 1)

    def test_one_alone_that_is_not_due(self) -> None:
        """It waits."""
        self.run_loop(lambda: self.loop.callLater(3, self.see, "late"))
        self.assertEqual(self.seen, [])
        self.assertEqual(len(self.loop.getDelayedCalls()), 1)

    def test_one_that_fails(self) -> None:
        """A call that raises is logged, with who has asked for it, and the others are made."""

        def ask() -> None:
            self.patch(DelayedCall, "debug", True)
            self.loop.callLater(0, lambda: 1 / 0)
            self.loop.callLater(0, self.see, "other")

        said = self.said()
        self.run_loop(ask)
        self.assertEqual(self.seen, ["other"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        (line,) = [line for line in said if "failed" in line]
        self.assertIn("test_one_that_fails", line)

    def test_one_alone_that_fails(self) -> None:
        """So it is with one that is alone in its turn."""
        self.run_loop(lambda: self.loop.callLater(0, lambda: 1 / 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_turn_that_fails(self) -> None:
        """A turn that raises is logged, and the next one comes."""

        def ask() -> None:
            self.loop.callLater(0, setattr, self.loop, "_poller", Broken())
            self.loop.callLater(0, self.loop.callLater, 0, go_on, self.loop._poller)

        def go_on(poller: Idle) -> None:
            self.see("next")
            self.loop._poller = poller

        self.run_loop(ask)
        self.assertEqual(self.seen, ["next"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_a_turn_in_a_turn(self) -> None:
        """Who waits for a call by having turns made meanwhile, does not wait for ever."""

        def ask() -> None:
            self.loop.callLater(0, wait)
            self.loop.callLater(0, self.see, "1")
            self.loop.callLater(0, self.see, "2")

        def wait() -> None:
            self.loop.iterate(0)
            self.see("waited")

        self.run_loop(ask)
        self.assertEqual(self.seen, ["1", "2", "waited"])

    def test_threads(self) -> None:
        """What a thread asks for is called as well while there are turns without end."""

        def ask() -> None:
            self.loop.callFromThread(self.see, "thread")
            self.loop.callLater(0, again)

        def again() -> None:
            if not self.seen:
                self.loop.callLater(0, again)

        self.run_loop(ask)
        self.assertEqual(self.seen, ["thread"])

    def test_timers_beside_turns(self) -> None:
        """A timer comes in time while there are turns without end, and cancelled ones go."""

        def ask() -> None:
            self.loop.callLater(0.5, self.see, "timer")
            for _ in range(60):
                self.loop.callLater(50, self.see, "never").cancel()
            far.extend(self.loop.callLater(60, self.see, "never") for _ in range(70))
            self.loop.callLater(0, again)

        def again() -> None:
            self.now += 0.1
            if self.seen:
                self.assertLess(self.now, 100.75)
                self.loop.callLater(0, cancel)
            else:
                self.loop.callLater(0, again)

        def cancel() -> None:
            for call in far:
                call.cancel()
            self.loop.callLater(0, self.loop.callLater, 0, end)

        def end() -> None:
            self.assertEqual(self.loop._pendingTimedCalls, [])
            self.see("end")

        far: list[Any] = []
        self.run_loop(ask)
        self.assertEqual(self.seen, ["timer", "end"])

    def test_ends_of_turns_without_end(self) -> None:
        """What is asked for the end of one of many turns is done right then."""

        def again(times: int) -> None:
            self.see("turn")
            if times == 2:
                self.loop.turn_ends.calls.append(lambda: self.see("end"))
            if times:
                self.loop.callLater(0, again, times - 1)

        self.run_loop(lambda: self.loop.callLater(0, again, 3))
        self.assertEqual(self.seen, ["turn", "turn", "end", "turn", "turn"])

    def test_looks_among_turns_without_end(self) -> None:
        """What is put off is looked at while there are turns without end, now and then."""
        late = Late(self.loop.turn_ends)

        def again(times: int) -> None:
            self.see(f"{len(late.calls)} looks")
            self.now += 0.00006
            if times:
                self.loop.callLater(0, again, times - 1)

        self.run_loop(lambda: self.loop.callLater(0, again, 5))
        self.assertEqual(self.seen, [f"{looks} looks" for looks in (0, 1, 1, 1, 2, 2)])
        self.assertEqual(late.calls[-1], "now")

    def test_stop_in_the_last_turn(self) -> None:
        """A reactor that is stopped by what it called or read does not wait before it ends."""
        self.loop.callLater(60, self.see, "never")
        self.loop.addSystemEventTrigger("before", "shutdown", self.see, "shutdown")
        self.run_loop(lambda: self.loop.callLater(0, self.loop.stop))
        self.loop = self.shortened()
        self.loop.addSystemEventTrigger("before", "shutdown", self.see, "shutdown")
        self.reader(self.loop, self.loop.stop)
        self.loop.callLater(60, self.see, "never")
        self.run_loop(lambda: self.loop.callLater(0, self.loop.callLater, 0, int))
        self.assertEqual(self.seen, ["shutdown"] * 2)

    def test_stop_among_turns(self) -> None:
        """A reactor that is stopped ends, whatever is still to be called."""

        def again() -> None:
            self.see("called")
            if len(self.seen) == 3:
                self.loop.stop()
            self.loop.callLater(0, again)

        self.loop.addSystemEventTrigger("before", "shutdown", self.see, "shutdown")
        said = self.said()
        self.run_loop(again)
        self.assertIn("Main loop terminated.", said)
        self.assertEqual(self.seen[:3], ["called"] * 3)
        self.assertIn("shutdown", self.seen)
        self.assertRaises(AssertionError, self.loop.callLater, -1, again)
