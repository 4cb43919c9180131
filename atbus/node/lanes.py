"""
Shared memory with the nodes of this host: lanes offered, taken, watched and given back.

The reader offers: when a neighbor on this host sends so much that a lane is worth its memory, and
the budget has room. Lane and doorbell travel beside the LANE_OFFER over a unix stream that is
registered; the writer checks both, attaches the lane as a ring of its endpoint
(`atbus.node.rings`), answers, and lets data change to it behind a flush. A lane that nobody writes
to is retired by its reader: the writer changes back behind a flush, and says so with its last
frame.

Whoever breaks the rules of a lane loses it and gets no other one; its stream stays. When the stream
ends, its lanes end: what a writer that is gone had committed is read first.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.interfaces import IReactorTime

from atbus import limits
from atbus.address import Address, Locality, Scheme
from atbus.busid import BusId
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import ChannelOptions, IDescriptorChannel
from atbus.channels.lane_channel import Fence
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.channels.shm import why_unavailable
from atbus.errors import MalformedFrame, RemoteProtocolError, Status
from atbus.node.context import Alarm
from atbus.node.endpoint import Endpoint
from atbus.node.lane_link import Lane, LaneLink, number_of
from atbus.node.outbox import Notice
from atbus.node.ring import Direction, RingConnection
from atbus.node.sharing import Sharing
from atbus.wire.messages import (
    Capability,
    LaneAccept,
    LaneOffer,
    LaneRetire,
    LinkAck,
    Mode,
)

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.link import Link
    from atbus.node.registrar import Registrar
    from atbus.node.rings import Rings
    from atbus.wire.head import Head

#: Between two looks for a wake-up that was missed. It is never needed while fences hold.
LANE_LOOK_SECONDS: Final = 0.05

#: A lane that nobody wrote to for so long is given back.
LANE_IDLE_SECONDS: Final = 10.0

#: How long an offer may stay unanswered: a round trip, on a busy machine.
LANE_OFFER_SECONDS: Final = 5.0

_ORDERLY = frozenset(
    {Status.OK, Status.STOPPED, Status.GOODBYE, Status.DISCONNECTED, Status.CLOSING}
)


class Lanes:
    """
    Keep the lanes of one node, those it reads and those it writes.

    :param reactor: Waits for doorbells; None where there is none, then there are no lanes.
    """

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        rings: Rings,
        dialer: Dialer,
        options: ChannelOptions,
        reactor: Any,
    ) -> None:
        why_not = "this node has no reactor"
        if reactor is not None:
            why_not = why_unavailable(weak_memory=options.shm_weak_memory)
        self.sharing = Sharing(context, why_not)
        if not why_not:
            dialer.capabilities |= Capability.LANES
        self._context = context
        self._registrar = registrar
        self._rings = rings
        self._dialer = dialer
        self._options = options
        self._reactor = reactor
        self._fence: Fence | None = None
        self._lanes: list[Lane] = []
        self._numbers = itertools.count(1)
        # Those that have broken the rules of a lane, or refused one; none is offered to them.
        self._banned: set[Endpoint] = set()
        # Of lanes that we gave up, until their reader offers another one.
        self._last_words: dict[Endpoint, LaneRetire] = {}
        self._alarm = Alarm(context.timers, self._look)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    # What we read.

    def sweep(self) -> None:
        """Offer lanes to those who deserve them, and take back what is idle or unanswered."""
        now = self._context.now
        for endpoint in list(self._registrar.endpoints.values()):
            if not self.sharing.why_not and self.sharing.deserves(endpoint, now):
                self._offer(endpoint)
        for lane in list(self._lanes):
            if not lane.is_read:
                self._go_on_retiring(lane)
            elif lane.ring is None and now - lane.since > LANE_OFFER_SECONDS:
                self._drop(lane, Status.TIMEOUT)
            elif lane.ring is not None:
                self._judge_idle(lane, now)

    def _offer(self, endpoint: Endpoint) -> None:
        address = next((a for a in self._addresses if a.scheme is Scheme.SHM), None)
        stream = self._stream_of(endpoint)
        mine = [lane for lane in self._lanes if lane.is_read]
        config = self._context.config
        channels = [each.channel for each in mine]
        used = sum(each.size_bytes for each in channels if isinstance(each, IncomingLane))
        if address is None or not (self._may_share(endpoint) and config.shm_lanes_max):
            return
        if stream is None or stream.link is None:
            self.sharing.has_no_stream(endpoint)
            return
        if (
            any(lane.endpoint is endpoint for lane in mine)
            or len(mine) >= config.shm_lanes_max
            or used + config.shm_lane_bytes > config.shm_bytes_max
        ):
            return
        peer = f"shm:{endpoint.bus_id:#x}"
        timers = cast("IReactorTime", self._context.timers)
        try:
            channel = IncomingLane(
                *(self._reactor, address, peer, timers, self._crossing()),
                *(config.shm_lane_bytes, self._context.bus_id),
            )
        except OSError as error:
            self._context.events.on_error(Status.OVERLOADED, f"{peer}: no lane: {error}")
            self._banned.add(endpoint)
            self._close_fence()
            return
        number = number_of(next(self._numbers), self._context.bus_id, endpoint.bus_id)
        lane = Lane(number, stream, endpoint, channel, self._context.now)
        self._lanes.append(lane)
        self._context.statistics.lanes_offered += 1
        self.sharing.offered(endpoint)
        offer = LaneOffer(
            source=self._context.bus_id,
            destination=endpoint.bus_id,
            lane=lane.number,
            size_bytes=channel.size_bytes,
            record_max=channel.record_max,
        )
        if IDescriptorChannel.providedBy(stream.channel):
            stream.channel.send_with(stream.link.own_frame(offer), channel.descriptors)

    @property
    def _addresses(self) -> list[Address]:
        return [listener.address for listener in self._dialer.listeners]

    def _may_share(self, endpoint: Endpoint) -> bool:
        return (
            not endpoint.temporary
            and self._context.mode is not Mode.TEMPORARY
            and endpoint.removed is None
            and endpoint.available
            and endpoint not in self._banned
            and bool(endpoint.peer.capabilities & Capability.LANES)
            and self._rings.distance_to(endpoint) is not Locality.NETWORK
        )

    @staticmethod
    def _stream_of(endpoint: Endpoint) -> Connection | None:
        """Find the stream of an endpoint over which descriptors travel."""
        control = [] if endpoint.control is None else [endpoint.control]
        for connection in (*control, *endpoint.data):
            channel = connection.channel
            if (
                connection.registered
                and not connection.leaving
                and IDescriptorChannel.providedBy(channel)
                and channel.carries_descriptors
            ):
                return connection
        return None

    def accept_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Begin to read a lane that its writer has taken, or give up one that it has not."""
        message = link.read(frame, head)
        if not isinstance(message, LaneAccept):
            return
        lane = self._find(link.connection, message.lane)
        if lane is None or lane.ring is not None or not isinstance(lane.channel, IncomingLane):
            self._context.statistics.late_frames += 1
            return
        if message.status is not Status.OK:
            self._context.statistics.lanes_refused += 1
            self._context.events.on_error(
                message.status, f"{lane.channel.peer} refused a lane of shared memory"
            )
            self._banned.add(lane.endpoint)
            self._forget(lane)
            return
        ring = self._rings.make(lane.endpoint, lane.channel.address, Direction.READING)
        lane.ring = ring
        lane.moved_at = self._context.now
        self._dialer.connections.add(ring)
        frame_bytes_max = min(lane.channel.record_max, lane.endpoint.peer.frame_max)
        lane.channel.start(ring)
        made = self._registrar.link_for(ring, frame_bytes_max, LaneLink)
        if isinstance(made, LaneLink):
            made.tell_ack = lane.teller(self._context.bus_id)
            lane.channel.tell_room = made.tell_room
        ring.attach(made)
        self._set_alarm()

    def _judge_idle(self, lane: Lane, now: float) -> None:
        channel = lane.channel
        if not isinstance(channel, IncomingLane) or lane.retiring:
            return
        if channel.read_bytes != lane.moved_bytes:
            lane.moved_bytes = channel.read_bytes
            lane.moved_at = now
        elif now - lane.moved_at >= LANE_IDLE_SECONDS:
            lane.retiring = True
            self._retire(lane, Status.STOPPED)

    def _look(self) -> None:
        """Look for wake-ups that were missed."""
        for lane in list(self._lanes):
            if isinstance(lane.channel, IncomingLane) and lane.channel.look():
                self._missed(lane)
        self._set_alarm()

    def _missed(self, lane: Lane) -> None:
        self._context.statistics.missed_wakeups += 1
        self._context.log.warn("a wake-up was missed on {ring}", ring=lane.ring)

    def _set_alarm(self) -> None:
        reading = any(lane.is_read and lane.ring is not None for lane in self._lanes)
        self._alarm.set(self._context.now + LANE_LOOK_SECONDS if reading else None)

    # What we write.

    def offer_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Check a lane that is offered to us, and take it or say why not."""
        message = link.read(frame, head)
        endpoint = link.connection.endpoint
        channel = link.connection.channel
        if not isinstance(message, LaneOffer) or endpoint is None:
            return
        # Who has a lane to read offers no other one.
        self._last_words.pop(endpoint, None)
        descriptors: list[int] = []
        if IDescriptorChannel.providedBy(channel):
            descriptors = channel.take_descriptors(2)
        lane, status = self._take(link.connection, endpoint, message, descriptors)
        answer = LaneAccept(
            source=self._context.bus_id,
            destination=endpoint.bus_id,
            lane=message.lane,
            status=status,
        )
        link.put(Notice(answer))
        if lane is not None:
            self._rings.choose(endpoint)

    def _take(
        self,
        stream: Connection,
        endpoint: Endpoint,
        offer: LaneOffer,
        descriptors: list[int],
    ) -> tuple[Lane | None, Status]:
        address = self._address_of(endpoint)
        refusal = self._why_refused(stream, endpoint, offer, descriptors, address)
        opening = None
        if refusal is None and address is not None:
            opening = self._rings.begin(endpoint, address)
        if opening is None or address is None:
            for descriptor in descriptors:
                os.close(descriptor)
            return None, refusal or Status.POLICY_DENIED
        try:
            channel = OutgoingLane(
                address,
                f"shm:{endpoint.bus_id:#x}",
                cast("IReactorTime", self._context.timers),
                self._options,
                self._crossing(),
                (descriptors[0], descriptors[1]),
                size_bytes=offer.size_bytes,
                record_max=offer.record_max,
            )
        except (OSError, RemoteProtocolError) as error:
            status = error.status if isinstance(error, RemoteProtocolError) else Status.OVERLOADED
            self._rings.failed(opening, status, str(error))
            self._close_fence()
            return None, status
        lane = Lane(offer.lane, stream, endpoint, channel, self._context.now, opening.ring)
        channel.missed = lambda: self._missed(lane)
        self._lanes.append(lane)
        self._dialer.connections.add(opening.ring)
        channel.start(opening.ring)
        if not self._rings.opened(opening, offer.record_max, LaneLink):
            return None, Status.CLOSING
        return lane, Status.OK

    def _why_refused(
        self,
        stream: Connection,
        endpoint: Endpoint,
        offer: LaneOffer,
        descriptors: list[int],
        address: Address | None,
    ) -> Status | None:
        taken = [lane for lane in self._lanes if lane.endpoint is endpoint and not lane.is_read]
        if not self._may_share(endpoint) or self.sharing.why_not or taken or address is None:
            return Status.POLICY_DENIED
        is_number = offer.lane and self._find(stream, offer.lane) is None
        is_size = limits.LANE_BYTES_MIN <= offer.size_bytes <= limits.LANE_BYTES_MAX
        if not (is_number and is_size) or len(descriptors) != 2:
            number = "a new" if is_number else "no new"
            error = MalformedFrame(f"{offer} with {len(descriptors)} descriptors, {number} number")
            self._context.events.on_error(error.status, str(error))
            return error.status
        return None

    def _address_of(self, endpoint: Endpoint) -> Address | None:
        """Find the shared memory that an endpoint has announced."""
        neighbor = self._context.table.get(BusId(endpoint.bus_id))
        announced = () if neighbor is None else neighbor.listens
        return next((a for a in announced if a.scheme is Scheme.SHM), None)

    def ack_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the acknowledgement of frames in a lane, or of stuck ones of the stream."""
        message = link.read(frame, head)
        if not isinstance(message, LinkAck):
            return
        if not message.lane:
            link.acknowledged_early(message.early)
            return
        lane = self._find(link.connection, message.lane)
        written = None if lane is None or lane.ring is None else lane.ring.link
        if lane is None or lane.is_read or lane.ring is None or not isinstance(written, LaneLink):
            return
        try:
            written.acknowledged(head[12], message.early)
        except RemoteProtocolError as error:
            lane.ring.breach(error)
            return
        if isinstance(lane.channel, OutgoingLane):
            lane.channel.nudge()
            written.feed()
        self._go_on_retiring(lane)

    def _go_on_retiring(self, lane: Lane) -> None:
        """End a lane that data has left, once everything in it is acknowledged."""
        ring = lane.ring
        if not lane.retiring or ring is None or ring.closed is not None or ring.link is None:
            return
        if lane.endpoint.ring is not ring and ring.link.idle:
            ring.close(Status.STOPPED, "nobody wrote to it")
        elif lane.endpoint.ring is ring:
            self._rings.choose(lane.endpoint)

    # Both.

    def retire_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the other side's last word on a lane."""
        message = link.read(frame, head)
        if not isinstance(message, LaneRetire):
            return
        lane = self._find(link.connection, message.lane)
        if lane is None:
            # The writer says it on its other streams as well.
            endpoint, number = link.connection.endpoint, message.lane
            mine = (each for each in self._lanes if each.is_read and each.number == number)
            lane = next((each for each in mine if each.endpoint is endpoint), None)
        if lane is None:
            return
        if lane.is_read:
            lane.retired = True
            self._end(lane, message.status)
        elif lane.ring is None:
            return
        elif message.status in _ORDERLY and lane.ring.link is not None:
            lane.retiring = lane.ring.retiring = True
            self._go_on_retiring(lane)
        else:
            # Its reader has given it up: what is in it is read by nobody.
            self._context.events.on_error(message.status, f"{lane.ring} was given up by its reader")
            lane.ring.abort(message.status, "given up by its reader")

    def _end(self, lane: Lane, status: Status) -> None:
        """Stop reading: behind the last frame, or at once if the writer has given up."""
        if lane.ring is None:
            self._forget(lane)
        elif status in _ORDERLY:
            lane.ring.close(status)
        else:
            lane.ring.abort(status, "given up by its writer")

    def ring_ended(self, ring: RingConnection) -> None:
        """Tell the other side of a lane that has ended on this one."""
        lane = next((each for each in self._lanes if each.ring is ring), None)
        if lane is None:
            return
        self._lanes.remove(lane)
        status = ring.closed or Status.STOPPED
        if status not in _ORDERLY and lane.is_read and status is not Status.LINK_LOST:
            self._banned.add(lane.endpoint)
        if not lane.retired:
            self._retire(lane, status)
        self._close_fence()

    def _drop(self, lane: Lane, status: Status) -> None:
        """Take back a lane that nobody has taken."""
        self._retire(lane, status)
        self._banned.add(lane.endpoint)
        self._forget(lane)

    def _forget(self, lane: Lane) -> None:
        self._lanes.remove(lane)
        lane.channel.abort("not used")
        self._close_fence()

    def _retire(self, lane: Lane, status: Status) -> None:
        """Say so on the stream of the lane, and before what may be sent behind what is in it."""
        streams = [lane.stream] if lane.stream.closed is None else []
        word = lane.last_word(self._context.bus_id, status)
        if not (lane.is_read or status in _ORDERLY):
            others = (each for each in lane.endpoint.data if each is not lane.stream)
            streams += filter(Endpoint.takes_data, others)
            if lane.endpoint.removed is None:
                self._last_words[lane.endpoint] = word
        for stream in streams:
            _say(stream, word)

    def data_stream_up(self, stream: Connection) -> None:
        """Say on a new stream that a lane was given up, before what is sent there."""
        if stream.endpoint in self._last_words:
            _say(stream, self._last_words[stream.endpoint])

    def stream_closed(self, stream: Connection) -> None:
        """End the lanes of a stream; what a writer had committed before it died is read first."""
        for lane in [each for each in self._lanes if each.stream is stream]:
            if isinstance(lane.channel, IncomingLane):
                lane.retired = True
                lane.channel.drain()
            if lane.ring is None:
                self._forget(lane)
            elif lane.ring.closed is None:
                lane.ring.abort(Status.LINK_LOST, "the stream of the lane has ended")

    def forget(self, endpoint: Endpoint) -> None:
        """Keep nothing of an endpoint that is gone."""
        self.sharing.forget(endpoint)
        self._banned.discard(endpoint)
        self._last_words.pop(endpoint, None)

    def _find(self, stream: Connection, number: int) -> Lane | None:
        for lane in self._lanes:
            if lane.number == number and lane.stream is stream:
                return lane
        return None

    def _crossing(self) -> Fence:
        if self._fence is None:
            self._fence = Fence()
        return self._fence

    def _close_fence(self) -> None:
        """Give back what is needed only while there are lanes."""
        if self._fence is not None and not self._lanes:
            self._fence.close()
            self._fence = None
        self._set_alarm()


def _say(stream: Connection, word: LaneRetire) -> None:
    if stream.link is not None:
        stream.link.put(Notice(word))
