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
from typing import Final

from atbus import limits

HEADER_BYTES: Final = 192
NONCE_AT: Final = 32

MAGIC: Final = int.from_bytes(b"atbuslan", "little")
VERSION: Final = 3

# Places of the numbers, in units of 8 bytes.
AT_MAGIC, AT_VERSION, AT_CAPACITY, AT_RECORD_MAX = 0, 1, 2, 3
AT_CHECKED: Final = 6
AT_COMMITTED, AT_WAITING, AT_RINGING = 8, 9, 10
AT_CONSUMED, AT_SLEEPING = 16, 17

RECORD: Final = struct.Struct("=II")
RECORD_HEAD_BYTES: Final = RECORD.size
SEED_MASK: Final = 0xFFFF_FFFF

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
    return min(capacity // 2 - RECORD_HEAD_BYTES, limits.FRAME_BYTES_MAX)


def is_half_free(unread: int, capacity: int) -> bool:
    """
    Tell whether a lane has room for any frame (rule 5).

    :param unread: Bytes of records that are committed and not read.
    :param capacity: Bytes of records.
    """
    return unread <= capacity // 2
