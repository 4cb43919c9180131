"""
Damage lanes of shared memory the way a hostile or broken writer can, and read them.

A writer has the whole memory mapped, so everything may be anything: single bits, indices, lengths,
checks, the header, all of it. Whatever it is, the reader gives frames that were written, as far as
their check covers them, or `MalformedFrame`; it never reads beyond the lane, nor for ever.
"""

from __future__ import annotations

import struct
from collections import Counter
from random import Random
from typing import Final

from atbus.channels.lane import CHECKED_WHOLE, HEADER_BYTES, record_max_of
from atbus.channels.lane_reader import LaneReader, make_lane
from atbus.channels.lane_writer import join_lane
from atbus.errors import MalformedFrame

_NONCE: Final = bytes(range(16))
_COMMITTED_AT: Final = 64
_WIDTHS: Final = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


def _interesting(random: Random, width: int, capacity: int) -> bytes:
    top = (1 << 8 * width) - 1
    value = random.choice(
        (0, 1, 7, 8, 16, capacity - 8, capacity, capacity + 8, top, top - 7, top >> 1, 1 << 31)
    )
    if random.random() < 0.3:
        value = random.getrandbits(8 * width)
    return struct.pack(_WIDTHS[width], value & top)


def _damage(random: Random, memory: bytearray) -> None:
    capacity = len(memory) - HEADER_BYTES
    kind = random.randrange(6)
    if kind == 0:
        memory[random.randrange(len(memory))] ^= 1 << random.randrange(8)
    elif kind == 1:
        memory[_COMMITTED_AT : _COMMITTED_AT + 8] = _interesting(random, 8, capacity)
    elif kind == 2:
        # Lengths and checks: records begin at multiples of 8.
        place = HEADER_BYTES + 8 * random.randrange(capacity // 8)
        memory[place : place + 4] = _interesting(random, 4, capacity)
    elif kind == 3:
        place = 8 * random.randrange(len(memory) // 8)
        memory[place : place + 8] = _interesting(random, 8, capacity)
    elif kind == 4:
        start, size = random.randrange(len(memory)), random.randrange(64)
        memory[start : start + size] = random.randbytes(len(memory[start : start + size]))
    else:
        memory[HEADER_BYTES:] = random.randbytes(capacity)


def read_damaged(seed: int, count: int, checked: int = CHECKED_WHOLE) -> Counter[str]:
    """
    Read lanes that were damaged.

    :param seed: Of all of them.
    :param count: How many.
    :param checked: How much of each frame is checked, bytes.
    :returns: How many were read to the end, and how many refused.
    :raises AssertionError: When the reader gives what was never written, or too much.
    """
    random = Random(seed)
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        capacity = 8 * random.randint(16, 64)
        memory = bytearray(HEADER_BYTES + capacity)
        view = memoryview(memory)
        reader = make_lane(view, _NONCE, checked)
        writer = join_lane(view, record_max_of(capacity))
        sent: set[tuple[int, bytes]] = set()
        for _ in range(random.randint(0, 12)):
            frame = random.randbytes(random.randint(1, writer.record_max))
            if writer.write((frame,)):
                sent.add((len(frame), frame[:checked]))
            elif random.random() < 0.5:
                reader.read(capacity)
        for _ in range(random.randint(1, 3)):
            _damage(random, memory)
        outcomes[_read(reader, sent, capacity, checked)] += 1
    return outcomes


def _read(
    reader: LaneReader, sent: set[tuple[int, bytes]], capacity: int, checked: int
) -> str:
    taken = 0
    try:
        for _ in range(capacity):
            # A lone frame is read in another way than many.
            lone = reader.read_one()
            frames = [lone] if lone is not None else reader.read(capacity)
            taken += sum(map(len, frames))
            if not {(len(each), each[:checked]) for each in frames} <= sent or taken > capacity:
                raise AssertionError(f"read what was never written: {frames!r}")
            if not frames:
                return "read"
    except MalformedFrame:
        return "refused"
    raise AssertionError("a damaged lane has no end")
