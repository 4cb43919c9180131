"""Tests of how processes are made to stand still."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.standstill import freeze, thaw

# Threads that never wait for anything.
_BUSY = """
import threading

def work():
    while True:
        sum(range(1000))

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
print("works", flush=True)
work()
"""


class StandstillTests(SynchronousTestCase):
    """A process with several threads."""

    def setUp(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.assertEqual(self.process.stdout.readline(), b"works\n")

    def states(self) -> set[str]:
        """Give what the kernel says of its threads."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return {(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads}

    def test_every_thread_stands_still(self) -> None:
        """Once a process was frozen none of its threads runs, also the second time and twice."""
        for _ in range(3):
            freeze(self.process.pid)
            self.assertEqual(self.states(), {"T"})
            freeze(self.process.pid)
            thaw(self.process.pid)

    def test_a_process_that_has_ended(self) -> None:
        """A process that has ended does not stand still, and can be reaped all the same."""
        self.process.kill()
        error = self.assertRaises(AssertionError, freeze, self.process.pid)
        self.assertIn("has ended", str(error))
        self.assertEqual(self.process.wait(), -9)
