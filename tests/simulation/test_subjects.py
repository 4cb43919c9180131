"""Publishing and subscribing in bad weather."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.virtual_bus import FAULTS, VirtualBus
from tests.simulation.case import seeds
from tests.simulation.field import Field


class WeatherTests(SynchronousTestCase):
    """
    Trees and meshes whose links and nodes break while subscribers come and go.

    Nobody gets anything twice, ever. When the weather is over each node knows of every neighbor
    what is wanted behind it, no more and no less, and in quiet times nothing is lost.
    """

    def storms(
        self, which: Iterable[int], kinds: tuple[str, ...], *, peers: int, faults: int = 8
    ) -> None:
        """Let many seeds happen."""
        for seed in which:
            with VirtualBus(seed) as bus:
                field = Field(bus)
                field.plant(count=9, peers=peers)
                field.live(seconds=6, often=3)
                bus.weather(seconds=6, faults=faults, kinds=kinds)
                bus.run(70)
                field.mend()
                bus.run(20)
                field.check_interest()
                field.check()
                self.assertTrue(any(field.subscriptions.values()), "there is nobody")
                if field.faults:
                    self.fail("\n".join([*field.faults[:10], bus.story()]))

    def test_in_fair_weather(self) -> None:
        """While subscribers come and go on a mesh nothing else happens, and all is as it should."""
        self.storms(seeds(100, 2), ("cut",), peers=3, faults=0)

    def test_trees(self) -> None:
        """Links are cut and nodes die in a tree."""
        self.storms(seeds(200, 4), FAULTS, peers=0)

    def test_meshes(self) -> None:
        """Links are cut and nodes die in a tree with links between peers."""
        self.storms(seeds(300, 5), FAULTS, peers=3)

    def test_cuts(self) -> None:
        """Connections are cut again and again."""
        self.storms(seeds(400, 4), ("cut", "half_cut", "clog"), peers=3, faults=20)
