"""
What becomes of the words of neighbors: believed, barred, or taken for a death.

1. A record counts unless a death covers it, it is about ourselves, or its teller, a downstream or a
   peer, has not shown that the node is below it: its ranges contain the id, or a record of the
   node's upstream was told before (one that comes later makes up for it).
2. "Gone" ends the word of its teller only.
3. "Dead" ends every record up to its stamp, from whomever, and leaves a tombstone. Only who told of
   a node may tell of its death, and a working connection to the node is better evidence. The node
   itself is told, for if it lives it has a larger stamp to make.
4. What waits behind a tombstone is believed when the tombstone is gone: its teller, who would have
   heard of the death long ago, still says it.
5. Much at once is done a turn's share at a time (`atbus.routing.turn`). What a neighbor says no
   more, because it is gone or has told everything anew, is believed until it is forgotten: the last
   word of one that is gone first. What is vouched for is not believed before its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.routing.batch import Removal, kept_bytes
from atbus.routing.bounds import ROUTE_HEARD_BYTES
from atbus.routing.feed import NOT_ITS_OWN, Bar, Feed
from atbus.routing.known import Known, is_same
from atbus.routing.own_record import OwnRecord
from atbus.routing.record import Record, Stamp
from atbus.routing.route_link import RouteLink
from atbus.routing.sync_terms import Contested, Effect, Ignored, LostId
from atbus.routing.table import Position
from atbus.routing.tombstones import Tombstones
from atbus.routing.turn import Turn

#: Called when the best record of a node, or who carries it, may be another: the id, and what both
#: were before.
Changed = Callable[[int, Record | None, tuple[Feed, ...]], None]


@attrs.define(eq=False)
class Hearing:
    """
    Take words in, and keep `Known` and `Tombstones` in step with them.

    :param links: By neighbor.
    :param changed: See `Changed`.
    :param contradict: Called with a link whose own node is said to be dead, and under which stamp.
    :param turn: How much may be forgotten now.
    :param effects: Where alarms are put.
    """

    own: OwnRecord
    known: Known
    tombstones: Tombstones
    links: Mapping[int, RouteLink]
    changed: Changed
    contradict: Callable[[RouteLink, Stamp], None]
    turn: Turn
    effects: list[Effect] = attrs.field(factory=list)
    heard_bytes_max: int = ROUTE_HEARD_BYTES
    _heard_count: int = 0
    _heard_bytes: int = 0
    # Feeds of which something is to be forgotten, and whether that is everything.
    _leaving: dict[Feed, bool] = attrs.field(factory=dict, init=False, repr=False)
    # For whom somebody waits that is to be believed, and in which feed.
    _vouched: dict[tuple[Feed, int], None] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def is_behind(self) -> bool:
        """Whether something is left over for the next turn."""
        return bool(self._leaving or self._vouched)

    def catch_up(self) -> None:
        """Do what was left over, as much as may be in this turn."""
        self._drop_some()
        self._believe_some()

    def feed_of(self, bus_id: int, kind: Position) -> Feed:
        """
        Listen to a neighbor.

        :param bus_id: The neighbor.
        :param kind: On which side of us it is.
        :returns: A new feed. If the neighbor is back before all that it told was forgotten, the
            feed from then: what is left in it goes on being forgotten unless it is told again, and
            is not told to who has told it.
        """
        for feed, is_whole in self._leaving.items():
            if is_whole and feed.bus_id == bus_id and not feed.is_stale:
                self.drop(feed, bus_id)
                feed.surplus, feed.overflowed = set(feed.heard), False
                self._leaving[feed] = False
                return feed
        feed = Feed(bus_id, kind)
        self.known.add(feed)
        return feed

    def hear(self, link: RouteLink, record: Record) -> None:
        """
        Take a record.

        :param link: Where it was told.
        :param record: What was told.
        """
        feed, bus_id = link.feed, record.bus_id
        if not self._has_room(feed, record):
            # What it said before is not so any more.
            self.drop(feed, bus_id)
            self.effects.append(Ignored(feed.bus_id, Status.BUFFER_LIMIT, 1))
            feed.overflowed = True
            return
        self._count(feed.heard.get(bus_id), record)
        before, carriers = self.known.best.get(bus_id), self.known.carriers.get(bus_id, ())
        feed.hear(record)
        reason = self._doubtful(link, record)
        if reason is None:
            self.known.believe(feed, record)
        else:
            feed.bar(bus_id, reason)
            self.known.doubt(feed, bus_id)
        self.changed(bus_id, before, carriers)
        match reason:
            case Bar.OWN:
                self._heard_of_self(record)
            case Bar.UNVOUCHED:
                self.effects.append(Ignored(feed.bus_id, Status.SOURCE_REFUSED, 1))
                return
            case Bar.UNCERTIFIED:
                who = None if link.is_named else bus_id
                link.is_named = True
                self.effects.append(Ignored(feed.bus_id, Status.SOURCE_REFUSED, 1, who))
                return
        if feed.is_awaited(bus_id):
            self._vouch(feed, bus_id)
        if bus_id == link.bus_id:
            self._contradict_death(bus_id)
        else:
            self._compare(link, record)

    def _compare(self, link: RouteLink, record: Record) -> None:
        """Notice, once, that a neighbor tells of a newer life of one that is registered here."""
        direct = self.links.get(record.bus_id)
        if direct is None or not direct.alive or direct.is_contested:
            return
        if record.stamp.epoch > direct.peer.record.stamp.epoch:
            direct.is_contested = True
            self.effects.append(Contested(record.bus_id, link.bus_id, record.process))

    def make_up(self, link: RouteLink) -> None:
        """
        Enter a neighbor that does not tell of itself.

        :param link: Its link.
        """
        feed, record = link.feed, link.peer.record
        if link.peer.position is Position.DOWNSTREAM:
            record = attrs.evolve(record, upstream_id=self.own.record.bus_id)
        before = self.known.best.get(record.bus_id)
        carriers = self.known.carriers.get(record.bus_id, ())
        self._count(feed.heard.get(record.bus_id), record)
        feed.make_up(record)
        self.known.believe(feed, record)
        self.changed(record.bus_id, before, carriers)
        self._vouch(feed, record.bus_id)

    def unhear(self, link: RouteLink, removal: Removal, now: float) -> None:
        """
        Take the word that a node is gone or dead.

        :param link: Where it was told.
        :param removal: What was told.
        :param now: The time, seconds.
        """
        bus_id, feed = removal.bus_id, link.feed
        if bus_id == self.own.record.bus_id:
            self.drop(feed, bus_id)
            if removal.dead:
                self.own.heard_dead(removal.stamp)
            return
        if bus_id not in feed.heard:
            self.effects.append(Ignored(feed.bus_id, Status.SOURCE_REFUSED, 1))
            return
        may_kill = removal.dead and feed.barred.get(bus_id) not in NOT_ITS_OWN
        if may_kill:
            self.bury(bus_id, removal.stamp, now, told_by=feed)
        self.drop(feed, bus_id)
        if may_kill and bus_id != link.bus_id:
            self._contradict_death(bus_id)

    def bury(self, bus_id: int, stamp: Stamp, now: float, *, told_by: Feed) -> None:
        """
        Remember a death, and believe no more what it covers.

        :param bus_id: Who is dead.
        :param stamp: The last stamp that is.
        :param now: The time, seconds.
        :param told_by: Whose word it is, which is not compared with others.
        """
        for forgotten in self.tombstones.bury(bus_id, stamp, now):
            self.forget_death(forgotten)
        before, carriers = self.known.best.get(bus_id), self.known.carriers.get(bus_id, ())
        link = self.links.get(bus_id)
        witness = link.feed if link is not None and link.alive else None
        for feed in self.known.feeds:
            record = feed.believed(bus_id)
            if record is None:
                continue
            if feed is told_by or (record.stamp <= stamp and feed is not witness):
                feed.bar(bus_id, Bar.DEAD)
        self.known.look_again(bus_id)
        self.changed(bus_id, before, carriers)

    def drop(self, feed: Feed, bus_id: int) -> None:
        """
        Forget the last word of a feed on a node.

        :param feed: Whose.
        :param bus_id: The node; nothing need have been told of it.
        """
        before, carriers = self.known.best.get(bus_id), self.known.carriers.get(bus_id, ())
        record = feed.forget(bus_id)
        if record is not None:
            self._count(record, None)
            self.known.doubt(feed, bus_id)
            self.changed(bus_id, before, carriers)

    def drop_feed(self, feed: Feed) -> None:
        """
        Forget all that a feed has told, and listen to it no more.

        :param feed: Which one.
        """
        self._leaving[feed] = True
        self._drop_some()

    def drop_surplus(self, feed: Feed, gone: set[int]) -> None:
        """
        Forget what a feed has told and does not say any more.

        :param feed: Which one.
        :param gone: What it has not repeated.
        """
        if gone:
            feed.surplus = gone
            self._leaving.setdefault(feed, False)
            self._drop_some()

    def _drop_some(self) -> None:
        """Forget as much as may be forgotten in this turn."""
        while self._leaving and not self.turn.is_over:
            feed, is_whole = next(iter(self._leaving.items()))
            left: Iterable[int] = reversed(feed.heard) if is_whole else feed.surplus or ()
            some = list(islice(left, self.turn.left))
            self.turn.spend(len(some))
            for bus_id in some:
                self.drop(feed, bus_id)
            if feed.heard if is_whole else feed.surplus:
                continue
            feed.surplus = None
            del self._leaving[feed]
            if is_whole:
                self.known.remove(feed)

    def merge(self, feed: Feed, older: Feed) -> None:
        """
        Keep what an older feed of the same side has told, where this one has told nothing.

        :param feed: The one that stays.
        :param older: The one that goes.
        """
        missing = [bus_id for bus_id in older.heard if bus_id not in feed.heard]
        feed.absorb(older)
        for bus_id in missing:
            self._count(None, feed.heard[bus_id])
            record = feed.believed(bus_id)
            # It is no news: a node may have moved here since, under the same stamp.
            if record is not None and is_same(record, self.known.best.get(bus_id)):
                self.known.believe(feed, record)
        self.drop_feed(older)

    def forget_death(self, bus_id: int) -> None:
        """
        Believe again what waited behind a tombstone.

        :param bus_id: Whose tombstone is gone.
        """
        for feed in self.known.feeds:
            if feed.barred.get(bus_id) is Bar.DEAD:
                del feed.barred[bus_id]
                self._believe_again(feed, bus_id)

    def _has_room(self, feed: Feed, record: Record) -> bool:
        bus_id = record.bus_id
        before = feed.heard.get(bus_id)
        if self._heard_bytes + _kept_bytes(record) - _kept_bytes(before) > self.heard_bytes_max:
            return False
        if before is not None:
            return True
        if self._heard_count >= limits.ROUTE_HEARD_MAX:
            return False
        return bus_id in self.known.best or len(self.known.best) < limits.ROUTE_RECORDS_MAX

    def _count(self, before: Record | None, now: Record | None) -> None:
        """Count what a feed says of a node, as it did before and does now."""
        self._heard_count += (now is not None) - (before is not None)
        self._heard_bytes += _kept_bytes(now) - _kept_bytes(before)

    def _doubtful(self, link: RouteLink, record: Record) -> Bar | None:
        """Find a reason not to believe a record."""
        if record.bus_id == self.own.record.bus_id:
            return Bar.OWN
        is_direct = record.bus_id == link.bus_id
        if link.feed.kind is not Position.UPSTREAM:
            if not link.peer.is_certified(record):
                return Bar.UNCERTIFIED
            if not link.feed.may_announce(record):
                return Bar.UNVOUCHED
        if not is_direct and self.tombstones.covers(record.bus_id, record.stamp):
            return Bar.DEAD
        return None

    def _heard_of_self(self, record: Record) -> None:
        if self.own.heard(record):
            self.effects.append(LostId(record.process, record.stamp))

    def _vouch(self, feed: Feed, bus_id: int) -> None:
        """Believe what was told of nodes below one whose record has come now."""
        self._vouched[feed, bus_id] = None
        self._believe_some()

    def _believe_some(self) -> None:
        """Believe as much of what is vouched for as may be in this turn."""
        while self._vouched and not self.turn.is_over:
            feed, upper = next(iter(self._vouched))
            if upper in feed.heard and feed.barred.get(upper) not in NOT_ITS_OWN:
                some = feed.vouched_by(upper, self.turn.left)
                self.turn.spend(len(some))
                for below in some:
                    self._believe_again(feed, below)
                    if feed.is_awaited(below):
                        self._vouched[feed, below] = None
                if feed.is_awaited(upper):
                    continue
            del self._vouched[feed, upper]

    def _believe_again(self, feed: Feed, bus_id: int) -> None:
        record = feed.heard[bus_id]
        if self.tombstones.covers(bus_id, record.stamp):
            feed.bar(bus_id, Bar.DEAD)
            return
        before, carriers = self.known.best.get(bus_id), self.known.carriers.get(bus_id, ())
        self.known.believe(feed, record)
        self.changed(bus_id, before, carriers)

    def _contradict_death(self, bus_id: int) -> None:
        """Tell a node to which we have a link that others take it for dead, if they do."""
        link, stamp = self.links.get(bus_id), self.tombstones.stamp_of(bus_id)
        if link is None or not link.alive or stamp is None:
            return
        record = link.feed.heard.get(bus_id)
        if record is not None and record.stamp <= stamp:
            self.contradict(link, stamp)


def _kept_bytes(record: Record | None) -> int:
    return 0 if record is None else kept_bytes(record)
