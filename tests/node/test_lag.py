"""How late the reactor calls, and how a node tells of it."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from atbus.node.lag import STEPS, Lag
from tests.node.bus import ROOT, BusTests


class CountTests(SynchronousTestCase):
    def test_nothing_was_seen(self) -> None:
        """A node that has not looked yet knows of no lag."""
        lag = Lag()
        self.assertEqual((lag.looks, lag.worst_seconds, lag.quantile(0.999)), (0, 0.0, 0.0))

    def test_parts(self) -> None:
        """One late look in five hundred is beyond the hundredth and within the thousandth."""
        lag = Lag()
        for _ in range(499):
            lag.note(0.0004)
        lag.note(0.03)
        self.assertEqual(lag.looks, 500)
        self.assertEqual(lag.quantile(0.5), 0.001)
        self.assertEqual(lag.quantile(0.99), 0.001)
        self.assertEqual(lag.quantile(0.999), 0.03)
        self.assertEqual(lag.worst_seconds, 0.03)

    def test_steps(self) -> None:
        """What is told is the next step, never less than what was seen."""
        for step in STEPS:
            lag = Lag()
            lag.note(step)
            lag.note(20.0)
            self.assertEqual(lag.quantile(0.5), step)
            self.assertEqual(lag.quantile(1.0), 20.0)


class NodeLagTests(BusTests):
    """A node tells how late its reactor was."""

    def setUp(self) -> None:
        super().setUp()
        self.hub, self.asker = self.pair()

    def lag(self) -> dict[str, float]:
        """Ask for it, as ``atbus status`` does."""
        (line,) = self.network.result_of(self.asker.command(ROOT, b"atbus.status"))
        lag: dict[str, float] = json.loads(line)["lag"]
        return lag

    def test_a_reactor_that_runs(self) -> None:
        """Ten quiet minutes are looked at four times a second, and nothing was late."""
        before = self.lag()["looks"]
        self.network.settle(600)
        lag = self.lag()
        self.assertAlmostEqual(lag["looks"] - before, 2400, delta=2)
        self.assertLessEqual(lag["worst_seconds"], 0.001)
        self.assertLessEqual(lag["p999_seconds"], 0.001)

    def test_a_reactor_that_stands_still(self) -> None:
        """
        One standstill in ten minutes is the longest lag, one in a minute is in the thousandth.

        A long one is named in an event besides.
        """
        self.stand_still(3.0)
        self.network.settle(600)
        lag = self.lag()
        self.assertGreater(lag["worst_seconds"], 2.7)
        self.assertLessEqual(lag["p999_seconds"], 0.001)
        for _ in range(10):
            self.stand_still(0.4)
            self.network.settle(60)
        lag = self.lag()
        self.assertGreater(lag["p999_seconds"], 0.1)
        self.assertLessEqual(lag["p99_seconds"], 0.001)
        lags = self.diaries[self.hub].of("on_lag")
        self.assertGreater(lags[0][0], 2.7)
        self.assertEqual(lags[0][1], "reactor")

    def stand_still(self, seconds: float) -> None:
        """Keep the reactor from running for a while."""
        self.network.freeze(self.hub)
        self.network.settle(seconds)
        self.network.thaw(self.hub)
