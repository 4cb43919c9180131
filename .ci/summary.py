"""
Say in one plain line how a trial run went.

Usage: ``python .ci/summary.py LOG``. Reads what trial printed, prints ``N passed, N failed, N
skipped`` and exits 1 unless trial finished, ran something and had nothing to complain about.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

# "FAILED (skips=1, errors=2, successes=40)", without colors, because trial writes to a file.
_SUMMARY = re.compile(r"^(?:PASSED|FAILED)(?: \((?P<counts>[^()]*)\))?$", re.MULTILINE)

# What each of trial's words means to somebody who asks whether the code may be used. A test that
# is expected to fail has shown nothing, so it is skipped; one that passes against all expectation
# says something untrue about the code; an error is a failure without an assertion.
_PASSED = ("successes",)
_FAILED = ("failures", "errors", "unexpectedSuccesses")
_SKIPPED = ("skips", "expectedFailures")


class Outcome(NamedTuple):
    """
    How a run went.

    :param passed: Tests that ran and held.
    :param failed: Tests that did not, including those that could not run.
    :param skipped: Tests that showed nothing.
    :param finished: Whether trial got as far as its summary.
    """

    passed: int
    failed: int
    skipped: int
    finished: bool = True

    @property
    def is_good(self) -> bool:
        """Whether something was tested and nothing is wrong."""
        return self.finished and self.passed > 0 and self.failed == 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def read_outcome(log: str) -> Outcome:
    """
    Find the outcome in what trial printed.

    :param log: Everything it printed; a test may have printed anything before the summary.
    :returns: The counts of the last summary, or one failure when there is none, as after a crash.
    """
    summaries = list(_SUMMARY.finditer(log))
    if not summaries:
        return Outcome(passed=0, failed=1, skipped=0, finished=False)
    counts: dict[str, int] = {}
    for item in (summaries[-1]["counts"] or "").split(", "):
        word, _, number = item.partition("=")
        if number.isdecimal():
            counts[word] = int(number)
    unknown = counts.keys() - {*_PASSED, *_FAILED, *_SKIPPED}
    return Outcome(
        passed=sum(counts.get(word, 0) for word in _PASSED),
        # A word that nobody foresaw must not make a run look better than it was.
        failed=sum(counts.get(word, 0) for word in (*_FAILED, *sorted(unknown))),
        skipped=sum(counts.get(word, 0) for word in _SKIPPED),
    )


def main(arguments: list[str]) -> int:
    """
    Read the log and print the line.

    :param arguments: The path of the log.
    :returns: The exit code.
    """
    (path,) = arguments
    outcome = read_outcome(Path(path).read_text(encoding="utf-8", errors="replace"))
    print(outcome)
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
