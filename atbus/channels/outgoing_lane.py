"""
The writing end of a lane that a reader has offered.

What was offered is checked before it is used: the memory is sealed and allocated, so that touching
it cannot fail, and the doorbell is one, so that ringing it cannot block. What does not fit into a
full lane waits here; there is room again when the reader has read, which we see by looking, every
millisecond and whenever it has said something.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from atbus.address import Address
from atbus.channels.interfaces import ChannelOptions, IChannel
from atbus.channels.lane import LaneWriter, join_lane
from atbus.channels.lane_channel import SEALS, Fence, LaneChannel, map_memory
from atbus.errors import (
    ChannelClosed,
    LocalProtocolError,
    MalformedFrame,
    RemoteProtocolError,
    Status,
)

# What st_blocks counts.
_BLOCK_BYTES: Final = 512
_EVENTFD_NAME: Final = "anon_inode:[eventfd]"

#: How long a writer looks away from a full lane: a reader that is awake has read by then.
LANE_FULL_SECONDS: Final = 0.001


@implementer(IChannel)
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
    :raises MalformedFrame: When it is not what was offered.
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
        self._closing: tuple[Status, str] | None = None
        self._deadline = 0.0
        self._progress = 0
        memory_descriptor, self._bell = descriptors
        try:
            _check_memory(memory_descriptor, size_bytes)
            _check_bell(self._bell)
            self._map = map_memory(memory_descriptor, size_bytes)
            self._memory = memoryview(self._map)
            try:
                self._lane: LaneWriter = join_lane(self._memory, record_max)
            except MalformedFrame:
                self._memory.release()
                self._map.close()
                raise
        except (OSError, MalformedFrame):
            os.close(self._bell)
            raise
        finally:
            # A mapping needs no descriptor.
            os.close(memory_descriptor)

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
        """What can be committed now, at least about."""
        try:
            unread = 0 if self._ended else self._lane.unread_bytes
        except MalformedFrame:
            return 0
        return max(0, self._lane.capacity - unread - self.queued_bytes)

    @property
    def unread_bytes(self) -> int:
        """What the reader has not read yet; 0 when that makes no sense."""
        try:
            return 0 if self._ended else self._lane.unread_bytes
        except MalformedFrame:
            return 0

    # What a channel offers

    def send(self, frames: Sequence[bytes]) -> None:
        if self._ended or self._closing is not None:
            raise ChannelClosed(f"{self.address} to {self.peer}")
        most = self._lane.record_max
        for frame in frames:
            if len(frame) > most:
                raise LocalProtocolError(f"{len(frame)} bytes, a lane takes {most}")
        self._queue.extend(frames)
        self.queued_bytes += sum(map(len, frames))
        self._push()

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

    def _push(self) -> None:
        """Commit what there is room for; ring if the reader sleeps."""
        if self._ended:
            return
        try:
            before = self._lane.written_bytes
            count = self._lane.write(self._queue)
            for _ in range(count):
                self._queue.popleft()
            self.queued_bytes -= self._lane.written_bytes - before
            if count:
                self._ring()
        except MalformedFrame as error:
            # Not from within `send`: a channel does not call its receiver there.
            self._cancel()
            self._soon(0, lambda error=error: self._fault(error))  # type: ignore[misc]
            return
        if self._queue:
            self._was_full = True
            self._wait()
        elif self._was_full or self._closing is not None:
            self._soon(0, self._emptied)

    def _ring(self) -> None:
        # Whoever is seen to sleep already is rung, which is a fence as well. Otherwise one is due
        # between the store of what was committed and the load of who sleeps.
        if not self._lane.must_ring():
            self._fence.cross()
            if not self._lane.must_ring():
                return
        # It may have been rung more often than it can count.
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._bell, 1)

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
        self._soon(LANE_FULL_SECONDS, self._push)

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
        self._memory.release()
        self._map.close()
        os.close(self._bell)


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


def _check_bell(descriptor: int) -> None:
    """
    Check that a doorbell is one: writing to anything else may block.

    :raises MalformedFrame: If it is none.
    """
    name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
    if name != _EVENTFD_NAME:
        raise MalformedFrame(f"a doorbell that is {name}")
    os.set_blocking(descriptor, False)
