"""A route table that is talked to by hand: every word that it says is kept."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from atbus.busid import Subnet
from atbus.routing.batch import Batch, Removal, Word
from atbus.routing.record import Record, Stamp
from atbus.routing.sync import RouteSync
from atbus.routing.sync_terms import (
    Effect,
    Forget,
    Learn,
    Peer,
    Send,
    SyncMessage,
    TableMode,
)
from atbus.routing.table import Position
from atbus.wire.messages import SubscribeRequest, SubscribeResponse

OWN = 1
UP, DOWN, PEER = Position.UPSTREAM, Position.DOWNSTREAM, Position.PEER


def record(bus_id: int, seq: int = 1, upstream_id: int = 0, epoch: int = 1) -> Record:
    """Make a record; its process says which one it is."""
    process = f"{bus_id}.{epoch}"
    return Record(
        bus_id=bus_id, stamp=Stamp(epoch, seq), upstream_id=upstream_id, host="h", process=process
    )


def dead(bus_id: int, seq: int, epoch: int = 1) -> Removal:
    """Make the word that a node is dead."""
    return Removal(bus_id, Stamp(epoch, seq), dead=True)


def gone(bus_id: int, seq: int, epoch: int = 1) -> Removal:
    """Make the word that a node is not carried any more."""
    return Removal(bus_id, Stamp(epoch, seq), dead=False)


@attrs.define(eq=False)
class Talk:
    """
    The machine of node 1, and what it has said.

    Batches leave at once unless *slow* names the neighbor.
    """

    machine: RouteSync = attrs.field(factory=lambda: RouteSync(record(OWN, seq=0), TableMode.FULL))
    now: float = 100.0
    sent: list[tuple[int, SyncMessage]] = attrs.field(factory=list)
    learned: list[Effect] = attrs.field(factory=list)
    other: list[Effect] = attrs.field(factory=list)
    slow: set[int] = attrs.field(factory=set)

    def do(self, effects: Iterable[Effect]) -> None:
        """Keep what is to be done."""
        left: list[int] = []
        for effect in effects:
            match effect:
                case Send(bus_id=bus_id, message=message):
                    self.sent.append((bus_id, message))
                    if isinstance(message, Batch) and bus_id not in self.slow:
                        left.append(bus_id)
                case Learn() | Forget():
                    self.learned.append(effect)
                case _:
                    self.other.append(effect)
        for bus_id in left:
            self.do(self.machine.sent(bus_id, self.now))

    def available(
        self,
        bus_id: int,
        position: Position,
        *,
        tells: bool = True,
        epoch: int = 1,
        certified: Subnet | None = None,
    ) -> None:
        """Let a neighbor be there."""
        first = record(bus_id, 0, epoch=epoch)
        peer = Peer(record=first, position=position, tells=tells, certified=certified)
        self.do(self.machine.available(peer, self.now))

    def lose(self, bus_id: int, *, in_order: bool = False) -> None:
        """Let a neighbor be there no more."""
        self.do(self.machine.lost(bus_id, self.now, in_order=in_order))

    def hear(self, bus_id: int, message: SyncMessage) -> None:
        """Let a neighbor say something."""
        self.do(self.machine.receive(bus_id, message, self.now))

    def answer(self, bus_id: int, *words: Word, snapshot_id: int = 1, last: bool = True) -> None:
        """Let a neighbor answer our request, with a snapshot in one batch."""
        self.hear(bus_id, SubscribeResponse(source=bus_id, snapshot_id=snapshot_id))
        self.hear(bus_id, Batch(words=words, snapshot_id=snapshot_id, last=last))

    def say(self, bus_id: int, *words: Word) -> None:
        """Let a neighbor tell changes."""
        self.hear(bus_id, Batch(words=words))

    def subscribe(self, bus_id: int) -> None:
        """Let a neighbor ask."""
        self.hear(bus_id, SubscribeRequest(source=bus_id))

    def neighbor(self, bus_id: int, position: Position, *words: Word) -> None:
        """Let a neighbor be there, ask, and tell of itself and of more."""
        self.available(bus_id, position)
        self.subscribe(bus_id)
        upstream_id = OWN if position is DOWN else 0
        self.answer(bus_id, record(bus_id, upstream_id=upstream_id), *words)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (deadline := self.machine.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.do(self.machine.tick(self.now))
        self.now = end

    def take(self, bus_id: int) -> list[Word]:
        """Take out every word that a neighbor was told since the last time."""
        words = [
            word
            for to, message in self.sent
            if to == bus_id and isinstance(message, Batch)
            for word in message.words
        ]
        self.sent = [(to, message) for to, message in self.sent if to != bus_id]
        return words

    def batches(self, bus_id: int) -> list[Batch]:
        """Give the batches that a neighbor was sent and nobody has taken out."""
        return [message for to, message in self.sent if to == bus_id and isinstance(message, Batch)]

    def forget_sent(self) -> None:
        """Take out everything that was sent until now."""
        self.sent.clear()

    @property
    def ids(self) -> list[int]:
        """The ids in the table."""
        return [each.bus_id for each in self.machine.known.records()]
