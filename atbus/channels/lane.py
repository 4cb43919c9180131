"""
A lane: frames from one writer to one reader through memory that both have mapped.

The memory, in native byte order, all numbers 8 bytes wide and aligned; each side's own numbers have
a cache line of their own::

    0     magic, version, capacity, record_max        set by the reader, before it offers the lane
    32    nonce, 16 bytes                              likewise
    48    checked                                      likewise
    64    committed, waiting, ringing                  bytes ever written, a ticket, a flag; the
                                                       writer's
    128   consumed, sleeping                           bytes ever read, a ticket; the reader's
    192   capacity bytes of records                    a ring

    record: u32 length, u32 check, frame, up to 7 bytes of anything; it wraps anywhere

Rules:

1. *Commit last.* The writer copies whole records, and only then stores ``committed``: what a writer
   that was killed had not committed does not exist. No lock is shared, so nobody waits for it.
2. Each number has one owner, who keeps his own copy and never reads the shared one. What the other
   side stores is hostile input: it is loaded once into a local and checked before it is used, and a
   record is copied out before its check is looked at, so that nobody can change it in between.
3. ``check`` is the CRC-32 of the first ``checked`` bytes of the frame, begun with the record's
   position and length: a record that was there a round ago is not one of now. Where stores are seen
   in order a committed frame is whole, and its head is enough; elsewhere all of it is checked.
4. *Sleep.* ``sleeping`` is a ticket: odd while the reader sleeps, larger by one at each change. The
   reader stores an odd ticket, then looks at ``committed`` again; the writer stores ``committed``,
   then looks at the ticket, and rings if it is odd and it has not rung for it. Both need a fence
   between store and load, or each may miss the other's store; the caller makes it. One of the two
   sees the other, whatever the order. ``ringing`` is set from before that store until after the
   bell: who looks after a reader that sleeps sees whether its writer has come to it yet.
5. *Wait.* ``waiting`` is the same the other way round: odd while the writer has frames for which
   there is no room. The writer stores an odd ticket, then looks at ``consumed`` again; the reader
   stores ``consumed``, then looks at the ticket, and tells the writer, once for each ticket, when
   half of the lane is free. That is room for any frame, and nobody is woken for each.

The order of stores, and of loads, is kept by the processor (x86: total store order) and by CPython,
which moves an aligned item of a ``memoryview`` of format ``Q`` with one instruction. Where the
processor orders less, shared memory stays off unless it is asked for.

Nothing here asks the system for anything: a lane is tested on a ``bytearray``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final
from zlib import crc32

from atbus import limits
from atbus.errors import LocalProtocolError, MalformedFrame, RemoteProtocolError, Status

HEADER_BYTES: Final = 192
NONCE_AT: Final = 32

_MAGIC: Final = int.from_bytes(b"atbuslan", "little")
_VERSION: Final = 3

# Places of the numbers, in units of 8 bytes.
_AT_MAGIC, _AT_VERSION, _AT_CAPACITY, _AT_RECORD_MAX = 0, 1, 2, 3
_AT_CHECKED: Final = 6
_AT_COMMITTED, _AT_WAITING, _AT_RINGING = 8, 9, 10
_AT_CONSUMED, _AT_SLEEPING = 16, 17

_RECORD: Final = struct.Struct("=II")
_RECORD_HEAD_BYTES: Final = _RECORD.size
_SEED_MASK: Final = 0xFFFF_FFFF

#: What a check covers where stores are seen in the order in which they were made: a frame's head.
CHECKED_HEAD: Final = limits.FRAME_HEAD_BYTES
#: What it covers elsewhere: the longest frame.
CHECKED_WHOLE: Final = limits.FRAME_BYTES_MAX


def record_max_of(capacity: int) -> int:
    """
    Give the longest frame that a lane takes: half of it, so that writing and reading overlap.

    :param capacity: Bytes of records.
    :returns: Bytes of a frame.
    """
    return min(capacity // 2 - _RECORD_HEAD_BYTES, limits.FRAME_BYTES_MAX)


def make_lane(memory: memoryview, nonce: bytes, checked: int = CHECKED_HEAD) -> LaneReader:
    """
    Lay out a lane in fresh memory.

    :param memory: All zeros, a multiple of 8 bytes.
    :param nonce: What the writer has to repeat in its first record.
    :param checked: How much of each frame is checked, bytes: `CHECKED_HEAD` or `CHECKED_WHOLE`.
    :returns: The reading end.
    """
    capacity = len(memory) - HEADER_BYTES
    with memory.cast("Q") as numbers:
        numbers[_AT_VERSION] = _VERSION
        numbers[_AT_CAPACITY] = capacity
        numbers[_AT_RECORD_MAX] = record_max_of(capacity)
        numbers[_AT_CHECKED] = checked
        memory[NONCE_AT : NONCE_AT + limits.NONCE_BYTES] = nonce
        numbers[_AT_MAGIC] = _MAGIC
    return LaneReader(memory, nonce, checked)


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
        checked = numbers[_AT_CHECKED]
    if checked not in (CHECKED_HEAD, CHECKED_WHOLE):
        raise MalformedFrame(f"a lane whose frames are checked up to {checked:#x}")
    nonce = bytes(memory[NONCE_AT : NONCE_AT + limits.NONCE_BYTES])
    writer = LaneWriter(memory, record_max, checked)
    writer.write((nonce,))
    return writer


def _check_header(numbers: memoryview, capacity: int, record_max: int) -> None:
    magic, version = numbers[_AT_MAGIC], numbers[_AT_VERSION]
    if magic == _MAGIC and version != _VERSION:
        # No fault of anybody's: the nodes of a host are not all replaced at once.
        raise RemoteProtocolError(
            Status.UNSUPPORTED_VERSION, f"a lane of version {version:#x}, we know {_VERSION}"
        )
    for name, found, expected in (
        ("magic", magic, _MAGIC),
        ("capacity", numbers[_AT_CAPACITY], capacity),
        ("record_max", numbers[_AT_RECORD_MAX], record_max),
        ("record_max", record_max, max(record_max_of(capacity), limits.NONCE_BYTES)),
        ("committed", numbers[_AT_COMMITTED], 0),
        ("consumed", numbers[_AT_CONSUMED], 0),
    ):
        if found != expected:
            raise MalformedFrame(f"a lane whose {name} is {found:#x}, not {expected:#x}")


def _is_half_free(unread: int, capacity: int) -> bool:
    return unread <= capacity // 2


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
        return _is_half_free(self.unread_bytes, self.capacity)

    @property
    def unread_bytes(self) -> int:
        """
        What the reader has not read yet, bytes of records.

        :raises MalformedFrame: When the reader says what cannot be.
        """
        consumed = self._numbers[_AT_CONSUMED]
        # Records begin at whole words; half of a lane would not be room for any frame otherwise.
        if not self.consumed_bytes <= consumed <= self._committed or consumed % 8:
            raise MalformedFrame(
                f"a lane's reader is at {consumed}, not in {self.consumed_bytes}..{self._committed}"
            )
        self.consumed_bytes = consumed
        return self._committed - consumed

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
        needed = size + _RECORD_HEAD_BYTES + 7 & ~7
        # Looked at with the first of a batch, and where what was seen then is not enough.
        if place == self._committed or needed > self.consumed_bytes + self.capacity - place:
            _ = self.unread_bytes
            if needed > self.consumed_bytes + self.capacity - place:
                return False
        start = place % self.capacity
        check = self._check(pieces, place + size & _SEED_MASK)
        # Records begin at multiples of 8, and so does the end of the ring: a head never wraps.
        _RECORD.pack_into(self._records, start, size, check)
        start += _RECORD_HEAD_BYTES
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
        consumed = numbers[_AT_CONSUMED]
        start = place % capacity + _RECORD_HEAD_BYTES
        end = start + size
        after = place + size + _RECORD_HEAD_BYTES + 7 & ~7
        has_room = after - consumed <= capacity and end <= capacity and size <= self.record_max
        # What cannot be is for `put` to say.
        if not has_room or not self.consumed_bytes <= consumed <= place or consumed % 8:
            return False
        self.consumed_bytes = consumed
        check = crc32(frame[: self._checked], place + size & _SEED_MASK)
        _RECORD.pack_into(self._records, start - _RECORD_HEAD_BYTES, size, check)
        self._records[start:end] = frame
        numbers[_AT_RINGING] = 1
        self._committed = self._place = numbers[_AT_COMMITTED] = after
        self.written_bytes += size
        return True

    def commit(self) -> bool:
        """
        Let all that was put exist.

        :returns: Whether there was anything.
        """
        if self._place == self._committed:
            return False
        self._numbers[_AT_RINGING] = 1
        # The one moment at which all of this begins to exist.
        self._committed = self._numbers[_AT_COMMITTED] = self._place
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
        ticket = self._numbers[_AT_SLEEPING]
        if not ticket & 1 or ticket == self._rung:
            return False
        self._rung = ticket
        return True

    def has_rung(self) -> None:
        """Say that whoever slept and was to be rung for what is committed has been rung."""
        self._numbers[_AT_RINGING] = 0

    @property
    def is_reader_asleep(self) -> bool:
        """Whether the reader says that it sleeps."""
        return bool(self._numbers[_AT_SLEEPING] & 1)

    def wait(self) -> None:
        """Say that we wait for room; afterwards, behind a fence, look at `is_half_free`."""
        if not self._ticket & 1:
            self._ticket += 1
            self._numbers[_AT_WAITING] = self._ticket

    def go_on(self) -> None:
        """Say that we do not wait: nobody need tell us."""
        if self._ticket & 1:
            self._ticket += 1
            self._numbers[_AT_WAITING] = self._ticket

    @property
    def waits(self) -> bool:
        """Whether we say that we wait."""
        return bool(self._ticket & 1)

    def release(self) -> None:
        """Let the memory go; nothing else may be called after it."""
        self._numbers.release()
        self._records.release()


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
        self._numbers = memory.cast("Q")
        self._records = memory[HEADER_BYTES:]
        self.capacity = len(self._records)
        self._consumed = self._ticket = self._told = 0

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
        unread = self._numbers[_AT_COMMITTED] - self._consumed
        if not 0 <= unread <= self.capacity or unread % 8:
            raise MalformedFrame(f"a lane of {self.capacity} bytes has {unread} unread")
        return unread

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was committed since, and no writer waits that was not told."""
        numbers = self._numbers
        if numbers[_AT_COMMITTED] != self._consumed:
            return False
        ticket = numbers[_AT_WAITING]
        return not ticket & 1 or bool(ticket == self._told)

    def read(self, bytes_max: int) -> list[bytes]:
        """
        Take frames out.

        :param bytes_max: Stop when there are so many bytes of records.
        :returns: Frames in order; none when the lane is empty. The nonce is not among them.
        :raises MalformedFrame: When what the writer left is no record. What was read before it is
            lost with the lane: the writer broke the rules.
        """
        records, capacity = self._records, self.capacity
        frames: list[bytes] = []
        count, place = 0, self._consumed
        limit = self._numbers[_AT_COMMITTED]
        if not place <= limit <= place + capacity or limit % 8:
            # Raises, unless it is another one now.
            limit = place + self.unread_bytes
        end = min(limit, place + bytes_max)
        while place < end:
            # A head never wraps; what is behind it may begin at the beginning of the ring.
            start = place % capacity
            size, check = _RECORD.unpack_from(records, start)
            start += _RECORD_HEAD_BYTES
            if not 0 < size <= self.record_max or place + _RECORD_HEAD_BYTES + size > limit:
                raise MalformedFrame(f"a record of {size} bytes where {limit - place} are unread")
            stop = start + size
            if stop <= capacity:
                frame = bytes(records[start:stop])
            else:
                frame = b"".join((records[start:], records[: stop - capacity]))
            if crc32(frame[: self._checked], place + size & _SEED_MASK) != check:
                raise MalformedFrame(f"a record of {size} bytes fails its check")
            place += size + _RECORD_HEAD_BYTES + 7 & ~7
            count += size
            frames.append(frame)
        if frames:
            self._consumed = place
            # Read completely: now the writer may use the room.
            self._numbers[_AT_CONSUMED] = place
            if not self.proven:
                if frames.pop(0) != self._nonce:
                    raise MalformedFrame("the first record of a lane is not its nonce")
                self.proven = True
                count -= len(self._nonce)
            self.read_bytes += count
        return frames

    def sleep(self) -> None:
        """Say that we sleep; afterwards, behind a fence, `unread_bytes` must be looked at again."""
        if not self._ticket & 1:
            self._ticket += 1
            self._numbers[_AT_SLEEPING] = self._ticket

    def wake(self) -> None:
        """Say that we are awake: nobody need ring."""
        if self._ticket & 1:
            self._ticket += 1
            self._numbers[_AT_SLEEPING] = self._ticket

    def must_tell_room(self) -> bool:
        """
        Tell whether the writer waits, was not told for it, and may go on; asked after `read`.

        What is seen without a fence is true, but only behind one nothing is missed.

        :returns: Whether to tell it, once.
        :raises MalformedFrame: When the writer says what cannot be.
        """
        ticket = self._numbers[_AT_WAITING]
        if not ticket & 1 or ticket == self._told:
            return False
        if not _is_half_free(self.unread_bytes, self.capacity):
            return False
        self._told = ticket
        return True

    @property
    def is_about_to_be_rung(self) -> bool:
        """Whether the writer has not come to the bell yet for what it has committed."""
        return bool(self._numbers[_AT_RINGING])

    @property
    def asleep(self) -> bool:
        """Whether we say that we sleep."""
        return bool(self._ticket & 1)

    def release(self) -> None:
        """Let the memory go; nothing else may be called after it."""
        self._numbers.release()
        self._records.release()
