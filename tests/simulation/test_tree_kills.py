"""A tree under load whose nodes die, whose links break, stick and stand still."""

from __future__ import annotations

from tests.simulation.case import SimulationTests, seeds


class TreeTests(SimulationTests):
    """Everything goes up and down the tree."""

    def test_calm(self) -> None:
        """Without faults every message arrives, in order, and none is told of."""
        counts = self.storms(seeds(1, 10), ["nothing"], faults=0)
        self.assertEqual(set(counts), {"delivered"})

    def test_proxies_die(self) -> None:
        """
        Proxies are killed at any moment and come back; no message is lost without a word.

        Scenario: K21, K29, I2, I10
        """
        counts = self.storms(seeds(100, 32), ["kill_proxy"], faults=5)
        self.assertTrue(counts["UNCERTAIN"] > 20 and counts["delivered"] > 5_000, counts)
        certain = {"NO_ROUTE", "NOT_CONNECTED", "CLOSING"}
        self.assertEqual(set(counts) - {"delivered", "UNCERTAIN"} - certain, set())

    def test_everything_breaks(self) -> None:
        """Kills, power cuts, broken, stuck and split links, and processes that stand still."""
        kinds = ["kill_proxy", "kill_leaf", "kill_root", "power_off", "freeze"]
        kinds += ["cut", "cut_one", "stall", "split"]
        counts = self.storms(seeds(200, 36), kinds)
        self.assertTrue(counts["UNCERTAIN"] > 100 and counts["delivered"] > 5_000, counts)

    def test_the_same_seed_is_the_same_story(self) -> None:
        """A failure can be looked at again: a seed does the same every time."""
        stories = []
        for _ in range(2):
            world = self.storm(7, ["kill_proxy", "cut", "stall", "stop"])
            fates = [(m.number, len(m.arrivals), m.fates) for m in world.model.messages.values()]
            stories.append((world.log, fates))
        self.assertEqual(stories[0], stories[1])
