"""
Feed hostile bytes to everything that reads what others send: ``python -m atbus.testing.fuzz``.

What the inputs are, and what is asserted of them, is in `atbus.testing.hostile`. How far a run is
comes now and then on the standard error. What is found is printed at once, with the command that
tries it again, and kept in a file. The last line printed is the summary, also when the run is
interrupted; the exit status is 1 when anything failed, and 130 when it was interrupted before.

Inputs depend on ``--seed`` and their batch only, so a failure can be repeated, on any number of
processes.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Final

from atbus.testing.hostile import BATCH, Failure, Findings, run_batch

COMMAND: Final = "python -m atbus.testing.fuzz"

_INTERRUPTED: Final = 130

# Batches that are handed out in advance, so that no process waits for work.
_AHEAD: Final = 4

Batch = tuple[int, int]
"""Its number and how many inputs it has."""


class Campaign:
    """
    One run.

    :param seed: Which inputs.
    :param keep: Where findings are kept; None for nowhere.
    :param progress_seconds: Between two lines that say how far it is.
    """

    def __init__(
        self, seed: int, keep: Path | None = None, progress_seconds: float = math.inf
    ) -> None:
        self.findings = Findings()
        self._seed = seed
        self._keep = keep
        self._progress_seconds = progress_seconds
        self._began = self._told_at = _now()

    def run(self, batches: Sequence[Batch], jobs: int) -> None:
        """
        Try inputs.

        :param batches: Which.
        :param jobs: On how many processes; 1 for this one.
        :raises KeyboardInterrupt: It was interrupted; `findings` has what was done until then.
        """
        total = sum(count for _, count in batches)
        if jobs == 1:
            for batch, count in batches:
                self._take(run_batch(self._seed, batch, count), total)
            return
        with ProcessPoolExecutor(jobs, initializer=_leave_interrupts_to_parent) as pool:
            try:
                for findings in self._results(pool, batches, jobs * _AHEAD):
                    self._take(findings, total)
            finally:
                pool.shutdown(cancel_futures=True)

    def _results(
        self, pool: ProcessPoolExecutor, batches: Sequence[Batch], ahead: int
    ) -> Iterator[Findings]:
        """Hand out batches, some in advance, and give what comes of them, in order."""
        rest = iter(batches)
        under_way: deque[tuple[int, Future[Findings]]] = deque()
        while True:
            for batch, count in islice(rest, ahead - len(under_way)):
                under_way.append((batch, pool.submit(run_batch, self._seed, batch, count)))
            if not under_way:
                return
            batch, future = under_way.popleft()
            try:
                findings = future.result()
            except BrokenProcessPool as error:
                # Which of those that were under way it was, the commands will show.
                lost = [batch, *(each for each, _ in under_way)]
                yield Findings(failures=[Failure(each, 0, f"perhaps: {error}") for each in lost])
                return
            yield findings

    def _take(self, findings: Findings, total: int) -> None:
        self.findings.add(findings)
        for failure in findings.failures:
            text = f"{_repeats(self._seed, failure)}\n    {failure.text}\n"
            sys.stdout.write(text)
            sys.stdout.flush()
            if self._keep is not None:
                self._keep.parent.mkdir(parents=True, exist_ok=True)
                with self._keep.open("a", encoding="utf-8") as file:
                    file.write(text)
        now = _now()
        if now - self._told_at >= self._progress_seconds:
            self._told_at = now
            done = self.findings.inputs
            rate = done / (now - self._began)
            sys.stderr.write(
                f"fuzz: {done:,} of {total:,} inputs, {len(self.findings.failures)} failures,"
                f" {(total - done) / rate / 60:.0f} more minutes\n"
            )


def _now() -> float:
    return time.monotonic()  # noqa: TID251  # a command without a reactor


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _repeats(seed: int, failure: Failure) -> str:
    return f"{COMMAND} --seed {seed} --batch {failure.batch}    # input {failure.number}"


def fuzz(count: int, seed: int, jobs: int, keep: Path | None = None) -> Findings:
    """
    Try many inputs.

    :param count: How many.
    :param seed: Which ones.
    :param jobs: On how many processes.
    :param keep: Where findings are kept; None for nowhere.
    :returns: What came of them.
    """
    campaign = Campaign(seed, keep)
    campaign.run(batches_of(count), jobs)
    return campaign.findings


def batches_of(count: int) -> list[Batch]:
    """
    Divide a run.

    :param count: Inputs in all.
    :returns: Its batches.
    """
    return [
        (batch, min(BATCH, count - start)) for batch, start in enumerate(range(0, count, BATCH))
    ]


def summary(findings: Findings, seed: int) -> str:
    """
    Say in one line what came of a run.

    :param findings: All of them.
    :param seed: Of the run.
    :returns: The line.
    """
    outcomes = ", ".join(f"{name} {number:,}" for name, number in findings.outcomes.most_common())
    return (
        f"fuzz: {findings.inputs:,} inputs (seed {seed}), {findings.frames:,} frames: {outcomes}; "
        f"slowest {findings.slowest_seconds * 1000:.1f} ms; {len(findings.failures)} failures"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run from the command line.

    :param arguments: Instead of those of the process.
    :returns: The exit status: 1 when anything failed, otherwise 130 when it was interrupted.
    """
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0, help="which inputs")
    parser.add_argument("--batch", type=int, help="this batch alone, as a finding names it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--progress", type=float, default=10.0, help="seconds between two lines of progress"
    )
    parser.add_argument("--keep", type=Path, help="append what is found to this file")
    options = parser.parse_args(arguments)
    campaign = Campaign(options.seed, options.keep, options.progress)
    batches = batches_of(options.count) if options.batch is None else [(options.batch, BATCH)]
    status = 0
    try:
        campaign.run(batches, options.jobs if options.batch is None else 1)
    except KeyboardInterrupt:
        sys.stderr.write("fuzz: interrupted\n")
        status = _INTERRUPTED
    sys.stdout.write(f"{summary(campaign.findings, options.seed)}\n")
    return 1 if campaign.findings.failures else status


if __name__ == "__main__":
    sys.exit(main())
