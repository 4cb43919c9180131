"""
Damage frames the way hostile or broken peers do.

The mutations know what a frame is: where its head's fields lie, that lengths and counts are two or
four bytes wide, that a type may be put before the body of another. Most of them make the frame's
own length right again, so that what is behind the head is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from typing import Final

HEAD_SIZE: Final = 48

# Now and then as much as a frame may be: what is cheap must stay cheap then.
_LARGE: Final = 60_000
_LARGE_SHARE: Final = 0.003

# Offset and width of the head's fields; the length is treated apart.
_HEAD_FIELDS: Final = (
    *((4, 1), (5, 1), (6, 1), (7, 1)),
    *((8, 8), (16, 8), (24, 8), (32, 4), (36, 4)),
    *((40, 2), (42, 2), (44, 4)),
)
_LENGTHS: Final = (0, 1, 47, 48, 49, 4096, 4097, 65536, 65537, 2**31, 2**32 - 1)


def _interesting(random: Random, width: int) -> bytes:
    top = (1 << 8 * width) - 1
    value = random.choice((0, 1, 2, 8, top, top - 1, top >> 1, (top >> 1) + 1, 0x100 & top))
    if random.random() < 0.3:
        value = random.randint(0, top)
    return value.to_bytes(width, "little")


def _flip(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    place = random.randrange(len(frame))
    frame[place] ^= 1 << random.randrange(8)


def _head_field(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    offset, width = random.choice(_HEAD_FIELDS)
    frame[offset : offset + width] = _interesting(random, width)


def _number(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    width = random.choice((1, 2, 2, 4, 8))
    place = random.randrange(4, len(frame) + 1 - width) if len(frame) >= 12 else 0
    frame[place : place + width] = _interesting(random, width)


def _cut(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    start = random.randrange(len(frame))
    del frame[start : start + random.randint(1, 16)]


def _truncate(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    del frame[random.randrange(len(frame)) :]


def _insert(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    place = random.randint(0, len(frame))
    frame[place:place] = random.randbytes(random.randint(1, 16))


def _repeat(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    start = random.randrange(len(frame))
    piece = bytes(frame[start : start + random.randint(1, 64)])
    frame[start:start] = piece * random.choice((1, 2, 50))


def _body_of_another(random: Random, frame: bytearray, others: Sequence[bytes]) -> None:
    frame[HEAD_SIZE:] = random.choice(others)[HEAD_SIZE:]


def _type_of_another(random: Random, frame: bytearray, others: Sequence[bytes]) -> None:
    frame[4:5] = random.choice(others)[4:5]


def _splice(random: Random, frame: bytearray, others: Sequence[bytes]) -> None:
    other = random.choice(others)
    frame[random.randint(0, len(frame)) :] = other[random.randint(0, len(other)) :]


def _inflate(random: Random, frame: bytearray, _others: Sequence[bytes]) -> None:
    start = random.randrange(len(frame))
    piece = bytes(frame[start : start + random.choice((1, 2, 4, 8, 43))])
    frame[start:start] = piece * (_LARGE // len(piece))


Mutation = Callable[[Random, bytearray, Sequence[bytes]], None]

MUTATIONS: Final[tuple[Mutation, ...]] = (
    _flip,
    _head_field,
    _number,
    _number,
    _cut,
    _truncate,
    _insert,
    _repeat,
    _body_of_another,
    _type_of_another,
    _splice,
)


def mutate(random: Random, frame: bytes, others: Sequence[bytes]) -> bytes:
    """
    Damage a frame in one to four places.

    :param random: Decides everything: the same state gives the same damage.
    :param frame: A valid frame.
    :param others: Valid frames to take pieces from.
    :returns: The damaged frame; it may be empty. Nine of ten have a length that is right.
    """
    damaged = bytearray(frame)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        if damaged:
            random.choice(MUTATIONS)(random, damaged, others)
    if damaged and random.random() < _LARGE_SHARE:
        _inflate(random, damaged, others)
    if len(damaged) >= 4:
        length = len(damaged)
        if random.random() < 0.1:
            length = random.choice(_LENGTHS)
        damaged[:4] = length.to_bytes(4, "little")
    return bytes(damaged)


def mutate_stream(random: Random, frames: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    """
    Damage a recorded stream: a frame of it, their order, or bytes anywhere.

    :param random: Decides everything.
    :param frames: The stream, frame by frame.
    :param others: Valid frames to take pieces from.
    :returns: The damaged stream.
    """
    damaged = list(frames)
    place = random.randrange(len(damaged))
    choice = random.random()
    if choice < 0.6:
        damaged[place] = mutate(random, damaged[place], others)
    elif choice < 0.7:
        damaged[place] = damaged[-1 - place]
    stream = bytearray(b"".join(damaged))
    if choice >= 0.7 and stream:
        random.choice((_flip, _number, _cut, _insert, _truncate))(random, stream, others)
    return bytes(stream)


def chunks(random: Random, stream: bytes) -> list[bytes]:
    """
    Cut a stream as networks do.

    :param random: Decides where.
    :param stream: The bytes.
    :returns: One to six chunks.
    """
    places = sorted(random.randint(0, len(stream)) for _ in range(random.randrange(6)))
    bounds = [0, *places, len(stream)]
    return [stream[start:stop] for start, stop in pairwise(bounds)]
