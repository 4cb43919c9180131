"""
Damaged texts and values for `atbus.testing.hostile`; what reads them is in
`atbus.testing.text_readers`.
"""

from __future__ import annotations

from random import Random
from typing import Final

from atbus.testing.text_readers import READERS, Reader

_LETTERS: Final = b"\r\n \t\x00\xff\xc3.*>:/[]{}\"'\\=,0-9eE\xe2\x80\xa8"
_DAMAGES_MAX: Final = 4


def hostile_text(random: Random) -> tuple[Reader, bytes]:
    """
    Choose a reader, and damage what it reads.

    :param random: Draws.
    :returns: The reader and the bytes.
    """
    reader = random.choice(READERS)
    said = bytearray(random.choice(reader.examples))
    for _ in range(random.randint(0, _DAMAGES_MAX)):
        place = random.randrange(len(said))
        match random.randrange(5):
            case 0:
                said[place] = random.choice(_LETTERS)
            case 1:
                del said[place : place + random.randint(1, 8)]
                said = said or bytearray(b"0")
            case 2:
                said[place:place] = bytes([random.choice(_LETTERS)]) * random.choice((1, 2, 40))
            case 3:
                said[place:place] = said[: random.randint(1, 20)]
            case _:
                said[place] ^= 1 << random.randrange(8)
    return reader, bytes(said)


def read_hostile(reader: Reader, data: bytes) -> str:
    """
    Let a reader read.

    :param reader: Which.
    :param data: What it is given.
    :returns: What is counted.
    """
    try:
        reader.read(data)
    except reader.refuses:
        return f"{reader.name} refused"
    return f"{reader.name} read"
