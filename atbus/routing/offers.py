"""
What nodes offer, told from neighbor to neighbor: the documents of services (wire protocol, 7.36).

1. Of a key the document with the larger stamp counts, first the epoch, then the number; of two that
   are equal our own, then what a downstream tells.
2. A neighbor is told the best document of every key, by the rule of routes: an upstream and a peer
   what is ours and what downstreams tell, a downstream everything, nobody what he alone tells.
3. A document is believed when its teller may speak for its node; until then it is *doubted*, and
   looked at again by `recheck`.
4. What a neighbor told goes with it: at once when it left in good order, otherwise after a grace,
   unless it is back by then. Over a new connection everything is told anew; what is not repeated by
   the end of that is gone. What an upstream told of others stays, whatever the order in which it
   left, until another one has told everything.
5. Documents are not read here. A relay passes on what a newer program has written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from atbus import limits
from atbus.busid import format_bus_id
from atbus.routing.offer_room import OfferRoom, Part
from atbus.routing.services import Version
from atbus.routing.table import Position
from atbus.wire.bounds import (
    SERVICE_ENTRIES_MAX,
    SERVICE_KEY_BYTES,
    SERVICE_VALUE_BYTES,
    SERVICES_PER_NEIGHBOR_MAX,
)
from atbus.wire.messages import ServiceBatch, ServiceEntry

# Of an entry the numbers and lengths.
_ENTRY_BYTES: Final = 26
# Of a batch what stands in front of its entries.
_BATCH_BYTES: Final = limits.FRAME_HEAD_BYTES + 4
# The teller of what is ours.
_OURSELVES: Final = 0


@attrs.frozen
class Posted:
    """
    A key as it stands now.

    :param key: The key.
    :param value: The document; None when there is none any more.
    :param version: How new that is, in the numbers of this node.
    """

    key: str
    value: bytes | None
    version: Version


@attrs.define(eq=False)
class _Neighbor:
    """What one neighbor tells and is told."""

    position: Position
    frame_bytes_max: int
    # Mostly empty, as a set would take three times as much memory.
    keys: dict[str, None] = attrs.field(factory=dict)
    # Of the memory, for the documents under these keys.
    part: Part = attrs.field(factory=Part)
    told: dict[str, ServiceEntry] = attrs.field(factory=dict)
    # What the replay that is under way has not repeated yet; None when it is complete.
    unmentioned: set[str] | None = attrs.field(factory=set)
    # When what it told is given up; None while it is connected.
    ends_at: float | None = None


def entry_bytes(entry: ServiceEntry) -> int:
    """
    Say how long an entry is in a frame.

    :param entry: It.
    :returns: Bytes.
    """
    return _ENTRY_BYTES + len(entry.key.encode()) + len(entry.value)


class Offers:
    """
    The documents that one node knows (see the rules at the top of this file).

    :param epoch: Of this life of the node.
    :param may_speak: Tells whether a neighbor may speak for a node.
    """

    def __init__(self, epoch: int, may_speak: Callable[[int, int], bool]) -> None:
        #: How many words of neighbors were left out, because they break a bound or name no node.
        self.ignored = 0
        #: How many documents were too long for the frames of a neighbor.
        self.untold = 0
        self._epoch = epoch
        self._may_speak = may_speak
        self._seq = 0
        self._revision = 0
        self._neighbors: dict[int, _Neighbor] = {}
        # For each key who tells what; and what is believed of that, and best.
        self._said: dict[str, dict[int, ServiceEntry]] = {}
        self._best: dict[str, tuple[ServiceEntry, Version]] = {}
        self._doubted: set[tuple[int, str]] = set()
        self._room = OfferRoom()
        # Keys of ours that nobody is told.
        self._private: set[str] = set()
        self._dirty: dict[str, None] = {}
        self._news: list[Posted] = []

    def __len__(self) -> int:
        return len(self._best)

    # What is known.

    @property
    def is_complete(self) -> bool:
        """Whether every neighbor is connected and has told everything."""
        return all(
            neighbor.ends_at is None and neighbor.unmentioned is None
            for neighbor in self._neighbors.values()
        )

    @property
    def has_changes(self) -> bool:
        """Whether neighbors may have to be told something."""
        return bool(self._dirty)

    @property
    def deadline(self) -> float | None:
        """When to `tick` next, seconds; None for never."""
        # Asked four times a second: a generator would be called for each neighbor.
        earliest = None
        for neighbor in self._neighbors.values():
            at = neighbor.ends_at
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    def get(self, key: str) -> Posted | None:
        """
        Look a key up.

        :param key: The key.
        :returns: How it stands, or None.
        """
        best = self._best.get(key)
        return None if best is None else Posted(key, best[0].value, best[1])

    def posted(self) -> list[Posted]:
        """
        List everything that is known.

        :returns: In the order in which it was written.
        """
        everything = [
            Posted(key, entry.value, version) for key, (entry, version) in self._best.items()
        ]
        return sorted(everything, key=lambda one: one.version)

    # What is ours.

    def put(self, bus_id: int, key: str, value: bytes, *, private: bool = False) -> ServiceEntry:
        """
        Write a document of this node.

        :param bus_id: The node.
        :param key: Where.
        :param value: The document, not empty.
        :param private: Whether nobody is told.
        :returns: What was written.
        """
        self._seq += 1
        known = self._best.get(key)
        # What is overwritten may be of a former life with a later epoch: clocks go back.
        epoch = self._epoch if known is None else max(self._epoch, known[0].epoch)
        seq = self._seq
        if known is not None and (known[0].epoch, known[0].seq) >= (epoch, seq):
            seq = self._seq = known[0].seq + 1
        entry = ServiceEntry(bus_id=bus_id, epoch=epoch, seq=seq, key=key, value=value)
        if private:
            self._private.add(key)
        self._say(_OURSELVES, entry)
        return entry

    def remove(self, key: str) -> None:
        """
        Take a document of this node back.

        :param key: Where.
        """
        self._unsay(_OURSELVES, key)
        self._private.discard(key)

    # Neighbors.

    def open(self, bus_id: int, position: Position, frame_bytes_max: int) -> list[ServiceBatch]:
        """
        Begin to talk with a neighbor, or go on over another connection.

        :param bus_id: The neighbor.
        :param position: Where it stands.
        :param frame_bytes_max: The longest frame that it takes.
        :returns: What it has to be told, which is everything.
        """
        neighbor = self._neighbors.get(bus_id)
        if neighbor is None:
            neighbor = self._neighbors[bus_id] = _Neighbor(position, frame_bytes_max)
        neighbor.frame_bytes_max = frame_bytes_max
        neighbor.ends_at = None
        neighbor.told = {}
        neighbor.unmentioned = set(neighbor.keys)
        self.move(bus_id, position)
        entries = list(self._news_for(bus_id, self._said))
        batches = list(_batches(entries, frame_bytes_max, replay=True))
        last = batches.pop() if batches else ServiceBatch(replay=True)
        return [*batches, attrs.evolve(last, last=True)]

    def move(self, bus_id: int, position: Position) -> None:
        """
        Take note that a neighbor is above us, below us or beside us, that was not so before.

        :param bus_id: The neighbor.
        :param position: Where it stands now.
        """
        neighbor = self._neighbors.get(bus_id)
        if neighbor is not None and neighbor.position is not position:
            neighbor.position = position
            self._dirty.update(dict.fromkeys(self._said))

    def lost(self, bus_id: int, now: float, *, in_order: bool = False) -> None:
        """
        Take note that a neighbor is not connected any more.

        :param bus_id: The neighbor.
        :param now: The time, seconds.
        :param in_order: Whether it has left in good order, so that it is not awaited.
        """
        neighbor = self._neighbors.get(bus_id)
        if neighbor is None:
            return
        is_above = neighbor.position is Position.UPSTREAM
        if in_order and is_above and not self._has_other_upstream(bus_id):
            for key in sorted(neighbor.keys):
                if self._said[key][bus_id].bus_id == bus_id:
                    self._unsay(bus_id, key)
        elif in_order:
            self._part(bus_id)
            return
        if not neighbor.keys:
            self._part(bus_id)
        elif neighbor.ends_at is None:
            neighbor.told = {}
            grace = limits.PARENT_GRACE_SECONDS if is_above else limits.CHILD_GRACE_SECONDS
            neighbor.ends_at = now + grace

    @property
    def is_settled(self) -> bool:
        """Whether time brings nothing: nothing is doubted, and nobody is awaited."""
        return not self._doubted and self.deadline is None

    def tick(self, now: float) -> None:
        """
        Give up what is due.

        :param now: The time, seconds.
        """
        for bus_id, neighbor in list(self._neighbors.items()):
            if neighbor.ends_at is not None and neighbor.ends_at <= now:
                self._part(bus_id)

    def _has_other_upstream(self, bus_id: int) -> bool:
        """Tell whether another upstream than this one has told everything."""
        return any(
            each != bus_id
            and neighbor.position is Position.UPSTREAM
            and neighbor.ends_at is None
            and neighbor.unmentioned is None
            for each, neighbor in self._neighbors.items()
        )

    def _sweep_upstreams(self) -> None:
        """Give up upstreams that are gone: another one has told everything."""
        for bus_id, neighbor in list(self._neighbors.items()):
            if neighbor.ends_at is not None and neighbor.position is Position.UPSTREAM:
                self._part(bus_id)

    def _part(self, bus_id: int) -> None:
        for key in sorted(self._neighbors[bus_id].keys):
            self._unsay(bus_id, key)
        del self._neighbors[bus_id]

    def heard(self, bus_id: int, message: ServiceBatch) -> None:
        """
        Take what a neighbor tells.

        :param bus_id: The neighbor.
        :param message: What has arrived.
        """
        neighbor = self._neighbors.get(bus_id)
        if neighbor is None or neighbor.ends_at is not None:
            self.ignored += len(message.services)
            return
        if message.replay and neighbor.unmentioned is None:
            neighbor.unmentioned = set(neighbor.keys)
        for entry in message.services:
            if neighbor.unmentioned is not None:
                neighbor.unmentioned.discard(entry.key)
            if not entry.value:
                self._unsay(bus_id, entry.key)
            elif self._is_sound(neighbor, entry) and self._has_room(bus_id, neighbor, entry):
                neighbor.keys[entry.key] = None
                self._say(bus_id, entry)
            else:
                self.ignored += 1
        if message.last:
            gone, neighbor.unmentioned = neighbor.unmentioned or set(), None
            for key in sorted(gone):
                self._unsay(bus_id, key)
            if neighbor.position is Position.UPSTREAM:
                self._sweep_upstreams()

    @staticmethod
    def _is_sound(neighbor: _Neighbor, entry: ServiceEntry) -> bool:
        """Tell whether a word may be kept."""
        if entry.key not in neighbor.keys and len(neighbor.keys) >= SERVICES_PER_NEIGHBOR_MAX:
            return False
        is_long = len(entry.value) > SERVICE_VALUE_BYTES or len(entry.key) > SERVICE_KEY_BYTES
        is_named = not entry.bus_id or entry.key.endswith(format_bus_id(entry.bus_id))
        return is_named and not is_long

    def _has_room(self, bus_id: int, neighbor: _Neighbor, entry: ServiceEntry) -> bool:
        """Count a document in place of the one that it replaces, if it may be kept."""
        before = self._said.get(entry.key, {}).get(bus_id)
        return self._room.take(neighbor.part, entry, before)

    def recheck(self) -> None:
        """Believe what may be believed by now: other nodes may be known than before."""
        for teller, key in list(self._doubted):
            if self._may_speak(teller, self._said[key][teller].bus_id):
                self._doubted.discard((teller, key))
                self._settle(key)

    # What follows.

    def news(self) -> list[Posted]:
        """
        Say what stands otherwise than when this was asked last.

        :returns: In order.
        """
        news, self._news = self._news, []
        return news

    def changes(self) -> Iterator[tuple[int, ServiceBatch]]:
        """
        Say what neighbors have to be told now.

        :returns: Pairs of neighbor and message.
        """
        dirty, self._dirty = self._dirty, {}
        for bus_id, neighbor in self._neighbors.items() if dirty else ():
            if neighbor.ends_at is None:
                entries = list(self._news_for(bus_id, dirty))
                for batch in _batches(entries, neighbor.frame_bytes_max):
                    yield bus_id, batch

    def _say(self, teller: int, entry: ServiceEntry) -> None:
        self._said.setdefault(entry.key, {})[teller] = entry
        self._doubted.discard((teller, entry.key))
        if teller != _OURSELVES and not self._may_speak(teller, entry.bus_id):
            self._doubted.add((teller, entry.key))
        self._settle(entry.key)

    def _unsay(self, teller: int, key: str) -> None:
        neighbor = self._neighbors.get(teller)
        if neighbor is not None:
            neighbor.keys.pop(key, None)
        said = self._said.get(key, {})
        gone = said.pop(teller, None)
        if gone is None:
            return
        if neighbor is not None:
            self._room.give_back(neighbor.part, gone)
        self._doubted.discard((teller, key))
        if not said:
            del self._said[key]
        self._settle(key)

    def _settle(self, key: str) -> None:
        """Find out anew what counts."""
        self._dirty[key] = None
        known = self._best.get(key)
        best = self._best_of(key, self._said.get(key, {}))
        if best is None:
            if known is not None:
                del self._best[key]
                self._post(key, None, known[1].created)
        elif known is None or known[0] != best:
            created = 0 if known is None else known[1].created
            self._best[key] = best, self._post(key, best.value, created)

    def _post(self, key: str, value: bytes | None, created: int) -> Version:
        self._revision += 1
        version = Version(self._revision, created or self._revision)
        self._news.append(Posted(key, value, version))
        return version

    def _best_of(self, key: str, tellers: Iterable[int]) -> ServiceEntry | None:
        """Give the best that some have told of a key and that is believed."""
        said = self._said.get(key, {})
        believed = [each for each in tellers if (each, key) not in self._doubted]
        best = max(believed, key=lambda each: self._rank(each, said[each]), default=None)
        return None if best is None else said[best]

    def _rank(self, teller: int, entry: ServiceEntry) -> tuple[int, int, int, int]:
        nearness = 2
        if teller != _OURSELVES:
            nearness = int(self._neighbors[teller].position is Position.DOWNSTREAM)
        return entry.epoch, entry.seq, nearness, -teller

    def _news_for(self, bus_id: int, keys: Iterable[str]) -> Iterator[ServiceEntry]:
        """Say what a neighbor knows otherwise, and note that it is told."""
        neighbor = self._neighbors[bus_id]
        for key in keys:
            wanted = self._wanted_by(bus_id, neighbor, key)
            told = neighbor.told.get(key)
            if wanted is not None and not _fits(wanted, neighbor.frame_bytes_max):
                self.untold += 1
                wanted = None
            if wanted is not None and wanted != told:
                neighbor.told[key] = wanted
                yield wanted
            elif wanted is None and told is not None:
                del neighbor.told[key]
                yield attrs.evolve(told, value=b"")

    def _wanted_by(self, bus_id: int, neighbor: _Neighbor, key: str) -> ServiceEntry | None:
        if key in self._private or key not in self._best:
            return None
        is_below = neighbor.position is Position.DOWNSTREAM
        tellers = [
            teller
            for teller in self._said.get(key, {})
            if teller != bus_id and (is_below or self._is_ours_to_tell(teller))
        ]
        entry, best = self._best_of(key, tellers), self._best[key][0]
        if entry is None or (entry.epoch, entry.seq) < (best.epoch, best.seq):
            return None
        return entry

    def _is_ours_to_tell(self, teller: int) -> bool:
        return teller == _OURSELVES or self._neighbors[teller].position is Position.DOWNSTREAM


def _fits(entry: ServiceEntry, frame_bytes_max: int) -> bool:
    return _BATCH_BYTES + entry_bytes(entry) <= frame_bytes_max


def _batches(
    entries: Iterable[ServiceEntry], frame_bytes_max: int, *, replay: bool = False
) -> Iterator[ServiceBatch]:
    """Put entries into frames that a neighbor takes."""
    batch: list[ServiceEntry] = []
    size_bytes = _BATCH_BYTES
    for entry in entries:
        more_bytes = entry_bytes(entry)
        if batch and (
            len(batch) == SERVICE_ENTRIES_MAX or size_bytes + more_bytes > frame_bytes_max
        ):
            yield ServiceBatch(replay=replay, services=tuple(batch))
            batch, size_bytes = [], _BATCH_BYTES
        batch.append(entry)
        size_bytes += more_bytes
    if batch:
        yield ServiceBatch(replay=replay, services=tuple(batch))
