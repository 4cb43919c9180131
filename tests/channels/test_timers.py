"""Timers on the monotonic clock, whatever the wall clock does."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python import runtime
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from atbus.channels import timers
from atbus.channels.timers import MonotonicTimers, open_timerfd, set_timerfd
from tests.channels.sockets import the_reactor

_HOUR = 3600.0


class WallClockReactor(Clock):
    """
    A reactor that schedules by a wall clock which can be set, as Twisted's do.

    Real time passes for both clocks; a step moves the wall clock only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1_700_000_000.0
        self.monotonic_seconds = 5000.0

    def monotonic(self) -> float:
        return self.monotonic_seconds

    def pass_time(self, seconds: float) -> None:
        """Let real time pass, in steps as small as those of a busy reactor."""
        for _ in range(round(seconds * 10)):
            self.monotonic_seconds += 0.1
            self.advance(0.1)

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        if seconds > 0:
            self.advance(seconds)
        else:
            self.rightNow += seconds


class SteppedClockTests(SynchronousTestCase):
    """Without a timerfd, on a reactor whose clock is set."""

    def setUp(self) -> None:
        self.reactor = WallClockReactor()
        self.timers = MonotonicTimers(
            self.reactor, wall_clock=True, monotonic=self.reactor.monotonic
        )
        self.called: list[str] = []

    def test_the_clock_does_not_move(self) -> None:
        """An hour forth or back is nothing to the clock of the timers."""
        for seconds in (_HOUR, -_HOUR):
            before = self.timers.seconds()
            self.reactor.step(seconds)
            self.assertEqual(self.timers.seconds(), before)

    def test_an_hour_forth(self) -> None:
        """A call due in eight seconds is not made because the wall clock was set forward."""
        self.timers.callLater(8, self.called.append, "ping")
        self.reactor.pass_time(2)
        self.reactor.step(_HOUR)
        self.reactor.pass_time(5.5)
        self.assertEqual(self.called, [])
        self.reactor.pass_time(0.7)
        self.assertEqual(self.called, ["ping"])

    def test_an_hour_back(self) -> None:
        """A call due in eight seconds is made by whoever looks, though the reactor stands still."""
        self.timers.callLater(8, self.called.append, "ping")
        self.reactor.pass_time(2)
        self.reactor.step(-_HOUR)
        self.reactor.pass_time(5.5)
        self.timers.check()
        self.assertEqual(self.called, [])
        self.reactor.pass_time(0.7)
        self.timers.check()
        self.assertEqual(self.called, ["ping"])
        self.timers.callLater(1, self.called.append, "next")
        self.reactor.pass_time(1.1)
        self.assertEqual(self.called, ["ping", "next"])

    def test_no_wake_without_calls(self) -> None:
        """When nothing is to be called the reactor is not asked for anything."""
        call = self.timers.callLater(1, self.called.append, "never")
        call.cancel()
        self.reactor.pass_time(1.1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.called, [])


class HeapTests(SynchronousTestCase):
    """What a user of `IReactorTime` expects, of calls in a heap of our own."""

    def make(self) -> tuple[MonotonicTimers, WallClockReactor]:
        reactor = WallClockReactor()
        return MonotonicTimers(reactor, wall_clock=True, monotonic=reactor.monotonic), reactor

    def setUp(self) -> None:
        self.timers, self.reactor = self.make()
        self.called: list[Any] = []

    def test_the_interface(self) -> None:
        """The timers can stand wherever a reactor's clock can."""
        verifyObject(IReactorTime, self.timers)

    def test_order(self) -> None:
        """Calls are made in the order in which they are due, ties as they were asked for."""
        for seconds, name in ((3, "c"), (1, "a"), (2, "b"), (1, "a2")):
            self.timers.callLater(seconds, self.called.append, name)
        self.assertEqual(len(self.timers.getDelayedCalls()), 4)
        self.reactor.pass_time(3.1)
        self.assertEqual(self.called, ["a", "a2", "b", "c"])
        self.assertEqual(self.timers.getDelayedCalls(), [])

    def test_arguments(self) -> None:
        """Arguments are passed on."""
        self.timers.callLater(0, lambda *args, **kw: self.called.append((args, kw)), 1, key=2)
        self.assertEqual(self.called, [])
        self.reactor.pass_time(0.1)
        self.assertEqual(self.called, [((1,), {"key": 2})])

    def test_moving(self) -> None:
        """A call can be put off, brought forward, and both."""
        first = self.timers.callLater(5, self.called.append, "first")
        second = self.timers.callLater(5, self.called.append, "second")
        third = self.timers.callLater(5, self.called.append, "third")
        first.reset(9)
        second.reset(1)
        third.reset(2)
        third.delay(4)
        self.reactor.pass_time(1.1)
        self.assertEqual(self.called, ["second"])
        self.reactor.pass_time(4.5)
        self.assertEqual(self.called, ["second"])
        self.reactor.pass_time(0.5)
        self.assertEqual(self.called, ["second", "third"])
        self.reactor.pass_time(3)
        self.assertEqual(self.called, ["second", "third", "first"])

    def test_calls_that_change_each_other(self) -> None:
        """A call may cancel or put off another one that is due at the same moment."""

        def interfere() -> None:
            doomed.cancel()
            late.reset(1)

        self.timers.callLater(1, interfere)
        doomed = self.timers.callLater(1, self.called.append, "doomed")
        late = self.timers.callLater(1, self.called.append, "late")
        self.reactor.pass_time(1.1)
        self.assertEqual(self.called, [])
        self.reactor.pass_time(1.1)
        self.assertEqual(self.called, ["late"])

    def test_a_call_that_calls_again(self) -> None:
        """A call that asks to be made again at once is made in the next turn, not in this one."""

        def again() -> None:
            self.called.append(1)
            self.timers.callLater(0, again)

        self.timers.callLater(0, again)
        self.timers.check()
        self.assertEqual(self.called, [1])
        self.timers.check()
        self.assertEqual(self.called, [1, 1])

    def test_a_call_that_fails(self) -> None:
        """A call that raises is logged; the others are made."""
        self.timers.callLater(1, lambda: 1 // 0)
        self.timers.callLater(1, self.called.append, "other")
        self.reactor.pass_time(1.1)
        self.assertEqual(self.called, ["other"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_many_that_are_cancelled(self) -> None:
        """Calls cancelled before their time do not pile up."""
        keep = self.timers.callLater(50, self.called.append, "kept")
        for _ in range(10_000):
            self.timers.callLater(100, self.called.append, "never").cancel()
        heap: Any = self.timers
        self.assertLess(len(heap._timers._heap), 500)
        self.assertEqual(self.timers.getDelayedCalls(), [keep])
        self.reactor.pass_time(50.2)
        self.assertEqual(self.called, ["kept"])

    def test_stopping(self) -> None:
        """After a stop nothing is called any more, and asking for more does no harm."""
        pending = self.timers.callLater(1, self.called.append, "pending")
        self.timers.callLater(0, self.timers.stop)
        self.reactor.pass_time(0.1)
        self.assertFalse(pending.active())
        late = self.timers.callLater(0, self.called.append, "late")
        late.reset(0)
        self.timers.stop()
        self.reactor.pass_time(2)
        self.timers.check()
        self.assertEqual(self.called, [])
        late.cancel()
        self.assertEqual(self.timers.getDelayedCalls(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class HostTests(SynchronousTestCase):
    """On a reactor whose clock can be relied on."""

    def test_a_clock_of_a_test(self) -> None:
        """With a test's clock the calls are the clock's own, and its time is the time."""
        clock = Clock()
        clock.advance(7)
        called: list[str] = []
        host = MonotonicTimers(clock)
        call = host.callLater(3, called.append, "now")
        self.assertEqual(host.seconds(), 7)
        self.assertEqual(clock.getDelayedCalls(), [call])
        self.assertEqual(host.getDelayedCalls(), [call])
        host.check()
        clock.advance(3)
        self.assertEqual(called, ["now"])
        self.assertEqual(host.getDelayedCalls(), [])

    def test_stopping(self) -> None:
        """A stop cancels the calls made through these timers and no others."""
        clock = Clock()
        called: list[str] = []
        host = MonotonicTimers(clock)
        pending = host.callLater(1, called.append, "mine")
        clock.callLater(1, called.append, "another's")
        host.stop()
        self.assertFalse(pending.active())
        host.callLater(1, called.append, "late").cancel()
        clock.advance(2)
        self.assertEqual(called, ["another's"])


class TimerfdTests(TestCase):
    """With the kernel's timer, on the real reactor."""

    timeout = 120

    def setUp(self) -> None:
        descriptor = open_timerfd()
        if descriptor is None:
            self.skipTest("this system has no timerfd")
        os.close(descriptor)
        self.reactor = the_reactor()
        self.timers = MonotonicTimers(self.reactor, wall_clock=True)
        self.addCleanup(self.timers.stop)

    async def test_order_and_time(self) -> None:
        """Calls are made in their order and not before their time; the reactor only reads."""
        called: list[tuple[str, float]] = []
        finished: Deferred[None] = Deferred()
        start = self.timers.seconds()

        def note(name: str) -> None:
            called.append((name, self.timers.seconds() - start))
            if name == "c":
                finished.callback(None)

        before = set(self.reactor.getDelayedCalls())
        far = self.timers.callLater(3_600, self.fail)
        self.assertEqual(set(self.reactor.getDelayedCalls()), before)
        far.cancel()
        for seconds, name in ((0.03, "c"), (0.01, "a"), (0.02, "b")):
            self.timers.callLater(seconds, note, name)
        await finished
        self.assertEqual([name for name, _ in called], ["a", "b", "c"])
        for (_, seconds), due in zip(called, (0.01, 0.02, 0.03), strict=True):
            self.assertGreaterEqual(seconds, due)

    async def test_at_once(self) -> None:
        """What is due at once needs no timer of the kernel, and leaves nothing in the reactor."""
        late = self.timers.callLater(0.5, self.fail)
        made: Deferred[None] = Deferred()
        self.timers.callLater(0, made.callback, None)
        await made
        self.assertTrue(late.active())
        before = set(self.reactor.getDelayedCalls())
        self.timers.callLater(0, self.fail)
        self.assertEqual(len(set(self.reactor.getDelayedCalls()) - before), 1)
        self.timers.stop()
        self.assertEqual(set(self.reactor.getDelayedCalls()), before)

    async def test_many_at_once(self) -> None:
        """Calls that are made at once, one from the other, do not set the kernel's timer each."""
        settings: list[float | None] = []

        def count(descriptor: int, when: float | None) -> None:
            settings.append(when)
            set_timerfd(descriptor, when)

        self.patch(timers, "set_timerfd", count)
        self.timers.callLater(3_600, self.fail)
        finished: Deferred[None] = Deferred()

        def again(left: int) -> None:
            if left:
                self.timers.callLater(0, again, left - 1)
            else:
                finished.callback(None)

        self.timers.callLater(0, again, 100)
        await finished
        self.assertLess(len(settings), 5)

    async def test_at_once_although_the_wall_clock_is_set_back(self) -> None:
        """When the reactor's clock is set back just then, the kernel's next timer makes good."""
        now = self.reactor.seconds()
        made: Deferred[None] = Deferred()
        self.timers.callLater(0.01, lambda: None)
        self.timers.callLater(0, made.callback, None)
        self.patch(self.reactor, "seconds", lambda: now - _HOUR)
        await made

    async def test_a_wall_clock_that_stands_still(self) -> None:
        """A reactor whose own timers have stopped still wakes up for ours."""
        now = self.reactor.seconds()
        self.patch(self.reactor, "seconds", lambda: now - _HOUR)
        made: Deferred[None] = Deferred()
        stepped = MonotonicTimers(self.reactor, wall_clock=True)
        self.addCleanup(stepped.stop)
        stepped.callLater(0.01, made.callback, None)
        await made

    async def test_a_kernel_that_is_early(self) -> None:
        """A wake before the time, by our own clock, is followed by another one."""
        made: Deferred[None] = Deferred()
        slow = MonotonicTimers(
            self.reactor, wall_clock=True, monotonic=lambda: self.timers.seconds() - 0.005
        )
        self.addCleanup(slow.stop)
        due = slow.seconds() + 0.01
        slow.callLater(0.01, made.callback, None)
        await made
        self.assertGreaterEqual(slow.seconds(), due)

    def test_the_descriptor_is_given_back(self) -> None:
        """A stop takes the timer out of the reactor and closes it."""
        readers = set(self.reactor.getReaders())
        extra = MonotonicTimers(self.reactor, wall_clock=True)
        extra.callLater(1, self.fail)
        [descriptor] = set(self.reactor.getReaders()) - readers
        number = descriptor.fileno()
        os.fstat(number)
        extra.stop()
        extra.stop()
        self.assertEqual(set(self.reactor.getReaders()), readers)
        self.assertRaises(OSError, os.fstat, number)

    async def test_nothing_is_left_without_calls(self) -> None:
        """Timers that have nothing to call, any more or yet, leave nothing in the reactor."""
        readers = set(self.reactor.getReaders())
        extra = MonotonicTimers(self.reactor, wall_clock=True)
        self.addCleanup(extra.stop)
        self.assertEqual(set(self.reactor.getReaders()), readers)
        calls = [extra.callLater(delay, self.fail) for delay in (5, 3, 4)]
        calls[1].reset(2)
        for call in calls:
            [descriptor] = set(self.reactor.getReaders()) - readers
            call.cancel()
        self.assertEqual(set(self.reactor.getReaders()), readers)
        await task.deferLater(extra, 0.01)
        # The reactor's next turn: this one is still the call's.
        await task.deferLater(self.reactor, 0)
        self.assertNotIn(descriptor, self.reactor.getReaders())

    def test_which_reactor_needs_it(self) -> None:
        """A reactor on the wall clock is given a timerfd; one that was made monotonic is not."""
        readers = set(self.reactor.getReaders())
        self.patch(self.reactor, "seconds", runtime.seconds)
        needed = MonotonicTimers(self.reactor)
        needed.callLater(1, self.fail)
        self.assertEqual(len(set(self.reactor.getReaders()) - readers), 1)
        needed.stop()
        self.patch(self.reactor, "seconds", self.timers.seconds)
        MonotonicTimers(self.reactor).callLater(1, self.fail).cancel()
        self.assertEqual(set(self.reactor.getReaders()), readers)

    def test_a_system_without_it(self) -> None:
        """Where there is no timerfd the reactor's own calls are used, a second ahead at most."""
        readers = set(self.reactor.getReaders())
        self.patch(timers, "open_timerfd", lambda: None)
        fallback = MonotonicTimers(self.reactor, wall_clock=True)
        before = set(self.reactor.getDelayedCalls())
        fallback.callLater(3600, self.fail)
        [look] = set(self.reactor.getDelayedCalls()) - before
        self.assertLess(look.getTime() - self.reactor.seconds(), 1.1)
        fallback.stop()
        self.assertFalse(look.active())
        self.assertEqual(set(self.reactor.getReaders()), readers)

    def test_a_descriptor_that_is_no_timer(self) -> None:
        """What the kernel refuses is an error, not a timer that never comes."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.assertRaises(OSError, set_timerfd, reading, 1.0)
