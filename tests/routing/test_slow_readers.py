"""Whether who did not read may come back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing import bounds
from atbus.routing.slow_readers import SlowReaders


class SlowReaderTests(SynchronousTestCase):
    def test_the_second_time(self) -> None:
        """The first cut is forgiven; the next one within two minutes keeps out for 30 seconds."""
        slow = SlowReaders()
        self.assertFalse(slow.cut(5, now=100.0))
        self.assertEqual(slow.seconds_left(5, now=100.0), 0.0)
        again = 99.0 + bounds.SLOW_AGAIN_SECONDS
        self.assertTrue(slow.cut(5, now=again))
        left = [slow.seconds_left(5, again + passed) for passed in (0.0, 21.0, 30.0)]
        self.assertEqual(left, [30.0, 9.0, 0.0])
        later = again + bounds.SLOW_AGAIN_SECONDS
        self.assertFalse(slow.cut(5, now=later))
        self.assertEqual(slow.seconds_left(5, now=later), 0.0)

    def test_each_for_itself(self) -> None:
        """Nobody is kept out for what another one did."""
        slow = SlowReaders()
        self.assertEqual([slow.cut(bus_id, now=1.0) for bus_id in (5, 6)], [False, False])
        self.assertTrue(slow.cut(5, now=2.0))
        self.assertEqual(slow.seconds_left(6, now=2.0), 0.0)

    def test_so_many_are_remembered(self) -> None:
        """Who was cut longest ago is forgotten first."""
        self.patch(limits, "ENDPOINTS_MAX", 2)
        slow = SlowReaders()
        for bus_id in (5, 6, 5, 7):
            slow.cut(bus_id, now=1.0)
        self.assertGreater(slow.seconds_left(5, now=1.0), 0.0)
        self.assertFalse(slow.cut(6, now=1.0))
