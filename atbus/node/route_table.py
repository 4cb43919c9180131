"""
The global route table of one node: what neighbors tell each other of all nodes.

`atbus.routing.sync` decides; this tells it who comes and goes, brings its messages to the control
connections, and gives what it learns to the records of the node (`Feeder.SYNC`).

1. One machine serves one id from its first neighbor to its stop; the next one begins above its last
   stamp. A temporary node has none, and is told nothing.
2. A batch counts as sent when little is queued in front of the neighbor; until then no further one
   is made for it.
3. What a callback of the program brings about is done behind what is being done, so that words to a
   neighbor leave in the order in which they were decided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.outbox import Notice
from atbus.node.route_notices import RouteNotices
from atbus.routing import bounds
from atbus.routing.batch import Batch
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder
from atbus.routing.subscription import Stage
from atbus.routing.sync import RouteSync
from atbus.routing.sync_terms import (
    Announce,
    Contested,
    Delayed,
    Effect,
    Forget,
    Ignored,
    Learn,
    LostId,
    Peer,
    Send,
    SyncMessage,
    TableMode,
)
from atbus.wire.messages import (
    Capability,
    Mode,
    RouteBatch,
    SubscribeRequest,
    SubscribeResponse,
)

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.floodgate import Floodgate
    from atbus.node.link import Link
    from atbus.node.registrar import Registrar
    from atbus.node.topology import Topology
    from atbus.wire.head import Head


class RouteTable:
    """Keep the route table of one node."""

    def __init__(self, context: Context, registrar: Registrar, topology: Topology) -> None:
        self.machine: RouteSync | None = None
        #: Set by the node, which wires its parts: does not read a connection for a while.
        self.floodgate: Floodgate
        #: Called when somebody may have told the rest of a table.
        self.on_told: Callable[[], object] = lambda: None
        self._context = context
        self._registrar = registrar
        self._topology = topology
        self._alarm = Alarm(context.timers, self._tick)
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._is_open = False
        self._last: Record | None = None
        # The control connection over which a neighbor was last available.
        self._controls: dict[int, Connection] = {}
        # The one over which it has asked.
        self._askers: dict[int, Connection] = {}
        # Batches that wait in front of a neighbor.
        self._unsent: dict[int, int] = {}
        self._notices = RouteNotices()

    @property
    def capability(self) -> Capability:
        """What this node can do, to be said in HELLO."""
        can = self._mode() is not TableMode.OFF and self._context.mode is not Mode.TEMPORARY
        return Capability.ROUTE_TABLE if can else Capability(0)

    @property
    def _is_on(self) -> bool:
        return self._is_open and bool(self.capability)

    def open(self) -> None:
        """Begin, with the node."""
        self._is_open = True

    def reconfigure(self) -> None:
        """Want to know what the present configuration needs."""
        if self.machine is not None and self.machine.mode is not self._mode():
            self._do(self.machine.want(self._mode(), self._context.now))

    def _mode(self) -> TableMode:
        mode = TableMode(self._context.config.route_table)
        if mode is TableMode.AUTO and self._context.config.peer_labels:
            # Who has these labels is told by the upstream, also to one without anybody below.
            return TableMode.FULL
        return mode

    # What happens.

    def described(self, own: Record) -> None:
        """Take note of what this node says of itself now."""
        if self.machine is not None and self.machine.own.bus_id == own.bus_id:
            self._do(self.machine.describe(own, self._context.now))

    def available(self, endpoint: Endpoint) -> None:
        """Take note that an endpoint has control and data, perhaps once more."""
        control, own = endpoint.control, self._topology.own
        if endpoint.temporary or control is None or own is None or not self._is_on:
            return
        if endpoint.was_upstream:
            # It is being left, and hears of us through others.
            return
        if self._controls.get(endpoint.bus_id) is control:
            return
        if endpoint.control_link is None:
            # Data has registered first: nothing can be asked or told yet.
            return
        if self.machine is None or self.machine.own.bus_id != own.bus_id:
            self._begin(own)
        self._controls[endpoint.bus_id] = control
        machine = cast("RouteSync", self.machine)
        self._do(machine.available(self._peer(endpoint), self._context.now))

    def turned(self, endpoint: Endpoint) -> None:
        """Be below an endpoint that stood elsewhere before; what it has asked for is not lost."""
        has_asked = self._askers.get(endpoint.bus_id) is endpoint.control
        if endpoint.bus_id in self._controls:
            self.parted(endpoint)
        if has_asked and self.machine is not None:
            # On its side nothing need have happened: it would not ask again.
            wish = SubscribeRequest(source=endpoint.bus_id)
            self._do(self.machine.receive(endpoint.bus_id, wish, self._context.now))
        self.available(endpoint)

    def _peer(self, endpoint: Endpoint) -> Peer:
        request = endpoint.peer.request
        record = Record(
            bus_id=endpoint.bus_id,
            stamp=Stamp(endpoint.peer.epoch, 0),
            subnets=request.subnets,
            labels=request.labels,
            addresses=request.addresses,
            node_flags=self._topology.told_flags(request.node_flags),
            host=request.host,
            process=request.process,
        )
        return Peer(
            record=record,
            position=endpoint.position,
            tells=bool(endpoint.peer.capabilities & Capability.ROUTE_TABLE),
            batch_bytes_max=endpoint.frame_bytes_max - limits.FRAME_HEAD_BYTES,
            certified=endpoint.certified,
        )

    def removed(self, endpoint: Endpoint, status: Status) -> None:
        """Take note that an endpoint is gone."""
        self._askers.pop(endpoint.bus_id, None)
        self.parted(endpoint, in_order=status is Status.STOPPED)

    def parted(self, endpoint: Endpoint, *, in_order: bool = False) -> None:
        """Tell an endpoint nothing more, and believe it nothing more."""
        self._controls.pop(endpoint.bus_id, None)
        self._unsent.pop(endpoint.bus_id, None)
        if self.machine is not None:
            now = self._context.now
            self._do(self.machine.lost(endpoint.bus_id, now, in_order=in_order))

    def _begin(self, own: Record) -> None:
        """Make a machine for the id that this node has now."""
        self._forget()
        last = self._last
        if last is not None and last.bus_id == own.bus_id and last.stamp > own.stamp:
            own = attrs.evolve(own, stamp=last.stamp)
        self.machine = RouteSync(own, self._mode())

    def stop(self) -> None:
        """Tell the neighbors that this node leaves."""
        if self.machine is not None:
            self._do(self.machine.stop(self._context.now))
        self.close()

    def close(self) -> None:
        """Tell and take nothing any more, and forget everything that neighbors have told."""
        self._is_open = False
        self._forget()

    def _forget(self) -> None:
        machine, self.machine = self.machine, None
        self._alarm.set(None)
        self._effects.clear()
        self._controls.clear()
        self._askers.clear()
        self._unsent.clear()
        self._notices.clear()
        if machine is not None:
            self._last = machine.own
            self._topology.replace(Feeder.SYNC, ())

    # What arrives.

    def request_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the wish of a neighbor to be told."""
        endpoint, message = link.connection.endpoint, link.read(frame, head)
        if endpoint is None or not isinstance(message, SubscribeRequest):
            return
        if endpoint.temporary or not self._is_on:
            status = Status.ACCESS_DENIED if endpoint.temporary else Status.NOT_ADMITTED
            link.put(Notice(SubscribeResponse(source=self._context.bus_id, status=status)))
            return
        self._receive(link, message)
        self._askers[endpoint.bus_id] = link.connection

    def response_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the answer to our own wish."""
        message = link.read(frame, head)
        if isinstance(message, SubscribeResponse):
            self._receive(link, message)

    def batch_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take what a neighbor tells."""
        message = link.read(frame, head)
        if not isinstance(message, RouteBatch):
            return
        self._context.statistics.route_batches_received += 1
        self._receive(link, message)

    def _receive(self, link: Link, message: SyncMessage) -> None:
        endpoint, own = link.connection.endpoint, self._topology.own
        is_current = endpoint is not None and endpoint.control is link.connection
        if endpoint is None or own is None or not (is_current and self._is_on):
            # What a replaced connection still brings is older than what the other one has brought.
            self._context.statistics.late_frames += 1
            return
        if self.machine is None:
            self._begin(own)
        machine = cast("RouteSync", self.machine)
        self._do(machine.receive(endpoint.bus_id, message, self._context.now))

    def awaits(self, endpoint: Endpoint) -> bool:
        """Tell whether a neighbor has registered lately, and is still to tell its table."""
        age_seconds = self._context.now - endpoint.added_at
        if self.machine is None or age_seconds > bounds.EARLY_TABLE_SECONDS:
            return False
        if endpoint.bus_id in self._controls:
            return self.machine.stage_of(endpoint.bus_id) in (Stage.ASKED, Stage.SYNCING)
        # It is not available yet, and will be asked like any other.
        tells = bool(endpoint.peer.capabilities & Capability.ROUTE_TABLE)
        return tells and self.machine.mode in (TableMode.AUTO, TableMode.FULL)

    def awaits_word(self, endpoint: Endpoint) -> bool:
        """Tell whether a neighbor has registered lately, and is still to tell of itself."""
        return self.awaits(endpoint) and endpoint.bus_id not in self.tellers(endpoint.bus_id)

    def tellers(self, bus_id: int) -> tuple[int, ...]:
        """Give the neighbors that carry a node."""
        return () if self.machine is None else self.machine.known.tellers(bus_id)

    def hurry(self, bus_id: int) -> None:
        """Tell of a node now, if it is to be told of: a message in its name is about to pass."""
        if self.machine is not None and self.machine.hurry(bus_id, self._context.now):
            self._do(self.machine.tick(self._context.now))

    def digest_of(self, bus_id: int) -> int:
        """Give the digest of what a neighbor has told, for a PING or PONG to it."""
        return 0 if self.machine is None else self.machine.digest_of(bus_id)

    def compare(self, bus_id: int, digest: int) -> None:
        """Take the digest out of a neighbor's PING or PONG."""
        if self.machine is not None:
            self._do(self.machine.compare(bus_id, digest, self._context.now))

    def sweep(self) -> None:
        """Let more be told to neighbors whose links have room again."""
        for bus_id in list(self._unsent):
            self._leave(bus_id)

    def _tick(self) -> None:
        if self.machine is not None:
            self._do(self.machine.tick(self._context.now))

    # What is to be done.

    def _do(self, effects: list[Effect]) -> None:
        self._effects.extend(effects)
        if self._performing:
            return
        self._performing = True
        try:
            while self._effects:
                self._perform(self._effects.popleft())
        finally:
            self._performing = False
        self.on_told()
        self._alarm.set(None if self.machine is None else self.machine.deadline)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send(bus_id=bus_id, message=message):
                self._send(bus_id, message)
            case Learn(record=record):
                self._topology.claim(Feeder.SYNC, self._all_of(record))
            case Forget(bus_id=bus_id):
                self._topology.withdraw(Feeder.SYNC, self._all_forgotten(bus_id))
            case Announce(record=record):
                self._topology.stamped(record.stamp)
            case LostId(process=process):
                detail = f"the newer process {process} has this node's id and is listed under it"
                self._context.events.on_error(Status.ID_CONFLICT, detail)
            case Contested(bus_id=bus_id, told_by=told_by, process=process):
                detail = f"{bus_id:#x} is registered here, and {told_by:#x} tells that process "
                detail += f"{process} has its id"
                self._context.events.on_error(Status.ID_CONFLICT, detail)
            case Ignored(status=status, count=count):
                self._context.statistics.route_words_ignored[status] += count
                self._name(effect)
            case Delayed():
                self._delayed(effect)

    def _name(self, ignored: Ignored) -> None:
        """Say who tells of a node that its certificate does not name."""
        if ignored.about is not None:
            who = self._registrar.endpoints.get(ignored.bus_id, ignored.bus_id)
            detail = f"{who} tells of {ignored.about:#x}, which its certificate does not name"
            self._context.events.on_error(ignored.status, detail)

    def _delayed(self, effect: Delayed) -> None:
        self._context.statistics.route_batches_delayed += 1
        bus_id = effect.bus_id
        endpoint = self._registrar.endpoints.get(bus_id)
        if effect.is_long and endpoint is not None and endpoint.control is not None:
            self.floodgate.hold(endpoint.control)
        if effect.is_first:
            who = endpoint or bus_id
            detail = f"{who} tells of nodes faster than it may, and is read later"
            self._context.events.on_error(Status.OVERLOADED, detail)

    def _all_of(self, first: Record) -> list[Record]:
        """Take out what is learned in one go, which is a whole batch as a rule."""
        records = [first]
        while self._effects and isinstance(self._effects[0], Learn):
            effect = self._effects.popleft()
            assert isinstance(effect, Learn)
            records.append(effect.record)
        return records

    def _all_forgotten(self, first: int) -> list[int]:
        """Take out what is forgotten in one go."""
        bus_ids = [first]
        while self._effects and isinstance(self._effects[0], Forget):
            effect = self._effects.popleft()
            assert isinstance(effect, Forget)
            bus_ids.append(effect.bus_id)
        return bus_ids

    def _send(self, bus_id: int, message: SyncMessage) -> None:
        endpoint = self._registrar.endpoints.get(bus_id)
        link = None if endpoint is None else endpoint.control_link
        if link is None:
            return
        if not isinstance(message, Batch):
            link.put(Notice(message))
            return
        self._context.statistics.route_batches_sent += 1
        link.put(self._notices.of(message, self._context.bus_id))
        self._unsent[bus_id] = self._unsent.get(bus_id, 0) + 1
        self._context.timers.callLater(0, self._leave, bus_id)

    def _leave(self, bus_id: int) -> None:
        """Count the batches to a neighbor as sent, if little waits in front of it."""
        endpoint = self._registrar.endpoints.get(bus_id)
        link = None if endpoint is None else endpoint.control_link
        if link is None or self.machine is None or bus_id not in self._unsent:
            return
        link.measure()
        if link.queued_bytes > limits.CONTROL_QUEUED_BYTES:
            return
        for _ in range(self._unsent.pop(bus_id)):
            self._do(self.machine.sent(bus_id, self._context.now))
