"""
Whole buses in bad weather: the second half of two hundred seeds.

``ATBUS_SEEDS=7`` runs seed 7 only, ``ATBUS_SEEDS=1-500`` many; `make simulate` runs more.
"""

from __future__ import annotations

from atbus.testing.bus_storm import Shape, storm
from tests.simulation.bus_storms import BusStormTests
from tests.simulation.case import seeds


class SecondHalfTests(BusStormTests):
    """A hundred seeds."""

    def test_up_to_thirty_nodes(self) -> None:
        """
        Each seed is another bus: links break, processes die, and in the end all is well.

        Scenario: BB21, K21, K29
        """
        self.ride_out(seeds(101, 100))

    def test_a_way_that_is_left(self) -> None:
        """Messages are counted on their ways when no node is on the way to another one any more."""
        self.assertEqual(storm(477, Shape())[1], [])

    def test_half_a_minute(self) -> None:
        """Nodes leave and come back all the time, and no message is uncertain."""
        self.assertEqual(storm(293, Shape(20, 0, 60, 30.0))[1], [])
