"""
Leaving without losing anything.

In this order, each step waiting for the one before it, and all of them together no longer than
`NodeConfig.drain_seconds`:

1. Accept nothing new: no messages of the program, no registrations. What waits for a neighbor that
   has registered without data, and cannot open that any more, takes another way.
2. DRAIN on every data connection: the neighbor sends nothing more through it and says DRAIN_ACK
   after its last frame.
3. Pass on, deliver or answer everything that is here, until every link is empty.
4. GOODBYE on every connection.

The same steps, for one endpoint, are what ``disconnect`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.outbox import Notice
from atbus.wire.messages import Drain, DrainAck, Role

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.link import Link
    from atbus.node.paths import Paths
    from atbus.node.registrar import Registrar
    from atbus.node.traffic import Traffic
    from atbus.wire.head import Head


@attrs.define(eq=False)
class _Farewell:
    """
    Some endpoints that are being left.

    :param deadline: When it is over whatever is still on its way, unless some of that arrives, or
        a neighbor that has all of it is alive.
    :param seconds: How long it goes on after something has arrived.
    :param ends_at: When it is over in any case.
    """

    endpoints: list[Endpoint]
    status: Status
    deadline: float
    seconds: float
    ends_at: float
    everything: bool
    result: Deferred[None]
    left: list[tuple[int, int]] = attrs.field(factory=list)
    # When they were asked last whether they live.
    asked_at: float = 0.0
    asked: set[Connection] = attrs.field(factory=set)
    unanswered: set[Connection] = attrs.field(factory=set)
    connections: list[Connection] = attrs.field(factory=list)
    parting: bool = False


class Leaving:
    """
    Take leave of endpoints.

    :param connections: All connections of the node, also those that are being registered.
    :param busy: Tells whether the node still owes anybody an answer.
    """

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        traffic: Traffic,
        paths: Paths,
        connections: Collection[Connection],
        busy: Callable[[], bool],
    ) -> None:
        # Set by the node, which wires its parts: the node itself is about to say goodbye.
        self.on_parting: Callable[[], None]
        # Also those: who is asked to move by a neighbor that drains, and who answers to that.
        self.on_asked: Callable[[Endpoint], None]
        self.on_answered: Callable[[Endpoint, DrainAck], None]
        # And who uses another data stream, when the neighbor sends nothing on one any more.
        self.on_stream_left: Callable[[Connection], None]
        # Tells whether a data stream that we have dialled to a neighbor may yet register.
        self.is_registering_data: Callable[[Endpoint], bool]
        self._context = context
        self._registrar = registrar
        self._traffic = traffic
        self._paths = paths
        self._connections = connections
        self._busy = busy
        self._farewells: list[_Farewell] = []
        self._is_stopping = False
        self._alarm = Alarm(context.timers, self._look)

    def begin(self) -> None:
        """Take note that the node stops and listens no more."""
        self._is_stopping = True
        self._look()

    def leave(
        self,
        endpoints: Collection[Endpoint],
        status: Status,
        *,
        seconds: float,
        everything: bool = False,
    ) -> Deferred[None]:
        """
        Close all connections to some endpoints, in good order.

        :param status: Why.
        :param seconds: How long it may take at most; if not the node itself leaves, how long while
            nothing of what is on its way to them arrives and none of them that keeps something
            answers, and `NodeConfig.drain_seconds` in all.
        :param everything: Whether the node itself leaves: then nothing may be left anywhere.
        :returns: Fires when they are gone; never fails.
        """
        now = self._context.now
        longest = seconds if everything else max(seconds, self._context.config.drain_seconds)
        farewell = _Farewell(
            list(endpoints),
            status,
            deadline=now + seconds,
            seconds=seconds,
            ends_at=now + longest,
            everything=everything,
            result=Deferred(),
        )
        for endpoint in farewell.endpoints:
            self._ask(farewell, endpoint)
            if not everything:
                self._paths.leave(endpoint)
        self._traffic.changed()
        self._farewells.append(farewell)
        self._look()
        return farewell.result

    def _ask(self, farewell: _Farewell, endpoint: Endpoint) -> None:
        """Ask a neighbor to send nothing more, on each data connection that there is by now."""
        grace_ms = max(0, int((farewell.deadline - self._context.now) * 1000))
        for connection in endpoint.data:
            if connection.link is None or connection.leaving or connection in farewell.asked:
                continue
            drain = Drain(
                source=self._context.bus_id, grace_ms=grace_ms, detail=farewell.status.name
            )
            connection.link.put(Notice(drain))
            farewell.asked.add(connection)
            farewell.unanswered.add(connection)

    def drain_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Send nothing more to a neighbor that leaves, and say so after our last frame."""
        endpoint = link.connection.endpoint
        if endpoint is None:
            return
        if link.connection.role is Role.CONTROL:
            self.on_asked(endpoint)
            return
        self._paths.leave(endpoint)
        # Each stream has an answer of its own; the one channel beside them that data may have
        # taken speaks for all, for its answer has to come behind the last of it.
        taken = endpoint.data_link
        is_ring = taken is not None and taken.connection.role is Role.RING
        last = taken if taken is not None and is_ring else link
        last.put(Notice(DrainAck(source=self._context.bus_id)))

    def drain_answered(self, link: Link, frame: bytes, head: Head) -> None:
        """Note that a neighbor has sent its last data frame."""
        endpoint = link.connection.endpoint
        if link.connection.role is Role.CONTROL and endpoint is not None:
            message = link.read(frame, head)
            if isinstance(message, DrainAck):
                self.on_answered(endpoint, message)
            return
        stream = link.connection
        if stream.role is Role.DATA and not any(stream in f.asked for f in self._farewells):
            self.on_stream_left(stream)
        for farewell in self._farewells:
            farewell.unanswered.discard(stream)
            if link.connection.role is Role.RING and endpoint is not None:
                farewell.unanswered.difference_update(endpoint.data)
        self._look()

    def _look(self) -> None:
        """Go on with every farewell that can."""
        if self._is_stopping:
            for endpoint in list(self._registrar.endpoints.values()):
                control = endpoint.control
                # Where it is for us to dial, that goes on until we take leave.
                is_ours = control is not None and control.dialled
                if not (is_ours or self._may_open(endpoint)):
                    self._paths.leave(endpoint)
        for farewell in list(self._farewells):
            self._advance(farewell)
        again = self._context.now + limits.LEAVING_POLL_SECONDS
        self._alarm.set(again if self._farewells or self._is_stopping else None)

    def _advance(self, farewell: _Farewell) -> None:
        now = self._context.now
        present = [e for e in farewell.endpoints if e.removed is None]
        if not farewell.parting:
            self._extend(farewell, present)
        late = now >= farewell.deadline
        if not farewell.parting:
            for endpoint in present:
                self._ask(farewell, endpoint)
                if farewell.everything and not self._may_open(endpoint):
                    self._paths.leave(endpoint)
            farewell.unanswered = {c for c in farewell.unanswered if c.registered}
            if not late and (farewell.unanswered or not self._empty(farewell, present)):
                return
            farewell.parting = True
            if farewell.everything:
                self.on_parting()
            for endpoint in present:
                # Nothing goes there any more, and a data connection that has ended is not missed.
                endpoint.gate = Gate.DRAINING
                farewell.connections += endpoint.connections
            for connection in farewell.connections:
                connection.say_goodbye(farewell.status)
        # Also those of an endpoint that went with its control connection.
        open_ones = [c for c in farewell.connections if c.closed is None]
        if late and now >= farewell.deadline + limits.GOODBYE_SECONDS:
            for connection in open_ones:
                connection.abort(farewell.status, "it took too long")
            open_ones = []
        if not open_ones:
            self._farewells.remove(farewell)
            for endpoint in present:
                self._registrar.remove(endpoint, farewell.status)
            farewell.result.callback(None)

    def _extend(self, farewell: _Farewell, present: list[Endpoint]) -> None:
        """Give more time where something arrives: a link may be slow, and much on its way."""
        links = [c.link for e in present for c in e.data if c.link is not None]
        left = [(len(link.outgoing), link.queued_bytes) for link in links]
        if left != farewell.left:
            farewell.left = left
            farewell.deadline = min(self._context.now + farewell.seconds, farewell.ends_at)
        elif not farewell.everything:
            self._wait_for_keepers(farewell, present)

    def _wait_for_keepers(self, farewell: _Farewell, present: list[Endpoint]) -> None:
        """
        Give more time where what was sent has arrived, and is kept there or here for somebody else.

        A neighbor that keeps something is waited for as long as it answers.
        """
        now, seconds = self._context.now, farewell.seconds
        keepers = [each for each in present if any(map(_is_kept, each.carriers))]
        alive_at = [each.heartbeat.heard_at for each in keepers]
        if alive_at and now >= max(min(alive_at), farewell.asked_at) + seconds / 4:
            farewell.asked_at = now
            for endpoint in keepers:
                self._registrar.judge.ask_for_life(endpoint)
        if any(_keeps(carrier) for each in present for carrier in each.carriers):
            alive_at = [now]
        if alive_at:
            until = min(alive_at) + seconds
            farewell.deadline = min(max(farewell.deadline, until), farewell.ends_at)

    def _empty(self, farewell: _Farewell, present: list[Endpoint]) -> bool:
        """Tell whether nothing is on its way that the closing would lose."""
        if any(self._is_registering(endpoint) for endpoint in present):
            # Once that has ended, the other side may have sent something already.
            return False
        links = [c.link for e in present for c in e.connections if c.link is not None]
        if any(not link.idle for link in links):
            return False
        return not (farewell.everything and self._busy())

    def _is_registering(self, endpoint: Endpoint) -> bool:
        if self.is_registering_data(endpoint):
            return True
        return any(c.link is None and c.endpoint is endpoint for c in self._connections)

    def _may_open(self, endpoint: Endpoint) -> bool:
        """Tell whether what waits for an endpoint can still go there, since nobody listens now."""
        if endpoint.gate is not Gate.CLOSED:
            return True
        return endpoint.data_dialling or self._is_registering(endpoint)

    def stop(self) -> None:
        """Look no more."""
        self._is_stopping = False
        self._alarm.set(None)


def _is_kept(carrier: Connection) -> bool:
    """Tell whether the other side has all that was sent to it, and answers for some of it still."""
    link = carrier.link
    return link is not None and bool(link.outgoing) and not link.queued_bytes


def _keeps(carrier: Connection) -> bool:
    """Tell whether something that came on a connection is still here."""
    link = carrier.link
    return link is not None and link.window_free < limits.UNACKNOWLEDGED_FRAMES_MAX
