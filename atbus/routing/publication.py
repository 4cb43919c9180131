"""
What a neighbor that has subscribed was told, and what it is still to be told.

It is not a queue of changes. What the neighbor was told is kept, with the ids in which it may be
behind; when there is room on the link, what it should know is compared with that at this moment,
and the difference is sent. So a neighbor that is slow misses what was changed twice, and costs one
number for each id. Too many of those are forgotten, and it is told everything anew.

What is to be told is put in order once, as a *course* of ids: all of them for a snapshot, those in
which the neighbor may be behind for changes. Then it is told a *portion* of the course after the
other, each as things are at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from atbus import limits
from atbus.routing.batch import BATCH_HEAD_BYTES, Batch, Removal, Word, word_bytes
from atbus.routing.courses import LookUp, top_down
from atbus.routing.known import is_same
from atbus.routing.record import Record, Stamp
from atbus.wire.digests import DIGEST_MODULUS, stamp_digest

DeadStamp = Callable[[int], Stamp | None]


@attrs.frozen(eq=False)
class Course:
    """
    The ids of which a neighbor is to be told, in order.

    :param ids: Each once.
    :param structure: The state of the table, as far as order depends on it (`Sharing`).
    """

    ids: tuple[int, ...]
    structure: int = 0


@attrs.frozen(eq=False)
class Portion:
    """
    The next part of a course, in words.

    :param ids: The part.
    :param words: What is said of them, and of how many nothing need be said.
    :param records: What the neighbor knows then, by id.
    :param gone: Of whom it knows nothing then.
    :param deaths: The stamps under which those are known to be dead.
    :param digest: What all that adds to the digest of what was told.
    :param batches: The batches that say it, by how they stand in their snapshots.
    """

    ids: tuple[int, ...]
    words: tuple[Word, ...]
    records: dict[int, Record]
    gone: tuple[int, ...]
    deaths: list[Stamp | None]
    digest: int
    batches: dict[tuple[int, int, bool], Batch] = attrs.field(factory=dict)


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
    #: What it is being told of; None when that is to be found out from the backlog.
    course: Course | None = attrs.field(default=None, init=False, repr=False)
    #: How much of the course it was told.
    place: int = attrs.field(default=0, init=False)
    snapshot_id: int = attrs.field(default=0, init=False)
    #: Number for all that was told (wire protocol, section 7.17).
    digest: int = attrs.field(default=0, init=False)
    #: Batches that were handed over and not sent yet.
    unsent: int = attrs.field(default=0, init=False)
    #: Grows with everything that is told.
    batches: int = attrs.field(default=0, init=False)
    #: Whether the snapshot has been handed over to its end.
    is_whole: bool = attrs.field(default=True, init=False)
    # The courses of the snapshot behind this one.
    _then: list[Course] = attrs.field(factory=list, init=False, repr=False)
    _index: int = attrs.field(default=0, init=False)
    # A digest that did not fit, and what had been told then.
    _doubt: tuple[int, int] | None = attrs.field(default=None, init=False)

    def begin(self, everything: Sequence[Course]) -> None:
        """
        Tell everything anew, as a snapshot.

        :param everything: What the neighbor is to know, and perhaps more: one course or several,
            no id twice. A batch is of one course.
        """
        self.snapshot_id = self.snapshot_id % 0xFFFF_FFFF + 1
        self.told.clear()
        self.backlog.clear()
        self.digest = 0
        self._index = 0
        self._doubt = None
        self.is_whole = False
        self.course, *self._then = everything
        self.place = 0

    @property
    def has_work(self) -> bool:
        """Whether there is something to say, and room for it."""
        if self.unsent >= limits.ROUTE_BATCHES_AHEAD_MAX:
            return False
        return not self.is_whole or bool(self.backlog)

    @property
    def is_flooded(self) -> bool:
        """Whether it is cheaper to tell everything anew."""
        return len(self.backlog) > limits.ROUTE_BACKLOG_MAX

    def differing(self, bus_ids: Iterable[int]) -> list[int]:
        """
        Find the nodes of which the neighbor was told something else than it should know.

        :param bus_ids: Any ids.
        :returns: Those of them of which there is something to tell.
        """
        wanted, told = self.wanted, self.told
        return [each for each in bus_ids if not is_same(wanted(each), told.get(each))]

    def changes(self) -> tuple[int, ...]:
        """
        Put in order of whom there is something to tell.

        :returns: Who is withdrawn comes first, the deepest first, and who is above before.
        """
        removals: list[Record] = []
        additions: list[Record] = []
        for bus_id in self.differing(self.backlog):
            record = self.wanted(bus_id)
            if record is None:
                removals.append(self.told[bus_id])
            else:
                additions.append(record)
        ordered = [*self._from_below(removals), *top_down(additions, self.wanted)]
        return tuple(record.bus_id for record in ordered)

    def follow(self, course: Course) -> None:
        """
        Be told of what has changed.

        :param course: In which order; who is in the backlog and not in there is as it was told.
        """
        self.backlog.intersection_update(course.ids)
        self.course, self.place = (course, 0) if course.ids else (None, 0)

    def portion(self, *, is_ordered: bool) -> Portion:
        """
        Find out what is to be said of the next part of the course.

        :param is_ordered: Whether the course is still in order, as things are now.
        :returns: As much of it as fits into a batch.
        """
        assert self.course is not None
        removals: list[Record] = []
        additions: list[Record] = []
        room = self.batch_bytes_max - BATCH_HEAD_BYTES
        ids, place = self.course.ids, self.place
        change = count = 0
        for bus_id in ids[place:]:
            record, told = self.wanted(bus_id), self.told.get(bus_id)
            if not is_same(record, told):
                word = self._removal_of(told) if record is None and told is not None else record
                assert word is not None
                room -= word_bytes(word)
                if count and (room < 0 or count >= limits.ROUTE_BATCH_RECORDS_MAX):
                    break
                count += 1
                if told is not None:
                    change -= stamp_digest(bus_id, *told.stamp)
                if record is not None:
                    additions.append(record)
                    change += stamp_digest(bus_id, *record.stamp)
                elif told is not None:
                    is_ordered = is_ordered and not additions
                    removals.append(told)
            place += 1
        if not is_ordered:
            removals = self._from_below(removals)
            additions = top_down(additions, self.wanted)
        gone = tuple(each.bus_id for each in removals)
        return Portion(
            ids=ids[self.place : place],
            words=(*map(self._removal_of, removals), *additions),
            records={each.bus_id: each for each in additions},
            gone=gone,
            deaths=[self.dead_stamp(each) for each in gone],
            digest=change,
        )

    def tell(self, portion: Portion) -> Batch | None:
        """
        Tell the neighbor the next portion.

        :param portion: What is to be said of the next part of the course.
        :returns: What to send, or None when nothing is different any more.
        """
        assert self.course is not None
        self.told.update(portion.records)
        for bus_id in portion.gone:
            del self.told[bus_id]
        self.digest = (self.digest + portion.digest) % DIGEST_MODULUS
        if self.backlog:
            self.backlog.difference_update(portion.ids)
        self.place += len(portion.ids)
        if self.place >= len(self.course.ids):
            self.course, self.place = (self._then.pop(0) if self._then else None), 0
        batch = self._batch_of(portion)
        if batch is not None:
            self.unsent += 1
            self.batches += 1
        return batch

    def _batch_of(self, portion: Portion) -> Batch | None:
        is_last = self.course is None and not self.is_whole
        if not portion.words and not is_last:
            return None
        if self.is_whole:
            key = (0, 0, False)
        else:
            key = (self.snapshot_id, self._index, is_last)
            self._index += 1
            self.is_whole = is_last
        batch = portion.batches.get(key)
        if batch is None:
            batch = portion.batches[key] = Batch(
                words=portion.words, snapshot_id=key[0], index=key[1], last=key[2]
            )
        return batch

    def told_besides(self, bus_id: int) -> None:
        """
        Note that the neighbor is told of a death in a batch of its own, at once.

        :param bus_id: Who is dead.
        """
        record = self.told.pop(bus_id, None)
        if record is not None:
            number = stamp_digest(bus_id, *record.stamp)
            self.digest = (self.digest - number) % DIGEST_MODULUS
        self.unsent += 1
        self.batches += 1

    def doubts(self, digest: int) -> bool:
        """
        Take what the neighbor says that it knows (wire protocol, section 7.4).

        :param digest: Its digest of what we told; 0 when it does not say.
        :returns: Whether something was lost, so that everything must be told anew.
        """
        if not digest or digest == self.digest or not self.is_whole or self.unsent:
            self._doubt = None
            return False
        doubt = (digest, self.batches)
        is_sure = self._doubt == doubt
        self._doubt = doubt
        return is_sure

    def _from_below(self, told: Iterable[Record]) -> list[Record]:
        return top_down(told, self.told.get)[::-1]

    def _removal_of(self, told: Record) -> Removal:
        dead = self.dead_stamp(told.bus_id)
        if dead is not None and dead >= told.stamp:
            return Removal(told.bus_id, dead, dead=True)
        return Removal(told.bus_id, told.stamp, dead=False)
