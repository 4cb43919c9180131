"""The benchmark of the memory of lanes runs."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import lane_memory
from tests.house.repository import ROOT

_MEASURE = "from benchmarks.lane_memory import measure; print(measure(3))"


class LaneMemoryTests(SynchronousTestCase):
    def test_measure(self) -> None:
        """Three processes, each of which writes to the others, have a lane each."""
        # In a process of its own: it forks, and this one has a reactor.
        told = subprocess.run(
            [sys.executable, "-c", _MEASURE],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        self.assertEqual(
            told.stdout, "Use(processes=3, lanes=3, mebibytes=12.0, part=0.046875)\n"
        )

    def test_what_is_counted(self) -> None:
        """Memory is counted once, whoever holds it, and none that is no lane's."""
        memory = os.memfd_create("atbus")
        self.addCleanup(os.close, memory)
        other = os.memfd_create("other")
        self.addCleanup(os.close, other)
        for descriptor in (memory, other):
            os.posix_fallocate(descriptor, 0, 1 << 20)
        again = os.dup(memory)
        self.addCleanup(os.close, again)
        self.assertEqual(lane_memory.allocated_bytes([os.getpid()]), 1 << 20)
