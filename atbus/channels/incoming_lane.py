"""
The reading end of a lane: it makes memory and doorbell, sleeps in the reactor, and wakes up.

The memory is a memfd: it has no name that anybody could open, is gone with its last descriptor, and
is sealed. Contents are hostile until they were checked; a writer that breaks the rules loses its
lane and nothing else. A look every 50 ms (`IncomingLane.look`) would find a reader that sleeps
though there is something to read; it never does as long as the fences hold.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.address import Address
from atbus.channels.bell import Bell
from atbus.channels.busy_polling import busy_poller_of
from atbus.channels.interfaces import IChannel, IChannelReceiver, IRunReceiver
from atbus.channels.lane import CHECKED_HEAD, CHECKED_WHOLE
from atbus.channels.lane_channel import SEALS, Fence, LaneChannel, map_memory
from atbus.channels.lane_reader import LaneReader, make_lane
from atbus.channels.shm import has_strong_order
from atbus.errors import ChannelClosed, MalformedFrame, RemoteProtocolError, Status
from atbus.wire.loose import Frame

#: What a lane delivers in one turn of the reactor: as much as is read from a socket at once.
LANE_TURN_BYTES: Final = 262_144

#: And in so many reads: what comes while the first is dealt with, as the answer to an answer does,
#: need not wait for the next turn; but others must get theirs.
LANE_TURN_READS: Final = 16

# What a frame begins with.
_LENGTH: Final = struct.Struct("<I")


@implementer(IChannel, IReadDescriptor)
class IncomingLane(LaneChannel):
    """
    The reading end of a lane, which makes it.

    :param reactor: Waits for the doorbell.
    :param address: Where we listen.
    :param peer: Who writes.
    :param timers: The node's timers.
    :param fence: The node's.
    :param size_bytes: Size of the mapping.
    :param bus_id: Who reads: long runs for it are handed over loosely to an `IRunReceiver`. 0:
        nobody, all are handed over in one piece.
    :raises OSError: When there is no memory or no descriptor for it.
    """

    def __init__(
        self,
        reactor: Any,
        address: Address,
        peer: str,
        timers: IReactorTime,
        fence: Fence,
        size_bytes: int,
        bus_id: int = 0,
    ) -> None:
        super().__init__(address, peer, timers)
        # Whole words.
        size_bytes -= size_bytes % 8
        self.size_bytes = size_bytes
        self.written_bytes = 0
        self._reactor = reactor
        self._poller = busy_poller_of(reactor)
        self._reading = True
        self._bus_id = bus_id
        #: Tells a writer that waits that it may go on; set by who knows a way to it.
        self.tell_room: Callable[[], None] = _tell_nobody
        self._fence = fence
        self._suspect = -1
        self._has_told = False
        self._closing: tuple[Status, str] | None = None
        self._memory_descriptor = os.memfd_create("atbus", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._bell: Bell | None = None
        try:
            # Allocated, not only sized: a write to it cannot fail for want of memory.
            os.posix_fallocate(self._memory_descriptor, 0, size_bytes)
            fcntl.fcntl(self._memory_descriptor, fcntl.F_ADD_SEALS, SEALS)
            self._bell = Bell()
            self._map = map_memory(self._memory_descriptor, size_bytes)
        except OSError:
            self._close_descriptors()
            raise
        self._memory = memoryview(self._map)
        checked = CHECKED_HEAD if has_strong_order() else CHECKED_WHOLE
        self._lane: LaneReader = make_lane(self._memory, os.urandom(limits.NONCE_BYTES), checked)

    @property
    def descriptors(self) -> tuple[int, int]:
        """The memory and the doorbell's rope, to be sent to the writer; they stay ours."""
        return self._memory_descriptor, -1 if self._bell is None else self._bell.rope

    @property
    def record_max(self) -> int:
        """The longest frame, bytes."""
        return self._lane.record_max

    @property
    def read_bytes(self) -> int:
        """Bytes of frames read so far."""
        return self._lane.read_bytes

    @property
    def moved_bytes(self) -> int:
        """Bytes of frames that have come this way."""
        return self._lane.read_bytes

    @property
    def unread_bytes(self) -> int:
        """What the writer has committed and we have not read; 0 when that makes no sense."""
        try:
            return 0 if self._ended else self._lane.unread_bytes
        except MalformedFrame:
            return 0

    @property
    def is_proven(self) -> bool:
        """Whether the writer has repeated the nonce: it has this very memory."""
        return self._lane.proven

    def start(self, receiver: IChannelReceiver) -> None:
        """
        Begin to read.

        :param receiver: Whom the channel reports to.
        """
        if not IRunReceiver.providedBy(receiver):
            self._bus_id = 0
        super().start(receiver)
        if not self._ended:
            self._reactor.addReader(self)
            self._soon(0, self._drain)

    # What a channel offers

    def send(self, frames: Sequence[bytes]) -> None:
        raise ChannelClosed(f"{self.address} is read here, not written")

    def close(self, status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        if self._closing is None and not self._ended:
            self._closing = (status, detail)
            self._reading = True
            self._soon(0, self._drain)

    def pause_reading(self) -> None:
        if self._closing is None and not self._ended:
            self._reading = False
            # It may be long before we look again, so nobody shall wait for room that there is.
            self._fence.cross()
            try:
                self._look_for_writer()
            except MalformedFrame as error:
                # Not from within this call: a channel does not call its receiver there.
                self._cancel()
                self._soon(0, lambda error=error: self._fault(error))  # type: ignore[misc]

    def resume_reading(self) -> None:
        if not (self._reading or self._ended):
            self._reading = True
            self._soon(0, self._drain)

    # Reading

    def fileno(self) -> int:
        return -1 if self._bell is None else self._bell.fileno()

    def logPrefix(self) -> str:
        """Name this in Twisted's log."""
        return "lane"

    def connectionLost(self, reason: Failure) -> None:
        """Take note that the reactor has stopped waiting for the doorbell."""

    def doRead(self) -> None:
        """Answer the doorbell."""
        if self._bell is not None and not self._bell.answer():
            self._log.debug("the bell of {peer} was silent when it was answered", peer=self.peer)
        self._drain()

    def drain(self) -> None:
        """
        Read everything that is there now: the writer is gone.

        Or its stream is: one that goes on writing all the same is not read for ever.

        Nothing where nobody reads it yet: what a writer puts in before its word that it has taken
        the lane is here is unacknowledged, and uncertain when that word is lost.
        """
        if self._receiver is None:
            return
        end = self._lane.consumed_bytes + self.unread_bytes
        while self.unread_bytes and self._lane.consumed_bytes < end:
            self._reading = True
            self._drain()

    def look(self) -> bool:
        """
        Look whether we sleep though there is something to read, seen for the second time.

        Whoever was rung for it sleeps no more, however long the process takes to come to that. Nor
        is a writer guilty that is held up before it comes to the bell.

        :returns: Whether a wake-up was missed; it is made good for.
        """
        before, self._suspect = self._suspect, -1
        if self._ended or not (self._reading and self._lane.asleep and self.unread_bytes):
            return False
        # Before the bell is looked at: whoever has come to it by now has rung.
        is_late = self._lane.is_about_to_be_rung
        if self._bell is None or self._bell.is_rung:
            return False
        self._suspect = self._lane.read_bytes
        if before != self._suspect:
            return False
        self._drain()
        return not is_late

    def look_awake(self) -> bool:
        """
        Read what has come while the process looks for work.

        :returns: Whether there was anything to do.
        """
        # Mostly there is nothing.
        if self._ended or self._lane.is_quiet or not self._reading:
            return False
        self._drain()
        return True

    def fall_asleep(self) -> bool:
        """
        Go to sleep: the process looks no more.

        :returns: False when something has come meanwhile; it is read in the next turn.
        """
        if self._ended or not self._reading:
            return True
        self._has_told = False
        try:
            self._look_for_writer()
            if self._falls_asleep() and not self._ended:
                return True
        except MalformedFrame as error:
            self._fault(error)
        if not self._ended:
            self._lane.wake()
            self._soon(0, self._drain)
        return False

    def _drain(self) -> None:
        """Deliver one turn's share, then go to sleep or come again."""
        lane = self._lane
        until = lane.read_bytes + LANE_TURN_BYTES
        self._has_told = False
        try:
            for _ in range(LANE_TURN_READS):
                receiver = self._receiver
                if self._ended or not self._reading or receiver is None:
                    return
                lane.wake()
                frames = self._read(until - lane.read_bytes)
                # Before these are dealt with, so that the writer fills the lane meanwhile.
                if lane.must_tell_room():
                    self._say_room()
                if frames:
                    try:
                        # Loose ones are among them only where it takes them.
                        receiver.frames_received(cast("list[bytes]", frames))
                    except Exception:  # noqa: BLE001 - only this channel suffers
                        self._failed("frames_received")
                if self._ended or not self._reading:
                    return
                if not lane.unread_bytes:
                    if self._rests():
                        return
                    if self._has_told:
                        break
                if lane.read_bytes >= until:
                    break
            self._soon(0, self._drain)
        except RemoteProtocolError as error:
            self._fault(error)

    def _read(self, bytes_max: int) -> list[Frame]:
        """
        Take frames out of the lane.

        :raises MalformedFrame: One of them is none.
        """
        lone = self._lane.read_one()
        frames: list[Frame] = [lone] if lone else self._lane.read_runs(bytes_max, self._bus_id)
        for frame in frames:
            # What is loose was measured when it was loosened.
            if isinstance(frame, bytes):
                size = len(frame)
                if size < limits.FRAME_HEAD_BYTES or _LENGTH.unpack_from(frame)[0] != size:
                    raise MalformedFrame(f"a record of {size} bytes is no frame")
        return frames

    def _rests(self) -> bool:
        """Stay awake where somebody looks here, else go to sleep."""
        if self._closing is None and self._poller is not None and self._poller.watch(self):
            return True
        return self._falls_asleep()

    def _falls_asleep(self) -> bool:
        """
        Go to sleep, or end if that was wanted, unless something has come meanwhile.

        Nor does who has told the writer of room: that leaves with the turn, and until then nobody
        who looks at this lane shall think that it was forgotten.
        """
        self._lane.sleep()
        # Between the stores of what was read, and that we sleep, and the loads below.
        self._fence.cross()
        self._look_for_writer()
        if self._ended:
            return True
        if self._has_told or self._lane.unread_bytes:
            self._lane.wake()
            return False
        if self._closing is not None:
            self._finish(*self._closing)
        return True

    def _look_for_writer(self) -> None:
        """Tell a writer that waits for room that there is enough."""
        if self._lane.must_tell_room():
            self._say_room()

    def _say_room(self) -> None:
        self._has_told = True
        self._tell("tell_room", self.tell_room)

    def _fault(self, error: RemoteProtocolError) -> None:
        if self._receiver is not None:
            self._tell("channel_fault", self._receiver.channel_fault, error)
        self.abort(error.detail, error.status)

    def _release(self) -> None:
        self._reactor.removeReader(self)
        if self._poller is not None:
            self._poller.forget(self)
        self._lane.release()
        self._memory.release()
        self._map.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        os.close(self._memory_descriptor)
        self._memory_descriptor = -1
        if self._bell is not None:
            self._bell.close()
            self._bell = None


def _tell_nobody() -> None:
    """Leave it to the writer, which looks by itself now and then."""
