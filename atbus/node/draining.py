"""
A node that drains: it stays, and nobody is below it any more.

The rules are `atbus.routing.drain`. Those below are asked on their control connections; they leave
by themselves (`atbus.node.rehoming`). A node that stops drains first, with what is left of its
time; then it takes leave of everybody (`atbus.node.leaving`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from atbus import limits
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.outbox import Notice
from atbus.routing import bounds
from atbus.routing.drain import Announce, Ask, Done, Drain, Drained, Effect
from atbus.routing.table import Position
from atbus.wire.messages import Drain as DrainMessage
from atbus.wire.messages import DrainAck

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.registrar import Registrar
    from atbus.node.topology import Topology


class Draining:
    """Drain one node, once in its life."""

    def __init__(self, context: Context, registrar: Registrar, topology: Topology) -> None:
        self.result: Drained | None = None
        self._context = context
        self._registrar = registrar
        self._topology = topology
        self._machine: Drain | None = None
        self._waiting: list[Deferred[Drained]] = []
        self._alarm = Alarm(context.timers, self._tick)

    def drain(self, seconds: float) -> Deferred[Drained]:
        """
        Let everybody below move to other upstreams; asking again is waiting for the same.

        :param seconds: How long it may take.
        :returns: Fires when it is done, whoever has stayed; never fails.
        """
        if self.result is not None:
            return succeed(self.result)
        waiting: Deferred[Drained] = Deferred()
        self._waiting.append(waiting)
        if self._machine is None:
            context = self._context
            self._machine = Drain(seconds, bounds.QUIET_SECONDS)
            self._obey(self._machine.begin(self._below, self._passed, context.now))
        return waiting

    def before_stop(self, seconds: float) -> Deferred[Drained]:
        """Drain a node that stops; where nobody is below it, nobody need be told of that."""
        if self._machine is None and not self._below:
            return succeed(Drained((), (), 0.0))
        return self.drain(seconds)

    @property
    def _below(self) -> list[int]:
        """Who is below this node, and served by it."""
        return sorted(
            endpoint.bus_id
            for endpoint in self._registrar.endpoints.values()
            if endpoint.position is Position.DOWNSTREAM and endpoint.available
        )

    @property
    def _passed(self) -> int:
        return self._context.statistics.forwarded_frames

    def _obey(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Announce():
                    self._context.draining = True
                    self._topology.refresh()
                case Ask(bus_id=bus_id, grace_seconds=seconds):
                    self._ask(bus_id, seconds)
                case Done(result=result):
                    self._done(result)
        machine = self._machine
        if machine is not None and not machine.is_over:
            self._alarm.set(self._context.now + limits.LEAVING_POLL_SECONDS)

    def _ask(self, bus_id: int, seconds: float) -> None:
        endpoint = self._registrar.endpoints.get(bus_id)
        link = None if endpoint is None else endpoint.control_link
        if link is not None:
            grace_ms = int(seconds * 1000)
            detail = "this node is draining"
            message = DrainMessage(
                source=self._context.bus_id, grace_ms=grace_ms, detail=detail
            )
            link.put(Notice(message))

    def _done(self, result: Drained) -> None:
        self.result = result
        self._alarm.set(None)
        self._context.events.on_drained(result)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(result)

    def _tick(self) -> None:
        if self._machine is not None:
            self._obey(self._machine.tick(self._passed, self._context.now))

    # What those below do.

    def answered(self, endpoint: Endpoint, message: DrainAck) -> None:
        """Take the answer of a neighbor."""
        if self._machine is not None and message.status is not Status.OK:
            now = self._context.now
            self._obey(self._machine.cannot_move(endpoint.bus_id, message.status, now))

    def removed(self, endpoint: Endpoint) -> None:
        """Take note that an endpoint is gone."""
        if self._machine is not None:
            self._obey(self._machine.gone(endpoint.bus_id, self._context.now))

    def close(self) -> None:
        """End with the node; its next life is not drained."""
        machine, self._machine, self.result = self._machine, None, None
        self._alarm.set(None)
        self._context.draining = False
        waiting, self._waiting = self._waiting, []
        if machine is not None:
            for each in waiting:
                each.callback(Drained((), (), 0.0))
