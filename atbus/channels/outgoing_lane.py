"""
The writing end of a lane that a reader has offered.

What was offered is checked before it is used: the memory is sealed and allocated, so that touching
it cannot fail, and the doorbell is one, so that ringing it cannot block. What does not fit into a
full lane waits here, and the lane says so: the reader tells us when half of it is free. A look now
and then would find room of which we were not told; as long as the fences hold it finds none.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from atbus.address import Address
from atbus.channels.bell import Rope
from atbus.channels.interfaces import ChannelOptions, IRecordChannel
from atbus.channels.lane_channel import SEALS, Fence, LaneChannel, map_memory
from atbus.channels.lane_writer import LaneWriter, join_lane
from atbus.errors import (
    ChannelClosed,
    LocalProtocolError,
    MalformedFrame,
    RemoteProtocolError,
    Status,
)

# What st_blocks counts.
_BLOCK_BYTES: Final = 512

#: Between two looks of a writer at a full lane. It is told of room as long as the fences hold, so
#: this is long: a stalled writer costs nothing.
LANE_FULL_SECONDS: Final = 0.25


@implementer(IRecordChannel)
class OutgoingLane(LaneChannel):
    """
    The writing end of a lane that was offered to us.

    :param address: Where its reader listens.
    :param peer: Who reads.
    :param timers: The node's timers.
    :param options: The node's options.
    :param fence: The node's.
    :param descriptors: The memory and the doorbell; owned by this from now on, also when it fails.
    :param size_bytes: Size of the mapping, as the offer says.
    :param record_max: The longest frame, as the offer says.
    :raises RemoteProtocolError: When it is not what was offered, or a lane of another version.
    :raises OSError: When it cannot be mapped.
    """

    dialled = True

    def __init__(
        self,
        address: Address,
        peer: str,
        timers: IReactorTime,
        options: ChannelOptions,
        fence: Fence,
        descriptors: tuple[int, int],
        *,
        size_bytes: int,
        record_max: int,
    ) -> None:
        super().__init__(address, peer, timers)
        self.size_bytes = size_bytes
        self._options = options
        self._fence = fence
        self._queue: deque[bytes] = deque()
        self._was_full = False
        #: Called when there was room of which we were not told.
        self.missed: Callable[[], None] = _tell_nobody
        self._suspect = -1
        self._closing: tuple[Status, str] | None = None
        self._deadline = 0.0
        self._progress = 0
        memory_descriptor, bell_descriptor = descriptors
        try:
            _check_memory(memory_descriptor, size_bytes)
            self._map = map_memory(memory_descriptor, size_bytes)
        except (OSError, MalformedFrame):
            os.close(bell_descriptor)
            raise
        finally:
            # A mapping needs no descriptor.
            os.close(memory_descriptor)
        self._memory = memoryview(self._map)
        try:
            # Before the bell, which may be something else in a lane of another version.
            self._lane: LaneWriter = join_lane(self._memory, record_max)
        except RemoteProtocolError:
            os.close(bell_descriptor)
            self._unmap()
            raise
        try:
            self._rope = Rope(bell_descriptor)
        except MalformedFrame:
            self._lane.release()
            self._unmap()
            raise

    @property
    def written_bytes(self) -> int:
        """Bytes of frames committed."""
        return self._lane.written_bytes

    @property
    def moved_bytes(self) -> int:
        """Bytes of frames that went this way."""
        return self._lane.written_bytes

    @property
    def room_bytes(self) -> int:
        """What can be committed now, at least about, when nothing waits here."""
        try:
            return 0 if self._ended or self.queued_bytes else self._lane.room_bytes
        except MalformedFrame:
            return 0

    @property
    def unread_bytes(self) -> int:
        """What the reader has not read yet; 0 when that makes no sense."""
        try:
            return 0 if self._ended else self._lane.unread_bytes
        except MalformedFrame:
            return 0

    @property
    def is_heard_out(self) -> bool:
        """Whether the reader says that it has read everything; as its word it is not checked."""
        return self._ended or not self._lane.has_unread

    # What a channel offers

    def send(self, frames: Sequence[bytes]) -> None:
        if self._ended or self._closing is not None:
            raise ChannelClosed(f"{self.address} to {self.peer}")
        is_first = not (self._queue or self._was_full)
        if len(frames) == 1 and is_first and self._lane.write_one(frames[0]):
            # One that comes alone, as most do, has a short way.
            self._ring()
            return
        most = self._lane.record_max
        for frame in frames:
            if len(frame) > most:
                raise LocalProtocolError(f"{len(frame)} bytes, a lane takes {most}")
        self._place((frame,) for frame in frames)

    def send_each(self, frames: Iterable[Sequence[bytes | memoryview]]) -> None:
        if self._ended or self._closing is not None:
            # Made all the same: whoever makes them keeps account of them.
            for _ in frames:
                pass
            raise ChannelClosed(f"{self.address} to {self.peer}")
        self._place(frames)

    def close(self, status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        if self._closing is None and not self._ended:
            self._closing = (status, detail)
            self._deadline = self._timers.seconds() + self._options.write_deadline_seconds
            self._soon(0, self._push)

    def pause_reading(self) -> None:
        """Do nothing: nothing is read here."""

    def resume_reading(self) -> None:
        """Do nothing: nothing is read here."""

    def nudge(self) -> None:
        """Look whether there is room again: the reader has said something."""
        if self._queue and not self._ended:
            self._push()

    # Writing

    def _place(self, frames: Iterable[Sequence[bytes | memoryview]]) -> None:
        """Copy frames to where they belong, or let them wait behind what waits."""
        for pieces in frames:
            if self._queue or not self._put(pieces):
                frame = b"".join(pieces)
                self._queue.append(frame)
                self.queued_bytes += len(frame)
        self._push()

    def _put(self, pieces: Sequence[bytes | memoryview]) -> bool:
        try:
            return self._lane.put(pieces)
        except MalformedFrame:
            # Pushing finds that as well, and deals with it.
            return False

    def _push(self) -> None:
        """Commit what there is room for; ring if the reader sleeps, wait if there is no room."""
        if self._ended:
            return
        if self._lane.waits:
            # What is due is a look at a full lane, and this is one.
            self._cancel()
            self._lane.go_on()
        try:
            self._commit()
            while self._queue and self._may_go_on():
                self._commit()
        except MalformedFrame as error:
            self._lane.go_on()
            # Not from within `send`: a channel does not call its receiver there.
            self._cancel()
            self._soon(0, lambda error=error: self._fault(error))  # type: ignore[misc]
            return
        if self._queue:
            self._was_full = True
            self._wait()
        elif self._was_full or self._closing is not None:
            self._soon(0, self._emptied)

    def _commit(self) -> None:
        queue = self._queue
        while queue and self._lane.put((queue[0],)):
            self.queued_bytes -= len(queue.popleft())
        if self._lane.commit():
            self._ring()

    def _may_go_on(self) -> bool:
        """Say that we wait for room, unless there is enough meanwhile."""
        self._lane.wait()
        self._fence.cross()
        if not self._lane.is_half_free:
            return False
        self._lane.go_on()
        return True

    def _ring(self) -> None:
        # Whoever is seen to sleep already is rung, which is a fence as well. Otherwise one is due
        # between the store of what was committed and the load of who sleeps.
        lane = self._lane
        must_ring = lane.must_ring()
        if not must_ring:
            self._fence.cross()
            must_ring = lane.must_ring()
        if must_ring:
            self._rope.ring()
        lane.has_rung()

    def _wait(self) -> None:
        if self._closing is not None:
            now = self._timers.seconds()
            if self._lane.written_bytes > self._progress:
                self._progress = self._lane.written_bytes
                self._deadline = now + self._options.write_deadline_seconds
            elif now >= self._deadline:
                lost = f"closed, but {self.queued_bytes} bytes could not be written"
                self._closing = (Status.LINK_LOST, lost)
                self._soon(0, lambda: self._finish(Status.LINK_LOST, lost))
                return
        self._soon(LANE_FULL_SECONDS, self._look)

    def _look(self) -> None:
        """Look whether there is room of which we were not told, seen for the second time."""
        has_room = self._has_room()
        before, self._suspect = self._suspect, self._lane.consumed_bytes
        if not (has_room and self._lane.is_reader_asleep):
            # Whoever is awake has not done with what it has read, and looks at us before it sleeps.
            self._suspect = -1
            self._push()
        elif before != self._suspect:
            # The word may be on its way.
            self._soon(LANE_FULL_SECONDS, self._look)
        else:
            # It may be here: a process that was held up comes to its timers before its sockets.
            self._soon(0, self._was_forgotten)

    def _was_forgotten(self) -> None:
        self._suspect = -1
        self.missed()
        self._push()

    def _has_room(self) -> bool:
        try:
            return self._lane.is_half_free
        except MalformedFrame:
            # Pushing finds that as well, and deals with it.
            return False

    def _emptied(self) -> None:
        if self._queue:
            self._push()
        elif self._closing is not None:
            self._finish(*self._closing)
        elif self._was_full and self._receiver is not None:
            self._was_full = False
            self._tell("channel_drained", self._receiver.channel_drained)

    def _fault(self, error: RemoteProtocolError) -> None:
        if self._receiver is not None:
            self._tell("channel_fault", self._receiver.channel_fault, error)
        self.abort(error.detail, error.status)

    def _release(self) -> None:
        self._queue.clear()
        self._lane.release()
        self._unmap()
        self._rope.close()

    def _unmap(self) -> None:
        self._memory.release()
        self._map.close()


def _tell_nobody() -> None:
    """Keep it to ourselves."""


def _check_memory(descriptor: int, size_bytes: int) -> None:
    """
    Check that memory is what was offered, before it is mapped.

    :raises MalformedFrame: If it could fail under our feet.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise MalformedFrame(f"not memory of the kind that lanes are made of: {error}") from error
    if seals & SEALS != SEALS:
        raise MalformedFrame("memory that is not sealed")
    found = os.fstat(descriptor)
    if found.st_size != size_bytes:
        raise MalformedFrame(f"memory of {found.st_size} bytes, {size_bytes} were offered")
    if found.st_blocks * _BLOCK_BYTES < size_bytes:
        raise MalformedFrame("memory that is not allocated")
