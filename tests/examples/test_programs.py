"""Examples that are programs of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


class ProgramTests(SynchronousTestCase):
    """Each one as a process."""

    def test_tree_in_one_process(self) -> None:
        """Sixteen messages arrive, each over the way that the tree prescribes.

        Scenario: CC1, K17
        """
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "tree_in_one_process.py")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        ways = dict(line.split("   ", 1) for line in done.stdout.splitlines())
        self.assertEqual(len(ways), 16)
        self.assertEqual(
            ways["0x10101 to 0x10202"].strip(), "0x10101 > 0x10100 > 0x10000 > 0x10200 > 0x10202"
        )
        self.assertEqual(ways["0x10101 to 0x10102"].strip(), "0x10101 > 0x10100 > 0x10102")
        self.assertEqual(ways["0x10101 to 0x10101"].strip(), "0x10101")
