"""
The table of the demo: who talks to whom, over what, how far, how fast.

A line stands for a region and a relation, or for a pair of nodes. Rates and latencies are those
since the table was made the last time; failures are counted from the beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from atbus.cli.demo.layout import (
    CROSS,
    MEMBERS,
    NAMES,
    PAIRS,
    REGIONS,
    RELATIONS,
    relation,
)
from atbus.cli.demo.service import BUCKETS_PER_DOUBLING
from atbus.cli.demo.watch import Flow, Pair
from atbus.cli.output import duration

TITLES: Final = (
    "from",
    "to",
    "relation",
    "channel",
    "hops",
    "msg/s",
    "median",
    "99 %",
    "refused",
    "uncertain",
)

Key = tuple[str, str, str]
"""From whom, to whom, and how they stand to each other."""


@attrs.define
class Line:
    """What a line of the table says."""

    channels: set[str] = attrs.field(factory=set)
    hops: set[int] = attrs.field(factory=set)
    received: int = 0
    latencies: Counter[int] = attrs.field(factory=Counter)
    refused: int = 0
    uncertain: int = 0


class Board:
    """
    Make tables.

    :param pairs: Whether there is a line for each pair of nodes.
    """

    def __init__(self, *, pairs: bool) -> None:
        self._pairs = pairs
        self._before: Mapping[Pair, Flow] = {}
        self._at = 0.0

    def rows(self, flows: Mapping[Pair, Flow], now: float) -> list[tuple[str, ...]]:
        """
        Make the table anew.

        :param flows: What is known now.
        :param now: The time, seconds.
        :returns: The cells of each line, in the order of `TITLES`.
        """
        lines: dict[Key, Line] = {key: Line() for key in self._keys()}
        for pair, flow in flows.items():
            line = lines.get(self._key(pair))
            if line is not None:
                self._count(line, flow, self._before.get(pair, Flow()))
        seconds = now - self._at
        self._before, self._at = flows, now
        return [self._cells(key, line, seconds) for key, line in lines.items()]

    @staticmethod
    def _count(line: Line, flow: Flow, before: Flow) -> None:
        came = flow.received - before.received
        line.received += came
        line.latencies += flow.latencies - before.latencies
        line.uncertain += flow.refused["UNCERTAIN"]
        line.refused += sum(flow.refused.values()) - flow.refused["UNCERTAIN"]
        if came:
            line.channels.add(flow.channel)
            line.hops.add(flow.hops)

    def _keys(self) -> Iterable[Key]:
        if self._pairs:
            yield from map(self._key, PAIRS)
        else:
            for region in REGIONS:
                for kind in RELATIONS:
                    yield _from(region), _to(region, kind), kind

    def _key(self, pair: Pair) -> Key:
        source, target = (MEMBERS[NAMES[bus_id]] for bus_id in pair)
        kind = relation(source, target)
        if self._pairs:
            return source.name, target.name, kind
        return _from(source.region), _to(source.region, kind), kind

    @staticmethod
    def _cells(key: Key, line: Line, seconds: float) -> tuple[str, ...]:
        hops = sorted(line.hops)
        return (
            *key,
            "+".join(sorted(line.channels)) or "-",
            "-".join(map(str, {hops[0]: 0, hops[-1]: 0})) if hops else "-",
            f"{line.received / seconds:.0f}" if seconds else "-",
            quantile(line.latencies, 0.5),
            quantile(line.latencies, 0.99),
            str(line.refused or "-"),
            str(line.uncertain or "-"),
        )


def quantile(latencies: Counter[int], part: float) -> str:
    """
    Read a latency out of buckets.

    :param latencies: For each bucket how many messages.
    :param part: Of all messages so many were not later, 0 to 1.
    :returns: The middle of a bucket, for people; ``-`` when there are none.
    """
    remaining = sum(latencies.values()) * part
    for bucket, count in sorted(latencies.items()):
        remaining -= count
        if remaining <= 0:
            return duration(2 ** (bucket / BUCKETS_PER_DOUBLING) / 1e6)
    return "-"


def _from(region: str) -> str:
    return f"{region}-*"


def _to(region: str, kind: str) -> str:
    other = next(each for each in REGIONS if each != region)
    return {
        "self": "itself",
        "home": f"{region}-*",
        "above": CROSS.name,
        "abroad": f"{other}-*",
    }[kind]
