"""``atbus node run``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus import __version__
from atbus.cli.foreground import twistd
from tests.cli.bus_case import ROOT


class RunTests(SynchronousTestCase):
    """A node in the foreground."""

    def atbus(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "atbus", "node", "run", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_it_is_the_plug_in(self) -> None:
        """All options are those of ``twistd atbus``."""
        run = self.atbus("--version")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn(f"atbus {__version__}\n", run.stdout)
        self.assertIn("Twisted ", run.stdout)

    def test_faults_end_it(self) -> None:
        """A node that cannot be started ends with 1, as with ``twistd``, every fault named."""
        run = self.atbus("--id", "12x", "--set", "limits.hops=0")
        self.assertEqual(run.returncode, 1)
        self.assertIn("limits.hops", run.stderr)
        self.assertIn("12x", run.stderr)

    def test_without_scripts(self) -> None:
        """Where the twistd script is not beside the interpreter, Python itself runs it."""
        python = sys.executable
        self.patch(sys, "executable", str(Path(self.mktemp()) / "python"))
        words = twistd()
        self.assertEqual(words[:2], [sys.executable, "-c"])
        run = subprocess.run(
            [python, *words[1:], "--version"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertIn("twistd (the Twisted daemon)", run.stdout)
