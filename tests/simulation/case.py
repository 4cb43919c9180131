"""
Running seeds, and telling what happened in one that failed.

A failure shows its seed. The tests take seeds from the environment, too: ``ATBUS_SEEDS=7`` runs
seed 7 only, ``ATBUS_SEEDS=1-500`` many.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.bus_storm import BusStorm, storm
from atbus.testing.seeds import parse_seeds
from tests.simulation.world import World


def seeds(first: int, count: int) -> Iterable[int]:
    """Give the seeds of a test: as many as are worth their time, or what the environment says."""
    text = os.environ.get("ATBUS_SEEDS", "")
    if not text:
        return range(first, first + count)
    return parse_seeds(text if "-" in text else f"{text}-{text}")


def ride_out(seed: int, kind: type[BusStorm]) -> None:
    """
    Let a storm over a whole bus happen.

    :raises AssertionError: Something was wrong; says what, and what was done.
    """
    bus, found = storm(seed, kind=kind)
    if found:
        raise AssertionError("\n".join([*found[:10], bus.story()]))


class SimulationTests(SynchronousTestCase):
    """Buses in bad weather."""

    def storm(
        self,
        seed: int,
        kinds: Sequence[str],
        *,
        direct: bool = False,
        faults: int = 8,
        tight: bool = False,
    ) -> World:
        """Let one seed happen and have it judged."""
        world = World(seed, direct=direct, tight=tight)
        world.start()
        world.traffic(seconds=3.0, bursts_per_second=120 if tight else 40)
        world.faults(seconds=3.0, number=faults, kinds=kinds)
        found = world.finish()
        if found:
            story = "\n".join([f"seed {seed}", *found[:10], "what was done:", *world.log])
            self.fail(story)
        return world

    def storms(
        self,
        which: Iterable[int],
        kinds: Sequence[str],
        *,
        direct: bool = False,
        faults: int = 8,
        tight: bool = False,
    ) -> Counter[str]:
        """
        Let many seeds happen.

        :returns: How many messages had which fate in all of them.
        """
        counts: Counter[str] = Counter()
        for seed in which:
            world = self.storm(seed, kinds, direct=direct, faults=faults, tight=tight)
            counts += world.model.counts()
            if tight:
                counts["paused"] += world.model.refused["BACKPRESSURE"]
            if world.given_up:
                counts["order given up"] += len(world.given_up)
        return counts
