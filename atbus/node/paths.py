"""
Opening the way to an endpoint, and keeping a data connection to it.

A sibling that becomes reachable directly was reached through the upstream before. What is still on
that way must not be overtaken: a FLUSH goes down it, addressed to the sibling itself, and until the
sibling answers nothing is sent to it or through it; messages wait. One FLUSH per new link serves
every flow to the sibling, our own and those that pass through; what is for others beyond it may
have gone elsewhere, and is looked at one by one (`atbus.node.moves`). When the sibling leaves, or
is left, it is the same the other way round.

A relay that has no way to the sibling drops the FLUSH, and an answer may be lost: as in
`atbus.node.moves`, the way opens as soon as the FLUSH and all that went before it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from atbus import limits
from atbus.address import Address, Locality
from atbus.busid import BusId
from atbus.errors import ConnectFailed, Status
from atbus.node.context import Alarm
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.identity import distance_to
from atbus.node.moves import MOVE, Flushed, order_given_up
from atbus.node.outbox import Relayed, Routed, Run
from atbus.routing.change import Effect, OpenPath, PathChanges, SendFlush
from atbus.routing.dial_plan import data_addresses
from atbus.routing.table import Position
from atbus.wire.messages import Flush, FlushAck, Mode

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.link import Link
    from atbus.node.registrar import Registrar
    from atbus.node.ring import RingConnection
    from atbus.node.traffic import Traffic
    from atbus.wire.head import Head

# Marks the tokens of flushes between the channels of one endpoint.
_SWITCH = 1 << 63
# What stands for the stream among the numbers of rings.
_STREAM = 0

# A channel of an endpoint: its bus id, and the number of a ring or what stands for the stream.
_Channel = tuple[int, int]


def _channel(endpoint: Endpoint, ring: RingConnection | None) -> _Channel:
    return endpoint.bus_id, _STREAM if ring is None else ring.number


class Paths:
    """Open and close the gates of endpoints, and choose the channel behind them."""

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        traffic: Traffic,
        dialer: Dialer,
    ) -> None:
        # Called when an endpoint's gate has opened; set by the node, which wires its parts.
        self.available: Callable[[Endpoint], None]
        # Called with an endpoint that leaves, or is left.
        self.leaving: Callable[[Endpoint], None]
        self._context = context
        self._registrar = registrar
        self._traffic = traffic
        self._moves = traffic.moves
        self._dialer = dialer
        self._changes: PathChanges[int, None] = PathChanges(
            bytes_max=0, count_max=1, seconds=limits.FLUSH_SECONDS
        )
        # Between the channels of one endpoint.
        self._switches: PathChanges[_Channel, None] = PathChanges(
            bytes_max=0, count_max=1, seconds=limits.FLUSH_SECONDS
        )
        # The way that a FLUSH to a destination has taken.
        self._left: dict[int, int] = {}
        # Destinations whose FLUSH nobody carries any more, with its token and the way it took.
        self._flushed: dict[int, tuple[int, int]] = {}
        self._alarm = Alarm(context.timers, self._tick)

    # The gate.

    def data_up(self, endpoint: Endpoint) -> None:
        """Open the way to an endpoint that has a data connection now, without overtaking."""
        old = self._traffic.hop_to(endpoint.bus_id, exclude=(endpoint.bus_id,))
        self._context.table.set_usable(BusId(endpoint.bus_id), True)
        endpoint.data_missing_since = None
        if (
            endpoint.position is Position.PEER
            and isinstance(old, Endpoint)
            and (old.gate is Gate.OPEN or old.pending)
        ):
            endpoint.gate = Gate.FLUSHING
            self._traffic.changed()
            self._obey(
                self._changes.begin(endpoint.bus_id, old.bus_id, endpoint.bus_id, self._context.now)
            )
        else:
            self._open(endpoint)

    def _obey(self, effects: list[Effect[int, None]]) -> None:
        for effect in effects:
            endpoint = self._registrar.endpoints.get(effect.destination)
            match effect:
                case SendFlush():
                    self._left[effect.destination] = effect.path
                    self._send_flush(effect)
                case OpenPath():
                    left = self._left.pop(effect.destination, None)
                    if not effect.order_kept:
                        order_given_up(self._context, effect)
                    if endpoint is not None:
                        self._take(endpoint, effect.path, left)
        self._set_alarm()

    def _set_alarm(self) -> None:
        look_at = self._context.now + limits.LEAVING_POLL_SECONDS if self._flushed else None
        deadlines = (self._changes.deadline, self._switches.deadline, look_at)
        self._alarm.set(min((each for each in deadlines if each is not None), default=None))

    def _take(self, endpoint: Endpoint, path: int, left: int | None) -> None:
        """Let what waited for an endpoint, and all that comes, take this path to it."""
        if path == endpoint.bus_id:
            if endpoint.gate is Gate.FLUSHING:
                self._moves.settle(endpoint, left)
                self._open(endpoint)
        elif endpoint.gate is Gate.CLOSED:
            self._traffic.resubmit(endpoint.pending.take(), Status.NOT_CONNECTED)
        else:
            self._shut(endpoint)

    def _flush(self, destination: int, token: int) -> Flush:
        return Flush(
            source=self._context.bus_id,
            destination=destination,
            epoch=self._context.epoch,
            hop_limit=self._context.config.hops,
            token=token,
        )

    def _send_flush(self, effect: SendFlush[int]) -> None:
        flush = self._flush(effect.destination, effect.token)
        old = self._registrar.endpoints.get(effect.path)
        link = None if old is None else old.data_link
        if effect.path == effect.destination and link is not None:
            link.put(Routed.of(flush))
            return
        told = partial(self._discharged, effect.path)
        flushed = Flushed(effect.destination, effect.token, told)
        if old is None or old.submit(Routed.of(flush, flushed)) is not None:
            self._obey(self._changes.lost(effect.path))

    def _discharged(self, path: int, destination: int, token: int) -> None:
        """Learn that a FLUSH has arrived, or was dropped by who had no way for it."""
        if self._changes.is_changing(destination):
            self._flushed[destination] = token, path
            self._set_alarm()

    def _look_at_flushed(self) -> None:
        """Open the ways of which nothing can be overtaken any more, answered or not."""
        for destination, (token, path) in list(self._flushed.items()):
            if not self._changes.is_changing(destination):
                del self._flushed[destination]
            elif not self._owes(path, destination):
                del self._flushed[destination]
                self._obey(self._changes.acknowledged(destination, token))

    def _owes(self, path: int, destination: int) -> bool:
        """Tell whether anything that is about to change over to an endpoint is on its old way."""
        endpoint = self._registrar.endpoints.get(destination)
        behind = (t for t in self._context.ways.destinations if self._traffic.hop_to(t) is endpoint)
        return any(self._moves.owes(path, target) for target in (destination, *behind))

    # The channel.

    def change_channel(self, endpoint: Endpoint, ring: RingConnection | None) -> None:
        """
        Let data to an endpoint take a ring, or the stream, without overtaking what took the other.

        :param ring: None for the stream.
        """
        old, new = _channel(endpoint, endpoint.ring), _channel(endpoint, ring)
        now = self._context.now
        if endpoint.gate is Gate.CHANGING:
            self._obey_switch(self._switches.begin(endpoint.bus_id, old, new, now))
        elif old == new:
            return
        elif endpoint.gate is Gate.OPEN and endpoint.data_link is not None:
            endpoint.gate = Gate.CHANGING
            self._traffic.changed()
            self._obey_switch(self._switches.begin(endpoint.bus_id, old, new, now))
        elif endpoint.gate in (Gate.CLOSED, Gate.FLUSHING):
            # Nothing has gone there directly yet.
            endpoint.ring = ring

    def channel_lost(self, endpoint: Endpoint, ring: RingConnection | None) -> None:
        """
        Learn that a channel of an endpoint is gone.

        :param ring: None for the stream.
        """
        was_used = ring is not None and ring is endpoint.ring
        if was_used:
            endpoint.ring = None
            self._traffic.changed()
        self._obey_switch(self._switches.lost(_channel(endpoint, ring)))
        if was_used:
            # What the ring has not taken is sent again before anybody hears of it.
            self._context.turn.at_end(lambda: self._tell_broken(endpoint))

    def _tell_broken(self, endpoint: Endpoint) -> None:
        """Say that the stream has taken the place of a ring, unless more has happened since."""
        link = endpoint.stream_link
        if endpoint.ring is None and link is not None and endpoint.removed is None:
            self._context.events.on_channel_changed(endpoint, link.connection)

    def _obey_switch(self, effects: list[Effect[_Channel, None]]) -> None:
        for effect in effects:
            endpoint = self._registrar.endpoints.get(effect.destination)
            match effect:
                case SendFlush(token=token):
                    link = None if endpoint is None else endpoint.data_link
                    if link is None:
                        self._obey_switch(self._switches.lost(effect.path))
                    else:
                        link.put(Routed.of(self._flush(effect.destination, token | _SWITCH)))
                case OpenPath(path=(_, number)):
                    if not effect.order_kept:
                        order_given_up(self._context, effect)
                    if endpoint is not None and endpoint.gate is Gate.CHANGING:
                        self._change(endpoint, number)
        self._set_alarm()

    def _change(self, endpoint: Endpoint, number: int) -> None:
        """Open the way again, on another channel or on the old one."""
        ring = next((r for r in endpoint.rings if r.number == number and r.usable), None)
        changed = ring is not endpoint.ring
        endpoint.ring = ring
        if endpoint.data_link is None:
            endpoint.gate = Gate.CLOSED
            return
        self._open(endpoint)
        link = endpoint.data_link
        if changed and link is not None:
            self._context.events.on_channel_changed(endpoint, link.connection)

    def _open(self, endpoint: Endpoint) -> None:
        link = endpoint.data_link
        if link is None or endpoint.removed is not None:
            return
        endpoint.gate = Gate.OPEN
        for item in endpoint.pending.take():
            if isinstance(item, Run | Relayed):
                self._moves.take(item.target, endpoint)
                status = endpoint.insist(item)
            else:
                status = endpoint.put(link, item)
            if status is not None:
                self._traffic.lost((item,), status)
        self._traffic.changed()
        self.available(endpoint)

    def leave(self, endpoint: Endpoint) -> None:
        """
        Give nothing more to an endpoint that leaves, or is left.

        What would have gone there takes the other way, if there is one, behind what went directly.
        """
        if endpoint.gate in (Gate.DRAINING, Gate.RETURNING) or endpoint.removed is not None:
            return
        bus_id = endpoint.bus_id
        self.leaving(endpoint)
        self._moves.leave(endpoint)
        self._registrar.look_where(endpoint)
        if endpoint.gate is Gate.CHANGING:
            # Nothing has left the channel used until now, so the order holds on it.
            stay = _channel(endpoint, endpoint.ring)
            self._obey_switch(self._switches.begin(bus_id, stay, stay, self._context.now))
        other = self._traffic.hop_to(bus_id, exclude=(bus_id,))
        if (
            endpoint.position is not Position.PEER
            or not isinstance(other, Endpoint)
            or other.gate is not Gate.OPEN
        ):
            self._changes.forget(bus_id)
            self._left.pop(bus_id, None)
            self._shut(endpoint)
        elif endpoint.gate is Gate.OPEN and endpoint.data_link is not None:
            endpoint.gate = Gate.RETURNING
            self._traffic.changed()
            self._obey(self._changes.begin(bus_id, bus_id, other.bus_id, self._context.now))
        elif endpoint.gate is Gate.FLUSHING:
            self._obey(self._changes.begin(bus_id, bus_id, other.bus_id, self._context.now))
        else:
            self._shut(endpoint)

    def _shut(self, endpoint: Endpoint) -> None:
        endpoint.gate = Gate.DRAINING
        self._moves.forget(endpoint)
        self._context.table.set_usable(BusId(endpoint.bus_id), False)
        self._traffic.changed()
        self._traffic.resubmit(endpoint.pending.take(), Status.CLOSING)

    def data_lost(self, endpoint: Endpoint) -> None:
        """End the changes that led to or away from a data connection that is gone."""
        self._obey(self._changes.lost(endpoint.bus_id))
        self._moves.lost(endpoint)
        self.stream_lost(endpoint)

    def stream_lost(self, endpoint: Endpoint) -> None:
        """End the changes that led to or away from the stream of an endpoint."""
        self.channel_lost(endpoint, None)

    def flush_answered(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the answer to a flush of ours; pass other nodes' answers on."""
        if head[6] != self._context.bus_id:
            self._traffic.courier.pass_on(link, frame, head)
            return
        if (message := link.read(frame, head)) is None:
            return
        link.discharge(head[9])
        if isinstance(message, FlushAck) and self._traffic.vouches(link, head[5]):
            source, token = message.source, message.token
            if token & _SWITCH:
                self._obey_switch(self._switches.acknowledged(source, token & ~_SWITCH))
            elif token & MOVE:
                self._moves.answered(source, token)
            else:
                self._obey(self._changes.acknowledged(source, token))

    def lost(self, endpoint: Endpoint) -> None:
        """Forget changes that concern an endpoint that is gone."""
        self._switches.forget(endpoint.bus_id)
        self._changes.forget(endpoint.bus_id)
        self._left.pop(endpoint.bus_id, None)
        self._obey(self._changes.lost(endpoint.bus_id))
        self._moves.lost(endpoint)
        self._traffic.verifier.forget(endpoint)

    def _tick(self) -> None:
        self._look_at_flushed()
        self._obey(self._changes.tick(self._context.now))
        self._obey_switch(self._switches.tick(self._context.now))

    def close(self) -> None:
        """Wait for nothing any more."""
        self._alarm.set(None)
        self._moves.close()
        self._traffic.verifier.close()

    # The data connection.

    def need_data(self, endpoint: Endpoint) -> None:
        """Dial a data connection, if it is for us to dial."""
        if endpoint.stream_link is not None:
            return
        now = self._context.now
        if endpoint.data_missing_since is None:
            endpoint.data_missing_since = now
        control = endpoint.control
        if (
            endpoint.removed is not None
            or endpoint.data_dialling
            or control is None
            or not control.dialled
            or self._context.mode is Mode.TEMPORARY
            or endpoint.gate is Gate.DRAINING
        ):
            return
        endpoint.data_dialling = True
        endpoint.data_dialled_at = now
        addresses = self._stream_addresses(endpoint, control.address)
        address = addresses[min(endpoint.data_attempts, len(addresses) - 1)]
        endpoint.data_attempts += 1
        dialling = self._dialer.connect_data(endpoint, address)

        def failed(failure: Failure) -> None:
            if failure.trap(ConnectFailed, CancelledError) is ConnectFailed:
                self._context.events.on_error(Status.CONNECT_FAILED, str(failure.value))
                if address != control.address:
                    self.need_data(endpoint)

        def done(result: object) -> object:
            endpoint.data_dialling = False
            return result

        dialling.addBoth(done).addErrback(failed)

    def _stream_addresses(self, endpoint: Endpoint, control: Address) -> list[Address]:
        """
        List where to dial data, the best first, one for each attempt; the control stream's is last.

        What a certificate has proven is not left for a stream that proves nothing.
        """
        neighbor = self._context.table.get(BusId(endpoint.bus_id))
        if neighbor is None or control.is_tls:
            return [control]
        told = endpoint.peer.request
        distance = distance_to(self._context.identity, told.host, told.process)
        near = distance is not Locality.NETWORK
        # One-way channels are opened by those who write to them.
        found = data_addresses(
            control, neighbor.listens, dialled=True, same_host=near, same_process=False
        )
        return [address for address in found if address.is_duplex]

    def sweep(self) -> None:
        """Dial again what is missing; give up endpoints that stay without data too long."""
        self._moves.sweep()
        now = self._context.now
        for endpoint in list(self._registrar.endpoints.values()):
            since = endpoint.data_missing_since
            if since is None or endpoint.gate is Gate.DRAINING:
                continue
            if now - since >= limits.DATA_CONNECTION_SECONDS:
                self._registrar.remove(endpoint, Status.NO_DATA_CONNECTION)
            elif now - endpoint.data_dialled_at >= limits.DATA_REDIAL_SECONDS:
                self.need_data(endpoint)
