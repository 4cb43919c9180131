"""
The global route table: neighbors tell each other which nodes there are (subscribe and notify).

Every input is a value with the time, every method returns what is to be done, in order; `deadline`
says when to call `tick`. The rules (wire protocol, sections 6.6 and 7.15 to 7.17):

1. A neighbor is asked for all it knows when it is *available*, on whichever side of us it is and
   whoever dialled, if both sides can (capability) and we want to know (`TableMode`). It answers
   with a snapshot in batches, then with changes. What it told before a break is swept by the end
   of the snapshot.
2. What of that is believed: `atbus.routing.hearing`. What is told to whom: `atbus.routing.telling`.
3. A neighbor that does not tell its own record within a second is listed as it registered.
4. A downstream whose link breaks is awaited for `SyncTimes.child_grace`; then it is reported dead
   under the stamp it told, unless it is known to be elsewhere by a newer one; one that never told a
   stamp is gone. What was below it is gone, the deepest first. Who left in order is not awaited.
5. What a peer has told is gone with its link; if the upstream carries it too, it stays.
6. What the upstream has told stays for `SyncTimes.parent_grace` after its loss, *stale*, or until
   an upstream has told everything anew (or is there, if we ask nobody). A second loss adds to it.
7. Our own record: `atbus.routing.own_record`. How fast neighbors are read: `intake` and `turn`.
"""

from __future__ import annotations

from atbus.errors import Status
from atbus.limits import TOMBSTONES_MAX
from atbus.routing.batch import Batch, Removal
from atbus.routing.feed import Feed
from atbus.routing.hearing import Hearing
from atbus.routing.intake import Intake, Shelf, Told
from atbus.routing.known import Known, is_same
from atbus.routing.own_record import OwnRecord
from atbus.routing.record import Record, Stamp
from atbus.routing.route_link import RouteLink
from atbus.routing.schedule import Schedule
from atbus.routing.subscription import Stage
from atbus.routing.sync_terms import (
    Announce,
    Delayed,
    Effect,
    Forget,
    Ignored,
    Learn,
    Peer,
    Send,
    SyncMessage,
    SyncTimes,
    TableMode,
)
from atbus.routing.table import Position
from atbus.routing.telling import Telling
from atbus.routing.tombstones import Tombstones
from atbus.routing.turn import Turn
from atbus.wire.messages import RouteBatch, SubscribeRequest, SubscribeResponse

# What is awaited, besides what `Telling` awaits: (what, of which neighbor).
_GRACE, _OWN_WORD, _STALE, _PATIENCE, _REFUTE = "grace", "own word", "stale", "patience", "refute"
_READ, _NOBODY = "read", 0


class RouteSync:
    """
    Keep the route table of one node equal with those of its neighbors.

    :param own: What this node is, under a stamp that is not used any more; its upstream does not
        count.
    :param mode: How much it wants to know.
    :param times: How long it waits for what.
    """

    def __init__(
        self, own: Record, mode: TableMode = TableMode.AUTO, times: SyncTimes | None = None
    ) -> None:
        self.mode = mode
        self.times = times or SyncTimes()
        #: The table: to be read.
        self.known = Known()
        self._own = OwnRecord(own)
        self._tombstones = Tombstones(self.times.tombstone, TOMBSTONES_MAX)
        self._links: dict[int, RouteLink] = {}
        # Who has asked before it was available to us.
        self._early: set[int] = set()
        # Whether neighbors are asked for everything.
        self._asks = False
        self._stale: Feed | None = None  # What a lost upstream has told.
        self._timers: Schedule[tuple[str, int]] = Schedule()
        self._effects: list[Effect] = []
        self._now, self._is_over, self._refuted_at = 0.0, False, float("-inf")
        self._turn, self._shelf = Turn(), Shelf()
        self._telling = Telling(self._own, self.known, self._tombstones, self.times, self._effects)
        #: Have a node told of with the next `tick`; see `Telling.hurry`.
        self.hurry = self._telling.hurry
        self._hearing = Hearing(
            *(self._own, self.known, self._tombstones, self._links),
            *(self._changed, self._contradict, self._turn, self._effects),
        )

    # What it knows.

    @property
    def deadline(self) -> float | None:
        """When to tick next, seconds; None for never."""
        if self._is_over or self._hearing.is_behind or self._telling.is_behind:
            return None if self._is_over else self._now
        times = (self._timers.deadline, self._telling.deadline, self._tombstones.deadline)
        return min((at for at in times if at is not None), default=None)

    @property
    def own(self) -> Record:
        """The record of this node, as it is told."""
        return self._own.record

    def stage_of(self, bus_id: int) -> Stage:
        """
        Say how far a neighbor is with telling us.

        :param bus_id: The neighbor.
        :returns: The stage; `IDLE` for strangers.
        """
        link = self._links.get(bus_id)
        return Stage.IDLE if link is None else link.subscription.stage

    @property
    def tombstone_count(self) -> int:
        """How many deaths are remembered."""
        return len(self._tombstones)

    def digest_of(self, bus_id: int) -> int:
        """
        Give the digest of what a neighbor has told, for a PING or a PONG to it.

        :param bus_id: The neighbor.
        :returns: The digest; 0 when there is nothing to compare.
        """
        link = self._links.get(bus_id)
        if link is None or link.subscription.stage is not Stage.CURRENT or link.feed.overflowed:
            return 0
        return 0 if link.intake.waits or link.feed.surplus else link.feed.digest

    # Inputs.

    def describe(self, content: Record, now: float) -> list[Effect]:
        """
        Change what this node says of itself.

        :param content: As for the class; of its stamp only the epoch counts.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        if self._own.describe(content):
            self._own_changed(now)
        return self._end(now)

    def available(self, peer: Peer, now: float) -> list[Effect]:
        """
        Take note that a neighbor can be reached, or can be over another connection than before.

        :param peer: The neighbor.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        self._now, bus_id = now, peer.bus_id
        link = self._links.get(bus_id)
        was_alive = link is not None and link.alive
        was_above = was_alive and self._links[bus_id].peer.position is Position.UPSTREAM
        if link is None:
            feed = self._hearing.feed_of(bus_id, peer.position)
            link = self._links[bus_id] = RouteLink(peer, feed, intake=Intake(shelf=self._shelf))
        self._timers.clear((_GRACE, bus_id))
        link.peer, link.alive, link.is_contested = peer, True, False
        self._rank(link)
        if was_alive:
            # What was under way on the other connection is lost, and nobody will say that it left.
            self._telling.sent(link)
        if was_alive and link.subscription.stage is not Stage.IDLE:
            self._ask(link)
        self._ask_if_wanted(link)
        if peer.position is Position.UPSTREAM and not was_above:
            self._upstream_gained(link)
        self._list(link)
        if link.has_told_all(asks=self._asks):
            self._sweep_stale()
        if bus_id in self._early:
            self._early.discard(bus_id)
            self._telling.subscribe(link, now)
        return self._end(now)

    def lost(self, bus_id: int, now: float, *, in_order: bool = False) -> list[Effect]:
        """
        Take note that a neighbor is not connected any more.

        :param bus_id: The neighbor.
        :param now: The time, seconds.
        :param in_order: Whether it has left in good order, so that it is not awaited.
        :returns: What is to be done.
        """
        self._now = now
        self._early.discard(bus_id)
        link = self._links.get(bus_id)
        if link is None or not link.alive:
            return self._end(now)
        self._timers.clear((_OWN_WORD, bus_id))
        link.intake.begin()
        self._telling.unsubscribe(link)
        link.alive = False
        could_tell = link.subscription.stage in (Stage.SYNCING, Stage.CURRENT)
        link.subscription.stage = Stage.IDLE
        if link.feed.kind is Position.UPSTREAM:
            del self._links[bus_id]
            self._upstream_lost(link, could_tell=could_tell and not in_order)
        elif link.feed.kind is Position.DOWNSTREAM and bus_id in link.feed.heard and not in_order:
            self._timers.set((_GRACE, bus_id), now + self.times.child_grace)
        else:
            self._part(link, is_dead=in_order)
        self._asks = self._asks and self._wants_all()
        return self._end(now)

    def receive(self, bus_id: int, message: SyncMessage, now: float) -> list[Effect]:
        """
        Take a message from a registered neighbor.

        :param bus_id: The neighbor.
        :param message: What arrived on its control connection.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        self._now = now
        link = self._links.get(bus_id)
        if link is not None and not link.alive:
            link = None
        match message:
            case SubscribeRequest():
                self._asked(bus_id, link)
            case SubscribeResponse() | Batch() | RouteBatch() if link is not None:
                self._arrived(link, message)
            case _:
                self._effects.append(Ignored(bus_id, Status.OUT_OF_TURN, 1))
        return self._end(now)

    def sent(self, bus_id: int, now: float) -> list[Effect]:
        """
        Take note that a `Batch` has left, so that the link takes another one.

        :param bus_id: The neighbor it went to.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        link = self._links.get(bus_id)
        if link is not None:
            self._telling.sent(link, 1)
        return self._end(now)

    def compare(self, bus_id: int, digest: int, now: float) -> list[Effect]:
        """
        Take the digest that a PING or a PONG has brought.

        :param bus_id: Who sent it.
        :param digest: Its number for what we have told.
        :param now: The time, seconds.
        :returns: What is to be done: when something was lost, everything is told anew.
        """
        link = self._links.get(bus_id)
        if link is not None and link.publication is not None and link.publication.doubts(digest):
            self._telling.begin(link, now)
        return self._end(now)

    def tick(self, now: float) -> list[Effect]:
        """
        Do what is due.

        :param now: The time, seconds.
        :returns: What is to be done.
        """
        self._now = now
        if self._is_over:
            return []
        self._turn.begin()
        self._telling.begin_turn()
        self._hearing.catch_up()
        for what, bus_id in self._timers.due(now):
            match what:
                case "grace":
                    self._given_up(self._links[bus_id])
                case "own word":
                    self._list(self._links[bus_id], at_once=True)
                case "read" if bus_id in self._links:
                    self._read(self._links[bus_id])
                case "stale" if self._stale is not None:
                    self._sweep_stale()
                case "patience":
                    self._move(0)
                case "refute" if self._own.is_disputed:
                    self._refuted_at = now
                    self._own.rise()
                    self._own_changed(now)
        for bus_id in self._tombstones.expire(now):
            self._hearing.forget_death(bus_id)
        return self._end(now)

    def want(self, mode: TableMode, now: float) -> list[Effect]:
        """
        Want to know more or less from now on; who has been asked goes on telling.

        :param mode: How much.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        self._now, self.mode = now, mode
        self._ask_if_wanted()
        return self._end(now)

    def stop(self, now: float) -> list[Effect]:
        """
        Say that this node leaves; it tells nothing after that.

        :param now: The time, seconds.
        :returns: What is to be done.
        """
        self._own.rise()
        removal = Removal(self.own.bus_id, self.own.stamp, dead=True)
        for link in self._telling.subscribers:
            self._telling.say_dead(link, removal)
        effects = list(self._effects)
        self._effects.clear()
        self._is_over = True
        return effects

    def _end(self, now: float) -> list[Effect]:
        """Say what is due, and give out the effects of an input."""
        if self._is_over:
            self._effects.clear()
            return []
        if self._own.is_disputed:
            refute_at = max(now, self._refuted_at + self.times.refutation)
            self._timers.hasten((_REFUTE, _NOBODY), refute_at)
        self._telling.release(now)
        effects = list(self._effects)
        self._effects.clear()
        return effects

    # Neighbors.

    def _wants_all(self) -> bool:
        """Tell whether we want to know everything, as things are now."""
        if self.mode is not TableMode.AUTO:
            return self.mode is TableMode.FULL
        others = (each for each in self._links.values() if each.feed.kind is not Position.UPSTREAM)
        return any(link.alive for link in others)

    def _ask_if_wanted(self, *newcomers: RouteLink) -> None:
        """Ask a new neighbor, and all others if it is only now that we want to know."""
        links = newcomers if self._asks else tuple(self._links.values())
        self._asks = self._asks or self._wants_all()
        for link in links if self._asks else ():
            if link.alive and link.peer.tells and link.subscription.stage is Stage.IDLE:
                self._ask(link)

    def _ask(self, link: RouteLink) -> None:
        link.intake.begin()
        link.subscription.ask()
        self._effects.append(Send(link.bus_id, SubscribeRequest(source=self.own.bus_id)))

    def _asked(self, bus_id: int, link: RouteLink | None) -> None:
        if self.mode is TableMode.OFF:
            self._telling.refuse(bus_id, Status.NOT_ADMITTED)
        elif link is None:
            self._early.add(bus_id)
        else:
            self._telling.subscribe(link, self._now)

    def _list(self, link: RouteLink, *, at_once: bool = False) -> None:
        """Know a neighbor as it registered, unless it tells of itself, or is about to."""
        if link.bus_id in link.feed.heard and not link.feed.made_up:
            return
        if link.subscription.stage in (Stage.ASKED, Stage.SYNCING) and not at_once:
            self._timers.set((_OWN_WORD, link.bus_id), self._now + self.times.own_word)
            return
        self._timers.clear((_OWN_WORD, link.bus_id))
        self._hearing.make_up(link)

    def _rank(self, link: RouteLink) -> None:
        """Find out on which side of us a neighbor is, and tell what follows from it."""
        kind = link.kind_for(self.own.bus_id)
        if kind is not link.feed.kind:
            link.feed.kind = kind
            for bus_id in link.feed.heard:
                self._telling.side_changed(bus_id, self._now)
        self._telling.rank(link)

    # What neighbors tell.

    def _arrived(self, link: RouteLink, message: Told) -> None:
        """Read what has arrived now, or later if it is too much."""
        intake = link.intake
        too_many = intake.put(message)
        if too_many:
            link.subscription.stage = Stage.IDLE
            self._effects.append(Ignored(link.bus_id, Status.BUFFER_LIMIT, too_many))
        self._read(link)
        if (is_late := intake.is_late(self._now)) or intake.is_long:
            self._effects.append(Delayed(link.bus_id, is_late and intake.name(), intake.is_long))

    def _read(self, link: RouteLink) -> None:
        """Read what may be read now; ask for everything if too much came."""
        if link.intake.begins_anew(self._now):
            self._ask_if_wanted(link)
        # Who finds nothing left of a turn goes first in the next one, as if by an older deadline.
        goes_first = self._turn.is_over
        for message in link.intake.read(self._now, self._turn):
            if isinstance(message, Batch):
                self._told(link, message)
            elif link.subscription.answered(message.status, message.snapshot_id):
                self._list(link)
        deadline = link.intake.deadline
        if deadline is not None:
            self._timers.set((_READ, link.bus_id), max(deadline, self._now - goes_first))

    def _told(self, link: RouteLink, batch: Batch) -> None:
        subscription = link.subscription
        if batch.faults:
            self._effects.append(Ignored(link.bus_id, Status.MALFORMED_FRAME, batch.faults))
        if not subscription.takes(batch, link.feed.told):
            self._effects.append(Ignored(link.bus_id, Status.OUT_OF_TURN, len(batch.words)))
            return
        for word in batch.words:
            if subscription.unmentioned is not None:
                subscription.unmentioned.discard(word.bus_id)
            if isinstance(word, Removal):
                self._hearing.unhear(link, word, self._now)
                continue
            self._hearing.hear(link, word)
            if word.bus_id == link.bus_id:
                self._timers.clear((_OWN_WORD, link.bus_id))
                self._rank(link)
        if batch.is_snapshot and batch.last:
            self._hearing.drop_surplus(link.feed, subscription.complete())
            if link.feed.kind is Position.UPSTREAM and self._stale is not None:
                self._sweep_stale()
            self._list(link)

    def _contradict(self, link: RouteLink, stamp: Stamp) -> None:
        self._telling.say_dead(link, Removal(link.bus_id, stamp, dead=True))

    def _changed(self, bus_id: int, before: Record | None, carriers: tuple[Feed, ...]) -> None:
        """Say what is new about a node, here and to the neighbors."""
        after = self.known.best.get(bus_id)
        if not is_same(after, before):
            self._effects.append(Forget(bus_id) if after is None else Learn(after))
        self._telling.changed(bus_id, before, carriers, self._now)

    # Neighbors that are gone.

    def _given_up(self, link: RouteLink) -> None:
        """Report a downstream dead that has not come back, if it is not elsewhere."""
        self._part(link, is_dead=link.can_witness(self.known.best, self.own.bus_id))

    def _part(self, link: RouteLink, *, is_dead: bool) -> None:
        record = link.feed.believed(link.bus_id)
        del self._links[link.bus_id]
        if is_dead and record is not None:
            self._hearing.bury(link.bus_id, record.stamp, self._now, told_by=link.feed)
        self._hearing.drop_feed(link.feed)

    def _sweep_stale(self) -> None:
        stale, self._stale = self._stale, None
        self._timers.clear((_STALE, _NOBODY))
        if stale is not None:
            self._hearing.drop_feed(stale)

    # Our own record.

    def _upstream_gained(self, link: RouteLink) -> None:
        was_short = self._timers.clear((_PATIENCE, _NOBODY)) and link.peer.life == self._own.lost
        if not was_short or link.subscription.stage is Stage.IDLE:
            self._move(link.bus_id)

    def _upstream_lost(self, lost: RouteLink, *, could_tell: bool) -> None:
        """Keep what the upstream told, unless another one has told everything already."""
        feed, self._own.lost = lost.feed, lost.peer.life
        if any(link.has_told_all(asks=self._asks) for link in self._links.values()):
            self._hearing.drop_feed(feed)
        else:
            if self._stale is not None:
                self._hearing.merge(feed, self._stale)
            self._stale = feed
            feed.is_stale = True
            self._timers.set((_STALE, _NOBODY), self._now + self.times.parent_grace)
        if could_tell and self.own.upstream_id == feed.bus_id:
            self._timers.set((_PATIENCE, _NOBODY), self._now + self.times.upstream_patience)
        elif self.own.upstream_id == feed.bus_id:
            # Else we have moved before it went.
            self._move(0)

    def _move(self, upstream_id: int) -> None:
        self._own.move(upstream_id)
        self._own_changed(self._now, at_once=True)

    def _own_changed(self, now: float, *, at_once: bool = False) -> None:
        self._effects.append(Announce(self.own))
        self._telling.own_changed(now, at_once=at_once)
