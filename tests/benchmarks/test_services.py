"""The benchmark of choosing services runs."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import services


class ServiceTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """Every figure is there."""
        cost = services.measure(40, 100)
        self.assertEqual(cost.count, 40)
        self.assertTrue(all(figure > 0 for figure in attrs.astuple(cost)), cost)

    def test_main(self) -> None:
        """The table has a head and a line for each size."""
        self.patch(services, "COUNTS", (10, 20))
        printed = StringIO()
        with redirect_stdout(printed):
            services.main(["--quick"])
        lines = printed.getvalue().splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["count", "10", "20"])
