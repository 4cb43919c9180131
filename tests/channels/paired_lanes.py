"""
Two lanes and their stream as one channel, so that lanes can keep the contract of channels.

A lane goes one way, is offered over a stream and ends with it. Two nodes that send each other much
have a lane in each direction, and both together with their stream do what a channel does: frames go
through the lanes; the offers, the word that there is room again and the last word go over the
stream, as the messages of `atbus.node.lanes`. What a node has besides - budgets, numbers,
acknowledgements - is not here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.address import Address
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
    IDescriptorChannel,
)
from atbus.channels.lane_channel import Fence
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.errors import ChannelClosed, ConnectFailed, RemoteProtocolError, Status
from atbus.handshake.certificate import CertificateIdentity
from atbus.wire import codec
from atbus.wire.messages import LaneOffer, LaneRetire, LinkAck

_LANE = 1
# The first record of a lane, which is no frame.
_NONCE_BYTES = limits.NONCE_BYTES

# Whom an end reports to; None when its connection is not taken.
_Choose = Callable[[str], IChannelReceiver | None]


@implementer(IChannelScheme)
@attrs.frozen(eq=False)
class PairedLanes:
    """
    Channels of two lanes each, over the streams of another scheme.

    :param streams: Carries descriptors.
    """

    _streams: IChannelScheme
    _reactor: Any
    _options: ChannelOptions
    _timers: IReactorTime

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """Listen for streams over which lanes are exchanged."""
        return self._streams.listen(address, lambda _peer: self._end(accept))

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """Dial a stream, and wait for lanes in both directions."""

        def give_up(_result: Deferred[IChannel]) -> None:
            end.give_up(Failure(CancelledError()))
            dialling.cancel()

        def failed(failure: Failure) -> None:
            if not end.is_given_up:
                end.give_up(failure)

        end = self._end(lambda _peer: receiver)
        end.opened = Deferred(give_up)
        dialling = self._streams.connect(address, end, timeout_seconds)
        _ = dialling.addErrback(failed)
        return end.opened

    def _end(self, choose: _Choose) -> LanePair:
        return LanePair(choose, self._reactor, self._options, self._timers)


@implementer(IChannel, IChannelReceiver)
class LanePair:
    """
    One end: a lane that it reads, one that it writes, and the stream of both.

    The dialling side offers first; the channel is open here when both lanes are.
    """

    _log = Logger()

    identity: CertificateIdentity | None = None
    exporter = b""

    def __init__(
        self, choose: _Choose, reactor: Any, options: ChannelOptions, timers: IReactorTime
    ) -> None:
        self.opened: Deferred[IChannel] | None = None
        self.frame_limit = options.frame_limit
        self._choose = choose
        self._reactor = reactor
        self._options = options
        self._timers = timers
        self._fence = Fence()
        self._stream: Any = None
        self._read: IncomingLane | None = None
        self._written: OutgoingLane | None = None
        self._receiver: IChannelReceiver | None = None
        self._verdict = (Status.LINK_LOST, "the other side ended the connection")
        self._closing = self._ended = self._dropped = False
        self._open_lanes = {"read", "written"}

    # What a channel offers

    @property
    def address(self) -> Address:
        address: Address = self._stream.address
        return address

    @property
    def peer(self) -> str:
        peer: str = self._stream.peer
        return peer

    @property
    def dialled(self) -> bool:
        dialled: bool = self._stream.dialled
        return dialled

    @property
    def queued_bytes(self) -> int:
        return 0 if self._written is None else self._written.queued_bytes

    @property
    def written_bytes(self) -> int:
        return 0 if self._written is None else self._written.written_bytes - _NONCE_BYTES

    def send(self, frames: Sequence[bytes]) -> None:
        if self._ended or self._written is None:
            raise ChannelClosed(f"{self.address} to {self.peer}")
        self._written.send(frames)

    def close(self, status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        if not (self._closing or self._ended):
            self._closing = True
            self._verdict = (status, detail)
            self._say_last()
            self.resume_reading()

    def abort(self, detail: str, status: Status = Status.LINK_LOST) -> None:
        if not self._ended:
            self._ended = True
            self._closing = False
            self._verdict = (status, detail)
            self._drop_lanes()
            self._stream.abort(detail)

    def pause_reading(self) -> None:
        if self._read is not None:
            self._read.pause_reading()

    def resume_reading(self) -> None:
        if self._read is not None:
            self._read.resume_reading()

    @property
    def is_given_up(self) -> bool:
        """Whether this will never open."""
        return self._ended

    def give_up(self, failure: Failure) -> None:
        """Fail a dial that has opened nothing yet."""
        opened, self.opened = self.opened, None
        self._ended = True
        if self._stream is not None:
            self._stream.abort("given up")
        else:
            self._drop_lanes()
        if opened is not None:
            opened.errback(failure)

    # What the stream tells

    def channel_opened(self, channel: IChannel) -> None:
        """Begin, with an offer if this side has dialed."""
        self._stream = channel
        channel.takes_descriptors = True  # type: ignore[attr-defined]
        if self._ended:
            channel.abort("given up")
        elif channel.dialled:
            self._offer()

    def frames_received(self, frames: list[bytes]) -> None:
        """Take what is said of the lanes."""
        for frame in frames:
            match codec.decode(frame):
                case LaneOffer() as offer:
                    self._take(offer)
                case LinkAck(lane=1) if self._written is not None:
                    self._written.nudge()
                case LaneRetire() if self._read is not None:
                    # That was its last frame. What it wrote is read, and nothing is written that
                    # nobody would read.
                    self._read.close()
                    self._say_last()

    def channel_drained(self) -> None:
        """Go on: the stream is hardly used."""

    def channel_fault(self, error: RemoteProtocolError) -> None:
        """Leave it to the stream to end."""

    def channel_closed(self, status: Status, detail: str) -> None:
        """End with the stream; what a writer that is gone had committed is read first."""
        if self._read is not None and not self._ended:
            self._read.drain()
        self._ended = True
        if self._closing and self.queued_bytes:
            lost = f"closed, but {self.queued_bytes} bytes could not be written"
            self._verdict = (Status.LINK_LOST, lost)
        self._drop_lanes()
        if self.opened is not None:
            self.give_up(Failure(ConnectFailed(self.address, "no lane was offered")))
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.channel_closed(*self._verdict)

    # The lanes

    def _offer(self) -> None:
        lane = IncomingLane(
            self._reactor, self.address, self.peer, self._timers, self._fence, limits.LANE_BYTES
        )
        self._read = lane
        lane.tell_room = lambda: self._say(LinkAck(lane=_LANE))
        offer = LaneOffer(lane=_LANE, size_bytes=lane.size_bytes, record_max=lane.record_max)
        self._stream.send_with(codec.encode(offer), lane.descriptors)

    def _take(self, offer: LaneOffer) -> None:
        assert IDescriptorChannel.providedBy(self._stream)
        memory, rope = self._stream.take_descriptors(2)
        self._written = OutgoingLane(
            self.address,
            self.peer,
            self._timers,
            self._options,
            self._fence,
            (memory, rope),
            size_bytes=offer.size_bytes,
            record_max=offer.record_max,
        )
        if self._read is None:
            self._offer()
        self._open()

    def _open(self) -> None:
        assert self._read is not None
        assert self._written is not None
        try:
            receiver = self._receiver = self._choose(self.peer)
        except Exception:  # noqa: BLE001 - nobody is taken in then
            self._log.failure("accepting {peer} failed", peer=self.peer)
            receiver = None
        if receiver is None:
            # The lanes go with the stream, which has yet to hand them over.
            self._ended = True
            self._stream.close()
            return
        self._written.start(_LaneEnd(self, "written"))
        self._read.start(_LaneEnd(self, "read"))
        opened, self.opened = self.opened, None
        try:
            receiver.channel_opened(self)
        finally:
            if opened is not None:
                opened.callback(self)

    def lane_ended(self, which: str, status: Status) -> None:
        """Say that all is written, and end when both lanes have ended as they should."""
        if self._ended:
            return
        self._open_lanes.discard(which)
        if status is not Status.DISCONNECTED:
            self.abort(f"the lane that is {which} was lost", status)
            return
        if which == "written":
            self._say(LaneRetire(lane=_LANE))
        if not self._open_lanes:
            self._stream.close()

    def tell(self, call: str, *arguments: object) -> None:
        """Pass on what a lane reports."""
        if self._receiver is not None:
            getattr(self._receiver, call)(*arguments)

    def _say_last(self) -> None:
        if self._written is not None:
            self._written.close()

    def _say(self, message: LinkAck | LaneRetire) -> None:
        # Whose stream has ended hears of that.
        with contextlib.suppress(ChannelClosed):
            self._stream.send([codec.encode(message)])

    def _drop_lanes(self) -> None:
        for lane in (self._read, self._written):
            if lane is not None:
                lane.abort("its stream has ended")
        if not self._dropped:
            self._dropped = True
            self._fence.close()


@implementer(IChannelReceiver)
@attrs.frozen
class _LaneEnd:
    """What one lane reports to."""

    _pair: LanePair
    _which: str

    def channel_opened(self, channel: IChannel) -> None:
        """Take note of nothing: the pair opens once."""

    def frames_received(self, frames: list[bytes]) -> None:
        self._pair.tell("frames_received", frames)

    def channel_drained(self) -> None:
        self._pair.tell("channel_drained")

    def channel_fault(self, error: RemoteProtocolError) -> None:
        self._pair.tell("channel_fault", error)

    def channel_closed(self, status: Status, detail: str) -> None:
        self._pair.lane_ended(self._which, status)
