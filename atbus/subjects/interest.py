"""
Who is interested in what: this node's own subscribers, and everybody behind each neighbor.

Interest is counted, not listed: for a pattern it is known *whether* anybody behind a neighbor wants
it, and for a queue group *how many* members there are. The rules (wire protocol, 6.6 and 7.18):

1. To its upstream and to its peers a node tells the sum of its own interest and that of what is
   below it. To a downstream it tells the sum of everything but what that downstream told itself.
   Nobody is told what is known from it alone, so nothing comes back in a circle. Members of a group
   at a sibling, of whom our upstream tells as well, count once. Members of a mesh that is not ours,
   as servers of NATS are, stand *outside*: what they want is told as if they were below, but not to
   each other, for they have told it themselves (`ONWARD`).
2. Plain interest is told as 0 or 1, a queue group with the number of its members. What is told is
   the difference to what was told before; several changes of one turn cancel out. That a group has
   more or fewer members than before, but some, may be told later: it changes nobody's way.
3. When a connection opens, everything is told anew as a numbered *replay*. The other side drops
   what the replay did not repeat, so nothing stays of what was lost with an older connection.
4. Pings, and answers to barriers, carry a digest of what was heard. When it shows that something
   was lost, everything is told anew (`atbus.subjects.doubt`).
5. A neighbor may be *shut out*: then what it wants is heard and not honoured, but for what the bus
   itself needs (`atbus.subjects.gate`). What that is for comes first in a replay.
6. How many members of a group are in one zone is interest of its own (`atbus.subjects.zones`), told
   to neighbors that know of zones. Nothing matches it, and it is kept in what others leave over.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.subjects.index import SubjectIndex
from atbus.subjects.neighbor import Clusters, Neighbor, Sums, is_valid, put, wholes
from atbus.subjects.pattern import check_queue, parse_pattern
from atbus.subjects.places import Places
from atbus.subjects.room import Room
from atbus.subjects.telling import digest_of, entry_of, exchanged, place_in_replay, written
from atbus.subjects.zones import Part, Zones
from atbus.wire.digests import DIGEST_MODULUS
from atbus.wire.extras import read_zone
from atbus.wire.messages import Interest, InterestAck

#: The place of this node's own subscribers among the neighbors.
HERE: Final = 0


class Side(enum.Enum):
    """Where a neighbor stands, as far as subjects are concerned."""

    ABOVE = "above"
    BESIDE = "beside"
    BELOW = "below"
    OUTSIDE = "outside"


#: To whom goes what comes from one side, interest and publications alike (rule 1); what begins here
#: goes where that from below does.
ONWARD: Final = {
    Side.ABOVE: (Side.BELOW, Side.OUTSIDE),
    Side.BESIDE: (Side.BELOW, Side.OUTSIDE),
    Side.BELOW: tuple(Side),
    Side.OUTSIDE: (Side.ABOVE, Side.BESIDE, Side.BELOW),
}


class Wanted(NamedTuple):
    """What somebody wants: a pattern, alone or as the member of a queue group."""

    pattern: str
    queue: str = ""

    @property
    def zone(self) -> str:
        """Of which zone the members are: of all, and of none."""
        return ""


#: What is told, as a whole or zone by zone.
Row: TypeAlias = Wanted | Part


class Taker(NamedTuple):
    """
    Where a matching publication is wanted.

    :param neighbor: Behind which neighbor; `HERE` for this node itself.
    :param wanted: What matches.
    """

    neighbor: int
    wanted: Wanted


class Interests:
    """
    The interest of one node and of all of its neighbors.

    :param bytes_max: Memory for what one neighbor tells of, as in `Room`.
    :param zone: In which zone this node is; empty for none.
    """

    def __init__(self, bytes_max: int = limits.INTEREST_BYTES, zone: str = "") -> None:
        #: For what neighbors want.
        self.room = Room(bytes_max)
        self._sums: dict[Row, Sums] = {}
        self._neighbors: dict[int, Neighbor] = {}
        #: Who belongs to one cluster of servers.
        self.clusters = Clusters()
        self._zones = Zones()
        self._zones.of[HERE] = zone
        self._index: SubjectIndex[Taker] = SubjectIndex()
        #: Grows when somebody begins or ends to want something, or to take part.
        self.version = 0
        self._places: Places[Side, Row] = Places(Side.ABOVE)
        #: The peers that have our upstream as well.
        self.siblings: frozenset[int] = frozenset()

    def __len__(self) -> int:
        """Count the patterns and groups that anybody wants, and the zones of groups."""
        return len(self._sums)

    @property
    def neighbors(self) -> dict[int, Side]:
        """Those who take part, and where they stand; only to be read."""
        return self._places.sides

    @property
    def above(self) -> int | None:
        """Our upstream; None if there is none."""
        return self._places.above

    def wanted_by(self, bus_id: int) -> dict[Row, int]:
        """Give what a neighbor has told that it wants, and how often; only to be read."""
        neighbor = self._neighbors.get(bus_id)
        return {} if neighbor is None else neighbor.heard

    def told_to(self, bus_id: int) -> dict[Wanted, int]:
        """Give what a neighbor was told that is wanted, and how often, but for zones."""
        neighbor = self._neighbors.get(bus_id)
        return {} if neighbor is None else wholes(neighbor.told)

    def wanted_under(self, prefix: str) -> list[str]:
        """List the patterns that begin so and that anybody wants, in no queue group."""
        found = (each.wanted for each in self._index.under(tuple(prefix.split(".")[:-1])))
        plain = dict.fromkeys(each.pattern for each in found if not each.queue)
        return [pattern for pattern in plain if pattern.startswith(prefix)]

    def wanted_beside(self, bus_id: int, prefix: str) -> list[str]:
        """List the patterns that begin so and that anybody wants who is not behind a neighbor."""
        return [each for each in self.wanted_under(prefix) if self.is_wanted_beside(bus_id, each)]

    def is_wanted_beside(self, bus_id: int, pattern: str) -> bool:
        """Tell whether anybody wants a pattern who is not behind a neighbor."""
        sums = self._sums.get(Wanted(pattern))
        return sums is not None and any(place != bus_id for place in sums.weights)

    def match(self, subject: tuple[str, ...]) -> tuple[Taker, ...]:
        """
        Find everybody who wants a publication.

        :param subject: Tokens from `parse_subject`.
        :returns: Each pattern and group that matches, with each place where it is wanted.
        """
        return self._index.match(subject)

    def weight(self, taker: Taker, zone: str = "") -> int:
        """
        Count the members of a group at one place; 1 for plain interest, 0 for none.

        :param zone: Only those of this zone; empty for all.
        """
        wanted = taker.wanted
        sums = self._sums.get(Part(*wanted, zone) if zone else wanted)
        return 0 if sums is None else sums.weights.get(taker.neighbor, 0)

    # This node's own subscribers.

    def subscribe(self, pattern: str, queue: str = "") -> None:
        """
        Count one more subscriber here.

        :param queue: Its queue group; empty for none.
        :raises SubjectError: One of the two is not what it should be.
        """
        parse_pattern(pattern)
        if queue != "":
            check_queue(queue)
        wanted = Wanted(pattern, queue)
        self._change(HERE, wanted, self.weight(Taker(HERE, wanted)) + 1)

    def unsubscribe(self, pattern: str, queue: str = "") -> None:
        """Count one subscriber less; there must have been one."""
        wanted = Wanted(pattern, queue)
        weight = self.weight(Taker(HERE, wanted))
        assert weight, f"nobody here wants {wanted}"
        self._change(HERE, wanted, weight - 1)

    # Neighbors.

    def open(
        self, bus_id: int, side: Side, cluster: int = 0, zone: str | None = ""
    ) -> list[Interest]:
        """
        Begin to talk with a neighbor that takes part.

        :param cluster: The number of its cluster of servers, who give each other what they want
            and are told nothing of each other; 0 for none.
        :param zone: In which zone everybody behind it is taken to be, empty for none; None: it
            tells that itself.
        :returns: The replay for it. What an earlier connection was told is forgotten.
        """
        assert bus_id != HERE
        self.close(bus_id)
        self._neighbors[bus_id] = Neighbor(side, cluster, tells_zones=zone is None)
        self._zones.of[bus_id] = zone or ""
        self.clusters.join(cluster, bus_id)
        self._stand(bus_id, side)
        return self.replay(bus_id)

    def close(self, bus_id: int) -> None:
        """Forget a neighbor, and with it whoever is behind it."""
        neighbor = self._neighbors.pop(bus_id, None)
        if neighbor is not None:
            self._stand(bus_id, None)
            self.clusters.leave(neighbor.cluster, bus_id)
            self.room.give_all_back(neighbor)
            for wanted in neighbor.heard:
                if neighbor.honours(wanted):
                    self._set_weight(bus_id, neighbor.side, wanted, 0)
            del self._zones.of[bus_id]

    def honour(self, bus_id: int, *, plain: bool, groups: bool) -> None:
        """Say what counts of that which a neighbor wants; what the bus itself needs always does."""
        neighbor = self._neighbors.get(bus_id)
        if neighbor is None:
            return
        before = {wanted for wanted in neighbor.heard if neighbor.honours(wanted)}
        neighbor.honours_plain, neighbor.honours_groups = plain, groups
        for wanted, weight in neighbor.heard.items():
            honoured = neighbor.honours(wanted)
            if honoured is not (wanted in before):
                self._set_weight(bus_id, neighbor.side, wanted, weight if honoured else 0)

    def move(self, bus_id: int, side: Side) -> None:
        """Take note that a neighbor that takes part is on another side of us now."""
        neighbor = self._neighbors.get(bus_id)
        if neighbor is None or neighbor.side is side:
            return
        honoured = {row: n for row, n in neighbor.heard.items() if neighbor.honours(row)}
        for wanted in honoured:
            self._set_weight(bus_id, neighbor.side, wanted, 0)
        neighbor.changed.update(self._places.news[neighbor.side])
        neighbor.side = side
        self._stand(bus_id, side)
        for wanted, weight in honoured.items():
            self._set_weight(bus_id, side, wanted, weight)
        neighbor.changed.update(dict.fromkeys(self._sums))

    def count_once(self, siblings: Iterable[int]) -> bool:
        """
        Take note which peers have our upstream, so that it tells of their members as well.

        :returns: Whether they are others than before.
        """
        before, self.siblings = self.siblings, frozenset(siblings)
        for neighbor in self._neighbors.values() if self.siblings != before else ():
            neighbor.changed.update(dict.fromkeys(self._sums))
        return self.siblings != before

    def replay(self, bus_id: int) -> list[Interest]:
        """
        Tell a neighbor everything anew.

        :returns: One INTEREST or more; the last one says so, also when there is nothing to tell.
        """
        neighbor = self._neighbors[bus_id]
        neighbor.generation += 1
        neighbor.told = {
            wanted: weight
            for wanted in self._sums
            if (weight := self._weight_for(bus_id, neighbor, wanted))
        }
        neighbor.told_digest = sum(digest_of(*each) for each in neighbor.told.items())
        neighbor.told_digest %= DIGEST_MODULUS
        neighbor.changed.clear()
        neighbor.resized.clear()
        neighbor.doubt.replayed()
        told = sorted(neighbor.told.items(), key=lambda each: place_in_replay(each[0]))
        messages = written(told, neighbor.generation) or [Interest(generation=neighbor.generation)]
        return [attrs.evolve(each, replay=True, last=each is messages[-1]) for each in messages]

    @property
    def has_resized(self) -> bool:
        """Whether there are sizes of groups to be told."""
        return any(neighbor.resized for neighbor in self._neighbors.values())

    def changes(self, *, sizes: bool = True) -> list[tuple[int, Interest]]:
        """
        Tell what has changed since the last call.

        :param sizes: Whether also that groups have more or fewer members, but some.
        :returns: For whom, and what; neighbors that know it all already get nothing.
        """
        news: list[tuple[int, Interest]] = []
        noted = self._places.take_news()
        for bus_id, neighbor in self._neighbors.items():
            changed, neighbor.changed = neighbor.changed | noted.get(neighbor.side, {}), {}
            if sizes:
                changed |= neighbor.resized
                neighbor.resized = {}
            told: list[tuple[Row, int]] = []
            for wanted in changed:
                weight = self._weight_for(bus_id, neighbor, wanted)
                before = neighbor.told.get(wanted, 0)
                if weight == before:
                    continue
                if weight and before and not sizes:
                    neighbor.resized[wanted] = None
                else:
                    told.append((wanted, weight))
                    neighbor.told_digest = exchanged(neighbor.told_digest, wanted, before, weight)
                    put(neighbor.told, wanted, weight)
            if told:
                neighbor.doubt.told()
            news += [(bus_id, message) for message in written(told, neighbor.generation)]
        return news

    def heard(self, bus_id: int, message: Interest) -> int:
        """
        Take what a neighbor tells.

        :returns: How many of the entries are no patterns or groups, or more than there is memory
            for; they are skipped. Of the latter `names_full` tells.
        :raises MalformedFrame: It is about a zone that is none.
        """
        zone = read_zone(message.extras)
        neighbor = self._neighbors[bus_id]
        if zone and not neighbor.tells_zones:
            return len(message.entries)
        if message.replay and message.generation != neighbor.heard_generation:
            neighbor.heard_generation = message.generation
            neighbor.repeated = set()
        faults = 0
        for entry in message.entries:
            names = entry.subject, entry.queue
            wanted: Row = Part(*names, zone) if zone else Wanted(*names)
            if not is_valid(wanted):
                faults += 1
                continue
            faults += not self._hear(bus_id, neighbor, wanted, entry.weight)
            neighbor.repeats(wanted)
        if message.last and neighbor.repeated is not None:
            for wanted in neighbor.heard.keys() - neighbor.repeated:
                self._hear(bus_id, neighbor, wanted, 0)
            neighbor.repeated = None
        return faults

    def names_full(self, bus_id: int) -> bool:
        """Tell, once, that something of a neighbor's was refused: see `Room.names_full`."""
        return self.room.names_full(self._neighbors[bus_id])

    # Digests.

    def digest_of(self, bus_id: int) -> int:
        """Give the digest of what was heard from a neighbor, for a ping to it; 0 for nothing."""
        neighbor = self._neighbors.get(bus_id)
        return 0 if neighbor is None else neighbor.heard_digest

    def told_digest(self, bus_id: int) -> int:
        """Give the digest of what a neighbor was told."""
        return self._neighbors[bus_id].told_digest

    def heard_digest(self, bus_id: int, digest: int) -> bool:
        """
        Compare what a neighbor says it heard from us with what it was told.

        :param digest: From its ping or pong.
        :returns: Whether it has to be told everything anew, with `replay`.
        """
        neighbor = self._neighbors.get(bus_id)
        return neighbor is not None and neighbor.doubt.pinged(digest, neighbor.told_digest)

    # Questions.

    def question(self, bus_id: int, barrier: int, wanted: Iterable[Wanted]) -> Interest:
        """
        Ask a neighbor whether everybody beyond it knows what it was told.

        :param wanted: What it is to say of in particular; only what it was told counts.
        """
        neighbor = self._neighbors[bus_id]
        neighbor.doubt.asked(neighbor.generation, barrier, neighbor.told_digest)
        return Interest(
            generation=neighbor.generation,
            barrier=barrier,
            entries=tuple(
                entry_of(each, weight) for each in wanted if (weight := neighbor.told.get(each, 0))
            ),
        )

    def missed(self, bus_id: int, message: Interest) -> Status | None:
        """
        Say why not all is kept that a neighbor asks of, although it has just told it.

        :returns: None when all is.
        """
        for entry in message.entries:
            wanted = Wanted(entry.subject, entry.queue)
            if entry.weight and wanted not in self._neighbors[bus_id].heard:
                return Status.BUFFER_LIMIT if is_valid(wanted) else Status.MALFORMED_FRAME
        return None

    def answered(self, bus_id: int, answer: InterestAck) -> bool:
        """
        Take the answer to a question.

        :returns: Whether the neighbor has to be told everything anew, with `replay`.
        """
        doubt = self._neighbors[bus_id].doubt
        if not answer.barrier:
            return doubt.has_room()
        return doubt.answered(answer.generation, answer.barrier, answer.digest)

    def with_room(self) -> list[int]:
        """Name neighbors for whom there is room again, each once: see `Room.again`."""
        return self.room.again(self._neighbors)

    # Inside.

    def _hear(self, bus_id: int, neighbor: Neighbor, wanted: Row, weight: int) -> bool:
        before = neighbor.heard.get(wanted, 0)
        if before == weight:
            return True
        rows = wanted, self._zones.part(bus_id, wanted)
        if not before and not self.room.take(neighbor, *rows):
            return False
        if not weight:
            self.room.give_back(neighbor, *rows)
        neighbor.heard_digest = exchanged(neighbor.heard_digest, wanted, before, weight)
        put(neighbor.heard, wanted, weight)
        self._change(bus_id, wanted, weight)
        return True

    def _change(self, place: int, wanted: Row, weight: int) -> None:
        if place == HERE:
            self._set_weight(place, Side.BELOW, wanted, weight)
        elif (neighbor := self._neighbors[place]).honours(wanted):
            self._set_weight(place, neighbor.side, wanted, weight)

    def _set_weight(self, place: int, side: Side, wanted: Row, weight: int) -> None:
        """Count what is wanted at one place, and note who may have to be told."""
        sums = self._sums.get(wanted)
        if sums is None:
            sums = self._sums[wanted] = Sums()
            if isinstance(wanted, Part):
                self._zones.appeared(wanted)
        before = sums.weights.get(place, 0)
        put(sums.weights, place, weight)
        sums.everywhere += weight - before
        onward = ONWARD[side]
        if Side.ABOVE in onward:
            sums.below += weight - before
        if side is Side.OUTSIDE:
            sums.outside += weight - before
        if bool(weight) != bool(before) and isinstance(wanted, Wanted):
            self.version += 1
            tokens = tuple(wanted.pattern.split("."))
            change = self._index.add if weight else self._index.remove
            change(tokens, Taker(place, wanted))
        if not sums.weights:
            del self._sums[wanted]
        self._places.note(onward, wanted, place)
        if part := self._zones.part(place, wanted):
            self._set_weight(place, side, part, weight)
        if isinstance(wanted, Part) and not sums.weights and (other := self._zones.gone(wanted)):
            self._places.note(Side, other)

    def _stand(self, bus_id: int, side: Side | None) -> None:
        self.version += 1
        self._places.stand(bus_id, side)

    def _weight_for(self, bus_id: int, neighbor: Neighbor, wanted: Row) -> int:
        """Sum up what a neighbor is to know of one pattern or group (rule 1)."""
        sums = self._sums.get(wanted)
        if sums is None:
            return 0
        if isinstance(wanted, Part) and not (neighbor.tells_zones and self._zones.is_told(wanted)):
            return 0
        twice = sums.twice(self.above, self.siblings) if wanted.queue else 0
        if neighbor.side is Side.BELOW:
            weight = sums.beyond(self.clusters.beside(neighbor.cluster, bus_id)) - twice
        elif neighbor.side is Side.OUTSIDE:
            weight = sums.everywhere - sums.outside - twice
        else:
            weight = sums.below
        return weight if wanted.queue else min(weight, 1)
