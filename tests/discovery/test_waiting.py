"""How sequences of discovery wait."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.waiting import Bell, Joined, Listeners, Routine, pause
from atbus.testing.clock import HeapClock


class PauseTests(SynchronousTestCase):
    """Waiting for time to pass."""

    def test_it_ends_when_the_time_is_over(self) -> None:
        """A pause ends then and not before."""
        clock = HeapClock()
        paused = pause(clock, 2.0)
        clock.advance(1.9)
        self.assertNoResult(paused)
        clock.advance(0.2)
        self.assertIsNone(self.successResultOf(paused))

    def test_it_can_be_given_up(self) -> None:
        """A pause that is cancelled leaves no call behind."""
        clock = HeapClock()
        paused = pause(clock, 2.0)
        paused.cancel()
        self.failureResultOf(paused, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])


class BellTests(SynchronousTestCase):
    """News for one sequence."""

    def test_one_ring_is_heard_once(self) -> None:
        """Rung before, any number of times, it lets one wait pass; rung during, it ends it."""
        clock = HeapClock()
        bell = Bell(clock)
        bell.ring()
        bell.ring()
        self.assertTrue(self.successResultOf(bell.wait()))
        waiting = bell.wait(5.0)
        self.assertNoResult(waiting)
        bell.ring()
        self.assertTrue(self.successResultOf(waiting))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_wait_may_have_an_end(self) -> None:
        """Who was not rung for in time goes on, and knows it; the next ring is for the next one."""
        clock = HeapClock()
        bell = Bell(clock)
        waiting = bell.wait(5.0)
        clock.advance(5.0)
        self.assertFalse(self.successResultOf(waiting))
        bell.ring()
        self.assertTrue(self.successResultOf(bell.wait()))

    def test_a_wait_that_was_given_up_takes_no_ring(self) -> None:
        """What rings after a wait was cancelled is heard by the next one."""
        bell = Bell(HeapClock())
        waiting = bell.wait(5.0)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        bell.ring()
        self.assertTrue(self.successResultOf(bell.wait()))


class JoinedTests(SynchronousTestCase):
    """Something that many want at once."""

    def test_it_is_done_once_for_all(self) -> None:
        """Whoever comes while the work is under way gets its outcome; the next one begins anew."""
        joined: Joined[int] = Joined()
        begun: list[Deferred[int]] = []

        async def work() -> int:
            begun.append(Deferred())
            return await begun[-1]

        one, two, three = joined.join(work), joined.join(work), joined.join(work)
        two.cancel()
        self.failureResultOf(two, CancelledError)
        begun[0].callback(7)
        self.assertEqual([self.successResultOf(one), self.successResultOf(three)], [7, 7])
        self.assertNoResult(joined.join(work))
        self.assertEqual(len(begun), 2)

    def test_all_learn_of_a_failure(self) -> None:
        """When it fails, it fails for everybody who waits."""
        joined: Joined[int] = Joined()

        async def work() -> int:
            raise ValueError("no")

        self.failureResultOf(joined.join(work), ValueError)
        self.failureResultOf(joined.join(work), ValueError)


class ListenerTests(SynchronousTestCase):
    """Those who want to be told."""

    def test_they_are_told_in_order(self) -> None:
        """
        In the order in which they came; changes in a round count from the next one on.

        Scenario: U29
        """
        listeners: Listeners[[str]] = Listeners()
        told: list[str] = []

        def first(news: str) -> None:
            told.append(f"first {news}")
            end_second()
            listeners.add(lambda again: told.append(f"third {again}"))

        end_first = listeners.add(first)
        end_second = listeners.add(lambda news: told.append(f"second {news}"))
        listeners.tell("a")
        self.assertEqual(told, ["first a", "second a"])
        end_first()
        end_first()
        listeners.tell("b")
        self.assertEqual(told[2:], ["third b"])

    def test_one_that_fails_stops_nothing(self) -> None:
        """A callback that raises is logged, and the others are told."""
        listeners: Listeners[[int]] = Listeners()
        told: list[int] = []
        listeners.add(lambda number: told.append(1 // number))
        listeners.add(told.append)
        listeners.tell(0)
        self.assertEqual(told, [0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RoutineTests(SynchronousTestCase):
    """A sequence that can be stopped from anywhere."""

    def test_it_is_stopped_from_outside(self) -> None:
        """A sequence that waits ends at once, and nobody has to hear of it."""
        routine, gate = Routine(), Deferred[None]()

        async def run(_: Callable[[], bool]) -> None:
            await gate

        routine.start(run)
        self.assertTrue(routine.is_running)
        routine.stop()
        self.assertFalse(routine.is_running)

    def test_it_is_stopped_by_what_it_calls(self) -> None:
        """A sequence that is stopped while it runs can ask, also when it has only begun."""
        routine, rounds = Routine(), []

        async def run(is_wanted: Callable[[], bool]) -> None:
            while is_wanted():
                rounds.append(is_wanted())
                routine.stop()

        routine.start(run)
        self.assertEqual(rounds, [True])
        self.assertFalse(routine.is_running)

    def test_a_bug_in_it_is_told(self) -> None:
        """A sequence that ends with an error leaves a line in the log."""

        async def run(_: Callable[[], bool]) -> None:
            raise ValueError("a bug")

        Routine().start(run)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
