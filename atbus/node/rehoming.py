"""
From one upstream to another, without a moment between them.

The new upstream registers as a peer would, while the old one carries everything. When data can flow
to it (or at the latest when the attempt to reach it ends), the two change places: the new one is
the upstream, and the old one is left as a peer is left, in this order:

1. What goes through the new one does not overtake what went through the old one: see
   `atbus.routing.ways`.
2. When all that is flushed, the old one is told where we are now, if it had asked us to move.
3. Others hear of the move within a moment, and what they sent through the old one until then still
   comes. After that moment we take leave of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from atbus import limits
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.outbox import Notice
from atbus.routing import bounds
from atbus.routing.table import Position
from atbus.wire.messages import DrainAck

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.leaving import Leaving
    from atbus.node.moves import Moves
    from atbus.node.registrar import Registrar
    from atbus.node.route_table import RouteTable
    from atbus.node.topology import Topology
    from atbus.node.upstream import Upstream


class Rehoming:
    """
    Let a new upstream take the place of the old one.

    :param leaving: Takes leave of the old one.
    """

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        topology: Topology,
        route_table: RouteTable,
        moves: Moves,
        leaving: Leaving,
    ) -> None:
        # Set by the node, which wires its parts.
        self.on_gate: Callable[[Endpoint], None]
        self.on_moved: Callable[[Endpoint], None]
        self._context = context
        self._registrar = registrar
        self._topology = topology
        self._route_table = route_table
        self._moves = moves
        self._leaving = leaving
        self._alarm = Alarm(context.timers, self._look)
        # Who was our upstream and is being left: since when.
        self._former: dict[Endpoint, float] = {}
        # Whoever has asked us to move, and has no answer yet.
        self._asked: set[Endpoint] = set()

    def data_up(self, endpoint: Endpoint) -> None:
        """Open the way to an endpoint; one that was dialled to be our upstream is that now."""
        if endpoint.is_next_upstream:
            self.settle(endpoint)
        self.on_gate(endpoint)

    def settle(self, endpoint: Endpoint) -> None:
        """Make an endpoint the upstream; it may be that already."""
        if endpoint.position is Position.UPSTREAM or endpoint.removed is not None:
            return
        old = self._upstream()
        subnets = endpoint.peer.request.subnets
        self._context.table.change_upstream(endpoint.bus_id, subnets)
        if old is not None:
            old.position, old.was_upstream = Position.PEER, True
            self._former[old] = self._context.now
            self._alarm.set(self._context.now + limits.LEAVING_POLL_SECONDS)
            self._route_table.parted(old)
            self.on_moved(old)
        was_known = endpoint.available
        endpoint.position, endpoint.was_upstream = Position.UPSTREAM, False
        self._former.pop(endpoint, None)
        self.on_moved(endpoint)
        self._topology.upstream_changed(endpoint)
        if was_known:
            self._route_table.turned(endpoint)

    def _upstream(self) -> Endpoint | None:
        for endpoint in self._registrar.endpoints.values():
            if endpoint.position is Position.UPSTREAM:
                return endpoint
        return None

    def _look(self) -> None:
        """Go on with every upstream that is being left."""
        now = self._context.now
        for endpoint, since in list(self._former.items()):
            if endpoint.removed is not None:
                del self._former[endpoint]
            elif self._moves.is_leaving(endpoint):
                continue
            elif endpoint in self._asked:
                self.answer(endpoint, Status.OK)
            elif now >= since + bounds.QUIET_SECONDS:
                del self._former[endpoint]
                if endpoint.gate not in (Gate.DRAINING, Gate.RETURNING):
                    self._leaving.leave(
                        [endpoint], Status.DISCONNECTED, seconds=limits.DRAIN_CLOSE_SECONDS
                    )
        self._alarm.set(now + limits.LEAVING_POLL_SECONDS if self._former else None)

    # An upstream that drains.

    def asked(self, endpoint: Endpoint, upstream: Upstream | None) -> None:
        """Move away from an upstream that is draining; to another neighbor that is no matter."""
        self._asked.add(endpoint)
        if endpoint.position is not Position.UPSTREAM:
            if endpoint not in self._former:
                self.answer(endpoint, Status.OK)
        elif upstream is None:
            self.answer(endpoint, Status.NO_ROUTE)
        else:
            upstream.drained()

    def stuck(self, status: Status) -> None:
        """Tell an upstream that is draining that there is no other one for us."""
        upstream = self._upstream()
        if upstream is not None:
            self.answer(upstream, status)

    def answer(self, endpoint: Endpoint, status: Status) -> None:
        """Answer who has asked us to move."""
        link = endpoint.control_link
        if endpoint not in self._asked or link is None:
            return
        upstream = self._upstream()
        if status is Status.OK:
            self._asked.discard(endpoint)
        link.put(
            Notice(
                DrainAck(
                    source=self._context.bus_id,
                    status=status,
                    upstream_id=0 if upstream in (None, endpoint) else upstream.bus_id,
                )
            )
        )

    def removed(self, endpoint: Endpoint) -> None:
        """Forget an endpoint that is gone."""
        self._former.pop(endpoint, None)
        self._asked.discard(endpoint)

    def close(self) -> None:
        """Leave nobody any more: the node leaves everybody."""
        self._alarm.set(None)
        self._former.clear()
        self._asked.clear()
