"""The benchmark of publications runs."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import subjects


class SubjectTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """Every figure is there."""
        for count in (10, 2_500):
            cost = subjects.measure(count, 500)
            figures = attrs.astuple(cost)
            self.assertEqual(figures[0], count)
            self.assertTrue(all(figure > 0 for figure in figures), cost)

    def test_main(self) -> None:
        """The table has a head and a line for each number of subscriptions."""
        self.patch(subjects, "COUNTS", (10, 20, 30))
        printed = StringIO()
        with redirect_stdout(printed):
            subjects.main(["--quick"])
        lines = printed.getvalue().splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:]], ["10", "20"])
