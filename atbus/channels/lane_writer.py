"""The writing end of a lane (`atbus.channels.lane`): what its reader has left is hostile input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    CHECKED_WHOLE,
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
from atbus.errors import LocalProtocolError, MalformedFrame, RemoteProtocolError, Status


def join_lane(memory: memoryview, record_max: int) -> LaneWriter:
    """
    Check a lane that was offered, and take its writing end.

    :param memory: The whole lane.
    :param record_max: The longest frame, as the offer says.
    :returns: The writing end; its first record, the nonce, is committed.
    :raises RemoteProtocolError: When it is none, one of another version, or not a fresh one.
    """
    if len(memory) % 8 or len(memory) <= HEADER_BYTES:
        raise MalformedFrame(f"a lane of {len(memory)} bytes")
    capacity = len(memory) - HEADER_BYTES
    with memory.cast("Q") as numbers:
        _check_header(numbers, capacity, record_max)
        checked = numbers[AT_CHECKED]
    if checked not in (CHECKED_HEAD, CHECKED_WHOLE):
        raise MalformedFrame(f"a lane whose frames are checked up to {checked:#x}")
    nonce = bytes(memory[NONCE_AT : NONCE_AT + limits.NONCE_BYTES])
    writer = LaneWriter(memory, record_max, checked)
    writer.write((nonce,))
    return writer


def _check_header(numbers: memoryview, capacity: int, record_max: int) -> None:
    magic, version = numbers[AT_MAGIC], numbers[AT_VERSION]
    if magic == MAGIC and version != VERSION:
        # No fault of anybody's: the nodes of a host are not all replaced at once.
        raise RemoteProtocolError(
            Status.UNSUPPORTED_VERSION, f"a lane of version {version:#x}, we know {VERSION}"
        )
    for name, found, expected in (
        ("magic", magic, MAGIC),
        ("capacity", numbers[AT_CAPACITY], capacity),
        ("record_max", numbers[AT_RECORD_MAX], record_max),
        ("record_max", record_max, max(record_max_of(capacity), limits.NONCE_BYTES)),
        ("committed", numbers[AT_COMMITTED], 0),
        ("consumed", numbers[AT_CONSUMED], 0),
    ):
        if found != expected:
            raise MalformedFrame(f"a lane whose {name} is {found:#x}, not {expected:#x}")


class LaneWriter:
    """
    The writing end.

    :param memory: A lane that was checked.
    :param record_max: The longest frame.
    :param checked: How much of each frame is checked, bytes.
    """

    def __init__(self, memory: memoryview, record_max: int, checked: int) -> None:
        self.record_max = record_max
        self._checked = checked
        self.written_bytes = 0
        self._numbers = memory.cast("Q")
        self._records = memory[HEADER_BYTES:]
        self.capacity = len(self._records)
        self._committed = 0
        # Where the next record goes: behind what is put and not committed yet.
        self._place = 0
        self.consumed_bytes = 0  # bytes of records; when that was last looked at
        self._rung = 0
        self._ticket = 0

    @property
    def is_half_free(self) -> bool:
        """
        Whether a writer that waits is to go on; asked behind a fence after `wait`.

        :raises MalformedFrame: When the reader says what cannot be.
        """
        return is_half_free(self.unread_bytes, self.capacity)

    @property
    def unread_bytes(self) -> int:
        """
        What the reader has not read yet, bytes of records.

        :raises MalformedFrame: When the reader says what cannot be.
        """
        consumed = self._numbers[AT_CONSUMED]
        # Records begin at whole words; half of a lane would not be room for any frame otherwise.
        if not self.consumed_bytes <= consumed <= self._committed or consumed % 8:
            raise MalformedFrame(
                f"a lane's reader is at {consumed}, not in {self.consumed_bytes}..{self._committed}"
            )
        self.consumed_bytes = consumed
        return self._committed - consumed

    @property
    def has_unread(self) -> bool:
        """Whether the reader says that it has not read everything; that is not checked."""
        return bool(self._numbers[AT_CONSUMED] != self._committed)

    @property
    def room_bytes(self) -> int:
        """
        What can be put, bytes of records, at least: it is looked at when it seemed to be little.

        :raises MalformedFrame: When the reader says what cannot be.
        """
        capacity, place = self.capacity, self._place
        if place - self.consumed_bytes > capacity // 2:
            _ = self.unread_bytes
        return self.consumed_bytes + capacity - place

    def write(self, frames: Iterable[bytes]) -> int:
        """
        Write as many frames as there is room for, and commit them together.

        :param frames: None longer than *record_max*.
        :returns: How many were written; the others change nothing.
        :raises MalformedFrame: When the reader says what cannot be.
        :raises LocalProtocolError: When one is longer.
        """
        count = 0
        for frame in frames:
            if not self.put((frame,)):
                break
            count += 1
        self.commit()
        return count

    def put(self, pieces: Sequence[bytes | memoryview]) -> bool:
        """
        Copy a frame to where it belongs, for `commit` to make it exist.

        :param pieces: Joined they are the frame, which is no longer than *record_max*.
        :returns: Whether there was room; else nothing has changed.
        :raises MalformedFrame: When the reader says what cannot be.
        :raises LocalProtocolError: When it is longer.
        """
        size = sum(map(len, pieces))
        if size > self.record_max:
            raise LocalProtocolError(f"{size} bytes, a lane takes {self.record_max}")
        place = self._place
        needed = size + RECORD_HEAD_BYTES + 7 & ~7
        # Looked at with the first of a batch, and where what was seen then is not enough.
        if place == self._committed or needed > self.consumed_bytes + self.capacity - place:
            _ = self.unread_bytes
            if needed > self.consumed_bytes + self.capacity - place:
                return False
        start = place % self.capacity
        check = self._check(pieces, place + size & SEED_MASK)
        # Records begin at multiples of 8, and so does the end of the ring: a head never wraps.
        RECORD.pack_into(self._records, start, size, check)
        start += RECORD_HEAD_BYTES
        for piece in pieces:
            end = start + len(piece)
            if end <= self.capacity:
                self._records[start:end] = piece
            else:
                self._copy_around(start, piece)
            start = end
        self._place = place + needed
        self.written_bytes += size
        return True

    def write_one(self, frame: bytes) -> bool:
        """
        Write a lone frame where that is easy: there is room, and it ends before the ring does.

        :param frame: As `put` takes it; of what is put and not committed there must be nothing.
        :returns: Whether it is written and committed; else nothing has changed, and `put` knows.
        """
        numbers, capacity, place, size = self._numbers, self.capacity, self._place, len(frame)
        consumed = numbers[AT_CONSUMED]
        start = place % capacity + RECORD_HEAD_BYTES
        end = start + size
        after = place + size + RECORD_HEAD_BYTES + 7 & ~7
        has_room = after - consumed <= capacity and end <= capacity and size <= self.record_max
        # What cannot be is for `put` to say.
        if not has_room or not self.consumed_bytes <= consumed <= place or consumed % 8:
            return False
        self.consumed_bytes = consumed
        check = crc32(frame[: self._checked], place + size & SEED_MASK)
        RECORD.pack_into(self._records, start - RECORD_HEAD_BYTES, size, check)
        self._records[start:end] = frame
        numbers[AT_RINGING] = 1
        self._committed = self._place = numbers[AT_COMMITTED] = after
        self.written_bytes += size
        return True

    def commit(self) -> bool:
        """
        Let all that was put exist.

        :returns: Whether there was anything.
        """
        if self._place == self._committed:
            return False
        self._numbers[AT_RINGING] = 1
        # The one moment at which all of this begins to exist.
        self._committed = self._numbers[AT_COMMITTED] = self._place
        return True

    def _check(self, pieces: Sequence[bytes | memoryview], check: int) -> int:
        left = self._checked
        for piece in pieces:
            check = crc32(piece[:left], check)
            left -= len(piece)
            if left <= 0:
                break
        return check

    def _copy_around(self, start: int, piece: bytes | memoryview) -> None:
        """Copy what ends behind the end of the ring, where that is its beginning."""
        first = max(0, self.capacity - start)
        self._records[self.capacity - first :] = piece[:first]
        start = max(0, start - self.capacity)
        self._records[start : start + len(piece) - first] = piece[first:]

    def must_ring(self) -> bool:
        """
        Tell whether the reader sleeps and was not rung for it; asked behind a fence after `write`.

        :returns: Whether to ring, once.
        """
        ticket = self._numbers[AT_SLEEPING]
        if not ticket & 1 or ticket == self._rung:
            return False
        self._rung = ticket
        return True

    def has_rung(self) -> None:
        """Say that whoever slept and was to be rung for what is committed has been rung."""
        self._numbers[AT_RINGING] = 0

    @property
    def is_reader_asleep(self) -> bool:
        """Whether the reader says that it sleeps."""
        return bool(self._numbers[AT_SLEEPING] & 1)

    def wait(self) -> None:
        """Say that we wait for room; afterwards, behind a fence, look at `is_half_free`."""
        if not self._ticket & 1:
            self._ticket += 1
            self._numbers[AT_WAITING] = self._ticket

    def go_on(self) -> None:
        """Say that we do not wait: nobody need tell us."""
        if self._ticket & 1:
            self._ticket += 1
            self._numbers[AT_WAITING] = self._ticket

    @property
    def waits(self) -> bool:
        """Whether we say that we wait."""
        return bool(self._ticket & 1)

    def release(self) -> None:
        """Let the memory go; nothing else may be called after it."""
        self._numbers.release()
        self._records.release()
