"""The benchmark of questions about the topology runs."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from random import Random

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import BusId
from atbus.routing.decision import Forward
from atbus.routing.registry import Feeder
from benchmarks import topology


def calls_of(ask: Callable[[], object]) -> int:
    """Count the calls, of functions of any kind, that answering takes."""
    counted: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _argument: counted.update([event]))
    try:
        ask()
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


class TopologyTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """Every figure is there, and the chains are as deep as they should be."""
        for depth in topology.DEPTHS:
            cost = topology.measure(depth, 1_000, 100)
            figures = attrs.astuple(cost)
            self.assertEqual(figures[:2], (depth, 1_000))
            self.assertTrue(all(figure > 0 for figure in figures), cost)

    def test_flat(self) -> None:
        """
        A next hop that was asked for costs the same however deep the tree and many the records.

        Counted in calls, which are the same on every machine.
        """
        calls = set()
        for depth, count in ((2, 1_000), (6, 1_000), (20, 1_000), (20, 10_000)):
            table, records = topology.bus(depth, count)
            table.registry.claim(Feeder.SYNC, records)
            first = table.next_hop(BusId(count))
            self.assertIsInstance(first, Forward)
            calls.add(calls_of(partial(table.next_hop, BusId(count))))
        self.assertEqual(len(calls), 1, calls)
        self.assertLess(calls.pop(), 10)

    def test_flat_after_a_change(self) -> None:
        """
        A next hop that was not asked for costs little more, however deep the tree.

        When all are asked for, each node on the ways up is passed once: counted in calls.
        """
        costs = []
        for depth, count in ((2, 1_000), (6, 1_000), (20, 1_000), (20, 10_000)):
            table, records = topology.bus(depth, count)
            table.registry.claim(Feeder.SYNC, records)
            everybody = list(range(2, count + 1))
            Random(1).shuffle(everybody)
            costs.append(calls_of(partial(deque, map(table.next_hop, everybody), 0)) / count)
        self.assertLess(max(costs), 25, costs)
        self.assertLess(costs[-1], 1.1 * costs[-2], costs)

    def test_main(self) -> None:
        """The table has a head and a line for each depth and size."""
        self.patch(topology, "DEPTHS", (2,))
        self.patch(topology, "COUNTS", (100, 200, 300))
        printed = StringIO()
        with redirect_stdout(printed):
            topology.main(["--quick"])
        lines = printed.getvalue().splitlines()
        self.assertEqual([line.split()[:2] for line in lines[1:]], [["2", "100"], ["2", "200"]])
