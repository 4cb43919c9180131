"""The line at the end of a CI run is trial's own result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.house.repository import ROOT

# One test of each kind, and one more that passes; but none that passes unexpectedly, over which
# trial's own workers stumble.
SAMPLE = """
from twisted.trial.unittest import SynchronousTestCase


class SampleTests(SynchronousTestCase):
    def test_one(self):
        pass

    def test_two(self):
        pass

    def test_skip(self):
        pass

    test_skip.skip = "not here"

    def test_fail(self):
        self.fail("no")

    def test_error(self):
        raise RuntimeError("broken")

    def test_expected(self):
        self.fail("known")

    test_expected.todo = "known"
"""


class SummaryTests(SynchronousTestCase):
    """``.ci/summary.py`` between what trial prints and what CI says."""

    def summarize(self, log: str) -> tuple[str, int]:
        """
        Run the script as CI does.

        :param log: What trial printed.
        :returns: The line it prints, and its exit code.
        """
        path = Path(self.mktemp())
        path.write_text(log, encoding="utf-8")
        run = subprocess.run(
            [sys.executable, ROOT / ".ci" / "summary.py", path.resolve()],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        return run.stdout, run.returncode

    def test_a_clean_run_passes(self) -> None:
        """All tests held: their number, and success."""
        log = "Ran 12 tests in 3.214s\n\nPASSED (successes=12)\n"
        self.assertEqual(self.summarize(log), ("12 passed, 0 failed, 0 skipped\n", 0))

    def test_skips_are_told(self) -> None:
        """Skipped tests do not fail the run, but they are not counted as passed either."""
        log = "PASSED (skips=2, successes=10)\n"
        self.assertEqual(self.summarize(log), ("10 passed, 0 failed, 2 skipped\n", 0))

    def test_errors_are_failures(self) -> None:
        """A test that could not run counts like one whose assertion failed."""
        log = "FAILED (skips=1, failures=2, errors=3, successes=40)\n"
        self.assertEqual(self.summarize(log), ("40 passed, 5 failed, 1 skipped\n", 1))

    def test_an_expected_failure_shows_nothing(self) -> None:
        """A test that is known to fail is not one that passed."""
        log = "PASSED (expectedFailures=1, successes=4)\n"
        self.assertEqual(self.summarize(log), ("4 passed, 0 failed, 1 skipped\n", 0))

    def test_an_unexpected_success_fails(self) -> None:
        """trial lets a test pass that was announced to fail; CI does not."""
        log = "PASSED (unexpectedSuccesses=1, successes=4)\n"
        self.assertEqual(self.summarize(log), ("4 passed, 1 failed, 0 skipped\n", 1))

    def test_a_crash_fails(self) -> None:
        """Without a summary something failed, however many tests were fine before."""
        log = "tests.wire.test_codec\n  test_one ... [OK]\nSegmentation fault\n"
        self.assertEqual(self.summarize(log), ("0 passed, 1 failed, 0 skipped\n", 1))

    def test_an_empty_run_fails(self) -> None:
        """A run that tested nothing says nothing."""
        self.assertEqual(self.summarize("PASSED\n"), ("0 passed, 0 failed, 0 skipped\n", 1))

    def test_the_last_summary_counts(self) -> None:
        """What a test prints about a trial of its own is not taken for the result."""
        log = "PASSED (successes=99)\nnoise: FAILED (x)\nFAILED (failures=1, successes=2)\n"
        self.assertEqual(self.summarize(log), ("2 passed, 1 failed, 0 skipped\n", 1))

    def test_an_unknown_word_is_no_success(self) -> None:
        """Should trial learn to count something new, the run fails until somebody looked."""
        log = "PASSED (mysteries=1, successes=2)\n"
        self.assertEqual(self.summarize(log), ("2 passed, 1 failed, 0 skipped\n", 1))

    def test_real_trial_is_understood(self) -> None:
        """The words above are those of the trial that is installed."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "test_sample.py").write_text(SAMPLE, encoding="utf-8")
        for jobs in ([], ["-j2"]):
            run = subprocess.run(
                [sys.executable, "-m", "twisted.trial", *jobs, "test_sample"],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            self.assertEqual(
                self.summarize(run.stdout),
                ("2 passed, 2 failed, 2 skipped\n", 1),
                run.stdout,
            )
