"""Leaves that go over to direct ways and back, again and again, while they talk."""

from __future__ import annotations

from collections import Counter

from atbus.node.endpoint import Endpoint
from atbus.node.node import Node
from atbus.routing.table import Position
from tests.extent import extent
from tests.simulation.case import SimulationTests
from tests.simulation.world import LEAVES, World

CHANGE_SECONDS = 0.1


class Changes:
    """
    Has two siblings connect or part, ever and again.

    :param wanted: How many changes of path there are to be; each side counts its own.
    """

    def __init__(self, world: World, wanted: int) -> None:
        self.world = world
        self.wanted = wanted
        self.counts: Counter[str] = Counter()
        for bus_id in LEAVES:
            events = world.node(bus_id).events
            events.on_endpoint_added.observe(self._added)
            events.on_endpoint_removed.observe(self._removed)

    @property
    def number(self) -> int:
        """How many changes there have been."""
        return self.counts.total()

    def _added(self, endpoint: Endpoint) -> None:
        if endpoint.position is Position.PEER:
            self.counts["direct"] += 1

    def _removed(self, endpoint: Endpoint, status: object) -> None:
        if endpoint.position is Position.PEER:
            self.counts["back"] += 1

    def change(self) -> None:
        """Change something now, and soon again."""
        if self.number >= self.wanted:
            return
        world = self.world
        group = world.random.choice((LEAVES[:3], LEAVES[3:]))
        one, other = (world.node(bus_id) for bus_id in world.random.sample(group, 2))
        if other.bus_id in one.endpoints:
            one.disconnect(other.bus_id).addErrback(lambda _: None)
        else:
            one.connect(_address_of(other)).addErrback(lambda _: None)
        world.network.clock.callLater(CHANGE_SECONDS, self.change)


class PathOrderTests(SimulationTests):
    """Order and fates across planned changes of path."""

    def test_many_changes_of_path(self) -> None:
        """
        From the relay to a direct way and back: no order broken, nothing lost, nothing doubled.

        Scenario: K4, K22
        """
        changes = 0
        wanted = extent(300, 1000)
        for seed in range(3):
            world = World(700 + seed, direct=True, jitter_seconds=0.02)
            world.start()
            changing = Changes(world, wanted // 3)
            world.traffic(seconds=CHANGE_SECONDS * wanted / 3, bursts_per_second=60)
            changing.change()
            self.assertEqual(world.finish(), [], f"seed {700 + seed}")
            self.assertEqual(world.given_up, set())
            counts = world.model.counts()
            self.assertEqual(set(counts), {"delivered"}, counts)
            self.assertGreater(min(changing.counts.values()), wanted // 10, changing.counts)
            changes += changing.number
        self.assertGreaterEqual(changes, wanted)


def _address_of(node: Node) -> str:
    return str(node.addresses[0])
