"""Publishing and subscribing in bad weather."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.virtual_bus import FAULTS
from tests.simulation.case import seeds
from tests.simulation.subject_storm import Weather, tell


class WeatherTests(SynchronousTestCase):
    """
    Trees and meshes whose links and nodes break while subscribers come and go.

    Nobody gets anything twice, ever. When the weather is over each node knows of every neighbor
    what is wanted behind it, no more and no less, and in quiet times nothing is lost.
    """

    def storms(
        self,
        which: Iterable[int],
        kinds: tuple[str, ...],
        *,
        peers: int,
        faults: int = 8,
        zones: tuple[str, ...] = (),
        siblings: bool = False,
    ) -> None:
        """Let many seeds happen."""
        weather = Weather(kinds, peers, faults, zones, siblings)
        told = [text for seed in which if (text := tell(seed, weather))]
        if told:
            self.fail("\n\n".join(told))

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

    def test_zones(self) -> None:
        """In three zones all that is for a group stays in the zone where somebody of it is."""
        self.storms(seeds(500, 3), FAULTS, peers=3, zones=("x", "y", "z"))

    def test_siblings(self) -> None:
        """Where peers have one upstream each node knows how many members there are, each once."""
        self.storms(seeds(600, 3), FAULTS, peers=4, zones=("x", "y"), siblings=True)
