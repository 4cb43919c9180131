"""The reading end of a lane (`atbus.channels.lane`): what its writer has left is hostile input."""

from __future__ import annotations

from typing import Final, cast
from zlib import crc32

from atbus import limits
from atbus.channels.lane import (
    AT_CAPACITY,
    AT_CHECKED,
    AT_COMMITTED,
    AT_CONSUMED,
    AT_MAGIC,
    AT_RECORD_MAX,
    AT_RINGING,
    AT_SLEEPING,
    AT_VERSION,
    AT_WAITING,
    CHECKED_HEAD,
    HEADER_BYTES,
    MAGIC,
    NONCE_AT,
    RECORD,
    RECORD_HEAD_BYTES,
    SEED_MASK,
    VERSION,
    is_half_free,
    record_max_of,
)
from atbus.errors import MalformedFrame
from atbus.wire.head import HEAD_SIZE, peek
from atbus.wire.loose import Frame, LooseRun
from atbus.wire.messages import Flags, MessageType
from atbus.wire.runs import TABLE_ENTRY

_DATA: Final = int(MessageType.DATA)
_COMPRESSED: Final = int(Flags.COMPRESSED)

# A lone record up to this is read without further ado.
_SHORT_BYTES: Final = 4_096
# A frame from this length on, with payloads of this length on average, is worth being loosened:
# what is shorter is copied twice in less time.
_LOOSE_BYTES: Final = 131_072
_LONG_BYTES: Final = 16_384
_NEVER_BYTES: Final = limits.FRAME_BYTES_MAX + 1


def make_lane(memory: memoryview, nonce: bytes, checked: int = CHECKED_HEAD) -> LaneReader:
    """
    Lay out a lane in fresh memory.

    :param memory: All zeros, a multiple of 8 bytes.
    :param nonce: What the writer has to repeat in its first record.
    :param checked: How much of each frame is checked, bytes: ``CHECKED_HEAD`` or ``CHECKED_WHOLE``.
    :returns: The reading end.
    """
    capacity = len(memory) - HEADER_BYTES
    with memory.cast("Q") as numbers:
        numbers[AT_VERSION] = VERSION
        numbers[AT_CAPACITY] = capacity
        numbers[AT_RECORD_MAX] = record_max_of(capacity)
        numbers[AT_CHECKED] = checked
        memory[NONCE_AT : NONCE_AT + limits.NONCE_BYTES] = nonce
        numbers[AT_MAGIC] = MAGIC
    return LaneReader(memory, nonce, checked)


class LaneReader:
    """
    The reading end.

    :param memory: A lane that was just made.
    :param nonce: What the first record has to be.
    :param checked: How much of each frame is checked, bytes.
    """

    def __init__(self, memory: memoryview, nonce: bytes, checked: int) -> None:
        self.proven = False
        self.read_bytes = 0
        self.record_max = record_max_of(len(memory) - HEADER_BYTES)
        self._nonce = nonce
        self._checked = checked
        # What is handed over in pieces was checked up to its head, no further.
        self._checks_head = checked == CHECKED_HEAD == HEAD_SIZE
        self._numbers = memory.cast("Q")
        self._records = memory[HEADER_BYTES:]
        self.capacity = len(self._records)
        self._consumed = self._ticket = self._told = 0
        #: Whether we say that we sleep; only to be read.
        self.asleep = False

    @property
    def consumed_bytes(self) -> int:
        """Bytes of records that have been read."""
        return self._consumed

    @property
    def unread_bytes(self) -> int:
        """
        What was committed and not read, bytes of records.

        :raises MalformedFrame: When the writer says what cannot be.
        """
        unread = self._numbers[AT_COMMITTED] - self._consumed
        if not 0 <= unread <= self.capacity or unread % 8:
            raise MalformedFrame(f"a lane of {self.capacity} bytes has {unread} unread")
        return unread

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was committed since, and no writer waits that was not told."""
        numbers = self._numbers
        if numbers[AT_COMMITTED] != self._consumed:
            return False
        ticket = numbers[AT_WAITING]
        return not ticket & 1 or bool(ticket == self._told)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was committed since; what it is, is not looked at."""
        return bool(self._numbers[AT_COMMITTED] == self._consumed)

    def read_one(self) -> bytes | None:
        """
        Take a lone frame out where that is easy: it is short, and ends before the ring does.

        :returns: All that is unread; None where it is anything else, for `read` to look at.
        """
        records, place = self._records, self._consumed
        unread = self._numbers[AT_COMMITTED] - place
        start = place % self.capacity
        # Nothing of what is behind the end of the ring is looked at, nor a nonce taken for a frame.
        if not 0 < unread <= _SHORT_BYTES or start + unread > self.capacity or not self.proven:
            return None
        size, check = RECORD.unpack_from(records, start)
        if (size + RECORD_HEAD_BYTES + 7 & ~7) != unread or not 0 < size <= self.record_max:
            return None
        start += RECORD_HEAD_BYTES
        frame = bytes(records[start : start + size])
        if crc32(frame[: self._checked], place + size & SEED_MASK) != check:
            return None
        self._consumed = self._numbers[AT_CONSUMED] = place + unread
        self.read_bytes += size
        return frame

    def read(self, bytes_max: int) -> list[bytes]:
        """
        Take frames out.

        :param bytes_max: Stop when there are so many bytes of records.
        :returns: Frames in order; none when the lane is empty. The nonce is not among them.
        :raises MalformedFrame: When what the writer left is no record. What was read before it is
            lost with the lane: the writer broke the rules.
        """
        return cast("list[bytes]", self._read(bytes_max, 0))

    def read_runs(self, bytes_max: int, destination: int) -> list[Frame]:
        """
        Take frames out; of long runs each payload by itself, which is copied once instead of twice.

        :param bytes_max: Stop when there are so many bytes of records.
        :param destination: Bus id of who reads: runs for others go on as they came.
        :returns: What `read` gives, in one piece or loose.
        :raises MalformedFrame: As `read`.
        """
        return self._read(bytes_max, destination)

    def _read(self, bytes_max: int, destination: int) -> list[Frame]:
        """Take frames out; long runs for *destination*, unless it is 0, loosely."""
        records, capacity = self._records, self.capacity
        loose_bytes = _LOOSE_BYTES if destination and self._checks_head else _NEVER_BYTES
        frames: list[Frame] = []
        count, place = 0, self._consumed
        limit = self._numbers[AT_COMMITTED]
        if not place <= limit <= place + capacity or limit % 8:
            # Raises, unless it is another one now.
            limit = place + self.unread_bytes
        end = min(limit, place + bytes_max)
        while place < end:
            # A head never wraps; what is behind it may begin at the beginning of the ring.
            start = place % capacity
            size, check = RECORD.unpack_from(records, start)
            start += RECORD_HEAD_BYTES
            if not 0 < size <= self.record_max or place + RECORD_HEAD_BYTES + size > limit:
                raise MalformedFrame(f"a record of {size} bytes where {limit - place} are unread")
            frame: Frame | None = None
            if size >= loose_bytes:
                begin = self._copy(start, HEAD_SIZE)
                frame = self._loosen(begin, start, size, destination)
            if frame is None:
                stop = start + size
                whole = stop <= capacity
                frame = begin = bytes(records[start:stop]) if whole else self._copy(start, size)
            if crc32(begin[: self._checked], place + size & SEED_MASK) != check:
                raise MalformedFrame(f"a record of {size} bytes fails its check")
            place += size + RECORD_HEAD_BYTES + 7 & ~7
            count += size
            frames.append(frame)
        if frames:
            self._consumed = place
            # Read completely: now the writer may use the room.
            self._numbers[AT_CONSUMED] = place
            if not self.proven:
                if frames.pop(0) != self._nonce:
                    raise MalformedFrame("the first record of a lane is not its nonce")
                self.proven = True
                count -= len(self._nonce)
            self.read_bytes += count
        return frames

    def _copy(self, start: int, size: int) -> bytes:
        """Copy bytes of records, which may go on at the beginning of the ring."""
        records, capacity = self._records, self.capacity
        if start >= capacity:
            start -= capacity
        stop = start + size
        if stop <= capacity:
            return bytes(records[start:stop])
        return b"".join((records[start:], records[: stop - capacity]))

    def _loosen(
        self, begin: bytes, start: int, size: int, destination: int
    ) -> LooseRun | None:
        """
        Copy the payloads of a run, each by itself.

        What tells where they are is copied first, and nothing of that is looked at twice.

        :param begin: A copy of the frame's head, of which we believe nothing else.
        :returns: The run; None where there is anything unusual about it.
        """
        head = peek(begin)
        is_plain = head[1] == _DATA and not (head[2] & _COMPRESSED or head[11])
        if not is_plain or head[0] != size or head[6] != destination:
            return None
        count = head[10]
        table_bytes = TABLE_ENTRY.size * count
        if not 0 < count <= size // _LONG_BYTES:
            return None
        table = self._copy(start + HEAD_SIZE, table_bytes)
        kinds, payloads, end = [], [], start + size
        start += HEAD_SIZE + table_bytes
        for length, kind in TABLE_ENTRY.iter_unpack(table):
            if start + length > end:
                return None
            kinds.append(kind)
            payloads.append(self._copy(start, length))
            start += length
        return LooseRun(head, b"", kinds, payloads) if start == end else None

    def sleep(self) -> None:
        """Say that we sleep; afterwards, behind a fence, `unread_bytes` must be looked at again."""
        if not self.asleep:
            self.asleep = True
            self._ticket += 1
            self._numbers[AT_SLEEPING] = self._ticket

    def wake(self) -> None:
        """Say that we are awake: nobody need ring."""
        if self.asleep:
            self.asleep = False
            self._ticket += 1
            self._numbers[AT_SLEEPING] = self._ticket

    def must_tell_room(self) -> bool:
        """
        Tell whether the writer waits, was not told for it, and may go on; asked after `read`.

        What is seen without a fence is true, but only behind one nothing is missed.

        :returns: Whether to tell it, once.
        :raises MalformedFrame: When the writer says what cannot be.
        """
        ticket = self._numbers[AT_WAITING]
        if not ticket & 1 or ticket == self._told:
            return False
        if not is_half_free(self.unread_bytes, self.capacity):
            return False
        self._told = ticket
        return True

    @property
    def is_about_to_be_rung(self) -> bool:
        """Whether the writer has not come to the bell yet for what it has committed."""
        return bool(self._numbers[AT_RINGING])

    def release(self) -> None:
        """Let the memory go; nothing else may be called after it."""
        self._numbers.release()
        self._records.release()
