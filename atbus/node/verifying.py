"""
Who is believed about the source of what it brings.

The rules are the table's; for a while after a node has moved, those that could speak for it before
still can (`atbus.routing.former_places`). What a neighbor brings in the name of others waits a
moment if nobody knows that it may (`atbus.routing.unverified`).

Where this process was held up, what has arrived meanwhile is read before the moment is over (see
`atbus.node.context.Alarm`). It cannot be longer for others that are held up: a FLUSH waits behind
what waits here, and that is given up after `atbus.limits.FLUSH_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from atbus import limits
from atbus.busid import BusId
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.routing import bounds
from atbus.routing.unverified import Unverified
from atbus.wire.head import Head
from atbus.wire.loose import Frame
from atbus.wire.messages import MessageType

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.link import Link


class Verifier:
    """
    Believe neighbors, or not, or not yet.

    :param receive: Takes a frame whose source is believed.
    :param refuse: Answers one whose source is not.
    """

    def __init__(
        self,
        context: Context,
        endpoints: dict[int, Endpoint],
        receive: Callable[[Link, Frame, Head], None],
        refuse: Callable[[Link, Head, Status], None],
    ) -> None:
        # Set by the node, which wires its parts: somebody is spoken for whom we may not know long.
        self.on_vouched: Callable[[int], None] = lambda _: None
        self._context = context
        self._endpoints = endpoints
        self._receive = receive
        self._refuse = refuse
        self._waiting: Unverified[tuple[Link, Frame, Head]] = Unverified(
            limits.UNVERIFIED_SECONDS,
            bounds.UNVERIFIED_BYTES,
            bounds.UNVERIFIED_SHARE_BYTES,
            limits.UNVERIFIED_RUNS_MAX,
            bounds.UNVERIFIED_SOURCES_MAX,
        )
        self._alarm = Alarm(context.timers, self._expire)

    def believes(self, endpoint: Endpoint, source: int) -> bool:
        """
        Tell whether a neighbor may speak for a source; remembered, bounded.

        What it has brought in the name of the source, and waits, is received first.
        """
        if source in endpoint.vouched:
            return True
        if not self._may_speak(endpoint.bus_id, source):
            return False
        if len(endpoint.vouched) >= limits.VOUCHED_SOURCES_MAX:
            endpoint.vouched.clear()
        endpoint.vouched[source] = None
        self.on_vouched(source)
        for link, frame, head in self._waiting.take(endpoint.bus_id, source):
            self._receive(link, frame, head)
        return True

    def _may_speak(self, neighbor: int, source: int) -> bool:
        table = self._context.table
        if table.may_speak(BusId(neighbor), BusId(source)):
            return True
        known = table.get(BusId(neighbor))
        if source == self._context.bus_id or known is None or not known.is_certified(source):
            return False
        chain = (source, *table.registry.tree.chain_of(source))
        former = self._context.former_places.upstreams(chain, self._context.now)
        return any(each == neighbor or table.may_speak(neighbor, each) for each in former)

    def vouches(self, link: Link, source: int) -> bool:
        """Tell whether the neighbor at the other end may speak for *source*; refusals count."""
        endpoint = link.connection.endpoint
        if endpoint is None or endpoint.temporary:
            return False
        if self.believes(endpoint, source):
            return True
        self._context.statistics.refused[Status.SOURCE_REFUSED] += 1
        return False

    def doubt(self, endpoint: Endpoint, link: Link, frame: Frame, head: Head) -> None:
        """Let a frame wait for word of its source; refuse it when it cannot."""
        size_bytes = len(frame) + limits.WAITING_FRAME_BYTES
        item = (link, frame, head)
        now = self._context.now
        if head[5] and self._waiting.hold(endpoint.bus_id, head[5], item, size_bytes, now):
            self._alarm.set(self._waiting.deadline)
        else:
            self._refuse(link, head, Status.SOURCE_REFUSED)

    def keeps_back(self, endpoint: Endpoint, link: Link, frame: Frame, head: Head) -> bool:
        """Let a flush wait behind what waits here for its destination: it may not overtake that."""
        for neighbor, source in self._waiting.flows if self._waiting.held_bytes else ():
            if neighbor == endpoint.bus_id and any(
                behind[6] == head[6] for _, _, behind in self._waiting.waiting(neighbor, source)
            ):
                item = (link, frame, head)
                now = self._context.now
                return self._waiting.hold(neighbor, source, item, len(frame), now)
        return False

    def changed(self) -> None:
        """Look again at what waits: more is known now."""
        if self._waiting.held_bytes:
            self._context.turn.at_end(self._look)

    def _look(self) -> None:
        for neighbor, source in self._waiting.flows:
            endpoint = self._endpoints.get(neighbor)
            if endpoint is not None:
                self.believes(endpoint, source)
        self._alarm.set(self._waiting.deadline)

    def _expire(self) -> None:
        for link, frame, head in self._waiting.expire(self._context.now):
            is_flush = head[1] == MessageType.FLUSH
            if is_flush and self._may_speak(link.connection.bus_id, head[5]):
                # It has waited for others only.
                self._receive(link, frame, head)
            else:
                self._refuse(link, head, Status.SOURCE_REFUSED)
        self._alarm.set(self._waiting.deadline)

    def forget(self, endpoint: Endpoint) -> None:
        """Drop what waits of a neighbor that is gone: its origin is told so by others."""
        self._waiting.drop(endpoint.bus_id)

    @property
    def waiting(self) -> int:
        """How many bytes wait."""
        return self._waiting.held_bytes

    def close(self) -> None:
        """Wait for nothing any more: the node has stopped."""
        self._alarm.set(None)
