"""
Run everything, in rounds, and write down what came out.

A round runs each comparison once, so that a machine whose speed drifts drifts for all alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import attrs

from benchmarks import others, plan, report, scaling
from benchmarks.measure import ROOT, Failed, absence, measure
from benchmarks.plan import ATBUS, Comparison
from benchmarks.report import Outcome

# The part of the time that what is promised may take.
_PROMISED_SHARE = 0.8


@attrs.define
class Runner:
    """
    The rounds.

    :param scale: The part of the usual counts.
    :param seconds_max: No further round is begun that would probably end later.
    """

    scale: float
    seconds_max: float
    outcomes: dict[Comparison, Outcome] = attrs.field(factory=dict)
    absent: dict[str, str] = attrs.field(factory=dict)
    _began: float = attrs.field(factory=time.monotonic)

    def run(self, comparisons: list[Comparison], rounds: int, rounds_shown: int) -> None:
        """
        Measure.

        :param rounds: Of what is promised.
        :param rounds_shown: Of what is only shown.
        """
        for comparison in comparisons:
            missing = absence(comparison.peer)
            if missing:
                self.absent[comparison.peer.name] = missing
            else:
                self.outcomes[comparison] = Outcome(comparison)
        for name, missing in self.absent.items():
            print(f"absent: {name}: {missing}", flush=True)
        promised = [c for c in self.outcomes if c.target]
        shown = [c for c in self.outcomes if not c.target]
        self._rounds(promised, rounds, self.seconds_max * (_PROMISED_SHARE if shown else 1))
        self._rounds(shown, rounds_shown, self.seconds_max)

    def _rounds(self, comparisons: list[Comparison], rounds: int, seconds_max: float) -> None:
        for number in range(rounds if comparisons else 0):
            started = time.monotonic()
            for comparison in comparisons:
                if time.monotonic() - self._began > self.seconds_max:
                    print(f"no time left for: {self.outcomes[comparison].title}", flush=True)
                    continue
                self._pair(comparison, atbus_first=number % 2 == 0)
            now = time.monotonic()
            print(f"round {number + 1} of {rounds}: {now - started:.0f} s", flush=True)
            if now - self._began + (now - started) > seconds_max and number + 1 < rounds:
                print(f"time is over after {number + 1} rounds of {rounds}", flush=True)
                return

    def _pair(self, comparison: Comparison, *, atbus_first: bool) -> None:
        outcome = self.outcomes[comparison]
        systems = [ATBUS, comparison.peer] if atbus_first else [comparison.peer, ATBUS]
        count = max(64, int(comparison.count * self.scale))
        figures = {}
        try:
            for system in systems:
                channel = comparison.channel if system is ATBUS else comparison.peer_channel
                figures[system.name] = measure(
                    system, channel, comparison.workload, comparison.size, count
                )
        except Failed as failed:
            outcome.failures.append(str(failed))
            print(f"failed: {outcome.title}: {failed}", file=sys.stderr, flush=True)
            return
        outcome.add(figures[ATBUS.name], figures[comparison.peer.name])


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 rounds of a tenth of the messages")
    parser.add_argument("--rounds", type=int, default=12, help="of what is promised")
    parser.add_argument("--shown", type=int, default=2, help="rounds of what is only shown")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of messages")
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no round after that")
    parser.add_argument("--only", default="", help="comparisons with this text in their titles")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="where to write")
    parser.add_argument("--publish", action="store_true", help="put the figures into the manual")
    parser.add_argument("--last", action="store_true", help="do not measure: the last ones")
    options = parser.parse_args(arguments)
    if not options.last:
        status = _run(options)
    if options.publish:
        report.publish(options.output, ROOT / "docs" / "design")
    return 0 if options.last else status


def _run(options: argparse.Namespace) -> int:
    """Measure what is asked for, and write it down; tell how the process ends."""
    if options.quick:
        options.rounds, options.shown, options.scale = 2, 1, 0.1
        options.minutes = min(options.minutes, 2.0)
    chosen = [c for c in plan.comparisons() if options.only in Outcome(c).title]
    if options.quick:
        brief = (plan.ONE_WAY, plan.ROUND_TRIP)
        chosen = [c for c in chosen if c.target or (c.size == 128 and c.workload in brief)]
    runner = Runner(scale=options.scale, seconds_max=options.minutes * 60)
    # First, while nothing else has warmed this process up or filled it.
    costs = [] if options.only else scaling.measure(quick=options.quick)
    beside, absent = others.measure(options.rounds, quick=options.quick, only=options.only)
    runner.absent |= absent
    runner.run(chosen, options.rounds, options.shown)
    outcomes = list(runner.outcomes.values())
    report.write(options.output, outcomes, runner.absent, costs, beside)
    return 1 if any(outcome.failures for outcome in runner.outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
