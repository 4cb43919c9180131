"""Short queues, slow programs, and whatever else can hold up messages."""

from __future__ import annotations

from tests.simulation.case import SimulationTests, seeds


class TightTests(SimulationTests):
    """Nodes that may queue next to nothing."""

    def test_programs_take_their_time(self) -> None:
        """
        Slow programs pause their senders; all that was accepted arrives, in order, or is told of.

        Scenario: D20
        """
        counts = self.storms(seeds(600, 8), ["pause"], faults=6, tight=True)
        self.assertTrue(counts["paused"] > 100 and counts["delivered"] > 1_000, counts)
        self.assertLessEqual(set(counts), {"delivered", "paused", "BUFFER_LIMIT"})

    def test_links_are_held_up(self) -> None:
        """Stuck links and frozen processes lose nothing, and nobody stays paused for ever."""
        kinds = ["pause", "hiccup", "stall", "freeze"]
        counts = self.storms(seeds(650, 10), kinds, faults=10, tight=True)
        self.assertTrue(counts["paused"] > 100 and counts["delivered"] > 1_000, counts)

    def test_everything_breaks(self) -> None:
        """Whatever dies while others are paused, each message has one fate, and order is kept."""
        kinds = ["pause", "stall", "freeze", "kill_proxy", "kill_leaf", "cut", "cut_one", "stop"]
        counts = self.storms(seeds(700, 12), kinds, tight=True)
        self.assertTrue(counts["paused"] > 100 and counts["delivered"] > 1_000, counts)

    def test_paths_change(self) -> None:
        """Also while direct connections come and go."""
        kinds = ["pause", "hiccup", "stall", "cut", "disconnect"]
        counts = self.storms(seeds(750, 10), kinds, direct=True, tight=True)
        self.assertTrue(counts["paused"] > 100 and counts["delivered"] > 1_000, counts)
