"""
What it costs to choose one of the services that are known, by how many there are.

One process and no network: a set of services, filled as registries fill it. Times are of the
processor.

    $ .venv/bin/python -m benchmarks.services
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import attrs

from atbus.routing.services import Filter, Service, ServiceSet
from benchmarks.topology import table_of, time_of_each

COUNTS = (10, 100, 1_000, 10_000)
_TYPES = 4
_QUESTIONS = 2_000


@attrs.frozen(kw_only=True)
class Cost:
    """
    Processor time of one step, in microseconds.

    :param count: Services in the set.
    :param add_us: To take one, before anybody has chosen.
    :param round_us: To choose the one whose turn it is, among those of one type.
    :param random_us: To choose one of them by lot.
    :param ring_us: To choose by a key for the first time, for each of the services of that type.
    :param hash_us: To choose by a key again.
    :param find_us: To look up an id, and a name.
    :param change_us: To take one out and take it again, and choose by a key after each.
    """

    count: int
    add_us: float
    round_us: float
    random_us: float
    ring_us: float
    hash_us: float
    find_us: float
    change_us: float


def measure(count: int, questions: int = _QUESTIONS) -> Cost:
    """
    Measure one set.

    :param count: Services in it.
    :param questions: How many are asked of each kind.
    :returns: What they cost.
    """
    services = [
        Service(bus_id=number, name=f"service-{number}", type=str(number % _TYPES))
        for number in range(1, count + 1)
    ]
    known = ServiceSet()
    add_us = time_of_each(known.add, services)
    where = Filter(type="1")
    known.in_order(where)
    keys = range(questions)
    round_us = time_of_each(lambda _: known.round_robin(where), keys)
    random_us = time_of_each(lambda key: known.at_random(key / questions, where), keys)
    ring_us = time_of_each(lambda key: known.by_hash(key, where), [0])
    # The first round puts those parts of the ring in order that are looked into.
    hash_us = min(time_of_each(lambda key: known.by_hash(key, where), keys) for _ in range(3))
    find_us = time_of_each(lambda key: (known.get(key), known.named(f"service-{key}")), keys)

    def change(service: Service) -> None:
        known.remove(service)
        known.by_hash(1, where)
        known.add(service)
        known.by_hash(1, where)

    return Cost(
        count=count,
        add_us=add_us,
        round_us=round_us,
        random_us=random_us,
        ring_us=ring_us / len(known.in_order(where)),
        hash_us=hash_us,
        find_us=find_us,
        change_us=time_of_each(change, [each for each in services if each.type == "1"][:100]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure and print.

    :param arguments: Words of the command line.
    """
    parser = argparse.ArgumentParser(description="What it costs to choose a service.")
    parser.add_argument("--quick", action="store_true", help="fewer questions")
    quick = parser.parse_args(arguments).quick
    print(table_of([measure(count, 200 if quick else _QUESTIONS) for count in COUNTS]))


if __name__ == "__main__":
    main()
