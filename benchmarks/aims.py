"""Aims that are no ratio beside another system at the same work: what is beside us is our own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from benchmarks.plan import ONE_WAY, PYZMQ, RELAY
from benchmarks.ratios import Spread, spread
from benchmarks.scaling import Cost

if TYPE_CHECKING:
    from benchmarks.report import Outcome

_USUAL = 128
_RELAY_PART = 0.5
_MEMORY_FACTOR = 1.5
# What getrusage tells begins with what the parent had.
_PEAK = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')][0])"


@attrs.frozen(kw_only=True)
class Finding:
    """
    What came of one such aim.

    :param ours: The figure that the aim is about, for people.
    :param beside: What it is held against.
    :param ratio: How many times better it is than that.
    :param aim: How many times better it is to be.
    :param is_met: Whether it is, as far as the interval tells.
    """

    title: str
    channel: str
    ours: str
    beside: str
    ratio: Spread
    aim: float
    is_met: bool


def findings(
    outcomes: Sequence[Outcome], costs: Sequence[Cost], import_bytes: int
) -> list[Finding]:
    """
    Judge what was measured.

    :param outcomes: With pairs.
    :param costs: The smallest bus first; may be empty.
    :param import_bytes: What importing Twisted takes.
    """
    return [*_relays(outcomes), *_memory(outcomes, import_bytes), *_flat(costs)]


def import_bytes() -> int:
    """Measure how much more memory a process has had that has imported Twisted's reactor."""
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", f"{imports}; {_PEAK}"])) * 1024
        for imports in ("import sys", "import twisted.internet.reactor")
    ]
    return peaks[1] - peaks[0]


def _usual(outcomes: Sequence[Outcome], workload: object) -> Mapping[str, Outcome]:
    """Give the outcomes of one work at the usual payload that were aimed at, by channel."""
    return {
        outcome.comparison.channel: outcome
        for outcome in outcomes
        if outcome.comparison.workload is workload
        and outcome.comparison.size == _USUAL
        and outcome.comparison.target
    }


def _relays(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    direct = _usual(outcomes, ONE_WAY)
    for channel, relay in _usual(outcomes, RELAY).items():
        if channel not in direct:
            continue
        # Those of one round beside each other.
        pairs = list(zip(relay.ours, direct[channel].ours, strict=False))
        ratio = spread([relayed["value"] / sent["value"] for relayed, sent in pairs])
        rates = [spread([run["value"] for run in runs]).median for runs in zip(*pairs, strict=True)]
        yield Finding(
            title="T3: relay beside our own direct rate",
            channel=channel,
            ours=f"{rates[0] / 1000:.0f} k/s",
            beside=f"{rates[1] / 1000:.0f} k/s",
            ratio=ratio,
            aim=_RELAY_PART,
            is_met=ratio.low >= _RELAY_PART,
        )


def _memory(outcomes: Sequence[Outcome], import_bytes: int) -> Iterator[Finding]:
    """Hold each channel against pyzmq, which has no lanes: its unix socket stands beside ours."""
    for outcome in outcomes:
        compared = outcome.comparison
        if compared.peer is not PYZMQ or (compared.workload, compared.size) != (ONE_WAY, _USUAL):
            continue
        ours = [run["peak_bytes"] for run in outcome.ours]
        allowed = [_MEMORY_FACTOR * run["peak_bytes"] + import_bytes for run in outcome.theirs]
        ratio = spread([most / used for used, most in zip(ours, allowed, strict=True)])
        peaks = [spread(figures).median / 2**20 for figures in (ours, allowed)]
        yield Finding(
            title="T7: receiver's peak memory beside 1.5 x pyzmq's and Twisted's import",
            channel=compared.channel,
            ours=f"{peaks[0]:.0f} MiB",
            beside=f"{peaks[1]:.0f} MiB",
            ratio=ratio,
            aim=1.0,
            is_met=ratio.low >= 1.0,
        )


def _flat(costs: Sequence[Cost]) -> Iterator[Finding]:
    """Hold each bus against the smallest: flat is what cannot be told from it."""
    for cost in costs[1:]:
        first = costs[0]
        ratio = Spread(
            first.median_us / cost.median_us,
            first.low_us / cost.high_us,
            first.high_us / cost.low_us,
            1.0,
        )
        yield Finding(
            title=f"T8: {cost.known:,} known targets, {cost.links:,} links, beside 1 and 1",
            channel="in memory",
            ours=f"{cost.median_us:.2f} us",
            beside=f"{first.median_us:.2f} us",
            ratio=ratio,
            aim=1.0,
            is_met=ratio.high >= 1.0,
        )
