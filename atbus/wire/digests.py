"""
One number for a whole table, so that two neighbors notice in a ping that theirs differ.

The digest of a set is the sum of its members' digests modulo 2 to the 64th (wire protocol, sections
7.4, 7.17 and 7.18). So it is kept by one addition or subtraction per change, in any order.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Final

from atbus import limits
from atbus.wire.messages import InterestEntry, RouteRecord

_STAMP: Final = struct.Struct("<QIQ")
_NUMBER: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<H")

DIGEST_MODULUS: Final = 1 << 64


def record_digest(record: RouteRecord) -> int:
    """
    Compute what one record adds to the digest of a route table.

    :param record: Only its id and stamp matter.
    :returns: An unsigned 64-bit number.
    """
    return stamp_digest(record.bus_id, record.epoch, record.seq)


@lru_cache(limits.ROUTE_RECORDS_MAX)
def stamp_digest(bus_id: int, epoch: int, seq: int) -> int:
    """
    Compute what a record adds to the digest of a route table, from what matters of it.

    Remembered, because a record is told to many neighbors and taken back from each.

    :param bus_id: The node it is about.
    :param epoch: First half of its stamp.
    :param seq: Second half of its stamp.
    :returns: An unsigned 64-bit number.
    """
    return _shorten(_STAMP.pack(bus_id, epoch, seq))


def interest_digest(entry: InterestEntry, zone: str = "") -> int:
    """
    Compute what one entry adds to the digest of interest.

    :param entry: All of it matters.
    :param zone: In which zone the members are; empty if all of them are counted.
    :returns: An unsigned 64-bit number.
    """
    texts = (entry.subject, entry.queue, zone) if zone else (entry.subject, entry.queue)
    parts = [_NUMBER.pack(entry.weight)]
    for text in texts:
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return _shorten(b"".join(parts))


def _shorten(text: bytes) -> int:
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
