"""
Cutting a frame into shorter ones, for a link that takes no longer ones (wire protocol, 2.5).

A run becomes shorter runs; a message that does not fit alone becomes fragments, and so does a
fragment; data of a stream becomes shorter data of it. Everything that is not about length stays
what it was: source, destination, sequences, kinds, flags and extras, known or not. The link's own
fields are left for the next link to fill in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from atbus.errors import MalformedFrame
from atbus.wire.head import HEAD, HEAD_SIZE, Head, body_start, peek
from atbus.wire.messages import MessageType
from atbus.wire.runs import TABLE_ENTRY, iter_run, pack_run, read_fragment

_FRAGMENT: Final = struct.Struct("<IIi")
_STREAM: Final = struct.Struct("<8sQ")
#: What a fragment's body has before its bytes.
FRAGMENT_BYTES: Final = _FRAGMENT.size


def cut(frame: bytes, frame_bytes_max: int) -> list[bytes]:
    """
    Cut a DATA, FRAGMENT or STREAM_DATA frame.

    :param frame: A whole frame.
    :param frame_bytes_max: How long each part may be; at least 4,096.
    :returns: The parts in order; the frame itself when it is short enough.
    :raises MalformedFrame: When the frame is not what it says, or cannot be cut.
    """
    if len(frame) <= frame_bytes_max:
        return [frame]
    head = peek(frame)
    start = body_start(frame, head)
    room = frame_bytes_max - start
    if head[1] == MessageType.FRAGMENT:
        # One that reaches beyond its message could have parts at places that no number tells.
        offset, total, kind, payload = read_fragment(frame, head)
        return list(_fragments(frame, head, 0, (offset, total, kind), payload, room))
    if head[1] == MessageType.STREAM_DATA:
        return _cut_stream(frame, head, start, frame_bytes_max)
    if head[1] != MessageType.DATA:
        raise MalformedFrame(f"a frame of {len(frame)} bytes that cannot be cut")
    return _cut_run(frame, head, room)


def _cut_stream(frame: bytes, head: Head, start: int, frame_bytes_max: int) -> list[bytes]:
    """Let each part say for itself where in the stream it belongs."""
    at = start + _STREAM.size
    if len(frame) <= at:
        raise MalformedFrame(f"stream data of {len(frame) - start} bytes")
    stream, offset = _STREAM.unpack_from(frame, start)
    front = frame[HEAD_SIZE:start]
    parts: list[bytes] = []
    for place in range(at, len(frame), frame_bytes_max - at):
        piece = frame[place : place + frame_bytes_max - at]
        # An offset that cannot be is the destination's to refuse.
        body = _STREAM.pack(stream, (offset + place - at) % (1 << 64))
        own = HEAD.pack(at + len(piece), *head[1:9], 0, *head[10:12], 0)
        parts.append(b"".join((own, front, body, piece)))
    return parts


def begins_message(frame: bytes, head: Head) -> bool:
    """
    Tell whether a fragment is the first one of its message.

    :param frame: A FRAGMENT frame; what follows the head is not checked.
    :param head: Its head.
    :returns: Whether its offset is 0.
    """
    offset_at = HEAD_SIZE + head[11]
    return frame[offset_at : offset_at + 4] == bytes(4)


def chunks(lengths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """
    Say which consecutive messages can share a run.

    :param lengths: Of the payloads, in bytes.
    :param room: For the table and the payloads of one run, in bytes.
    :returns: For each run the place of its first message and how many it has; a message that is
        too long for any run is alone in one.
    """
    runs: list[tuple[int, int]] = []
    first, used = 0, 0
    for place, length in enumerate(lengths):
        cost = length + TABLE_ENTRY.size
        if place > first and used + cost > room:
            runs.append((first, place - first))
            first, used = place, 0
        used += cost
    runs.append((first, len(lengths) - first))
    return runs


def _cut_run(frame: bytes, head: Head, room: int) -> list[bytes]:
    messages = iter_run(frame)
    extras = frame[HEAD_SIZE : HEAD_SIZE + head[11]]
    parts: list[bytes] = []
    for first, count in chunks([len(payload) for _, payload in messages], room):
        kind, payload = messages[first]
        if count == 1 and len(payload) + TABLE_ENTRY.size > room:
            parts += _fragments(frame, head, first, (0, len(payload), kind), payload, room)
            continue
        run = messages[first : first + count]
        part = pack_run(
            head[5],
            head[6],
            head[7] + first,
            head[8],
            [kind for kind, _ in run],
            [payload for _, payload in run],
            flags=head[2],
            hop_limit=head[3],
            extras=extras,
        )
        parts.append(part)
    return parts


def _fragments(
    frame: bytes,
    head: Head,
    place: int,
    message: tuple[int, int, int],
    payload: bytes | memoryview,
    room: int,
) -> Iterable[bytes]:
    offset, total, kind = message
    extras = frame[HEAD_SIZE : HEAD_SIZE + head[11]]
    size = room - FRAGMENT_BYTES
    for at in range(0, len(payload), size):
        piece = payload[at : at + size]
        length = HEAD_SIZE + len(extras) + FRAGMENT_BYTES + len(piece)
        yield b"".join(
            (
                HEAD.pack(
                    length, MessageType.FRAGMENT, head[2], head[3], head[4], head[5], head[6],
                    head[7] + place, head[8], 0, 1, head[11], 0,
                ),
                extras,
                _FRAGMENT.pack(offset + at, total, kind),
                piece,
            )
        )  # fmt: skip
