"""
Direct connections to proxies that were made for the sake of nodes below them.

Such a connection serves those that are below either of its two ends. When nobody is below the
other end any more, nor below this node, it serves nobody, and after a while it is left in good
order. What is sent to that proxy itself takes the tree then, and makes a new connection. The
upstream, a downstream, and whoever was dialled for its own sake are never left like this, and
nobody is where peers are kept by their labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.node.endpoint import Gate
from atbus.routing import bounds
from atbus.routing.table import Position

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.leaving import Leaving


@attrs.define(eq=False)
class Passive:
    """Leave direct connections that serve nobody."""

    _context: Context
    #: Set by the node, which wires its parts.
    leaving: Leaving = attrs.field(init=False)
    # Since when each serves nobody; None while it serves somebody.
    _idle_since: dict[Endpoint, float | None] = attrs.field(factory=dict, init=False)

    def made(self, endpoint: Endpoint) -> None:
        """Take note of a connection that was made for the sake of others."""
        if not self._context.config.peer_labels:
            self._idle_since.setdefault(endpoint, None)

    def sweep(self) -> None:
        """Leave what has served nobody for long enough; called now and then."""
        now = self._context.now
        for endpoint, since in list(self._idle_since.items()):
            if endpoint.removed is not None or not self._may_be_left(endpoint):
                del self._idle_since[endpoint]
            elif self._serves(endpoint):
                self._idle_since[endpoint] = None
            elif since is None:
                self._idle_since[endpoint] = now
            elif now >= since + bounds.PASSIVE_SECONDS:
                del self._idle_since[endpoint]
                self.leaving.leave(
                    [endpoint], Status.DISCONNECTED, seconds=limits.DRAIN_CLOSE_SECONDS
                )

    @staticmethod
    def _may_be_left(endpoint: Endpoint) -> bool:
        """Tell whether it still is a peer, and stays for all that is known."""
        is_leaving = endpoint.gate in (Gate.DRAINING, Gate.RETURNING)
        return endpoint.position is Position.PEER and not is_leaving

    def _serves(self, endpoint: Endpoint) -> bool:
        tree = self._context.table.registry.tree
        ends = (endpoint.bus_id, self._context.bus_id)
        return any(tree.downstreams_of(bus_id) for bus_id in ends)

    def close(self) -> None:
        """Leave nobody any more: the node leaves everybody."""
        self._idle_since.clear()
