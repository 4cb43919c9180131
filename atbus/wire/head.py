"""
The 48 bytes that every frame begins with (wire protocol, section 2.2).

A node that only passes a frame on reads and patches these, and nothing else of the frame.
"""

from __future__ import annotations

import struct
from typing import Final

from atbus.errors import MalformedFrame
from atbus.limits import FRAME_HEAD_BYTES as HEAD_SIZE

__all__ = ["HEAD", "HEAD_SIZE", "Head", "body_start", "patch", "peek"]

HEAD: Final = struct.Struct("<IBBBBQQQIIHHI")

Head = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]
"""
The head's thirteen fields, in the order of the wire.

length, type, flags, hop_limit, reserved, source, destination, sequence, epoch, frame, count,
extras_length, ack.
"""

# What a relay keeps of a head, and the same with hop limit, frame number and ack put between.
_KEPT: Final = struct.Struct("<6sx29s4x4s4x")
_PATCHED: Final = struct.Struct("<6sB29sI4sI")


def peek(frame: bytes, offset: int = 0) -> Head:
    """
    Read the head and look at nothing else; its values are not checked against each other.

    :param frame: Bytes that hold at least a head from *offset* on.
    :param offset: Where the frame begins.
    :returns: The thirteen fields.
    :raises MalformedFrame: When there are fewer than 48 bytes.
    """
    try:
        return HEAD.unpack_from(frame, offset)
    except struct.error:
        raise MalformedFrame(f"{len(frame) - offset} bytes are no frame") from None


def body_start(frame: bytes, head: Head) -> int:
    """
    Find where the body begins, having checked that the frame is as long as it says.

    :param frame: One whole frame.
    :param head: What `peek` read of it.
    :returns: Offset of the first byte behind the extras.
    :raises MalformedFrame: When length, extras and the bytes that are there do not agree.
    """
    length = head[0]
    start = HEAD_SIZE + head[11]
    if length != len(frame) or start > length:
        raise MalformedFrame(
            f"length {length} with {head[11]} bytes of extras, in {len(frame)} bytes"
        )
    return start


def patch(frame: bytes, *, hop_limit: int, frame_number: int, ack: int) -> bytes:
    """
    Make a frame ready for the next link: only the link's own fields change.

    :param frame: A whole frame.
    :param hop_limit: What is left for those who come after.
    :param frame_number: The number it has on the next link; 0 for none.
    :param ack: Highest frame number discharged in the other direction of that link.
    :returns: The same frame with these three fields.
    :raises MalformedFrame: When *frame* is shorter than a head.
    """
    try:
        front, middle, counts = _KEPT.unpack_from(frame)
    except struct.error:
        raise MalformedFrame(f"{len(frame)} bytes are no frame") from None
    # One copy of the body; a bytearray that is patched in place and made bytes again costs two.
    return _PATCHED.pack(front, hop_limit, middle, frame_number, counts, ack) + frame[HEAD_SIZE:]
