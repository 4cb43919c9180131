"""A tree under load whose nodes stop, leave each other, and come back: nothing is lost."""

from __future__ import annotations

from collections import Counter

from tests.simulation.case import SimulationTests, seeds

# What may become of a message: it arrives, or is refused because somebody is leaving or gone.
_ORDERLY = {"delivered", "CLOSING", "NO_ROUTE", "HANDLER_FAILED"}


class GracefulTests(SimulationTests):
    """Stops and disconnects."""

    def check(self, counts: Counter[str]) -> None:
        """Nothing was uncertain."""
        self.assertEqual(set(counts) - _ORDERLY, set())
        self.assertTrue(counts["delivered"] > 2_000, counts)

    def test_nodes_stop(self) -> None:
        """
        Leaves and proxies stop and start again: each message arrives or is refused by name.

        Scenario: L10
        """
        self.check(self.storms(seeds(300, 25), ["stop"], faults=5))

    def test_nodes_are_disconnected(self) -> None:
        """Neighbors leave each other in good order: each message arrives or is refused by name."""
        self.check(self.storms(seeds(400, 15), ["disconnect", "stop"]))


class DirectTests(SimulationTests):
    """Leaves that talk directly, and stop doing so."""

    def test_direct_ways_come_and_go(self) -> None:
        """Siblings connect, disconnect and stop under load: nothing lost, no order broken."""
        kinds = ["disconnect", "disconnect", "stop", *["hiccup"] * 6]
        counts = self.storms(seeds(500, 30), kinds, direct=True, faults=30)
        self.assertEqual(set(counts) - _ORDERLY - {"order given up"}, set())
        self.assertTrue(counts["delivered"] > 2_000, counts)

    def test_direct_ways_break(self) -> None:
        """
        Direct connections break in all manners while leaves use them.

        Scenario: K21
        """
        kinds = ["kill_proxy", "kill_leaf", "cut", "cut_one", "stall", "split", "freeze"]
        counts = self.storms(seeds(600, 24), [*kinds, "disconnect", "stop"], direct=True)
        self.assertTrue(counts["delivered"] > 5_000, counts)
