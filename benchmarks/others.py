"""What a run measures besides pairs of systems: our clients of NATS, and what subjects cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

import attrs

from benchmarks import nats_gateway, subjects
from benchmarks.nats_gateway import Figures
from benchmarks.ratios import spread

#: What it is called for who wants to measure nothing else.
GATEWAY = "NATS gateway"
SUBJECTS = "subjects"
_OURS, _THEIRS = "atbus, NATS gateway", "nats-server"
# Publications for one cost: a few hundredths of a second each.
_QUESTIONS = 5_000
# With less an aim is neither met nor missed.
_CONFIDENCE = 0.95

Rows = list[tuple[str, ...]]


@attrs.frozen(kw_only=True)
class Others:
    """
    What was found.

    :param gateway: Beside nats-server; may be empty.
    :param nats_server: Its version.
    :param costs: Of a publication, by the number of subscriptions; may be empty.
    """

    gateway: list[Figures] = attrs.field(factory=list)
    nats_server: str = ""
    costs: list[subjects.Cost] = attrs.field(factory=list)

    @property
    def rounds(self) -> int:
        """How many pairs there are of the gateway."""
        return min((len(figures.ours) for figures in self.gateway), default=0)

    def gateway_rows(self) -> Rows:
        """Give the rows of a table, its head first; none when nothing was measured."""
        theirs = f"{_THEIRS} {self.nats_server}".rstrip()
        head = ("work", "payload", "gateway", theirs, "ratio", "aim", "", "processor time")
        rows = [_row(figures) for figures in self.gateway]
        return [head, *rows] if rows else []

    def cost_rows(self) -> Rows:
        """Likewise of what a publication costs."""
        head = (
            *("subscriptions", "subscribe", "find anew", "find again"),
            *("forward", "forward one of a hundred"),
        )
        rows = [
            (
                f"{cost.count:,}",
                *(f"{cost.subscribe_us:.1f}", f"{cost.walk_us:.1f}", f"{cost.match_us:.2f}"),
                *(f"{cost.forward_us:.1f}", f"{cost.forward_run_us:.2f}"),
            )
            for cost in self.costs
        ]
        return [head, *rows] if rows else []

    def entries(self) -> Iterator[Mapping[str, object]]:
        """Give what ``bench.json`` has of it."""
        for figures in self.gateway:
            about = {
                "channel": "tcp",
                "workload": figures.name,
                "payload": figures.size,
                "nats_server": self.nats_server,
            }
            sides = ((_OURS, figures.ours), (_THEIRS, figures.theirs))
            for system, runs in sides:
                found = spread(runs)
                yield {
                    "system": system,
                    **about,
                    "value": found.median,
                    "unit": figures.unit,
                    "spread": [found.low, found.high],
                    "runs": len(runs),
                }
            yield {
                "system": f"{_OURS} / {_THEIRS}",
                **about,
                "value": figures.ratio.median,
                "unit": "times better",
                "spread": [figures.ratio.low, figures.ratio.high],
                "runs": len(figures.ours),
                "at_least": figures.aim or None,
            }
        for cost in self.costs:
            for field, value in attrs.asdict(cost).items():
                if field != "count":
                    yield {
                        "system": "atbus",
                        "channel": "in memory",
                        "workload": f"{field.removesuffix('_us')}, {cost.count} subscriptions",
                        "payload": 128,
                        "value": value,
                        "unit": "us",
                        "spread": [value, value],
                    }


def measure(rounds: int, *, quick: bool, only: str = "") -> tuple[Others, dict[str, str]]:
    """
    Measure it.

    :param rounds: Of the gateway, at most.
    :param quick: Less of everything.
    :param only: The one of the two that is wanted; empty for both.
    :returns: What was found; and for what is missing, why.
    """
    costs, gateway, absent = [], [], {}
    if only in SUBJECTS:
        counts = subjects.COUNTS[:2] if quick else subjects.COUNTS
        costs = [subjects.measure(count, _QUESTIONS) for count in counts]
    if only in GATEWAY:
        missing = nats_gateway.absence()
        if missing:
            absent[f"the {GATEWAY} beside nats-server"] = missing
        else:
            gateway = nats_gateway.measure(rounds, quick=quick)
    server = nats_gateway.version() if gateway else ""
    return Others(gateway=gateway, nats_server=server, costs=costs), absent


def _row(figures: Figures) -> tuple[str, ...]:
    ratio = figures.ratio
    return (
        figures.name,
        f"{figures.size} B" if figures.size < 1024 else f"{figures.size // 1024} KiB",
        *(_value(runs, figures) for runs in (figures.ours, figures.theirs)),
        f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})",
        *((f"{figures.aim:.2f}", _verdict(figures)) if figures.aim else ("", "")),
        f"{median(figures.spent_us):.1f} us",
    )


def _verdict(figures: Figures) -> str:
    ratio = figures.ratio
    if ratio.confidence < _CONFIDENCE:
        return "too few pairs"
    return "met" if ratio.low >= figures.aim else "open"


def _value(runs: list[float], figures: Figures) -> str:
    value = median(runs)
    if figures.is_trip:
        return f"{value:.0f} us"
    return f"{value / 1000:.0f} k/s" if value >= 10_000 else f"{value / 1000:.1f} k/s"
