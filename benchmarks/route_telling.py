"""
What it costs a node to tell its neighbors of many others, and how long it does nothing else.

One process and no network: the machine of a route table, and its batches written as frames. In each
turn it gets what has come and takes note of what has left, as the reactor would have it. Times are
of the processor, without the collector of cyclic garbage (`benchmarks.loop_lag` has that in).

    $ .venv/bin/python -m benchmarks.route_telling
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Sequence
from functools import partial
from time import process_time

import attrs

from atbus.node.route_notices import RouteNotices
from atbus.routing.batch import Batch, Removal, Word
from atbus.routing.record import Record, Stamp
from atbus.routing.sync import RouteSync
from atbus.routing.sync_terms import Effect, Peer, Send, TableMode
from atbus.routing.table import Position
from atbus.wire.messages import SubscribeRequest, SubscribeResponse
from benchmarks.topology import table_of

NEIGHBORS = (1, 20, 100)
COUNTS = (1_000, 10_000)
_OWN, _UPSTREAM, _FIRST, _LONE, _LEAF = 1, 2, 100_000, 10_000_000, 100
_BATCH = 1_000
_GATHER_SECONDS = 0.2


@attrs.frozen(kw_only=True)
class Cost:
    """
    Processor time of telling, in milliseconds.

    :param neighbors: Who is told.
    :param count: Records that come, change and go.
    :param one_ms: To tell all of one new record.
    :param new_ms: To be told of all records by the upstream, and to tell the neighbors.
    :param new_turn_ms: The longest turn meanwhile; likewise the others.
    :param asked_ms: To answer all neighbors, who ask for everything in one turn.
    :param gone_ms: To be told that all records are gone, and to tell it.
    """

    neighbors: int
    count: int
    one_ms: float
    new_ms: float
    new_turn_ms: float
    changed_ms: float
    changed_turn_ms: float
    asked_ms: float
    asked_turn_ms: float
    gone_ms: float
    gone_turn_ms: float


def record(bus_id: int, seq: int = 1, upstream_id: int = 0) -> Record:
    """
    Make a record as nodes have them.

    :param bus_id: Of whom.
    :param seq: Its version.
    :param upstream_id: Who is above.
    :returns: The record.
    """
    host = f"host-{bus_id % 50}"
    return Record(
        bus_id=bus_id,
        stamp=Stamp(1, seq),
        upstream_id=upstream_id,
        labels=(("region", "eu"),),
        addresses=(f"ipv4://10.0.0.{bus_id % 250}:7001",),
        host=host,
        process=f"{host}/{bus_id}/1",
    )


class Hub:
    """
    A node with an upstream that tells it of others, and leaves that want to know them.

    :param neighbors: How many leaves.
    """

    def __init__(self, neighbors: int) -> None:
        self._machine = RouteSync(record(_OWN, 0), TableMode.FULL)
        self._notices = RouteNotices()
        self._now = 100.0
        self._left: list[int] = []
        self._turns: list[float] = []
        self._leaves = range(_LEAF, _LEAF + neighbors)
        self._enter(_UPSTREAM, Position.UPSTREAM)
        for leaf in self._leaves:
            self._enter(leaf, Position.DOWNSTREAM)
        self.ask()

    def _enter(self, bus_id: int, position: Position) -> None:
        peer = Peer(record=record(bus_id, 0), position=position)
        above = _OWN if position is Position.DOWNSTREAM else 0
        own = Batch(words=(record(bus_id, upstream_id=above),), snapshot_id=1, last=True)
        machine = self._machine
        self._turn(
            lambda: [
                *machine.available(peer, self._now),
                *machine.receive(bus_id, SubscribeResponse(snapshot_id=1), self._now),
                *machine.receive(bus_id, own, self._now),
            ]
        )

    def tell(self, words: Sequence[Word]) -> tuple[float, float]:
        """
        Let the upstream tell something, one batch in a turn.

        :param words: What.
        :returns: Milliseconds in all, and of the longest turn.
        """
        for at in range(0, len(words), _BATCH):
            batch = Batch(words=tuple(words[at : at + _BATCH]))
            self._turn(partial(self._machine.receive, _UPSTREAM, batch, self._now))
        return self._settle()

    def ask(self) -> tuple[float, float]:
        """
        Let all leaves ask for everything in one turn.

        :returns: As for `tell`.
        """
        # So that nobody has to wait because it has asked just now, or has told much.
        self._settle()
        self._now += 30.0
        wishes = [(leaf, SubscribeRequest(source=leaf)) for leaf in self._leaves]
        self._turn(
            lambda: [
                effect
                for leaf, wish in wishes
                for effect in self._machine.receive(leaf, wish, self._now)
            ]
        )
        return self._settle()

    def _settle(self) -> tuple[float, float]:
        end = self._now + _GATHER_SECONDS
        while self._left or (self._machine.deadline or end) < end:
            self._now = max(self._now, self._machine.deadline or self._now)
            self._turn(list)
        self._now = end
        turns, self._turns = self._turns, []
        return 1e3 * sum(turns), 1e3 * max(turns, default=0.0)

    def _turn(self, arrive: Callable[[], list[Effect]]) -> None:
        left, self._left = self._left, []
        began = process_time()
        self._perform(arrive())
        deadline = self._machine.deadline
        if deadline is not None and deadline <= self._now:
            self._perform(self._machine.tick(self._now))
        for bus_id in left:
            self._perform(self._machine.sent(bus_id, self._now))
        self._turns.append(process_time() - began)

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Batch):
                self._notices.of(effect.message, _OWN).build(0, 0)
                self._left.append(effect.bus_id)


def measure(neighbors: int, count: int) -> Cost:
    """
    Measure one hub.

    :param neighbors: Who is told.
    :param count: Of how many nodes.
    :returns: What it costs.
    """
    hub = Hub(neighbors)
    ids = range(_FIRST, _FIRST + count)
    one_ms, _ = hub.tell([record(_LONE, upstream_id=_UPSTREAM)])
    new = hub.tell([record(each, 1, _UPSTREAM) for each in ids])
    changed = hub.tell([record(each, 2, _UPSTREAM) for each in ids])
    asked = hub.ask()
    gone = hub.tell([Removal(each, Stamp(1, 2), dead=False) for each in ids])
    return Cost(
        neighbors=neighbors,
        count=count,
        one_ms=one_ms,
        new_ms=new[0],
        new_turn_ms=new[1],
        changed_ms=changed[0],
        changed_turn_ms=changed[1],
        asked_ms=asked[0],
        asked_turn_ms=asked[1],
        gone_ms=gone[0],
        gone_turn_ms=gone[1],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure and print.

    :param arguments: Words of the command line.
    """
    parser = argparse.ArgumentParser(description="What it costs to tell neighbors of many nodes.")
    parser.add_argument("--quick", action="store_true", help="1,000 records only")
    counts = COUNTS[:1] if parser.parse_args(arguments).quick else COUNTS
    gc.disable()
    try:
        print(table_of([measure(each, count) for count in counts for each in NEIGHBORS]))
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
