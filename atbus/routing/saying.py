"""
Who is told next, and how much in one turn.

1. What has changed is a *round*: each neighbor that it may concern is looked at in its turn, and
   whoever was told something else is behind. One that is behind, and whose link takes more, is told
   one batch, and then the next one is.
2. Looking and telling alternate, so that the first ones are told before the last ones are looked
   at, and no round keeps those waiting that are behind with an earlier one.
3. When what may be done in a turn is done (`ROUTE_WORDS_TOLD_IN_TURN`), the rest waits for the next
   one. What is told then is how things are then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from atbus.routing.bounds import ROUTE_WORDS_TOLD_IN_TURN
from atbus.routing.damping import Damping
from atbus.routing.known import Known
from atbus.routing.own_record import OwnRecord
from atbus.routing.route_link import RouteLink
from atbus.routing.schedule import Schedule
from atbus.routing.sharing import Sharing
from atbus.routing.sync_terms import Effect, Send, SyncTimes
from atbus.routing.table import Position
from atbus.routing.turn import Turn
from atbus.wire.messages import SubscribeResponse


@attrs.define(eq=False)
class _Round:
    """
    Some nodes, and the neighbors that are still to be looked at because of them.

    :param unspent: The nodes of which nobody was told because of this.
    """

    ids: tuple[int, ...]
    links: deque[RouteLink]
    is_below: bool
    unspent: set[int]


@attrs.define(eq=False)
class Saying:
    """
    Tell neighbors what they are to be told, a turn's share at a time.

    :param parting: Of whom those above are not told yet.
    :param effects: Where messages are put.
    """

    own: OwnRecord
    known: Known
    times: SyncTimes
    damping: Damping
    parting: Schedule[int]
    effects: list[Effect]
    #: What may still be done in this turn.
    turn: Turn = attrs.field(factory=lambda: Turn(ROUTE_WORDS_TOLD_IN_TURN), init=False)
    sharing: Sharing = attrs.field(init=False)
    # Whose snapshot is to begin, now or at its time; which rounds are not over; who is to be told.
    _beginning: dict[RouteLink, None] = attrs.field(factory=dict, init=False)
    _snapshots: Schedule[RouteLink] = attrs.field(factory=Schedule, init=False)
    _rounds: deque[_Round] = attrs.field(factory=deque, init=False)
    _ready: dict[RouteLink, None] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.sharing = Sharing(self.own, self.known, self.turn)

    @property
    def is_behind(self) -> bool:
        """Whether something is left over for the next turn."""
        return bool(self._ready or self._rounds or self._beginning)

    @property
    def deadline(self) -> float | None:
        """When a snapshot may begin that has to wait, seconds; None for never."""
        return self._snapshots.deadline

    def begin(self, link: RouteLink, now: float) -> None:
        """
        Begin a snapshot, or let it wait when the last one was just now.

        :param link: To whom; it has a publication.
        :param now: The time, seconds.
        """
        allowed_at = now if link.snapshot_at is None else link.snapshot_at + self.times.snapshot
        if now < allowed_at:
            self._snapshots.set(link, allowed_at)
        else:
            self._beginning[link] = None

    def begin_round(
        self, bus_ids: Iterable[int], links: Iterable[RouteLink], *, is_below: bool
    ) -> None:
        """
        Find out which neighbors were told something else of some nodes.

        :param bus_ids: The nodes.
        :param links: The neighbors that they may concern.
        :param is_below: Whether they are below us; one that is not any more is not looked at.
        """
        ids, waiting = tuple(bus_ids), deque(links)
        if ids and waiting:
            self._rounds.append(_Round(ids, waiting, is_below, set(ids)))

    def wake(self, link: RouteLink) -> None:
        """
        Take note that a neighbor is behind, or that its link takes more.

        :param link: Its link.
        """
        if link.publication is not None and link.publication.has_work:
            self._ready[link] = None

    def forget(self, link: RouteLink) -> None:
        """
        Tell a neighbor nothing more.

        :param link: Its link.
        """
        self._snapshots.clear(link)
        self._beginning.pop(link, None)
        self._ready.pop(link, None)

    def go_on(self, now: float) -> None:
        """
        Do what is due, as much as may be in this turn.

        :param now: The time, seconds.
        """
        for link in self._snapshots.due(now):
            self._beginning[link] = None
        while not self.turn.is_over:
            if self._beginning:
                self._begin_one(now)
            elif self._rounds or self._ready:
                if self._rounds:
                    self._look(now)
                if self._ready:
                    self._say(now)
            else:
                return

    def _begin_one(self, now: float) -> None:
        link = next(iter(self._beginning))
        del self._beginning[link]
        self._snapshots.clear(link)
        publication = link.publication
        if publication is None:
            return
        link.snapshot_at = now
        self.turn.spend(1)
        publication.begin(self.sharing.everything(link))
        if link.owes_answer:
            link.owes_answer = False
            answer = SubscribeResponse(
                source=self.own.record.bus_id, snapshot_id=publication.snapshot_id
            )
            self.effects.append(Send(link.bus_id, answer))
        self.wake(link)

    def _look(self, now: float) -> None:
        """Find out whether the next neighbor of the oldest round is behind."""
        first = self._rounds[0]
        link = first.links.popleft()
        if not first.links:
            self._rounds.popleft()
        publication = link.publication
        if publication is None or first.is_below is not (link.feed.kind is Position.DOWNSTREAM):
            return
        ids = first.ids
        if not first.is_below:
            # Whoever has left us since: those above are told of that later.
            ids = tuple(each for each in ids if each not in self.parting)
        behind = self.sharing.differing(link, ids)
        if not behind:
            return
        if not first.unspent.isdisjoint(behind):
            for bus_id in behind:
                if bus_id in first.unspent:
                    first.unspent.discard(bus_id)
                    self.damping.spend(bus_id, now)
        publication.backlog.update(behind)
        self.wake(link)

    def _say(self, now: float) -> None:
        """Tell the next neighbor one batch."""
        link = next(iter(self._ready))
        del self._ready[link]
        publication = link.publication
        if publication is None:
            return
        if publication.is_flooded:
            self.begin(link, now)
            if link in self._beginning:
                return
        if publication.has_work:
            batch = self.sharing.next_batch(link)
            if batch is not None:
                self.effects.append(Send(link.bus_id, batch))
            self.wake(link)
