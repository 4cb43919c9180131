"""
Route tables in bad weather: after some quiet every table is what the model says.

``ATBUS_SEEDS=7`` runs seed 7 only, ``ATBUS_SEEDS=1-500`` many; `make simulate` runs more, with more
nodes.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.route_storm import RouteStorm, main, storm
from tests.simulation.case import seeds


class RouteStormTests(SynchronousTestCase):
    """Links that are cut, half cut and missed late; nodes that die, stop, move and come back."""

    def rides_out(self, seed: int, count: int, steps: int) -> None:
        """Let one seed happen; a failure tells what was done."""
        happened, found = storm(seed, count, steps)
        if found:
            self.fail("\n".join([f"seed {seed}", *happened.log, *found[:10]]))

    def test_many_short_storms(self) -> None:
        """
        Small buses, each with some sixty faults: every table equals the real topology in the end.

        Scenario: BB21, BB36
        """
        for seed in seeds(1, 100):
            self.rides_out(seed, 14, 60)

    def test_a_long_storm(self) -> None:
        """
        Ten thousand faults on one bus: in the end all tables are right, and no tombstone is left.

        Scenario: BB21, BB37
        """
        for seed in seeds(1, 1):
            self.rides_out(seed, 16, 10_000)

    def test_a_larger_bus(self) -> None:
        """Forty nodes and two hundred faults."""
        for seed in seeds(1, 4):
            self.rides_out(seed, 40, 200)

    def test_a_seed_is_always_the_same_story(self) -> None:
        """What happened under a seed happens again under it, to the last message."""
        stories = []
        for _ in range(2):
            happened = RouteStorm(5, 14)
            happened.rage(60)
            happened.rest()
            stories.append((happened.log, happened.world.messages))
        self.assertEqual(stories[0], stories[1])

    def test_the_command_runs_seeds(self) -> None:
        """The command line runs as many seeds as it is told, and says how many failed."""
        with redirect_stdout(io.StringIO()) as told:
            self.assertEqual(main(["--seeds", "2"]), 0)
        self.assertEqual(told.getvalue(), "atbus.testing.route_storm: 2 seeds, 0 failed\n")
