"""What a run leaves behind: ``bench.json``, the tables of the manual, and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from benchmarks.aims import Finding, findings, import_bytes
from benchmarks.others import Others
from benchmarks.picture import bars
from benchmarks.plan import ATBUS, ONE_WAY, OVER_UNIX, Comparison
from benchmarks.ratios import Spread, spread
from benchmarks.scaling import Cost

_USUAL = 128
# With less an aim is neither met nor missed.
_CONFIDENCE = 0.95


@attrs.define
class Outcome:
    """
    The figures of one comparison, pair by pair.

    :param failures: Why pairs are missing.
    """

    comparison: Comparison
    ours: list[Mapping[str, float]] = attrs.field(factory=list)
    theirs: list[Mapping[str, float]] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)

    @property
    def title(self) -> str:
        """Name the comparison in one line."""
        compared = self.comparison
        where = f"{_channels(compared)}, {compared.workload.name}, {compared.size} B"
        return f"{compared.peer.name}, {where}"

    def add(self, ours: Mapping[str, float], theirs: Mapping[str, float]) -> None:
        """Keep the figures of one pair."""
        self.ours.append(ours)
        self.theirs.append(theirs)

    def ratio(self, figure: str) -> Spread:
        """Compare pair by pair: how many times better atbus is."""
        better_high = figure == "value"
        pairs = zip(self.ours, self.theirs, strict=True)
        return spread(
            [a[figure] / b[figure] if better_high else b[figure] / a[figure] for a, b in pairs]
        )


def write(
    folder: Path,
    outcomes: list[Outcome],
    absent: Mapping[str, str],
    costs: list[Cost],
    others: Others,
) -> None:
    """
    Write everything into a folder.

    :param absent: For each system that is not on this machine, what is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = [outcome for outcome in outcomes if outcome.ours]
    found = findings(done, costs, import_bytes())
    entries = [*_entries(done, absent, costs), *map(_entry_of, found), *others.entries()]
    text = json.dumps(entries, indent=1)
    (folder / "bench.json").write_text(f"{text}\n", encoding="utf-8")
    tables = tables_of(done, absent, costs, found, others)
    (folder / "bench.txt").write_text(tables, encoding="utf-8")
    (folder / "bench.svg").write_text(_picture(done), encoding="utf-8")
    print(tables)


def publish(folder: Path, manual: Path) -> None:
    """Copy what was written last into the manual."""
    for ending, name in (("txt", "performance-figures.txt"), ("svg", "performance.svg")):
        text = (folder / f"bench.{ending}").read_text(encoding="utf-8")
        (manual / name).write_text(text, encoding="utf-8")


def _entries(
    outcomes: list[Outcome], absent: Mapping[str, str], costs: list[Cost]
) -> Iterable[Mapping[str, object]]:
    for outcome in outcomes:
        compared = outcome.comparison
        for name, runs in ((ATBUS.name, outcome.ours), (compared.peer.name, outcome.theirs)):
            for figure, (suffix, unit) in _figures(compared):
                found = spread([run[figure] for run in runs])
                yield {
                    "system": name,
                    "beside": compared.peer.name,
                    "channel": compared.channel if name == ATBUS.name else compared.peer_channel,
                    "workload": compared.workload.name + suffix,
                    "payload": compared.size,
                    "value": found.median,
                    "unit": unit,
                    "spread": [found.low, found.high],
                    "runs": len(runs),
                }
        for figure, (suffix, _) in _figures(compared):
            ratio = outcome.ratio(figure)
            yield {
                "system": f"{ATBUS.name} / {compared.peer.name}",
                "channel": compared.channel,
                "workload": compared.workload.name + suffix,
                "payload": compared.size,
                "value": ratio.median,
                "unit": "times better",
                "spread": [ratio.low, ratio.high],
                "runs": len(outcome.ours),
                "target": compared.target,
                "at_least": compared.at_least.get(figure),
            }
    for cost in costs:
        yield {
            "system": ATBUS.name,
            "channel": "in memory",
            "workload": f"{cost.known} known targets, {cost.links} links",
            "payload": 128,
            "value": cost.median_us,
            "unit": "us/message",
            "spread": [cost.low_us, cost.high_us],
        }
    for name, missing in absent.items():
        yield {
            "system": name,
            "channel": "",
            "workload": "",
            "payload": 0,
            "value": None,
            "unit": f"absent: {missing}",
            "spread": [],
        }


def _entry_of(finding: Finding) -> Mapping[str, object]:
    return {
        "system": ATBUS.name,
        "channel": finding.channel,
        "workload": finding.title,
        "payload": _USUAL,
        "value": finding.ratio.median,
        "unit": "times better",
        "spread": [finding.ratio.low, finding.ratio.high],
        "at_least": finding.aim,
    }


def _figures(compared: Comparison) -> list[tuple[str, tuple[str, str]]]:
    figures = list(compared.workload.figures.items())
    # Of a system with a server the greatest part would be missing.
    if not (compared.peer.server or compared.peer.starts_others):
        figures.append(("cpu_us", (", processor time", "us/message")))
    if compared.workload.figures.keys() == {"value"}:
        figures.append(("peak_bytes", (", peak memory", "bytes")))
    return figures


def tables_of(
    outcomes: list[Outcome],
    absent: Mapping[str, str],
    costs: list[Cost],
    found: list[Finding],
    others: Others,
) -> str:
    """Write the tables as reStructuredText."""
    aimed = [o for o in outcomes if o.comparison.target]
    not_aimed = [o for o in outcomes if not o.comparison.target]
    promised, shown = list(map(_promise, aimed)), list(map(_showing, not_aimed))
    parts = []
    if promised:
        parts += [f"What is aimed at, {_pairs(aimed)}:", ""]
        names = ("beside", "work", "payload", "channel", "atbus", "it", "ratio", "aim", "")
        parts += _table(names, [row for rows in promised for row in rows])
    if found:
        parts += ["What is aimed at beside our own figures:", ""]
        parts += _table(
            ("aim", "channel", "figure", "beside", "ratio", "aim", ""), list(map(_finding, found))
        )
    parts += _of_others(others)
    if shown:
        parts += [f"Beside other systems, {_pairs(not_aimed)}:", ""]
        heads = ("system", "work", "payload", "channel", "atbus", "it", "ratio")
        parts += _table(heads, [row for rows in shown for row in rows])
    if promised:
        parts += ["Microseconds of processor time for one message, all processes together:", ""]
        columns = ("beside", "work", "payload", "channel", "atbus", "it", "ratio")
        parts += _table(columns, list(map(_processor, aimed)))
    one_way = [o for o in outcomes if o.comparison.workload is ONE_WAY]
    measured = [o for o in one_way if o.comparison.size == _USUAL]
    if measured:
        parts += ["The most memory that the receiver had, one way, 128 B:", ""]
        parts += _table(("system", "channel", "atbus", "it"), list(map(_memory, measured)))
    if costs:
        parts += ["Microseconds for one message, sent and received in one process:", ""]
        parts += _table(("known targets", "links", "median", "range"), list(map(_cost, costs)))
    for name, missing in absent.items():
        parts += [f"Absent: {name}, because {missing}.", ""]
    return "\n".join(parts)


def _of_others(others: Others) -> list[str]:
    parts = []
    head, *rows = others.gateway_rows() or [()]
    if rows:
        aim = f"What is aimed at for clients of NATS, {_in_words(others.rounds)}"
        spent = "processor time is the gateway's, for one message or one round trip"
        parts += [f"{aim}; {spent}:", "", *_table(head, rows)]
    head, *rows = others.cost_rows() or [()]
    if rows:
        cost = "Microseconds of processor time for one publication of 128 bytes"
        where = "at a proxy with ten neighbors, by the number of subscriptions behind them"
        parts += [f"{cost} {where}:", "", *_table(head, rows)]
    return parts


def _channels(compared: Comparison) -> str:
    if compared.channel == compared.peer_channel:
        return compared.channel
    return f"{compared.channel} beside {compared.peer_channel}"


def _pairs(outcomes: list[Outcome]) -> str:
    return _in_words(min(len(outcome.ours) for outcome in outcomes))


def _in_words(pairs: int) -> str:
    return f"{pairs} pairs each" if pairs > 1 else "one pair each"


def _promise(outcome: Outcome) -> list[tuple[str, ...]]:
    compared = outcome.comparison
    rows: list[tuple[str, ...]] = []
    for figure, (suffix, unit) in _figures(compared):
        if figure not in compared.at_least:
            continue
        ratio = outcome.ratio(figure)
        aim = compared.at_least[figure]
        rows.append(
            (
                compared.peer.name,
                f"{compared.target}: {compared.workload.name}{suffix}",
                _size(compared.size),
                _channels(compared),
                _value(outcome.ours, figure, unit),
                _value(outcome.theirs, figure, unit),
                _interval(ratio),
                f"{aim:.2f}",
                _verdict(ratio, aim),
            )
        )
    return rows


def _verdict(ratio: Spread, aim: float) -> str:
    if ratio.confidence < _CONFIDENCE:
        return "too few pairs"
    return "met" if ratio.low >= aim else "open"


def _finding(finding: Finding) -> tuple[str, ...]:
    if finding.ratio.confidence < _CONFIDENCE:
        verdict = "too few pairs"
    else:
        verdict = "met" if finding.is_met else "open"
    ratio, aim = _interval(finding.ratio), f"{finding.aim:.2f}"
    where = (finding.title, finding.channel, finding.ours, finding.beside)
    return (*where, ratio, aim, verdict)


def _memory(outcome: Outcome) -> tuple[str, ...]:
    ours, theirs = (
        f"{spread([run['peak_bytes'] for run in runs]).median / 2**20:.0f} MiB"
        for runs in (outcome.ours, outcome.theirs)
    )
    return (outcome.comparison.peer.name, _channels(outcome.comparison), ours, theirs)


def _processor(outcome: Outcome) -> tuple[str, ...]:
    compared = outcome.comparison
    ours, theirs = (
        f"{spread([run['cpu_us'] for run in runs]).median:.2f}"
        for runs in (outcome.ours, outcome.theirs)
    )
    ratio = _interval(outcome.ratio("cpu_us"))
    where = (_size(compared.size), _channels(compared))
    return (compared.peer.name, compared.workload.name, *where, ours, theirs, ratio)


def _showing(outcome: Outcome) -> list[tuple[str, ...]]:
    compared = outcome.comparison
    return [
        (
            compared.peer.name,
            compared.workload.name + suffix,
            _size(compared.size),
            _channels(compared),
            _value(outcome.ours, figure, unit),
            _value(outcome.theirs, figure, unit),
            _interval(outcome.ratio(figure)),
        )
        for figure, (suffix, unit) in _figures(compared)
        if figure not in ("peak_bytes", "cpu_us")
    ]


def _cost(cost: Cost) -> tuple[str, ...]:
    spread_us = f"{cost.low_us:.2f}-{cost.high_us:.2f}"
    return (f"{cost.known:,}", f"{cost.links:,}", f"{cost.median_us:.2f}", spread_us)


def _value(runs: list[Mapping[str, float]], figure: str, unit: str) -> str:
    value = spread([run[figure] for run in runs]).median
    if unit != "messages/s":
        return f"{value:.0f} {unit}"
    return f"{value / 1000:.0f} k/s" if value >= 10_000 else f"{value / 1000:.1f} k/s"


def _interval(ratio: Spread) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def _size(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        for place, cell in enumerate(row):
            mark = "* -" if not place else "  -"
            lines.append(f"   {mark} {cell}".rstrip())
    return [*lines, ""]


def _picture(outcomes: list[Outcome]) -> str:
    """Draw the one-way rates: for each size a group of bars, one for each system and channel."""
    rates: dict[str, dict[int, list[float]]] = {}
    for outcome in outcomes:
        compared = outcome.comparison
        if compared.workload.name != "one way":
            continue
        ours = f"{ATBUS.name}, {compared.channel}"
        theirs = f"{compared.peer.name}, {compared.peer_channel}"
        if compared.peer is OVER_UNIX:
            theirs = compared.peer.name
        for name, runs in ((ours, outcome.ours), (theirs, outcome.theirs)):
            sizes = rates.setdefault(name, {})
            sizes.setdefault(compared.size, []).extend(run["value"] for run in runs)
    return bars(
        "Messages a second, one way, by payload (logarithmic)",
        {
            name: {_size(size): spread(found).median for size, found in sizes.items()}
            for name, sizes in rates.items()
        },
    )
