"""Scenes of several route tables on a simulated network, and what they said to each other."""

from __future__ import annotations

from collections import Counter

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.batch import Batch, Removal, Word
from atbus.routing.sync_terms import SyncMessage, TableMode
from atbus.testing.route_model import faults
from atbus.testing.route_storm import QUIET_SECONDS
from atbus.testing.route_world import RouteLine, RouteNode, RouteWorld

#: Long enough for everything but graces of lost upstreams, and tombstones.
CALM_SECONDS = 5.0


@attrs.frozen
class Said:
    """One batch on its way."""

    at: float
    sender: int
    receiver: int
    batch: Batch

    @property
    def words(self) -> tuple[Word, ...]:
        """What it says."""
        return self.batch.words


class RouteTests(SynchronousTestCase):
    """
    A network whose frames take 10 ms.

    When a test is over everything comes to rest, and every table is what the model says.
    """

    def setUp(self) -> None:
        self.world = RouteWorld(1, delay=(0.01, 0.01))
        self.world.watch = self._watch
        self.said: list[Said] = []

    def tearDown(self) -> None:
        self.world.run(QUIET_SECONDS)
        self.assertEqual(faults(self.world), [])

    def _watch(self, line: RouteLine, sender: int, message: SyncMessage) -> None:
        if isinstance(message, Batch):
            receiver = line.other(sender)
            self.said.append(Said(self.world.now, sender, receiver, message))

    def node(self, bus_id: int, mode: TableMode = TableMode.FULL) -> RouteNode:
        """Start a node."""
        return self.world.add(bus_id, mode)

    def below(self, above: RouteNode, *bus_ids: int) -> list[RouteNode]:
        """Start nodes, and register them with their upstream."""
        nodes = [self.node(bus_id) for bus_id in bus_ids]
        for node in nodes:
            self.world.connect(node, above)
        return nodes

    def tree(self, *shape: tuple[int, int]) -> dict[int, RouteNode]:
        """
        Start a tree, and wait until all is calm.

        :param shape: Pairs of a node and its upstream, 0 for none; who is above comes first.
        """
        nodes: dict[int, RouteNode] = {}
        for bus_id, above in shape:
            nodes[bus_id] = self.node(bus_id)
            if above:
                self.world.connect(nodes[bus_id], nodes[above])
        self.calm()
        return nodes

    def peers(self, one: RouteNode, other: RouteNode) -> RouteLine:
        """Register two nodes with each other."""
        line = self.world.connect(one, other, tree=False)
        assert line is not None
        return line

    def line(self, one: RouteNode, other: RouteNode) -> RouteLine:
        """Give the link between two nodes."""
        line = self.world.line(one, other)
        assert line is not None
        return line

    def calm(self, seconds: float = CALM_SECONDS) -> None:
        """Wait until all is calm, and forget what was said until then."""
        self.world.run(seconds)
        self.said.clear()

    def run_for(self, seconds: float = CALM_SECONDS) -> None:
        """Let time pass."""
        self.world.run(seconds)

    def told(self, sender: int, receiver: int) -> list[Word]:
        """Give the words that one node has told another."""
        return [
            word
            for said in self.said
            if (said.sender, said.receiver) == (sender, receiver)
            for word in said.words
        ]

    def tellers_of(self, bus_id: int) -> list[tuple[int, int]]:
        """Give who has told whom of a node, each as often as it was."""
        return [
            (said.sender, said.receiver)
            for said in self.said
            for word in said.words
            if word.bus_id == bus_id
        ]

    def removals(self) -> list[tuple[int, int, Removal]]:
        """Give every word that a node is gone or dead, with who told whom."""
        return [
            (said.sender, said.receiver, word)
            for said in self.said
            for word in said.words
            if isinstance(word, Removal)
        ]

    def per_direction(self, bus_id: int) -> Counter[tuple[int, int]]:
        """Count the batches that speak of a node, per link and direction."""
        return Counter(
            (said.sender, said.receiver)
            for said in self.said
            if any(word.bus_id == bus_id for word in said.words)
        )

    @staticmethod
    def ids(node: RouteNode) -> list[int]:
        """Give the ids that a node knows."""
        return sorted(node.table)
