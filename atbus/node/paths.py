"""
Opening the way to an endpoint, and choosing the channel behind it.

A sibling that becomes reachable directly was reached through the upstream before. What is still on
that way must not be overtaken: a FLUSH goes down it, addressed to the sibling itself, and until the
sibling answers nothing is sent to it or through it; messages wait. One FLUSH per new link serves
every flow to the sibling, our own and those that pass through; what is for others beyond it may
have gone elsewhere, and is looked at one by one (`atbus.node.moves`). When the sibling leaves, or
is left, it is the same the other way round.

A relay that has no way to the sibling drops the FLUSH, and an answer may be lost: as in
`atbus.node.moves`, the way opens as soon as the FLUSH and all that went before it is acknowledged.

Between two channels of one endpoint it is the same. A data stream beside a better one is left for
good: DRAIN_ACK says so, behind all that was sent there (wire protocol, section 5.5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from atbus import limits
from atbus.address import Scheme
from atbus.busid import BusId
from atbus.errors import Status
from atbus.node import bounds
from atbus.node.context import Alarm
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.joining import joined
from atbus.node.moves import MOVE, Flushed, order_given_up
from atbus.node.outbox import Notice, Relayed, Routed, Run
from atbus.node.ring import RingConnection
from atbus.routing.change import Effect, OpenPath, PathChanges, SendFlush
from atbus.routing.table import Position
from atbus.wire.messages import DrainAck, Flush, FlushAck

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.link import Link
    from atbus.node.registrar import Registrar
    from atbus.node.traffic import Traffic
    from atbus.wire.head import Head

# Marks the tokens of flushes between the channels of one endpoint.
_SWITCH = 1 << 63


class Paths:
    """Open and close the gates of endpoints, and choose the channel behind them."""

    def __init__(self, context: Context, registrar: Registrar, traffic: Traffic) -> None:
        # Called when an endpoint's gate has opened; set by the node, which wires its parts.
        self.available: Callable[[Endpoint], None]
        # Called with an endpoint that leaves, or is left.
        self.leaving: Callable[[Endpoint], None]
        self._context = context
        self._registrar = registrar
        self._traffic = traffic
        self._moves = traffic.moves
        self._changes: PathChanges[int, None] = PathChanges(
            bytes_max=0, count_max=1, seconds=limits.FLUSH_SECONDS
        )
        # Between the channels of one endpoint.
        self._switches: PathChanges[Connection, None] = PathChanges(
            bytes_max=0, count_max=1, seconds=limits.FLUSH_SECONDS
        )
        # Until when an endpoint stays on a stream of which the FLUSH was not answered in time.
        self._stays_until: dict[Endpoint, float] = {}
        # What data took to an endpoint before it had no channel at all.
        self._before: dict[Endpoint, Scheme] = {}
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
            self._obey(self._changes.broken(effect.destination))

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
        Let data to an endpoint take a ring, or a stream, without overtaking what took another one.

        :param ring: None for the best of the streams.
        """
        old, new = endpoint.channel, ring or endpoint.best_stream
        if endpoint.gate in (Gate.CLOSED, Gate.FLUSHING):
            # Nothing has gone there directly yet.
            self._use(endpoint, new)
        elif old is None or new is None:
            return
        elif endpoint.gate is Gate.CHANGING:
            self._obey_switch(self._switches.begin(endpoint.bus_id, old, new, self._context.now))
        elif endpoint.gate is not Gate.OPEN:
            return
        elif old is new:
            self._leave_worse(endpoint)
        elif not (_are_streams(old, new) and self._stays(endpoint)):
            endpoint.gate = Gate.CHANGING
            self._traffic.changed()
            self._obey_switch(self._switches.begin(endpoint.bus_id, old, new, self._context.now))

    def channel_lost(self, endpoint: Endpoint, channel: Connection) -> None:
        """Learn that a ring, or a stream, is gone."""
        was_used = channel is (endpoint.ring or endpoint.stream)
        self._obey_switch(self._switches.lost(channel))
        if channel is endpoint.ring:
            endpoint.ring = None
            self._traffic.changed()
        elif channel is endpoint.stream:
            endpoint.stream = endpoint.best_stream
        else:
            return
        if was_used and endpoint.channel is None:
            self._before.setdefault(endpoint, channel.address.scheme)
        elif was_used:
            # What it has not taken is sent again before anybody hears of it.
            self._context.turn.at_end(lambda: self._tell_broken(endpoint))

    def _tell_broken(self, endpoint: Endpoint) -> None:
        """Say what has taken the place of a channel that broke, unless more has happened since."""
        used = endpoint.channel
        if used is not None and endpoint.gate is Gate.OPEN and endpoint.removed is None:
            self._context.events.on_channel_changed(endpoint, used)

    def _obey_switch(self, effects: list[Effect[Connection, None]]) -> None:
        for effect in effects:
            endpoint = self._registrar.endpoints.get(effect.destination)
            match effect:
                case SendFlush(path=channel, token=token):
                    if channel.link is None:
                        self._obey_switch(self._switches.lost(channel))
                    else:
                        flush = self._flush(effect.destination, token | _SWITCH)
                        channel.link.put(Routed.of(flush))
                case OpenPath(path=channel, status=status):
                    is_changing = endpoint is not None and endpoint.gate is Gate.CHANGING
                    if status is Status.TIMEOUT and endpoint is not None and is_changing:
                        channel = self._old_if_slow(endpoint, channel)
                    if not effect.order_kept and channel is effect.path:
                        order_given_up(self._context, effect)
                    if endpoint is not None and is_changing:
                        self._change(endpoint, channel)
        self._set_alarm()

    def _old_if_slow(self, endpoint: Endpoint, new: Connection) -> Connection:
        """
        Stay for a while on a stream whose FLUSH waits for what is held there.

        Nothing has left it, so the order holds; what is better can wait.
        """
        old = endpoint.channel
        if old is None or not _are_streams(old, new):
            return new
        self._stays_until[endpoint] = self._context.now + bounds.CHANGE_AGAIN_SECONDS
        return old

    def _stays(self, endpoint: Endpoint) -> bool:
        if self._stays_until.get(endpoint, self._context.now) > self._context.now:
            return True
        self._stays_until.pop(endpoint, None)
        return False

    def _use(self, endpoint: Endpoint, channel: Connection | None) -> None:
        """Let data take a channel, if it can be used; else the best stream."""
        endpoint.ring = None
        if isinstance(channel, RingConnection):
            endpoint.ring = channel if channel.usable else None
        elif channel is not None and endpoint.takes_data(channel):
            endpoint.stream = channel
            return
        endpoint.stream = endpoint.best_stream

    def _change(self, endpoint: Endpoint, channel: Connection) -> None:
        """Open the way again, on another channel or on the old one."""
        # Also one that is gone.
        old = endpoint.ring or endpoint.stream
        self._use(endpoint, channel)
        used = endpoint.channel
        if used is None:
            endpoint.gate = Gate.CLOSED
            return
        self._open(endpoint)
        if used is not old:
            self._context.events.on_channel_changed(endpoint, used)

    def _leave_worse(self, endpoint: Endpoint) -> None:
        """Say on each stream beside a better one that nothing more is sent there."""
        if endpoint.ring is not None:
            # What went over a stream has arrived.
            endpoint.stream = endpoint.best_stream
        for stream in endpoint.worse_streams():
            if stream.link is not None:
                stream.is_left = True
                stream.link.put(Notice(DrainAck(source=self._context.bus_id)))

    def _open(self, endpoint: Endpoint) -> None:
        link = endpoint.data_link
        if link is None or endpoint.removed is not None:
            return
        endpoint.gate = Gate.OPEN
        for item in joined(endpoint.pending.take(), link.frame_bytes_max):
            if isinstance(item, Run | Relayed):
                self._moves.take(item.target, endpoint)
                status = endpoint.insist(item)
            else:
                status = endpoint.put(link, item)
            if status is not None:
                self._traffic.lost((item,), status)
        self._traffic.changed()
        self._leave_worse(endpoint)
        self.available(endpoint)
        before = self._before.pop(endpoint, link.connection.address.scheme)
        if before is not link.connection.address.scheme:
            self._context.events.on_channel_changed(endpoint, link.connection)

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
            stay = endpoint.channel
            if stay is not None:
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
        self._stays_until.pop(endpoint, None)
        self._before.pop(endpoint, None)
        self._left.pop(endpoint.bus_id, None)
        for effect in self._changes.lost(endpoint.bus_id):
            if effect.destination != endpoint.bus_id:
                self._obey([effect])
            elif isinstance(effect, OpenPath) and not effect.order_kept:
                # It has left before what went there directly had all arrived.
                order_given_up(self._context, effect)
        self._changes.forget(endpoint.bus_id)
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


def _are_streams(*channels: Connection) -> bool:
    return not any(isinstance(channel, RingConnection) for channel in channels)
