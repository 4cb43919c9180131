"""The benchmark of questions about the topology runs."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import topology


class TopologyTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """Every figure is there, and the chains are as deep as they should be."""
        for depth in topology.DEPTHS:
            cost = topology.measure(depth, 1_000, 100)
            figures = attrs.astuple(cost)
            self.assertEqual(figures[:2], (depth, 1_000))
            self.assertTrue(all(figure > 0 for figure in figures), cost)

    def test_main(self) -> None:
        """The table has a head and a line for each depth and size."""
        self.patch(topology, "DEPTHS", (2,))
        self.patch(topology, "COUNTS", (100, 200, 300))
        printed = StringIO()
        with redirect_stdout(printed):
            topology.main(["--quick"])
        lines = printed.getvalue().splitlines()
        self.assertEqual([line.split()[:2] for line in lines[1:]], [["2", "100"], ["2", "200"]])
