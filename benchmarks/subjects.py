"""
What a publication costs, by the number of subscriptions that a node knows of.

One process and no network: the subscribers of a node, the interest of its neighbors, and the frames
that it would send. Times are of the processor.

    $ .venv/bin/python -m benchmarks.subjects
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from random import Random

import attrs

from atbus.subjects.distribution import Distributor, Incoming
from atbus.subjects.index import SubjectIndex
from atbus.subjects.interest import Interests, Side
from atbus.subjects.pattern import parse_pattern, parse_subject
from atbus.wire import codec
from atbus.wire.messages import Interest, InterestEntry, Publish
from benchmarks.topology import table_of, time_of_each

COUNTS = (10, 1_000, 100_000)
_NEIGHBORS = 10
_BATCH = 1_000
_PAYLOAD = b"x" * 128
_RUN = 100


@attrs.frozen(kw_only=True)
class Cost:
    """
    Processor time in microseconds.

    :param count: Subscriptions behind all neighbors together, each with a pattern of its own.
    :param subscribe_us: To take one of them from a neighbor, and to tell the others.
    :param walk_us: To find who wants a subject that was not asked for since the last change.
    :param match_us: The same for a subject that was.
    :param forward_us: To read a publication, decide where it goes, and make the frame.
    :param forward_run_us: The same for each of a hundred that came in one frame.
    """

    count: int
    subscribe_us: float
    walk_us: float
    match_us: float
    forward_us: float
    forward_run_us: float


def measure(count: int, questions: int) -> Cost:
    """
    Measure a proxy with ten neighbors.

    :param count: Subscriptions in all, a quarter of them with a wildcard.
    :param questions: How many publications.
    :returns: What they cost.
    """
    random = Random(count)
    interests = Interests()
    for neighbor in range(1, 1 + _NEIGHBORS):
        interests.open(neighbor, Side.ABOVE if neighbor == 1 else Side.BELOW)
    patterns = [_pattern(number) for number in range(count)]

    def hear(start: int) -> None:
        entries = tuple(InterestEntry(subject=p) for p in patterns[start : start + _BATCH])
        interests.heard(1 + start // _BATCH % _NEIGHBORS, Interest(entries=entries))
        interests.changes()

    batches = list(range(0, count, _BATCH))
    subscribe_us = time_of_each(hear, batches) * len(batches) / count
    subjects = [
        (f"area.{number // 100}.item.{number}",)
        for number in (random.randrange(count) for _ in range(questions))
    ]
    tokens = [parse_subject(subject) for (subject,) in subjects]
    distributor = Distributor(interests, random.randrange)
    index: SubjectIndex[int] = SubjectIndex()
    for number, pattern in enumerate(patterns):
        index.add(parse_pattern(pattern), number)

    def walk(subject: tuple[str, ...]) -> None:
        # What changes empties the memory of matches.
        index.add(("another",), 0)
        index.remove(("another",), 0)
        index.match(subject)

    walk_us = time_of_each(walk, tokens)
    match_us = time_of_each(index.match, [tokens[0]] * questions)
    frames = [
        codec.encode(Publish(source=1, sequence=1, subject=subject, messages=((0, _PAYLOAD),)))
        for (subject,) in subjects[: min(questions, 500)]
    ]
    forward_us = time_of_each(
        lambda frame: _forward(distributor, frame), frames * (questions // len(frames))
    )
    runs = [
        codec.encode(
            Publish(source=1, sequence=1, subject=subject, messages=((0, _PAYLOAD),) * _RUN)
        )
        for (subject,) in subjects[: min(questions, 500)]
    ]
    forward_run_us = time_of_each(lambda frame: _forward(distributor, frame), runs) / _RUN
    return Cost(
        count=count,
        subscribe_us=subscribe_us,
        walk_us=walk_us,
        match_us=match_us,
        forward_us=forward_us,
        forward_run_us=forward_run_us,
    )


def _pattern(number: int) -> str:
    if number % 4 == 3:
        return f"area.{number // 100}.*.{number}"
    return f"area.{number // 100}.item.{number}"


def _forward(distributor: Distributor, frame: bytes) -> None:
    message = codec.decode(frame)
    assert isinstance(message, Publish)
    tokens = tuple(message.subject.split("."))
    what = distributor.distribute(Incoming(subject=tokens, came_from=2, served=message.served))
    for branch in what.branches:
        codec.encode(attrs.evolve(message, queues=branch.queues, served=branch.served))


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure and print.

    :param arguments: Words of the command line.
    """
    parser = argparse.ArgumentParser(description="What a publication costs.")
    parser.add_argument("--quick", action="store_true", help="up to 1,000 subscriptions")
    quick = parser.parse_args(arguments).quick
    counts = COUNTS[:2] if quick else COUNTS
    print(table_of([measure(count, 2_000 if quick else 20_000) for count in counts]))


if __name__ == "__main__":
    main()
