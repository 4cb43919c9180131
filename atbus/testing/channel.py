"""
One virtual channel between two processes: what a stream does, without a socket.

Kept of the real thing: frames arrive whole, in order and later; closing writes what is queued, says
so, and reads on until the other side has ended too, but not for ever; a channel that is aborted,
or whose process was killed, ends at once, and the other side learns of it later, or, when the
network is split, not at all. Where the network has a rate, frames leave one after the other: the
kernel takes some ahead, and the rest waits in the channel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from atbus import limits
from atbus.address import Address
from atbus.channels.interfaces import IChannel, IChannelReceiver
from atbus.errors import ChannelClosed, FrameTooLarge, Status
from atbus.handshake.certificate import CertificateIdentity

if TYPE_CHECKING:
    from atbus.testing.network import VirtualNetwork
    from atbus.testing.process import ProcessCall, VirtualProcess

#: What a kernel takes before it has sent it, where the network has a rate.
AHEAD_BYTES: Final = 64 * 1024

_numbers = itertools.count()


@implementer(IChannel)
class VirtualChannel:
    """
    One end of a virtual link.

    :param process: Whose end it is.
    """

    other: VirtualChannel
    receiver: IChannelReceiver

    def __init__(
        self, network: VirtualNetwork, process: VirtualProcess, address: Address, *, dialled: bool
    ) -> None:
        self.address = address
        self.peer = f"virtual:{address}"
        self.dialled = dialled
        self.identity: CertificateIdentity | None = None
        self.exporter = b""
        self.frame_limit = limits.HANDSHAKE_BYTES
        self.written_bytes = 0
        self.process = process
        self.sent: list[bytes] = []
        self.stalled = False
        self.open = False
        self._network = network
        self._queue: list[bytes] = []
        self._closing: tuple[Status, str] | None = None
        self._has_ended_writing = False
        self._reading = True
        self._is_deaf = False
        self._unread: list[bytes] = []
        self._patience: ProcessCall | None = None
        self._arrives_at = 0.0
        # Until when the wire is busy with what the kernel has taken, and when it takes more.
        self._busy_until = 0.0
        self._more: IDelayedCall | None = None
        self.number = next(_numbers)

    def __repr__(self) -> str:
        arrow = "->" if self.dialled else "<-"
        return f"<VirtualChannel {self.process.name} {arrow} {self.address}>"

    def enter(self, receiver: IChannelReceiver) -> None:
        """Open this end for its process."""
        self.receiver = receiver
        self.open = True
        self._network.channels.add(self)
        self.process.channels.add(self)
        receiver.channel_opened(self)

    def refuse(self) -> None:
        """Close an end that nobody took."""
        self.carry(self.other.hang_up)

    # What a channel offers.

    @property
    def queued_bytes(self) -> int:
        """Bytes that a stalled or slow link holds."""
        return sum(map(len, self._queue)) if self._queue else 0

    def send(self, frames: Sequence[bytes]) -> None:
        """Put frames on the wire, or hold them while the link is stalled."""
        if not self.open or self._closing is not None:
            raise ChannelClosed("virtual channel is closed")
        self._queue.extend(frames)
        if not self.stalled:
            self._flush()

    def _flush(self) -> None:
        if self._network.bytes_per_second is not None:
            self._trickle(self._network.bytes_per_second)
            return
        frames, self._queue = self._queue, []
        if frames:
            self._write(frames)

    def _write(self, frames: list[bytes], leaves_at: float = 0.0) -> None:
        self.sent.extend(frames)
        self.written_bytes += sum(len(frame) for frame in frames)
        self.carry(lambda: self.other.arrive(frames), leaves_at)

    def _trickle(self, rate: float) -> None:
        """Let the kernel take what it takes now, and the rest when it has sent half of that."""
        now = self._network.clock.seconds()
        busy_until = max(now, self._busy_until)
        while self._queue and busy_until - now < AHEAD_BYTES / rate:
            frame = self._queue.pop(0)
            busy_until += len(frame) / rate
            self._write([frame], busy_until)
        self._busy_until = busy_until
        if self._queue and self._more is None:
            wait = busy_until - now - AHEAD_BYTES / 2 / rate
            self._more = self._network.clock.callLater(wait, self._go_on)

    def _go_on(self) -> None:
        self._more = None
        if self.open and not self.stalled:
            self.process.arrive(self.resume)

    def close(self, status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        """End after what is queued, and after the other side's end, if that comes soon."""
        if self._closing is not None or not self.open:
            return
        self._closing = (status, detail)
        self.resume_reading()
        self._await_progress()
        if not self._queue:
            self._end_writing()

    def _await_progress(self) -> None:
        seconds = limits.WRITE_DEADLINE_SECONDS if self._queue else limits.LINGER_SECONDS
        self._stop_waiting()
        self._patience = self.process.callLater(seconds, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def _lose_patience(self) -> None:
        if self._queue:
            self._report(Status.LINK_LOST, f"{self.queued_bytes} bytes could not be written")
            self.carry(self.other.hang_up)
        elif self._closing is not None:
            self._report(*self._closing)

    def _end_writing(self) -> None:
        if not self._has_ended_writing:
            self._has_ended_writing = True
            self.carry(self.other.finish)

    def abort(self, detail: str, status: Status = Status.LINK_LOST) -> None:
        """End now; this side hears of it in its next turn, the other side later."""
        if not self.open or self._closing == (status, detail):
            return
        self._closing = (status, detail)
        self._queue.clear()
        self._reading = False
        self.process.callLater(0, self._report, status, detail)
        self.carry(self.other.hang_up)

    def pause_reading(self) -> None:
        """Hold what arrives."""
        self._reading = self._closing is not None and self._reading

    def resume_reading(self) -> None:
        """Deliver what was held, and go on."""
        if not self._reading:
            self._reading = True
            self.process.callLater(0, self._read_on)

    def _read_on(self) -> None:
        frames, self._unread = self._unread, []
        if frames and self.open and self._reading:
            self._deliver(frames)

    # What tests do to it.

    def stall(self) -> None:
        """Let the kernel take nothing more, as if the other side did not read."""
        self.stalled = True

    def resume(self) -> None:
        """End a stall."""
        self.stalled = False
        if not self.open:
            return
        had_any = bool(self._queue)
        self._flush()
        if self._queue:
            if self._closing is not None:
                self._await_progress()
        elif self._closing is not None:
            self._end_writing()
            self._await_progress()
        elif had_any:
            self.receiver.channel_drained()

    # The wire.

    def carry(self, call: Callable[[], object], leaves_at: float = 0.0) -> None:
        """
        Do something at the other end: later, and not before what was sent before.

        :param leaves_at: When it is on the wire, if that is not now.
        """
        if self._network.holds(self, call):
            return
        clock = self._network.clock
        leaves_at = max(leaves_at, clock.seconds())
        self._arrives_at = max(self._arrives_at, leaves_at + self._network.transit_seconds())
        clock.callLater(self._arrives_at - clock.seconds(), self.other.process.arrive, call)

    def arrive(self, frames: list[bytes]) -> None:
        """Take frames from the other end; a channel that has ended resets the connection."""
        if not self.open:
            self.carry(self.other.hang_up)
        elif self._reading:
            if self._closing is not None:
                self._await_progress()
            self._deliver(frames)
        else:
            self._unread.extend(frames)

    def _deliver(self, frames: list[bytes]) -> None:
        """Hand frames over, up to one that is too long: what comes behind it is thrown away."""
        if self._is_deaf:
            return
        short = list(itertools.takewhile(lambda frame: len(frame) <= self.frame_limit, frames))
        if short:
            self.receiver.frames_received(short)
        rest = frames[len(short) :]
        if not rest or not self.open:
            return
        if len(rest[0]) <= self.frame_limit:
            # A frame before it was the last of the registration.
            self._deliver(rest)
            return
        self._is_deaf = True
        what = f"{len(rest[0])} bytes, at most {self.frame_limit} are allowed here"
        fault = FrameTooLarge(what)
        self.receiver.channel_fault(fault)
        self.close(fault.status, fault.detail)

    def finish(self) -> None:
        """Learn that the other end has said its last."""
        if not self.open:
            return
        if self._closing is None:
            if not self.stalled:
                self._flush()
            self._end_writing()
            self._report(Status.LINK_LOST, "the other side ended the connection")
        elif not self._queue:
            self._report(*self._closing)

    def hang_up(self, status: Status = Status.LINK_LOST) -> None:
        """Learn that the other end is gone."""
        if self.open:
            self._report(*(self._closing or (status, "the connection was lost")))

    def vanish(self) -> None:
        """End without a word to this side: its process is dead."""
        self.open = False
        self._stop_waiting()
        self._forget_rest()
        self._network.channels.discard(self)

    def _forget_rest(self) -> None:
        if self._more is not None:
            self._more.cancel()
            self._more = None

    def _report(self, status: Status, detail: str) -> None:
        if not self.open:
            return
        self.open = False
        self._stop_waiting()
        self._forget_rest()
        self._network.channels.discard(self)
        self.process.channels.discard(self)
        self.receiver.channel_closed(status, detail)
