"""Tests of `atbus.routing.meter`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.meter import Meter


class MeterTests(SynchronousTestCase):
    """What somebody may spend."""

    def test_it_comes_back(self) -> None:
        """So much in one go is free, what is more is owed, and all of it comes back with time."""
        meter = Meter(100, 10)
        self.assertTrue(meter.is_full(0.0))
        self.assertEqual(meter.spend(100, 0.0), 0.0)
        self.assertEqual(meter.spend(20, 0.0), 2.0)
        self.assertLess(meter.spend(5, 5.0), 0.0)
        self.assertFalse(meter.is_full(12.4))
        self.assertTrue(meter.is_full(12.5))
        self.assertEqual(meter.spend(110, 1000.0), 1.0)

    def test_it_needs_something_to_spend(self) -> None:
        """A meter that gives nothing is a mistake."""
        for wrong in ((0, 1), (1, 0)):
            self.assertRaises(ValueError, Meter, *wrong)
