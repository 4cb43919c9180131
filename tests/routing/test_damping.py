"""Nodes that come and go all the time."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.damping import Damping


class DampingTests(SynchronousTestCase):
    """When the next change may be told."""

    def test_some_changes_are_told_at_once(self) -> None:
        """So many changes wait for nothing; each further one waits for its time."""
        damping = Damping(3, 5.0)
        waits = []
        for _ in range(5):
            at = damping.allowed_at(7, 100.0)
            waits.append(at - 100.0)
            damping.spend(7, at)
        self.assertEqual(waits, [0.0, 0.0, 0.0, 5.0, 10.0])

    def test_nodes_do_not_wait_for_each_other(self) -> None:
        """What one node costs is not paid by another."""
        damping = Damping(1, 5.0)
        damping.spend(7, 0.0)
        self.assertEqual((damping.allowed_at(7, 0.0), damping.allowed_at(8, 0.0)), (5.0, 0.0))

    def test_quiet_is_paid_back(self) -> None:
        """A node that was quiet has all its changes back, and nothing is kept of it."""
        damping = Damping(2, 5.0)
        damping.spend(7, 0.0)
        damping.spend(7, 0.0)
        self.assertEqual(damping.allowed_at(7, 10.0), 10.0)
        damping.spend(8, 10.0)
        self.assertEqual(len(damping), 1)

    def test_many_at_once(self) -> None:
        """Ten thousand nodes that change at one moment are searched for the quiet ones once."""
        looks = [0]

        class _Counting(dict[int, float]):
            def items(self) -> Any:
                looks[0] += 1
                return super().items()

        damping = Damping(2, 5.0)
        self.patch(damping, "_paid_at", _Counting())
        for now in (0.0, 10.0, 20.0):
            for each in range(100):
                damping.spend(each, now)
        self.assertEqual((looks[0], len(damping)), (3, 100))
