"""
What a question about the topology costs, by the depth of the tree and the number of records.

One process and no network: the registry and the table of a node, filled as route tables fill them.
Times are of the processor.

    $ .venv/bin/python -m benchmarks.topology
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from random import Random
from time import process_time
from typing import TypeVar

import attrs

from atbus.busid import BusId
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder
from atbus.routing.table import Neighbor, Position, Table

DEPTHS = (2, 6, 20)
COUNTS = (1_000, 10_000, 100_000)
_PROXIES = 10
_BATCH = 1_000

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Cost:
    """
    Processor time of one question, or of one record, in microseconds.

    :param depth: Nodes above the lowest ones.
    :param count: Records in the registry.
    :param feed_us: To take one record, in batches.
    :param first_us: The next hop of a target that was not asked for since the last change, on
        average when all of them are asked for.
    :param again_us: The next hop of a target that was.
    :param relation_us: How any two nodes stand to each other, asked for the first time.
    :param relation_again_us: The same, asked again.
    """

    depth: int
    count: int
    feed_us: float
    first_us: float
    again_us: float
    relation_us: float
    relation_again_us: float


def bus(depth: int, count: int) -> tuple[Table, list[Record]]:
    """
    Make a bus: a root, ten proxies that are registered with it, and chains below those.

    :param depth: Nodes above the lowest ones.
    :param count: Records in all.
    :returns: The table of the root, and the records, which it does not have yet.
    """
    table = Table(1)
    records = [Record(bus_id=1, stamp=Stamp(1, 1))]
    for proxy in range(2, 2 + _PROXIES):
        table.add(Neighbor(BusId(proxy), (), Position.DOWNSTREAM))
        table.set_usable(proxy, True)
        records.append(Record(bus_id=proxy, upstream_id=1, stamp=Stamp(1, 1)))
    for bus_id in range(2 + _PROXIES, count + 1):
        # Each proxy has chains of full depth below it, node below node.
        is_first = (bus_id - 2) // _PROXIES % (depth - 1) == 0
        above = 2 + bus_id % _PROXIES if is_first and depth > 1 else bus_id - _PROXIES
        records.append(Record(bus_id=bus_id, upstream_id=above, stamp=Stamp(1, 1)))
    return table, records


def measure(depth: int, count: int, questions: int) -> Cost:
    """
    Measure one bus.

    :param depth: Nodes above the lowest ones.
    :param count: Records in all.
    :param questions: How many are asked of each kind.
    :returns: What they cost.
    """
    random = Random(depth * count)
    table, records = bus(depth, count)
    claim = table.registry.claim
    feed_us = time_of_each(lambda batch: claim(Feeder.SYNC, batch), _batches(records))
    first_us = _first(table, random, count, questions)
    targets = [random.randrange(2, count + 1) for _ in range(questions)]
    few = targets[:1_000]
    for target in few:
        table.next_hop(target)
    again_us = min(time_of_each(table.next_hop, few) for _ in range(5))
    pairs = [(random.randrange(1, count + 1), target) for target in targets]
    between = table.registry.tree.relation_between
    relation_us = time_of_each(lambda pair: between(*pair), pairs)
    relation_again_us = min(time_of_each(lambda pair: between(*pair), pairs) for _ in range(3))
    return Cost(
        depth=depth,
        count=count,
        feed_us=feed_us / _BATCH,
        first_us=first_us,
        again_us=again_us,
        relation_us=relation_us,
        relation_again_us=relation_again_us,
    )


def _first(table: Table, random: Random, count: int, questions: int) -> float:
    """Let something change and ask for everybody once, in any order; as often as it takes."""
    everybody = list(range(2, count + 1))
    costs = []
    for number in range(-(-questions // count)):
        above = 2 + number % _PROXIES
        wanderer = Record(bus_id=count + 1, upstream_id=above, stamp=Stamp(1, number + 1))
        table.registry.claim(Feeder.SYNC, [wanderer])
        random.shuffle(everybody)
        costs.append(time_of_each(table.next_hop, everybody))
    return sum(costs) / len(costs)


def _batches(records: Sequence[Record]) -> list[Sequence[Record]]:
    return [records[first : first + _BATCH] for first in range(0, len(records), _BATCH)]


def time_of_each(ask: Callable[[T], object], questions: Sequence[T]) -> float:
    """
    Ask questions.

    :param ask: Asks one of them.
    :param questions: They.
    :returns: The processor's time for one, in microseconds.
    """
    began = process_time()
    for question in questions:
        ask(question)
    return (process_time() - began) / len(questions) * 1e6


def table_of(costs: Sequence[attrs.AttrsInstance]) -> str:
    """
    Write costs for people.

    :param costs: In the order of the lines, all of one class; at least one.
    :returns: A table with a head.
    """
    names = [field.name for field in attrs.fields(type(costs[0]))]
    lines = ["  ".join(f"{name:>17}" for name in names)]
    for cost in costs:
        values = [getattr(cost, name) for name in names]
        cells = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in values]
        lines.append("  ".join(f"{cell:>17}" for cell in cells))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure and print.

    :param arguments: Words of the command line.
    """
    parser = argparse.ArgumentParser(description="What a question about the topology costs.")
    parser.add_argument("--quick", action="store_true", help="up to 10,000 records")
    quick = parser.parse_args(arguments).quick
    counts = COUNTS[:2] if quick else COUNTS
    costs = [
        measure(depth, count, 2_000 if quick else 20_000) for depth in DEPTHS for count in counts
    ]
    print(table_of(costs))


if __name__ == "__main__":
    main()
