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

from atbus.channels.lane import CHECKED_WHOLE, HEADER_BYTES
from atbus.channels.lane_reader import make_lane
from atbus.channels.lane_writer import join_lane
from atbus.errors import MalformedFrame
from atbus.wire.loose import joined
from atbus.wire.runs import pack_run

_NONCE: Final = bytes(range(16))
_CAPACITY: Final = 4_096
_FRAMES_MAX: Final = 12
# Of lanes with a long run, which take longer to make.
_LONG_ONE_IN: Final = 200
_LONG_CAPACITY: Final = 1 << 20
_READER: Final = 2
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
    if not random.randrange(_LONG_ONE_IN):
        return _hostile_run(random)
    sizes = [random.choice((1, 8, 48, 100, 1000)) for _ in range(random.randint(1, _FRAMES_MAX))]
    rounds = random.randint(1, _ROUNDS_MAX)
    damages = [_draw(random) for _ in range(random.randint(0, _DAMAGES_MAX))]
    said = f"frames {sizes}, rounds {rounds}, " + ", ".join(
        f"{value:#x} at {place}/{layout.size}" for place, layout, value in damages
    )
    return said.encode(), lambda: _read(sizes, rounds, damages)


def _hostile_run(random: Random) -> tuple[bytes, Callable[[], str]]:
    """Make a lane with one long run whose head or table says something else."""
    sizes = [random.choice((0, 1, 20_000, 70_000, 140_000)) for _ in range(random.randint(1, 3))]
    frame = bytearray(pack_run(1, _READER, 1, 1, [0] * len(sizes), list(map(bytes, sizes))))
    for _ in range(random.randint(0, 2)):
        layout = random.choice((struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I")))
        place = random.randrange(min(len(frame), 96) - layout.size)
        value = random.choice((0, 1, 8, 255, len(frame), random.getrandbits(32)))
        layout.pack_into(frame, place, value & (1 << 8 * layout.size) - 1)
    start = random.choice((0, 8, 56, 64, 72, 100_000))
    said = f"a run of {sizes}, {start} before the end, begins {bytes(frame[:96]).hex()}"
    return said.encode(), lambda: _read_run(bytes(frame), start)


def _read_run(frame: bytes, before_end: int) -> str:
    memory = memoryview(bytearray(HEADER_BYTES + _LONG_CAPACITY))
    reader = make_lane(memory, _NONCE)
    writer = join_lane(memory, reader.record_max)
    # Behind the nonce's record, which takes 24 bytes; a record's head takes 8.
    ahead = _LONG_CAPACITY - 24 - before_end
    writer.write((bytes(ahead // 16 * 8 - 8), bytes(ahead - ahead // 16 * 8 - 8)))
    reader.read(_LONG_CAPACITY)
    writer.write((frame,))
    [read] = reader.read_runs(_LONG_CAPACITY, _READER)
    if joined(read) != frame:
        raise AssertionError(f"{type(read).__name__} of {len(read)} bytes is not what was written")
    return "run in one piece" if isinstance(read, bytes) else "run loosened"


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
            lone = reader.read_one()
            for frame in reader.read(_CAPACITY) if lone is None else (lone,):
                if len(frame) > reader.record_max:
                    raise AssertionError(f"a frame of {len(frame)} bytes")
            reader.must_tell_room()
            writer.must_ring()
            if not 0 <= writer.unread_bytes <= _CAPACITY:
                raise AssertionError(f"{writer.unread_bytes} bytes are unread")
    except MalformedFrame:
        return "lane refused"
    return "lane read"
