"""
What a neighbor that has subscribed was told, and what it is still to be told.

It is not a queue of changes. What the neighbor was told is kept, with the ids in which it may be
behind; when there is room on the link, what it should know is compared with that at this moment,
and the difference is sent. So a neighbor that is slow misses what was changed twice, and costs one
number for each id. Too many of those are forgotten, and it is told everything anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import attrs

from atbus import limits
from atbus.routing.batch import BATCH_HEAD_BYTES, Batch, Removal, Word, word_bytes
from atbus.routing.known import is_same
from atbus.routing.record import Record, Stamp
from atbus.wire.digests import DIGEST_MODULUS, stamp_digest

LookUp = Callable[[int], Record | None]
DeadStamp = Callable[[int], Stamp | None]

# Ways up that are longer than this are a circle: the hop limit is far below.
_DEPTH_MAX = 64


@attrs.define(eq=False)
class Publication:
    """
    One direction of one link, seen by the one who tells.

    :param batch_bytes_max: What fits into one frame of the link.
    :param wanted: Gives what the neighbor is to know of a node now; None for nothing.
    :param dead_stamp: Gives the stamp under which a node is known to be dead; None for none.
    """

    batch_bytes_max: int
    wanted: LookUp
    dead_stamp: DeadStamp
    #: The neighbor's last word from us on each node.
    told: dict[int, Record] = attrs.field(factory=dict, init=False, repr=False)
    #: In which ids it may be behind.
    backlog: set[int] = attrs.field(factory=set, init=False, repr=False)
    snapshot_id: int = attrs.field(default=0, init=False)
    #: Number for all that was told (wire protocol, section 7.17).
    digest: int = attrs.field(default=0, init=False)
    #: Batches that were handed over and not sent yet.
    unsent: int = attrs.field(default=0, init=False)
    #: Grows with everything that is told.
    batches: int = attrs.field(default=0, init=False)
    # The rest of the snapshot, None when it is complete.
    _rest: deque[int] | None = attrs.field(default=None, init=False, repr=False)
    _index: int = attrs.field(default=0, init=False)
    # A digest that did not fit, and what had been told then.
    _doubt: tuple[int, int] | None = attrs.field(default=None, init=False)

    def begin(self, everything: Iterable[Record]) -> None:
        """
        Tell everything anew, as a snapshot.

        :param everything: What the neighbor is to know.
        """
        self.snapshot_id = self.snapshot_id % 0xFFFF_FFFF + 1
        self.told.clear()
        self.backlog.clear()
        self.digest = 0
        self._index = 0
        self._doubt = None
        records = top_down(everything, self.wanted)
        self._rest = deque(record.bus_id for record in records)

    @property
    def is_whole(self) -> bool:
        """Whether the snapshot has been handed over to its end."""
        return self._rest is None

    @property
    def has_work(self) -> bool:
        """Whether there is something to say, and room for it."""
        if self.unsent >= limits.ROUTE_BATCHES_AHEAD_MAX:
            return False
        return self._rest is not None or bool(self.backlog)

    @property
    def is_flooded(self) -> bool:
        """Whether it is cheaper to tell everything anew."""
        return len(self.backlog) > limits.ROUTE_BACKLOG_MAX

    def differs(self, bus_id: int) -> bool:
        """
        Tell whether the neighbor was told something else of a node than it should know.

        :param bus_id: Any id.
        :returns: Whether there is something to tell.
        """
        return not is_same(self.wanted(bus_id), self.told.get(bus_id))

    def next_batch(self) -> Batch | None:
        """
        Make the next batch; `has_work` has said that there may be one.

        :returns: What to send, or None when nothing is different any more.
        """
        batch = self._next_of_snapshot() if self._rest is not None else self._next_of_changes()
        if batch is not None:
            self.unsent += 1
            self.batches += 1
        return batch

    def told_besides(self, bus_id: int) -> None:
        """
        Note that the neighbor is told of a death in a batch of its own, at once.

        :param bus_id: Who is dead.
        """
        self._untell(bus_id)
        self.unsent += 1
        self.batches += 1

    def doubts(self, digest: int) -> bool:
        """
        Take what the neighbor says that it knows (wire protocol, section 7.4).

        :param digest: Its digest of what we told; 0 when it does not say.
        :returns: Whether something was lost, so that everything must be told anew.
        """
        if not digest or digest == self.digest or self._rest is not None or self.unsent:
            self._doubt = None
            return False
        doubt = (digest, self.batches)
        is_sure = self._doubt == doubt
        self._doubt = doubt
        return is_sure

    def _next_of_snapshot(self) -> Batch:
        assert self._rest is not None
        words: list[Word] = []
        room = self.batch_bytes_max - BATCH_HEAD_BYTES
        while self._rest and len(words) < limits.ROUTE_BATCH_RECORDS_MAX:
            record = self.wanted(self._rest[0])
            if record is not None and record.bus_id not in self.told:
                room -= word_bytes(record)
                if room < 0 and words:
                    break
                words.append(record)
                self._tell(record)
            self._rest.popleft()
        last = not self._rest
        batch = Batch(
            words=tuple(words), snapshot_id=self.snapshot_id, index=self._index, last=last
        )
        self._index += 1
        if last:
            self._rest = None
        return batch

    def _next_of_changes(self) -> Batch | None:
        words: list[Word] = []
        room = self.batch_bytes_max - BATCH_HEAD_BYTES
        for word in self._changes():
            room -= word_bytes(word)
            if words and (room < 0 or len(words) >= limits.ROUTE_BATCH_RECORDS_MAX):
                break
            words.append(word)
            self.backlog.discard(word.bus_id)
            if isinstance(word, Record):
                self._tell(word)
            else:
                self._untell(word.bus_id)
        return Batch(words=tuple(words)) if words else None

    def _changes(self) -> list[Word]:
        """Compare; who is withdrawn comes first, the deepest first, and who is above before."""
        removals: list[Record] = []
        additions: list[Record] = []
        for bus_id in list(self.backlog):
            if not self.differs(bus_id):
                self.backlog.discard(bus_id)
            elif (record := self.wanted(bus_id)) is None:
                removals.append(self.told[bus_id])
            else:
                additions.append(record)
        removals = top_down(removals, self.told.get)[::-1]
        return [*map(self._removal_of, removals), *top_down(additions, self.wanted)]

    def _removal_of(self, told: Record) -> Removal:
        dead = self.dead_stamp(told.bus_id)
        if dead is not None and dead >= told.stamp:
            return Removal(told.bus_id, dead, dead=True)
        return Removal(told.bus_id, told.stamp, dead=False)

    def _tell(self, record: Record) -> None:
        self._untell(record.bus_id)
        self.told[record.bus_id] = record
        number = stamp_digest(record.bus_id, *record.stamp)
        self.digest = (self.digest + number) % DIGEST_MODULUS

    def _untell(self, bus_id: int) -> None:
        record = self.told.pop(bus_id, None)
        if record is not None:
            number = stamp_digest(bus_id, *record.stamp)
            self.digest = (self.digest - number) % DIGEST_MODULUS


def top_down(records: Iterable[Record], look_up: LookUp) -> list[Record]:
    """
    Put records in an order in which nobody comes before who is above it.

    :param records: Some records.
    :param look_up: Gives the record of any node that is above one of them, if it is known.
    :returns: The same ones; those of equal depth by their ids.
    """
    depths: dict[int, int] = {}
    return sorted(records, key=lambda record: (_depth(record, look_up, depths), record.bus_id))


def _depth(record: Record, look_up: LookUp, depths: dict[int, int]) -> int:
    """Count the known nodes above a node, and remember it for each of them."""
    way: list[int] = []
    upper: Record | None = record
    depth = -1
    while upper is not None and len(way) <= _DEPTH_MAX:
        if (known := depths.get(upper.bus_id)) is not None:
            depth = known
            break
        way.append(upper.bus_id)
        upper = look_up(upper.upstream_id) if upper.upstream_id else None
    for bus_id in reversed(way):
        depth += 1
        depths[bus_id] = depth
    return depth
