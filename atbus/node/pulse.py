"""
The node's own rhythm: pings, patience, and what is looked at now and then.

A sweep runs four times a second. It is also how the node notices that something kept the reactor
from running: a sweep that comes late makes the node patient, not its neighbors dead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from atbus import limits
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.lag import Lag
from atbus.node.outbox import Notice
from atbus.routing.liveness import DeclareDead, SendPing
from atbus.wire.messages import Ping, Pong

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.link import Link
    from atbus.wire.head import Head


class Pulse:
    """
    Ping the endpoints of one node, and sweep.

    :param declare_dead: Called with an endpoint that does not answer.
    :param sweeps: Called at each sweep.
    """

    def __init__(
        self,
        context: Context,
        declare_dead: Callable[[Endpoint, Status], None],
        sweeps: tuple[Callable[[], None], ...],
    ) -> None:
        self._context = context
        self._declare_dead = declare_dead
        self.sweeps = sweeps
        # Set by the node, which wires its parts: of the route table told by a neighbor.
        self.digest_of: Callable[[int], int]
        self.on_digest: Callable[[int, int], None]
        # The same of interest.
        self.interest_digest_of: Callable[[int], int]
        self.on_interest_digest: Callable[[int, int], None]
        self._alarms: dict[Endpoint, Alarm] = {}
        # Bound once, not for each endpoint.
        self._ring = self._beat
        #: How late the sweeps came.
        self.lag = Lag()
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._lag = 0.0
        self._lag_until = 0.0

    def start(self) -> None:
        """Begin to sweep."""
        self._schedule()

    def stop(self) -> None:
        """Sweep and ping no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        for alarm in self._alarms.values():
            alarm.set(None)
        self._alarms.clear()

    def _schedule(self) -> None:
        self._due = self._context.now + limits.SWEEP_SECONDS
        self._call = self._context.timers.callLater(limits.SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._call = None
        now = self._context.now
        late = now - self._due
        self.lag.note(max(0.0, late))
        if late > limits.LAG_SECONDS:
            self._lag = max(late, self.lag_seconds)
            self._lag_until = now + self._context.config.heartbeat_seconds
            self._context.events.on_lag(late, "reactor")
        for sweep in self.sweeps:
            sweep()
        self._schedule()

    @property
    def lag_seconds(self) -> float:
        """By how much our own loop was late at worst during the last heartbeat, seconds."""
        return self._lag if self._context.now < self._lag_until else 0.0

    # Pings.

    def watch(self, endpoint: Endpoint) -> None:
        """Ping an endpoint from now on."""
        if endpoint.temporary or endpoint in self._alarms:
            return
        alarm = Alarm(self._context.timers, self._ring, endpoint)
        self._alarms[endpoint] = alarm
        alarm.set(endpoint.heartbeat.deadline)

    def begin_again(self, endpoint: Endpoint) -> None:
        """Ping an endpoint by its new heartbeat, as if it had just registered."""
        alarm = self._alarms.get(endpoint)
        if alarm is not None:
            endpoint.heartbeat.open(self._context.now, self._context.random.random())
            alarm.set(endpoint.heartbeat.deadline)

    def forget(self, endpoint: Endpoint) -> None:
        """Ping an endpoint no more."""
        alarm = self._alarms.pop(endpoint, None)
        if alarm is not None:
            alarm.set(None)

    def _beat(self, endpoint: Endpoint) -> None:
        alarm = self._alarms.get(endpoint)
        if alarm is None:
            return
        effects = endpoint.heartbeat.tick(
            self._context.now, self._context.random.random(), self.lag_seconds
        )
        for effect in effects:
            match effect:
                case SendPing(sequence=sequence):
                    self.ping(endpoint, sequence)
                case DeclareDead(status=status):
                    self._declare_dead(endpoint, status)
        if endpoint in self._alarms:
            alarm.set(endpoint.heartbeat.deadline)

    def ping(self, endpoint: Endpoint, sequence: int) -> None:
        """Send one ping on the control connection."""
        link = endpoint.control_link
        if link is None or endpoint.control is None or endpoint.control.leaving:
            return
        sent_at_us = int(self._context.now * 1_000_000)
        ping = Ping(
            source=self._context.bus_id,
            sequence=sequence,
            sent_at_us=sent_at_us,
            table_digest=self.digest_of(endpoint.bus_id),
            interest_digest=self.interest_digest_of(endpoint.bus_id),
        )
        link.put(Notice(ping))
        self._context.events.on_endpoint_ping(endpoint, sequence)

    def ping_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Answer a ping."""
        message, bus_id = link.read(frame, head), link.connection.bus_id
        if isinstance(message, Ping) and not link.connection.leaving:
            pong = Pong(
                source=self._context.bus_id,
                sequence=message.sequence,
                sent_at_us=message.sent_at_us,
                table_digest=self.digest_of(bus_id),
                interest_digest=self.interest_digest_of(bus_id),
            )
            link.put(Notice(pong))
            self.on_digest(bus_id, message.table_digest)
            self.on_interest_digest(bus_id, message.interest_digest)

    def pong_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the answer to a ping; an old one says nothing about the round trip."""
        endpoint, message = link.connection.endpoint, link.read(frame, head)
        if endpoint is None or not isinstance(message, Pong):
            return
        self.on_digest(endpoint.bus_id, message.table_digest)
        self.on_interest_digest(endpoint.bus_id, message.interest_digest)
        rtt = endpoint.heartbeat.ponged(head[7], self._context.now)
        if rtt is not None:
            endpoint.rtt_seconds = rtt
            endpoint.last_pong_at = self._context.now
            self._context.events.on_endpoint_pong(endpoint, head[7], rtt)
