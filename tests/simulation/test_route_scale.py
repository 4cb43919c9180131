"""
What the route table costs on large buses, in messages; no clock is looked at.

The long form, with a thousand nodes that all know each other, runs with ``ATBUS_LONG=1``.
"""

from __future__ import annotations

import gc
import os
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.batch import Batch, word_bytes
from atbus.routing.record import Record
from atbus.routing.sync_terms import SyncMessage, TableMode
from atbus.testing.route_model import faults
from atbus.testing.route_world import RouteLine, RouteNode, RouteWorld
from tests.simulation.routes import RouteTests

NEWCOMER = 0x7FFFFFFF


class MeshTests(SynchronousTestCase):
    """Proxies that are all connected to each other, and leaves below them."""

    def setUp(self) -> None:
        # Millions of values that all stay: to look for garbage among them is most of the time.
        gc.collect()
        gc.freeze()
        gc.disable()
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)

    def mesh(
        self, proxies: int, nodes: int, mode: TableMode
    ) -> tuple[RouteWorld, list[RouteNode], list[RouteNode]]:
        """Start proxies and leaves, the leaves first."""
        world = RouteWorld(1, delay=(0.001, 0.01))
        upper = [world.add(1 + number, TableMode.FULL) for number in range(proxies)]
        lower = [world.add(0x10000 + number, mode) for number in range(nodes - proxies)]
        for number, leaf in enumerate(lower):
            world.connect(leaf, upper[number % proxies])
        world.run(5.0)
        for number, proxy in enumerate(upper):
            for other in upper[:number]:
                world.connect(proxy, other, tree=False)
        world.run(5.0)
        return world, upper, lower

    def change_costs(self, world: RouteWorld, proxy: RouteNode, mode: TableMode) -> tuple[int, int]:
        """
        Have one node join and leave.

        :returns: How many messages each has cost.
        """
        before = world.messages
        newcomer = world.add(NEWCOMER, mode)
        world.connect(newcomer, proxy)
        world.run(2.0)
        joined = world.messages - before
        self.assertIn(NEWCOMER, proxy.table)
        world.kill(newcomer)
        world.run(10.0)
        self.assertNotIn(NEWCOMER, proxy.table)
        return joined, world.messages - before - joined

    def test_ten_thousand_nodes(self) -> None:
        """
        Below a hundred proxies, with full tables at the proxies only, one node that joins or leaves
        costs at most three messages per proxy, and all proxies know it.
        """
        world, upper, _ = self.mesh(100, 10_000, TableMode.UPSTREAM)
        self.assertEqual({len(proxy.table) for proxy in upper}, {9_999})
        for cost in self.change_costs(world, upper[5], TableMode.UPSTREAM):
            self.assertLessEqual(cost, 3 * 100)

    def test_everybody_knows_everybody(self) -> None:
        """
        Among three hundred nodes with full tables one that joins or leaves costs 1.1 messages per
        node; in the long form among a thousand.
        """
        for proxies, nodes in [(10, 300), *([(20, 1_000)] if "ATBUS_LONG" in os.environ else [])]:
            world, upper, lower = self.mesh(proxies, nodes, TableMode.FULL)
            for node in (*upper, *lower):
                self.assertEqual(len(node.table), nodes - 1)
            for cost in self.change_costs(world, upper[5], TableMode.FULL):
                self.assertLessEqual(cost, 1.1 * (nodes + 1))

    def test_a_snapshot_of_ten_thousand(self) -> None:
        """A full snapshot is as few batches as can be, each bounded by records and by bytes."""
        world = RouteWorld(1, delay=(0.001, 0.01))
        proxy = world.add(1, TableMode.FULL)
        for number in range(9_998):
            world.connect(world.add(0x10000 + number, TableMode.UPSTREAM), proxy)
        world.run(5.0)
        batches: list[Batch] = []

        def watch(line: RouteLine, sender: int, message: SyncMessage) -> None:
            if isinstance(message, Batch) and sender == 1:
                batches.append(message)

        world.watch = watch
        other = world.add(2, TableMode.FULL)
        world.connect(other, proxy)
        world.run(5.0)
        self.assertEqual(len(other.table), 9_999)
        sizes = [sum(word_bytes(word) for word in batch.words) for batch in batches]
        self.assertLessEqual(max(sizes), limits.FRAME_BYTES)
        self.assertLessEqual(sum(sizes), 1_048_576)
        counts = [len(batch.words) for batch in batches if batch.is_snapshot]
        self.assertEqual(sum(counts), 9_999)
        self.assertLessEqual(max(counts), limits.ROUTE_BATCH_RECORDS_MAX)
        self.assertEqual(len(counts), 10)


class SpreadTests(RouteTests):
    """How far one change goes, and how often."""

    def test_a_tree_with_all_its_siblings(self) -> None:
        """
        In a tree of 1 + 5 + 25 nodes whose siblings are all connected, a node that joins is told of
        at most once per link and direction, and not more often than there are links.

        Scenario: BB19
        """
        shape = [(1, 0), *[(each, 1) for each in range(2, 7)]]
        shape += [(10 * above + each, above) for above in range(2, 7) for each in range(5)]
        nodes = self.tree(*shape)
        for above in range(1, 7):
            siblings = [nodes[bus_id] for bus_id, upper in shape if upper == above]
            for place, one in enumerate(siblings):
                for other in siblings[:place]:
                    self.peers(one, other)
        self.calm()
        links = {line for node in nodes.values() for line in node.lines.values()}
        self.below(nodes[3], 99)
        self.run_for()
        stamps = Counter(
            (said.sender, said.receiver, word.stamp)
            for said in self.said
            for word in said.words
            if word.bus_id == 99
        )
        self.assertEqual(set(stamps.values()), {1})
        self.assertLessEqual(sum(self.per_direction(99).values()), len(links))
        self.assertEqual({99 in node.table for node in nodes.values()}, {True})

    def test_five_hundred_start_at_once(self) -> None:
        """
        A whole bus that starts in one moment comes to the same table everywhere, and nobody is told
        more than once of a node by each neighbor that speaks for it.

        Scenario: BB20
        """
        nodes = {1: self.node(1)}
        for bus_id in range(2, 501):
            nodes[bus_id] = self.node(bus_id)
            self.world.connect(nodes[bus_id], nodes[1 + (bus_id - 2) // 8])
        for bus_id in range(3, 10):
            self.world.connect(nodes[bus_id], nodes[2], tree=False)
        self.run_for(10)
        for node in nodes.values():
            self.assertEqual(len(node.table), 499)
        heard = Counter(
            said.receiver for said in self.said for word in said.words if isinstance(word, Record)
        )
        self.assertEqual(faults(self.world), [])
        subtree = 500 // 8 + 2
        for bus_id, count in heard.items():
            peers = 7 if bus_id == 2 else int(3 <= bus_id <= 9)
            self.assertLessEqual(count, 500 + 20 + peers * subtree, hex(bus_id))

    def test_a_node_that_flaps(self) -> None:
        """
        A node that restarts each second costs at most two messages per node in ten seconds once it
        is damped, and nobody else is affected.
        """
        nodes = self.tree((1, 0), (2, 1), (3, 1), (4, 2), (5, 3), (6, 3))
        flapping = nodes[4]
        count = len(nodes)
        per_ten: list[int] = []
        for second in range(60):
            if second % 10 == 0:
                per_ten.append(0)
                self.said.clear()
            self.world.kill(flapping, (0.0, 0.0))
            self.run_for(0.5)
            self.world.start(flapping)
            self.world.connect(flapping, nodes[2])
            self.run_for(0.5)
            from_others = [said for said in self.said if 4 not in (said.sender, said.receiver)]
            per_ten[-1] = len(from_others)
            self.assertEqual({word.bus_id for said in from_others for word in said.words}, {4})
        self.assertLessEqual(max(per_ten[2:]), 2 * count)
