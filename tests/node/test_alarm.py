"""The delayed call behind a deadline that moves."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atbus.node.context import Alarm


class AlarmTests(SynchronousTestCase):
    """One alarm."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rung: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.rung.append(self.clock.seconds()))

    def test_it_rings_once(self) -> None:
        """It rings at its deadline, and is still afterwards."""
        self.alarm.set(5.0)
        self.clock.advance(4.0)
        self.assertEqual(self.rung, [])
        self.clock.advance(1.0)
        self.clock.advance(9.0)
        self.assertEqual((self.rung, self.clock.getDelayedCalls()), ([5.0], []))

    def test_put_off(self) -> None:
        """A deadline that is put off again and again leaves one call, and rings at the last."""
        for deadline in (5.0, 6.0, 7.0):
            self.alarm.set(deadline)
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 5.0)
        for _ in range(8):
            self.clock.advance(1.0)
        self.assertEqual((self.rung, self.clock.getDelayedCalls()), ([7.0], []))

    def test_sooner(self) -> None:
        """A deadline that comes sooner is kept, also after one that was put off."""
        for deadline in (5.0, 9.0, 2.0):
            self.alarm.set(deadline)
        self.clock.advance(2.0)
        self.assertEqual((self.rung, self.clock.getDelayedCalls()), ([2.0], []))

    def test_a_process_that_was_held_up(self) -> None:
        """An alarm that comes late lets others go first, who may put it off, and then rings."""
        for put_off, rung in ((None, [7.0]), (8.0, [])):
            self.setUp()
            self.alarm.set(5.0)
            if put_off is not None:
                # As what has arrived while the process was held up does.
                self.clock.callLater(6.0, self.alarm.set, put_off)
            self.clock.advance(7.0)
            self.assertEqual(self.rung, rung)
        self.clock.advance(1.0)
        self.assertEqual(self.rung, [8.0])

    def test_no_deadline(self) -> None:
        """Without a deadline nothing is left in the reactor."""
        self.alarm.set(5.0)
        self.alarm.set(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.alarm.set(0.0)
        self.clock.advance(0.0)
        self.assertEqual(self.rung, [0.0])
