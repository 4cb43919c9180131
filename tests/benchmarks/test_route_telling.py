"""The benchmark of telling neighbors of many nodes runs."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import route_telling


class RouteTellingTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """Every figure is there, and no turn is longer than all of them together."""
        cost = route_telling.measure(3, 300)
        figures = attrs.astuple(cost)
        self.assertEqual(figures[:2], (3, 300))
        self.assertTrue(all(figure > 0 for figure in figures), cost)
        for whole, longest in zip(figures[3::2], figures[4::2], strict=True):
            self.assertGreaterEqual(whole, longest)

    def test_main(self) -> None:
        """The table has a line for each number of neighbors."""
        self.patch(route_telling, "NEIGHBORS", (1, 2))
        self.patch(route_telling, "COUNTS", (10, 20))
        with redirect_stdout(StringIO()) as out:
            route_telling.main([])
            route_telling.main(["--quick"])
        self.assertEqual(len(out.getvalue().splitlines()), 5 + 3)
