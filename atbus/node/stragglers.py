"""
What was on its way to a node when that moved.

A node that moves to another upstream stays connected to the former one for a moment, and what was
sent to it by then arrives there. But records travel other connections than messages, and one of
these may be slow. So a frame can come to a relay whose way leads back to where the frame comes
from, and it is not refused for that (wire protocol, section 2.5):

1. The word of the move has overtaken the frame. It goes on to where its destination was, behind
   what went there before it; there the destination still is, in all likelihood.
2. The frame has reached the former upstream, and the destination has left already. It is given back
   to the neighbor that it came from, who has heard of the move by now.

A neighbor that gets a frame back finds it among those that the other side answers for. So it need
not ask whether that one may speak for the source, and it does not give the frame back in its turn.
What comes back is older than all that waits for a flush, and goes before it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol

from atbus.errors import Status
from atbus.node.endpoint import Endpoint
from atbus.node.outbox import Relayed, Run
from atbus.routing import bounds
from atbus.routing.table import Position
from atbus.wire.head import Head
from atbus.wire.messages import Capability, Flags, MessageType

if TYPE_CHECKING:
    from atbus.node.context import Context

_FLUSH = int(MessageType.FLUSH)
_DATA = (Run, Relayed)


class HopTo(Protocol):
    """Look up the next hop, as `Traffic.hop_to` does."""

    def __call__(
        self, target: int, *, came_from: int | None = None, no_upstream: bool = False
    ) -> Endpoint | Status: ...


class Stragglers:
    """
    Find a way for what comes late to a place that its destination has left.

    :param hop_to: Looks up the next hop.
    """

    def __init__(self, context: Context, hop_to: HopTo) -> None:
        self._context = context
        self._hop_to = hop_to

    def way_of(
        self, head: Head, origin: Endpoint, hop: Endpoint | Status
    ) -> tuple[Endpoint | Status, bool]:
        """
        Decide about a frame that has no way on, or whose destination has another way soon.

        :param origin: The neighbor that it came from.
        :param hop: What the table says.
        :returns: The next hop, or why there is none, and whether the frame goes before what waits
            for the new way of its destination.
        """
        target = head[6]
        if hop is not Status.LOOP:
            # Only who had it last gives something back.
            was_given = self._context.ways.last(target) == origin.bus_id
            return hop, was_given and self.is_returned(origin, head)
        if not self._former(target) or self.is_returned(origin, head):
            return hop, False
        no_upstream = bool(head[2] & Flags.NO_UPSTREAM)
        way = self.former_way(target, origin.bus_id, no_upstream=no_upstream)
        if way is Status.LOOP:
            way = self.way_back(head, origin) or way
        return way, True

    def former_way(
        self, target: int, came_from: int, *, no_upstream: bool = False
    ) -> Endpoint | Status:
        """
        Look for the way to where a node was until a moment ago.

        :param target: The node.
        :param came_from: The neighbor that does not count.
        :returns: The next hop; `Status.LOOP` when there is none.
        """
        for place in self._former(target):
            if place != self._context.bus_id:
                hop = self._hop_to(place, came_from=came_from, no_upstream=no_upstream)
                if isinstance(hop, Endpoint):
                    return hop
        return Status.LOOP

    def way_back(self, head: Head, origin: Endpoint) -> Endpoint | None:
        """
        Tell whether a frame can be given back, for its destination was below us a moment ago.

        :param origin: The neighbor that it came from.
        :returns: That neighbor, if so.
        """
        if head[1] == _FLUSH or not origin.peer.capabilities & Capability.RETURNS:
            return None
        if head[2] & Flags.NO_UPSTREAM and origin.position is Position.UPSTREAM:
            return None
        return origin if self.was_here(head[6]) and not self.is_returned(origin, head) else None

    def was_here(self, target: int) -> bool:
        """Tell whether a node, or one above it, was below us until a moment ago."""
        return self._context.bus_id in self._former(target)

    def is_returned(self, origin: Endpoint, head: Head) -> bool:
        """
        Tell whether a frame that a neighbor brings is one that we have given to it.

        What we have given back to it is not meant: of a message in pieces the others follow.

        :param origin: The neighbor.
        """
        source, target, sequence = head[5], head[6], head[7]
        for carrier in origin.carriers:
            given = () if carrier.link is None else carrier.link.outgoing
            for item in islice(given, bounds.RETURNED_LOOK_FRAMES):
                if isinstance(item, _DATA) and item.target == target:
                    behind = sequence - item.first_sequence
                    is_of_it = item.source == source and item.epoch == head[8]
                    if is_of_it and 0 <= behind < max(1, item.count):
                        return not _came_from(item, origin)
        return False

    def _former(self, target: int) -> list[int]:
        """Give the former upstreams of a node and of all above it that have moved lately."""
        context = self._context
        chain = (target, *context.table.registry.tree.chain_of(target))
        return context.former_places.upstreams(chain, context.now)


def _came_from(item: Run | Relayed, neighbor: Endpoint) -> bool:
    return isinstance(item, Relayed) and item.custody.link.connection.bus_id == neighbor.bus_id
