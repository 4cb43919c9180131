"""
Hostile writers and readers of shared memory, for `atbus.testing.hostile`.

An input is a lane in which both ends have done something, with numbers in it that neither has
written. Whatever they are, each end goes on or says that the other breaks the rules, and no frame
comes out that is longer than the lane allows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Final

from atbus.channels.lane import CHECKED_WHOLE, HEADER_BYTES, join_lane, make_lane
from atbus.errors import MalformedFrame

_NONCE: Final = bytes(range(16))
_CAPACITY: Final = 4_096
_FRAMES_MAX: Final = 12
_ROUNDS_MAX: Final = 4
_DAMAGES_MAX: Final = 4
_NUMBER: Final = struct.Struct("=Q")
_SIZE: Final = struct.Struct("=I")

# The place in a lane, the layout of a number, and the number.
_Damage = tuple[int, struct.Struct, int]


def hostile_lane(random: Random) -> tuple[bytes, Callable[[], str]]:
    """
    Make a lane, and say what is to be changed in it.

    :param random: Draws.
    :returns: What is changed, as text, and what has it read.
    """
    sizes = [random.choice((1, 8, 48, 100, 1000)) for _ in range(random.randint(1, _FRAMES_MAX))]
    rounds = random.randint(1, _ROUNDS_MAX)
    damages = [_draw(random) for _ in range(random.randint(0, _DAMAGES_MAX))]
    said = f"frames {sizes}, rounds {rounds}, " + ", ".join(
        f"{value:#x} at {place}/{layout.size}" for place, layout, value in damages
    )
    return said.encode(), lambda: _read(sizes, rounds, damages)


def _draw(random: Random) -> _Damage:
    """Draw one change: of a number in the header, or of a size in a record."""
    if random.random() < 0.5:
        place = 8 * random.randrange(HEADER_BYTES // 8)
        values = (0, 1, 7, 8, _CAPACITY, _CAPACITY + 8, 1 << 63, (1 << 64) - 1)
        return place, _NUMBER, random.choice(values)
    place = HEADER_BYTES + 4 * random.randrange(_CAPACITY // 4)
    sizes = (0, 1, 16, 48, 2_040, 2_048, 2_049, 4_096, 1 << 31, (1 << 32) - 1)
    return place, _SIZE, random.choice(sizes)


def _read(sizes: list[int], rounds: int, damages: list[_Damage]) -> str:
    memory = memoryview(bytearray(HEADER_BYTES + _CAPACITY))
    reader = make_lane(memory, _NONCE, CHECKED_WHOLE)
    writer = join_lane(memory, reader.record_max)
    frames = [bytes(size) for size in sizes]
    try:
        for turn in range(rounds):
            writer.write(frames)
            if turn == rounds - 1:
                for place, layout, value in damages:
                    layout.pack_into(memory, place, value)
            for frame in reader.read(_CAPACITY):
                if len(frame) > reader.record_max:
                    raise AssertionError(f"a frame of {len(frame)} bytes")
            reader.must_tell_room()
            writer.must_ring()
            if not 0 <= writer.unread_bytes <= _CAPACITY:
                raise AssertionError(f"{writer.unread_bytes} bytes are unread")
    except MalformedFrame:
        return "lane refused"
    return "lane read"
