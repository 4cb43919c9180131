"""
Services over links: what neighbors are told of what nodes offer, and what they tell (7.36).

`atbus.routing.offers` decides; this tells it who comes and goes, and brings its messages to the
control connections.

1. A neighbor takes part from the moment its control connection is registered until it leaves or is
   gone, if both sides can (capability). Over another control connection everything is told anew.
2. What changes in one turn leaves together, and no more than a link can write soon: the rest waits
   here, in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

from atbus import limits
from atbus.busid import BusId
from atbus.discovery.bus.board import Board
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.outbox import Notice
from atbus.routing.offers import entry_bytes
from atbus.wire.messages import Capability, Mode, ServiceBatch

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.link import Link
    from atbus.wire.head import Head

# The ends of an endpoint after which it does not come back soon.
_IN_ORDER = frozenset({Status.STOPPED, Status.GOODBYE, Status.DISCONNECTED})


@attrs.define(eq=False)
class _Talk:
    """What is said to one neighbor, over which connection."""

    control: Connection
    #: None while everything is said.
    unsent: deque[ServiceBatch] | None = None


class ServiceTalk:
    """
    Tell and hear what nodes offer.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    """

    def __init__(self, context: Context, endpoints: dict[int, Endpoint]) -> None:
        self._context = context
        self._endpoints = endpoints
        self._talks: dict[int, _Talk] = {}
        self._flush_asked = False
        self._alarm = Alarm(context.timers, self.sweep)
        #: What is known; another one in each life of the node.
        self.board = self._new_board()

    def _new_board(self) -> Board:
        return Board(self._context.epoch, self._may_speak, self._flush_soon)

    @property
    def capability(self) -> Capability:
        """What this node can do, to be said in HELLO."""
        if self._context.mode is Mode.TEMPORARY:
            return Capability(0)
        return Capability.SERVICES

    def _may_speak(self, neighbor: int, bus_id: int) -> bool:
        return self._context.table.may_speak(BusId(neighbor), BusId(bus_id))

    # Who takes part.

    def control_up(self, endpoint: Endpoint) -> None:
        """Begin to talk with a neighbor, or go on over another control connection."""
        control = endpoint.control
        can = endpoint.peer.capabilities & self.capability & Capability.SERVICES
        if control is None or endpoint.temporary or not can:
            return
        bus_id = endpoint.bus_id
        talk = self._talks.get(bus_id)
        if talk is not None and talk.control is control:
            return
        self._talks[bus_id] = talk = _Talk(control)
        talk.unsent = deque(self.board.open(bus_id, endpoint.position, endpoint.frame_bytes_max))
        self._feed(bus_id)

    def moved(self, endpoint: Endpoint) -> None:
        """Take note that a neighbor is above us, or beside us, that was not so before."""
        self.board.move(endpoint.bus_id, endpoint.position)

    def lost(self, endpoint: Endpoint, *, in_order: bool = False) -> None:
        """Tell a neighbor nothing more, and believe it no longer than its grace."""
        if not endpoint.temporary:
            self._talks.pop(endpoint.bus_id, None)
            self.board.lost(endpoint.bus_id, self._context.now, in_order=in_order)
            self._alarm.set(self.board.deadline)

    def removed(self, endpoint: Endpoint, status: Status) -> None:
        """Take note that an endpoint is gone."""
        self.lost(endpoint, in_order=status in _IN_ORDER)

    # What is told.

    def _flush_soon(self) -> None:
        """Tell what has changed, at the end of this turn."""
        if not self._flush_asked and self._talks:
            self._flush_asked = True
            self._context.turn.at_end(self._flush)

    def _flush(self) -> None:
        self._flush_asked = False
        for bus_id, batch in self.board.changes():
            talk = self._talks.get(bus_id)
            if talk is not None:
                talk.unsent = talk.unsent or deque()
                talk.unsent.append(batch)
        for bus_id in list(self._talks):
            self._feed(bus_id)

    def _feed(self, bus_id: int) -> None:
        """Let so much leave as the link can write soon."""
        talk = self._talks.get(bus_id)
        endpoint = self._endpoints.get(bus_id)
        link = None if endpoint is None else endpoint.control_link
        if talk is None or link is None or talk.unsent is None:
            return
        link.measure()
        while talk.unsent and link.queued_bytes <= limits.CONTROL_QUEUED_BYTES:
            batch = attrs.evolve(talk.unsent.popleft(), source=self._context.bus_id)
            size_bytes = 2 * limits.FRAME_HEAD_BYTES + sum(map(entry_bytes, batch.services))
            link.put(Notice(batch, size_bytes))
        talk.unsent = talk.unsent or None

    def sweep(self) -> None:
        """Let more be told where there is room again, and give up who has not come back."""
        self.board.tick(self._context.now)
        self._alarm.set(self.board.deadline)
        for bus_id in list(self._talks):
            self._feed(bus_id)

    # What is heard.

    def batch_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take what a neighbor tells."""
        message = link.read(frame, head)
        endpoint = link.connection.endpoint
        talk = None if endpoint is None else self._talks.get(endpoint.bus_id)
        if endpoint is None or not isinstance(message, ServiceBatch):
            return
        if talk is None or talk.control is not link.connection:
            self._context.statistics.late_frames += 1
            return
        self.board.heard(endpoint.bus_id, message)

    def close(self) -> None:
        """Forget everything: the node has stopped."""
        self.board.close()
        self._talks.clear()
        self._alarm.set(None)
        self.board = self._new_board()
