"""How long to wait before dialling again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.backoff import Backoff


class BackoffTests(SynchronousTestCase):
    def test_waits_grow_up_to_the_cap(self) -> None:
        """Each failure makes the longest possible wait longer, until it is half a minute."""
        backoff = Backoff()
        waits = [backoff.next(1.0) for _ in range(12)]
        self.assertEqual(waits[0], 0.25)
        for earlier, later in pairwise(waits):
            self.assertAlmostEqual(later, min(30.0, earlier * 1.7))
        self.assertEqual(waits[10:], [30.0, 30.0])
        self.assertEqual(Backoff(initial=5.0, cap=2.0).next(1.0), 2.0)

    def test_the_wait_is_drawn_from_the_whole_range(self) -> None:
        """Nodes that lost the same upstream together do not come back together."""
        for lot in (0.0, 0.25, 0.5, 1.0):
            backoff = Backoff(4.0)
            self.assertEqual(backoff.next(lot), 4.0 * lot)

    def test_the_lot_does_not_slow_the_growth(self) -> None:
        """Lucky short waits do not keep the next ones short."""
        backoff = Backoff(1.0, 2.0, 30.0)
        for _ in range(3):
            backoff.next(0.0)
        self.assertEqual(backoff.next(1.0), 8.0)

    def test_a_refusal_waits_long_at_once(self) -> None:
        """Who is refused asks again after half a minute, and is not eager afterwards."""
        backoff = Backoff()
        self.assertEqual(backoff.refused(), 30.0)
        self.assertEqual(backoff.next(1.0), 30.0)

    def test_the_wait_after_a_refusal_can_be_chosen(self) -> None:
        """A short longest wait does not shorten the one after a refusal, unless that is said."""
        self.assertEqual(Backoff(cap=2.0).refused(), 30.0)
        self.assertEqual(Backoff(refused_seconds=7.0).refused(), 7.0)

    def test_success_begins_anew(self) -> None:
        """After a registration the first wait is short again."""
        backoff = Backoff()
        backoff.refused()
        backoff.reset()
        self.assertEqual(backoff.next(1.0), 0.25)

    def test_refuses_waits_that_shrink(self) -> None:
        """A wait of nothing, or one that becomes shorter, would be a storm."""
        self.assertRaises(ValueError, Backoff, 0.0)
        self.assertRaises(ValueError, Backoff, 1.0, 0.9)
        self.assertRaises(ValueError, Backoff, 1.0, 2.0, 0.0)
        self.assertRaises(ValueError, Backoff, 1.0, 2.0, 30.0, 0.0)

    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1), max_size=200), st.floats(1, 10))
    def test_no_wait_is_longer_than_the_cap(self, lots: list[float], factor: float) -> None:
        """However often an upstream is not there, it is asked again within half a minute."""
        backoff = Backoff(factor=factor)
        for lot in lots:
            self.assertTrue(0 <= backoff.next(lot) <= 30.0)
