"""
Who is told what, and when.

What (the export rule; wire protocol, section 6.6):

1. An upstream and a peer are told of ourselves and of what a downstream carries.
2. A downstream is told of everything that is known, but what itself carries.

When:

1. A change waits for `SyncTimes.gather`, and leaves with all changes of that time, of whatever
   nodes; one that has moved is told of at once, and so is one whose messages pass this node
   (`Telling.hurry`), for they should not come before it. A node that changes all the time waits
   longer (`Damping`).
2. That a node is not below us any more, but below somebody else, is told to those above after
   `SyncTimes.parting`: the word of its new place takes another way and may be slower, and between
   the two nobody should believe that it is nowhere. Until then it can be reached through us.
3. Then every subscribed neighbor that was told something else is behind, and is told when its link
   takes more (`Publication`).
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.routing.batch import Batch, Removal
from atbus.routing.damping import Damping
from atbus.routing.feed import Feed
from atbus.routing.known import Known
from atbus.routing.own_record import OwnRecord
from atbus.routing.publication import Publication
from atbus.routing.record import Record
from atbus.routing.route_link import RouteLink
from atbus.routing.saying import Saying
from atbus.routing.schedule import Schedule
from atbus.routing.sync_terms import Effect, Send, SyncTimes
from atbus.routing.table import Position
from atbus.routing.tombstones import Tombstones
from atbus.wire.messages import SubscribeResponse


@attrs.define(eq=False)
class Telling:
    """
    Keep the neighbors that have subscribed up to date.

    :param effects: Where messages are put.
    """

    own: OwnRecord
    known: Known
    tombstones: Tombstones
    times: SyncTimes
    effects: list[Effect] = attrs.field(factory=list)
    _damping: Damping = attrs.field(init=False)
    # Those that are told of our subtree only, and those that are told of everything.
    _above: dict[RouteLink, Publication] = attrs.field(factory=dict, init=False)
    _below: dict[RouteLink, Publication] = attrs.field(factory=dict, init=False)
    # Until when changes are gathered that leave together.
    _gathers_until: float = attrs.field(default=float("-inf"), init=False)
    # When which node may be told of, and whether those above are concerned.
    _due: Schedule[int] = attrs.field(factory=Schedule, init=False)
    _concerns_above: set[int] = attrs.field(factory=set, init=False)
    # Those that are below somebody else now, and when those above are told that they left us.
    _parting: Schedule[int] = attrs.field(factory=Schedule, init=False)
    _saying: Saying = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._damping = Damping(limits.ROUTE_CHANGES_AT_ONCE, self.times.change)
        self._saying = Saying(
            self.own, self.known, self.times, self._damping, self._parting, self.effects
        )

    @property
    def deadline(self) -> float | None:
        """When `release` has something to do, seconds; None for never."""
        times = (self._due.deadline, self._parting.deadline, self._saying.deadline)
        return min((at for at in times if at is not None), default=None)

    def wanted(self, link: RouteLink, bus_id: int) -> Record | None:
        """
        Say what a neighbor should know of a node: the export rule.

        :param link: Its link.
        :param bus_id: The node.
        :returns: The record, or None for nothing.
        """
        own = self.own.record
        if bus_id == own.bus_id:
            return own
        best = self.known.best.get(bus_id)
        if best is None:
            return None
        if link.feed.kind is Position.DOWNSTREAM:
            return None if self.known.is_carried_by(link.feed, bus_id) else best
        return best if self.known.is_below(bus_id) else None

    def everything(self, link: RouteLink) -> Iterator[Record]:
        """
        Go through all that a neighbor should know.

        :param link: Its link.
        :returns: The records, some of them perhaps twice.
        """
        yield self.own.record
        if link.feed.kind is not Position.DOWNSTREAM:
            yield from self.known.below()
            return
        for bus_id, best in self.known.best.items():
            if not self.known.is_carried_by(link.feed, bus_id):
                yield best

    # Neighbors come and go.

    def subscribe(self, link: RouteLink, now: float) -> None:
        """
        Tell a neighbor everything, because it asks.

        :param link: Its link.
        :param now: The time, seconds.
        """
        link.owes_answer = True
        if link.publication is None:
            link.publication = Publication(
                link.peer.batch_bytes_max,
                wanted=lambda bus_id: self.wanted(link, bus_id),
                dead_stamp=self.tombstones.stamp_of,
            )
        self.rank(link)
        self.begin(link, now)

    def begin(self, link: RouteLink, now: float) -> None:
        """
        Begin a snapshot, or let it wait when the last one was just now.

        :param link: To whom; it has a publication.
        :param now: The time, seconds.
        """
        self._saying.begin(link, now)

    def refuse(self, bus_id: int, status: Status) -> None:
        """
        Answer a neighbor that it will be told nothing.

        :param bus_id: The neighbor.
        :param status: Why.
        """
        answer = SubscribeResponse(source=self.own.record.bus_id, status=status)
        self.effects.append(Send(bus_id, answer))

    def rank(self, link: RouteLink) -> None:
        """
        Take note of the side on which a neighbor is, now or anew.

        :param link: Its link.
        """
        publication = link.publication
        if publication is None:
            return
        is_below = link.feed.kind is Position.DOWNSTREAM
        place, other = (self._below, self._above) if is_below else (self._above, self._below)
        if other.pop(link, None) is not None:
            publication.backlog.update(publication.told)
            publication.backlog.update(record.bus_id for record in self.everything(link))
            self._saying.wake(link)
        place[link] = publication

    def unsubscribe(self, link: RouteLink) -> None:
        """
        Tell a neighbor nothing more: its link is gone.

        :param link: Its link.
        """
        link.publication = None
        link.owes_answer = False
        self._above.pop(link, None)
        self._below.pop(link, None)
        self._saying.forget(link)

    # Nodes change.

    def changed(
        self, bus_id: int, before: Record | None, carriers: tuple[Feed, ...], now: float
    ) -> None:
        """
        Take note that something else may be to be told of a node.

        :param bus_id: The node.
        :param before: What was its best record.
        :param carriers: Who carried it.
        :param now: The time, seconds.
        """
        after = self.known.best.get(bus_id)
        carriers_now = self.known.carriers.get(bus_id, ())
        is_moved = after is None or before is None or before.upstream_id != after.upstream_id
        if is_moved or carriers != carriers_now:
            self._saying.sharing.moved(bus_id)
        if not (self._above or self._below):
            return
        is_new = after is not before
        above = False
        if self._above:
            was_below = bool(carriers) and any(
                feed.kind is Position.DOWNSTREAM for feed in carriers
            )
            is_below = self.known.is_below(bus_id)
            above = was_below != is_below or (is_new and (is_below or bus_id in self._parting))
        below = self._below and (is_new or carriers != carriers_now)
        if not (above or below):
            return
        if above:
            self._concern_above(bus_id, now)
        has_moved = bool(before and after and before.upstream_id != after.upstream_id)
        self._tell_later(bus_id, now, at_once=has_moved)

    def own_changed(self, now: float, *, at_once: bool = False) -> None:
        """
        Take note that our own record is another.

        :param now: The time, seconds.
        :param at_once: Whether it does not wait for others.
        """
        self._saying.sharing.moved(self.own.record.bus_id)
        if self._above or self._below:
            bus_id = self.own.record.bus_id
            self._concerns_above.add(bus_id)
            self._tell_later(bus_id, now, at_once=at_once)

    def side_changed(self, bus_id: int, now: float) -> None:
        """
        Take note that the teller of a node is on another side of us now.

        :param bus_id: The node.
        :param now: The time, seconds.
        """
        self._saying.sharing.moved(bus_id)
        self._saying.sharing.sides += 1
        self._concern_above(bus_id, now)
        self._tell_later(bus_id, now, at_once=True)

    def _concern_above(self, bus_id: int, now: float) -> None:
        """Let those above be told, after a while if a node has only left us."""
        self._concerns_above.add(bus_id)
        if self._has_left(bus_id):
            self._parting.hasten(bus_id, now + self.times.parting)
        else:
            self._parting.clear(bus_id)

    def _has_left(self, bus_id: int) -> bool:
        """Tell whether a node is below somebody else, rather than below us or nowhere."""
        return bus_id in self.known.best and not self.known.is_below(bus_id)

    def _tell_later(self, bus_id: int, now: float, *, at_once: bool) -> None:
        at = self._damping.allowed_at(bus_id, now)
        if not at_once:
            if now >= self._gathers_until:
                self._gathers_until = now + self.times.gather
            at = max(at, self._gathers_until)
        self._due.hasten(bus_id, at)

    def hurry(self, bus_id: int, now: float) -> bool:
        """
        Let a node be told of without waiting for others: messages in its name are on their way.

        :param bus_id: The node.
        :param now: The time, seconds.
        :returns: Whether anything is to be told of it that would have waited, and may be told now.
        """
        if bus_id not in self._due or self._damping.allowed_at(bus_id, now) > now:
            return False
        self._due.hasten(bus_id, now)
        return True

    # Saying it.

    def release(self, now: float) -> None:
        """
        Say what is due, as far as the links take it, and as much as may be in this turn.

        :param now: The time, seconds.
        """
        due = dict.fromkeys(self._parting.due(now, limits.ROUTE_BATCH_RECORDS_MAX))
        due.update(dict.fromkeys(self._due.due(now, limits.ROUTE_BATCH_RECORDS_MAX)))
        if due:
            self._saying.begin_round(due, self._below, is_below=True)
            above = [each for each in due if self._concerns_now(each)]
            self._concerns_above.difference_update(above)
            self._saying.begin_round(above, self._above, is_below=False)
        self._saying.go_on(now)

    def begin_turn(self) -> None:
        """Begin the next turn; what is left over goes on with `release`."""
        self._saying.turn.begin()

    @property
    def is_behind(self) -> bool:
        """Whether something is left over for the next turn."""
        return self._saying.is_behind

    def sent(self, link: RouteLink, count: int | None = None) -> None:
        """
        Take note that batches have left, so that the link takes more.

        :param link: Its link.
        :param count: How many; None for all.
        """
        publication = link.publication
        if publication is not None:
            publication.unsent = 0 if count is None else max(0, publication.unsent - count)
            self._saying.wake(link)

    def _concerns_now(self, bus_id: int) -> bool:
        """Tell whether those above are concerned by a change that is due, and may hear of it."""
        return bus_id in self._concerns_above and bus_id not in self._parting

    def say_dead(self, link: RouteLink, removal: Removal) -> None:
        """
        Tell one neighbor of a death now, whatever else it is behind with.

        :param link: Its link; one that has not asked is told nothing.
        :param removal: Who is dead.
        """
        publication = link.publication
        if publication is not None:
            publication.told_besides(removal.bus_id)
            self.effects.append(Send(link.bus_id, Batch(words=(removal,))))

    @property
    def subscribers(self) -> list[RouteLink]:
        """The links whose neighbors have asked."""
        return [*self._above, *self._below]
