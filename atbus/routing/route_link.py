"""
One neighbor, as the global route table sees it: what it told, what it was told, on which side.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from atbus.routing.feed import Feed
from atbus.routing.intake import Intake
from atbus.routing.publication import Publication
from atbus.routing.record import Record
from atbus.routing.subscription import Stage, Subscription
from atbus.routing.sync_terms import Peer
from atbus.routing.table import Position


@attrs.define(eq=False)
class RouteLink:
    """
    What belongs to the link to one neighbor.

    :param peer: The neighbor.
    :param feed: What it told, on this link or on the one before a short break.
    :param alive: Whether the link is there; otherwise it is awaited back.
    :param intake: What it told and was not read yet.
    :param publication: What the neighbor was told, if it has asked.
    :param snapshot_at: When it was last told everything, seconds.
    :param owes_answer: Whether a SUBSCRIBE_REQUEST is unanswered.
    :param is_contested: Whether somebody was told that others tell of a newer life of it.
    :param is_named: Whether somebody was told that it speaks for others than its certificate names.
    """

    peer: Peer
    feed: Feed
    alive: bool = True
    subscription: Subscription = attrs.field(factory=Subscription)
    intake: Intake = attrs.field(factory=Intake)
    publication: Publication | None = None
    snapshot_at: float | None = None
    owes_answer: bool = False
    is_contested: bool = False
    is_named: bool = False

    @property
    def bus_id(self) -> int:
        """The neighbor."""
        return self.peer.bus_id

    def has_told_all(self, *, asks: bool) -> bool:
        """
        Tell whether this is an upstream, and has told everything that we want to hear.

        :param asks: Whether neighbors are asked for everything; otherwise we want to hear nothing.
        :returns: Whether what another upstream has told is of no use any more.
        """
        has_told = self.subscription.stage is Stage.CURRENT or not asks
        return has_told and self.feed.kind is Position.UPSTREAM

    def can_witness(self, known: Mapping[int, Record], own_id: int) -> bool:
        """
        Tell whether the end of the link is the end of the neighbor: nobody knows it elsewhere.

        :param known: The newest record that is known of each node.
        :param own_id: Our id.
        :returns: Whether its own word, under a stamp of its own, is that it is below us.
        """
        record, best = self.feed.believed(self.bus_id), known.get(self.bus_id)
        if record is None or best is None or record.stamp != best.stamp:
            return False
        return record.upstream_id == own_id and record.stamp.seq > 0

    def kind_for(self, own_id: int) -> Position:
        """
        Say on which side of us the neighbor is.

        Its own word on who is above it counts more than where its id lies: a node may hang below
        us with an id that is not ours to give, and one of our range below somebody else.

        :param own_id: Our id.
        :returns: Where it is.
        """
        position = self.peer.position
        own_word = self.feed.heard.get(self.bus_id)
        if position is Position.UPSTREAM or own_word is None or self.feed.made_up:
            return position
        if own_word.upstream_id == own_id:
            return Position.DOWNSTREAM
        return Position.PEER if own_word.upstream_id else position
