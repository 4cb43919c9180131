"""Examples that are programs of their own."""

from __future__ import annotations

import re
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
            timeout=600,
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

    def test_two_regions(self) -> None:
        """The first messages take the tree; then proxies of one region have found each other, and
        what goes from region to region still takes the cross-region proxy.

        Scenario: CC1, CC10
        """
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "two_regions.py")],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        ways = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in done.stdout.splitlines())
        self.assertEqual(len(ways), 24)
        for what, way in ways.items():
            turn, source, _, target = what.split()
            through_cross = turn == "1st" or source[3] != target[3]
            self.assertEqual("> 0x1 >" in way, through_cross, what)
        self.assertEqual(ways["2nd 0x111 to 0x112"], "0x111 > 0x11 > 0x12 > 0x112")
        self.assertEqual(ways["2nd 0x111 to 0x121"], "0x111 > 0x11 > 0x1 > 0x21 > 0x121")
