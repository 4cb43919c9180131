"""
Whole buses in bad weather whose nodes are as far from each other as continents are.

Every way takes a tenth to a quarter of a second and up to as long again, so that each registration
and each change of path has begun when the next fault happens. ``ATBUS_SEEDS=7`` runs seed 7 only,
``ATBUS_SEEDS=1-500`` many.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.testing.bus_storm import BusStorm, Shape
from atbus.testing.virtual_bus import VirtualBus
from tests.simulation.case import seeds

_NODES: Final = 10
_ONE_WAY_SECONDS: Final = (0.1, 0.25)
_JITTER_SECONDS: Final = (0.0, 0.05, 0.2)


class FarStormTests(SynchronousTestCase):
    """A top, two or three regions, and leaves in each."""

    def far(self, seed: int, faults: int, departures: int) -> Counter[Status]:
        """Let one seed happen, and have it judged; how many messages were refused, and why."""
        lot = Random(f"far {seed}")
        delay, jitter = lot.uniform(*_ONE_WAY_SECONDS), lot.choice(_JITTER_SECONDS)
        bus = VirtualBus(seed, delay_seconds=delay, jitter_seconds=jitter)
        self.addCleanup(bus.close)
        happened = BusStorm(bus, _NODES)
        happened.rage(Shape(_NODES, faults, departures))
        if found := happened.rest():
            self.fail("\n".join([f"seed {seed}", *found[:10], bus.story()]))
        told: Counter[Status] = Counter()
        for (_, status), count in happened._told.items():
            told[status] += count
        return told

    def test_everybody_starts(self) -> None:
        """While all register, and talk, nobody is refused because word of it is on its way."""
        for seed in seeds(1, 12):
            self.assertEqual(self.far(seed, faults=0, departures=0)[Status.SOURCE_REFUSED], 0)

    def test_everything_breaks(self) -> None:
        """Each message has one fate, and in the end all is well."""
        for seed in seeds(31, 12):
            self.far(seed, faults=6, departures=3)

    def test_nodes_leave_in_good_order(self) -> None:
        """No message is uncertain: what takes long to leave, or to be believed, is waited for."""
        for seed in seeds(1, 12):
            self.far(seed, faults=0, departures=5)
