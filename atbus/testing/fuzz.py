"""
Feed hostile bytes to everything that reads what others send: ``python -m atbus.testing.fuzz``.

What the inputs are, and what is asserted of them, is in `atbus.testing.hostile`. First those are
tried that a corpus keeps, then as many new ones as were asked for. How far a run is comes now and
then on the standard error, with its seed and the batch that is next. What is found is printed at
once, as lines that can be added to a corpus: the command that tries it again, what happened, and
the input. The last line printed is the summary, also when the run is interrupted; the exit status
is 1 when anything failed, and 130 when it was interrupted before.

Inputs depend on ``--seed`` and their batch only, so a failure can be repeated, on any number of
processes, and a run that was interrupted can go on where it was: ``--resume`` names a file that
says where.
"""

from __future__ import annotations

import argparse
import json
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

from twisted.logger import globalLogBeginner

from atbus.testing.findings import Failure, Findings
from atbus.testing.hostile import BATCH, read_again, run_batch

COMMAND: Final = "python -m atbus.testing.fuzz"

_INTERRUPTED: Final = 130

FRESH_AFTER: Final = 250
"""
Batches that a process tries before a fresh one takes its place. How much memory an input takes is
asked of ``tracemalloc``, which before Python 3.12.5 does not give back what it notes of each line
that allocates (https://github.com/python/cpython/issues/121390): a quarter of a megabyte a batch.
"""

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
    :param resume: Where it is kept how far it is; None for nowhere.
    """

    def __init__(
        self,
        seed: int,
        keep: Path | None = None,
        progress_seconds: float = math.inf,
        resume: Path | None = None,
    ) -> None:
        self.findings = Findings()
        #: The batch that is next.
        self.batch = 0
        self._seed = seed
        self._keep = keep
        self._progress_seconds = progress_seconds
        self._resume = resume
        self._began = self._told_at = _now()

    def go_on(self) -> None:
        """
        Begin where an earlier run with this seed has ended, if it is known.

        :raises ValueError: What is kept there is something else.
        """
        if self._resume is not None and self._resume.exists():
            kept = json.loads(self._resume.read_text(encoding="ascii"))
            if kept.get("seed") == self._seed:
                self.batch = int(kept["batch"])

    def mark(self) -> None:
        """Keep how far it is."""
        if self._resume is not None:
            self._resume.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._resume.with_suffix(".new")
            fresh.write_text(json.dumps({"seed": self._seed, "batch": self.batch}))
            fresh.replace(self._resume)

    def forget(self) -> None:
        """Keep it no more: the next run begins anew."""
        if self._resume is not None:
            self._resume.unlink(missing_ok=True)

    def read_corpus(self, corpus: Path) -> None:
        """
        Try what was worth a thought once.

        :param corpus: Lines of a kind and bytes in hexadecimal; those that begin with # say why.
        """
        for number, line in enumerate(corpus.read_text(encoding="utf-8").splitlines(), 1):
            if line and not line.startswith("#"):
                name, data = line.split()
                text = read_again(name, bytes.fromhex(data))
                if text:
                    self._tell(f"{corpus}:{number}", Failure(0, number, text, line))

    def run(self, batches: Sequence[Batch], jobs: int) -> None:
        """
        Try inputs.

        :param batches: Which.
        :param jobs: On how many processes; 1 for this one.
        :raises KeyboardInterrupt: It was interrupted; `findings` has what was done until then.
        """
        batches = [each for each in batches if each[0] >= self.batch]
        total = sum(count for _, count in batches)
        if jobs == 1 and len(batches) <= FRESH_AFTER:
            for batch, count in batches:
                self._take(run_batch(self._seed, batch, count), total)
            return
        portion = jobs * FRESH_AFTER
        for start in range(0, len(batches), portion):
            try:
                self._run_fresh(batches[start : start + portion], jobs, total)
            except BrokenProcessPool:
                # It has been told.
                return

    def _run_fresh(self, batches: Sequence[Batch], jobs: int, total: int) -> None:
        """Try inputs on processes that are new, and end with them."""
        with ProcessPoolExecutor(jobs, initializer=_leave_interrupts_to_parent) as pool:
            try:
                for findings in self._results(pool, batches, jobs * _AHEAD):
                    self._take(findings, total)
            finally:
                pool.shutdown(cancel_futures=True)

    def _results(
        self, pool: ProcessPoolExecutor, batches: Sequence[Batch], ahead: int
    ) -> Iterator[Findings]:
        """
        Hand out batches, some in advance, and give what comes of them, in order.

        :raises BrokenProcessPool: A process has died, which was the last of what was given.
        """
        rest = iter(batches)
        under_way: deque[int] = deque()
        futures: deque[Future[Findings]] = deque()
        try:
            while True:
                for batch, count in islice(rest, ahead - len(futures)):
                    under_way.append(batch)
                    futures.append(pool.submit(run_batch, self._seed, batch, count))
                if not futures:
                    return
                findings = futures.popleft().result()
                under_way.popleft()
                yield findings
        except BrokenProcessPool as error:
            # Which of those that were under way it was, the commands will show.
            text = f"perhaps: {error}"
            yield Findings(failures=[Failure(each, 0, text) for each in under_way])
            raise

    def _take(self, findings: Findings, total: int) -> None:
        self.batch += 1
        for failure in findings.failures:
            self._tell(_repeats(self._seed, failure), failure)
        findings.failures.clear()
        self.findings.add(findings)
        now = _now()
        if now - self._told_at >= self._progress_seconds:
            self._told_at = now
            done = self.findings.inputs
            rate = done / (now - self._began)
            sys.stderr.write(
                f"fuzz: {done:,} of {total:,} inputs, {len(self.findings.failures)} failures,"
                f" {(total - done) / rate / 60:.0f} more minutes;"
                f" seed {self._seed}, batch {self.batch}\n"
            )
            self.mark()

    def _tell(self, where: str, failure: Failure) -> None:
        """Print what was found, and keep it."""
        self.findings.failures.append(failure)
        what = failure.text.replace("\n", " ")
        text = f"# {where}\n# {what}\n{failure.kept}\n"
        sys.stdout.write(text)
        sys.stdout.flush()
        if self._keep is not None:
            self._keep.parent.mkdir(parents=True, exist_ok=True)
            with self._keep.open("a", encoding="utf-8") as file:
                file.write(text)


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
        f"slowest {findings.slowest_seconds * 1000:.1f} ms, "
        f"hungriest {findings.hungriest_bytes / 1024:.0f} KiB; {len(findings.failures)} failures"
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
    parser.add_argument("--corpus", type=Path, help="try the inputs in this file first")
    parser.add_argument("--resume", type=Path, help="go on where this file says, and keep it so")
    options = parser.parse_args(arguments)
    campaign = Campaign(options.seed, options.keep, options.progress, options.resume)
    batches = batches_of(options.count) if options.batch is None else [(options.batch, BATCH)]
    campaign.go_on()
    status = 0
    try:
        if options.corpus is not None:
            campaign.read_corpus(options.corpus)
        campaign.run(batches, options.jobs if options.batch is None else 1)
        campaign.forget()
    except KeyboardInterrupt:
        campaign.mark()
        sys.stderr.write(f"fuzz: interrupted before batch {campaign.batch}\n")
        status = _INTERRUPTED
    sys.stdout.write(f"{summary(campaign.findings, options.seed)}\n")
    return 1 if campaign.findings.failures else status


if __name__ == "__main__":
    # Until somebody says where they go, Twisted keeps 65,536 lines of the log, with all that they
    # are about.
    globalLogBeginner.beginLoggingTo((), discardBuffer=True, redirectStandardIO=False)
    sys.exit(main())
