"""
Runs of messages under one head, and the pieces of a message that is longer than a frame: the hot
path of DATA, FRAGMENT and PUBLISH (wire protocol, 7.20, 7.22 and 7.23).

The shapes were measured. Most runs have messages that are alike, of one length and one kind: their
table is one entry many times, which is written and recognised at once, and their payloads are cut
out by the dozen. Others have one slice per payload on the way in. On the way out head, table and
payloads are joined once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from atbus import limits
from atbus.errors import LocalProtocolError, MalformedFrame
from atbus.limits import RUN_COUNT_MAX
from atbus.wire.head import HEAD, HEAD_SIZE, Head, body_start
from atbus.wire.messages import HOP_LIMIT_DEFAULT, MessageType

TABLE_ENTRY: Final = struct.Struct("<Ii")
# Made once: writing the format of a short table takes longer than packing it.
_SHORT_TABLES: Final = tuple(struct.Struct("<" + "Ii" * count) for count in range(33))
_HEAD_AND_ENTRY: Final = struct.Struct("<IBBBBQQQIIHHIIi")
# Of the head only what says where the messages are: length, count, length of the extras.
_SHAPE: Final = struct.Struct("<I36xHH")
_DATA: Final = int(MessageType.DATA)
_FRAGMENT: Final = int(MessageType.FRAGMENT)
# Of a fragment: its offset, the size of its message, and the kind.
_FRAGMENT_BODY: Final = struct.Struct("<IIi")
# So many payloads of one length are cut out at once.
_DOZEN: Final = 32


def split_run(frame: bytes, start: int, count: int) -> tuple[Sequence[int], Sequence[bytes]]:
    """
    Cut the messages out of a run, all or none.

    :param frame: A whole frame.
    :param start: Where the table begins.
    :param count: How many messages the head announces.
    :returns: The kinds and the payloads, in order, as many of each.
    :raises MalformedFrame: When there is no message, or the lengths do not fill the frame exactly.
    """
    end = len(frame)
    position = start + 8 * count
    if not 0 < count <= RUN_COUNT_MAX or position > end:
        raise MalformedFrame(f"a run of {count} messages in {end - start} bytes")
    if count == 1:
        length, kind = TABLE_ENTRY.unpack_from(frame, start)
        if position + length != end:
            raise MalformedFrame(f"a message of {length} bytes, {end - position} are there")
        return (kind,), (frame[position:],)
    table = frame[start:position]
    if count >= _DOZEN and table == table[:8] * count:
        length, kind = TABLE_ENTRY.unpack_from(table)
        if position + length * count != end:
            raise MalformedFrame(f"{count} messages of {length} bytes, {end - position} are there")
        return (kind,) * count, _cut_alike(frame, position, length, count)
    kinds, payloads = [], []
    for length, kind in TABLE_ENTRY.iter_unpack(table):
        stop = position + length
        kinds.append(kind)
        payloads.append(frame[position:stop])
        position = stop
    # A length beyond the end has cut empty slices: nothing was copied, and it shows here.
    if position != end:
        raise MalformedFrame(f"messages that end at {position} in a frame of {end} bytes")
    return kinds, payloads


def _cut_alike(frame: bytes, start: int, length: int, count: int) -> list[bytes]:
    """Cut *count* payloads of one length out of a frame, from *start* to its end."""
    if not length:
        return [b""] * count
    payloads: list[bytes] = []
    if length <= limits.FRAME_BYTES:
        dozen = _dozen_of(length)
        for _ in range(count // _DOZEN):
            payloads += dozen.unpack_from(frame, start)
            start += dozen.size
    payloads += [frame[at : at + length] for at in range(start, len(frame), length)]
    return payloads


@lru_cache(maxsize=256)
def _dozen_of(length: int) -> struct.Struct:
    """Make what cuts out many payloads of one length at once."""
    return struct.Struct(f"{length}s" * _DOZEN)


def unpack_run(frame: bytes) -> tuple[Sequence[int], Sequence[bytes]]:
    """
    Take a DATA frame apart without making a message of it; its extras are not looked at.

    :param frame: A whole DATA frame.
    :returns: The kinds and the payloads, in order; the i-th has the head's sequence + i.
    :raises MalformedFrame: When the frame is not what it says.
    """
    try:
        length, count, extras_length = _SHAPE.unpack_from(frame)
    except struct.error:
        raise MalformedFrame(f"{len(frame)} bytes are no frame") from None
    start = HEAD_SIZE + extras_length
    if length != len(frame) or start > length:
        raise MalformedFrame(f"a run of {length} bytes, from {start} on, in {len(frame)}")
    return split_run(frame, start, count)


def iter_run(frame: bytes) -> list[tuple[int, bytes]]:
    """
    Take a DATA frame apart as `unpack_run` does.

    :param frame: A whole DATA frame.
    :returns: Pairs of kind and payload, in order; the i-th has the head's sequence + i.
    :raises MalformedFrame: When the frame is not what it says.
    """
    return list(zip(*unpack_run(frame), strict=True))


def pack_table(kinds: Sequence[int], payloads: Sequence[bytes | memoryview]) -> tuple[bytes, int]:
    """
    Write the table of a run.

    :param kinds: One signed 32-bit number per message.
    :param payloads: As many.
    :returns: The table, and the size of all payloads together in bytes.
    :raises LocalProtocolError: When a run cannot have this many messages, or a kind does not fit.
    """
    count = len(payloads)
    if not 0 < count <= RUN_COUNT_MAX or len(kinds) != count:
        raise LocalProtocolError(f"a run of {count} messages and {len(kinds)} kinds")
    lengths = list(map(len, payloads))
    first, kind = lengths[0], kinds[0]
    if count >= _DOZEN and lengths.count(first) == count == kinds.count(kind):
        # Messages alike, as most runs have: one entry, many times.
        try:
            return TABLE_ENTRY.pack(first, kind) * count, first * count
        except struct.error as error:
            raise LocalProtocolError(f"kinds are signed 32-bit numbers: {error}") from None
    table = lengths + lengths
    table[::2] = lengths
    table[1::2] = kinds
    try:
        if count < len(_SHORT_TABLES):
            return _SHORT_TABLES[count].pack(*table), sum(lengths)
        return struct.pack(f"<{2 * count}i", *table), sum(lengths)
    except struct.error as error:
        raise LocalProtocolError(f"kinds are signed 32-bit numbers: {error}") from None


def pack_run(
    source: int,
    destination: int,
    sequence: int,
    epoch: int,
    kinds: Sequence[int],
    payloads: Sequence[bytes | memoryview],
    *,
    flags: int = 0,
    hop_limit: int = HOP_LIMIT_DEFAULT,
    frame: int = 0,
    ack: int = 0,
    extras: bytes = b"",
) -> bytes:
    """
    Make a DATA frame of consecutive messages of one flow.

    :param source: Bus id of the sender.
    :param destination: Bus id of the receiver.
    :param sequence: Sequence of the first message.
    :param epoch: Incarnation of the source.
    :param kinds: One signed 32-bit number per message.
    :param payloads: As many, each in one piece.
    :param flags: See `atbus.wire.messages.Flags`.
    :param hop_limit: How many more nodes may pass this on.
    :param frame: The link's number for the frame; 0 when it is patched in later.
    :param ack: Highest frame number discharged in the other direction.
    :param extras: What `atbus.wire.extras.pack_extras` made.
    :returns: The whole frame.
    :raises LocalProtocolError: When a number does not fit into its field.
    """
    try:
        if len(payloads) == len(kinds) == 1 and not extras:
            # The single message of a quiet link: one pack, one copy, a third of the time.
            payload = payloads[0]
            size = len(payload)
            return (
                _HEAD_AND_ENTRY.pack(
                    size + 56, _DATA, flags, hop_limit, 0, source, destination, sequence, epoch,
                    frame, 1, 0, ack, size, kinds[0],
                )
                + payload
            )  # fmt: skip
    except struct.error as error:
        raise LocalProtocolError(f"a number does not fit into the head: {error}") from None
    return b"".join(
        run_pieces(
            source, destination, sequence, epoch, kinds, payloads, flags, hop_limit, frame, ack,
            extras,
        )
    )  # fmt: skip


def run_pieces(
    source: int,
    destination: int,
    sequence: int,
    epoch: int,
    kinds: Sequence[int],
    payloads: Sequence[bytes | memoryview],
    flags: int,
    hop_limit: int,
    frame: int,
    ack: int,
    extras: bytes,
) -> list[bytes | memoryview]:
    """
    Make a DATA frame as `pack_run` does, without copying the payloads.

    :param source: As all others, see `pack_run`.
    :returns: What comes before the payloads, and these.
    :raises LocalProtocolError: When a number does not fit into its field.
    """
    table, size = pack_table(kinds, payloads)
    try:
        head = HEAD.pack(
            HEAD_SIZE + len(extras) + len(table) + size, _DATA, flags, hop_limit, 0, source,
            destination, sequence, epoch, frame, len(payloads), len(extras), ack,
        )  # fmt: skip
    except struct.error as error:
        raise LocalProtocolError(f"a number does not fit into the head: {error}") from None
    return [head + extras + table, *payloads]


def fragment_pieces(
    source: int,
    destination: int,
    sequence: int,
    epoch: int,
    piece: bytes | memoryview,
    place: tuple[int, int, int],
    *,
    flags: int = 0,
    hop_limit: int = HOP_LIMIT_DEFAULT,
    frame: int = 0,
    ack: int = 0,
    extras: bytes = b"",
) -> list[bytes | memoryview]:
    """
    Make a FRAGMENT frame, without copying the bytes of the message.

    :param source: Bus id of the sender.
    :param destination: Bus id of the receiver.
    :param sequence: Sequence of the message that it belongs to.
    :param epoch: Incarnation of the source.
    :param piece: The bytes, at least one.
    :param place: Where they begin in the message, how long that is in bytes, and its kind.
    :param flags: See `atbus.wire.messages.Flags`.
    :param hop_limit: How many more nodes may pass this on.
    :param frame: The link's number for the frame; 0 when it is patched in later.
    :param ack: Highest frame number discharged in the other direction.
    :param extras: What `atbus.wire.extras.pack_extras` made.
    :returns: What comes before the bytes, and these: joined they are the frame.
    :raises LocalProtocolError: When a number does not fit into its field, or the piece into the
        message.
    """
    size = len(piece)
    if not size or place[0] + size > place[1]:
        raise LocalProtocolError(f"{size} bytes at {place[0]} of {place[1]}")
    try:
        body = _FRAGMENT_BODY.pack(*place)
        head = HEAD.pack(
            HEAD_SIZE + len(extras) + len(body) + size, _FRAGMENT, flags, hop_limit, 0, source,
            destination, sequence, epoch, frame, 1, len(extras), ack,
        )  # fmt: skip
    except struct.error as error:
        raise LocalProtocolError(f"a number does not fit into the head: {error}") from None
    return [head + extras + body, piece]


def read_fragment(frame: bytes, head: Head) -> tuple[int, int, int, memoryview]:
    """
    Take a FRAGMENT frame apart without copying its bytes; its extras are not looked at.

    :param frame: A whole FRAGMENT frame, which what is returned keeps alive.
    :param head: What `atbus.wire.head.peek` read of it.
    :returns: Offset, size of the whole message, kind, and the bytes.
    :raises MalformedFrame: When the frame is not what it says.
    """
    start = body_start(frame, head)
    piece = memoryview(frame)[start + _FRAGMENT_BODY.size :]
    try:
        offset, total, kind = _FRAGMENT_BODY.unpack_from(frame, start)
    except struct.error:
        raise MalformedFrame(f"a fragment of {len(frame) - start} bytes") from None
    if not piece or offset + len(piece) > total:
        raise MalformedFrame(f"{len(piece)} bytes at {offset} of {total}")
    return offset, total, kind, piece
