"""The benchmark of the reactor's lag runs."""

from __future__ import annotations

import json
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.house.repository import ROOT

_MEASURE = """
import attrs, json
from benchmarks.loop_lag import measure
print(json.dumps(attrs.asdict(measure(0.5))))
"""


class LoopLagTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """A hub learns of ten thousand nodes and gets messages; its lag is told in parts."""
        # In a process of its own: it runs the reactor.
        told = subprocess.run(
            [sys.executable, "-c", _MEASURE], cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        late = json.loads(told.stdout)
        self.assertGreaterEqual(late["routes"], 10_000)
        self.assertGreater(late["looks"], 0)
        self.assertLessEqual(late["p50_ms"], late["p999_ms"])
        self.assertLessEqual(late["p999_ms"], late["worst_ms"])
        self.assertAlmostEqual(late["part"], late["p999_ms"] / 50)
