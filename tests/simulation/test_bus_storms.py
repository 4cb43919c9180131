"""
Whole buses in bad weather: the first half of two hundred seeds.

``ATBUS_SEEDS=7`` runs seed 7 only, ``ATBUS_SEEDS=1-500`` many; `make simulate` runs more.
"""

from __future__ import annotations

from tests.simulation.bus_storms import BusStormTests
from tests.simulation.case import seeds


class FirstHalfTests(BusStormTests):
    """A hundred seeds."""

    def test_up_to_thirty_nodes(self) -> None:
        """
        Each seed is another bus: links break, processes die, and in the end all is well.

        Scenario: BB21, K21, K29
        """
        self.ride_out(seeds(1, 100))
