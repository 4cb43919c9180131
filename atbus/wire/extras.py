"""
Extras: what travels between head and body, and who must understand it (wire protocol, section 3).

An extra is a type, a length and a value. Nodes on the way pass extras on untouched; only TRACE
grows, by one id at each of them. The node that reads the body must know every extra whose type has
bit 15 set.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from atbus.errors import LocalProtocolError, MalformedFrame, Status, UnknownMandatory
from atbus.limits import EXTRAS_BYTES, FRAME_BYTES_MAX, LABELS_BYTES
from atbus.wire.bounds import COUNTED_SIBLINGS_MAX
from atbus.wire.head import HEAD_SIZE, body_start, peek
from atbus.wire.messages import MANDATORY_EXTRA_BIT, Extra, ExtraType, InterestRefusal, Tally
from atbus.wire.rules import cut_detail

_ENTRY: Final = struct.Struct("<HH")
_LENGTH: Final = struct.Struct("<I")
_EXTRAS_LENGTH: Final = struct.Struct("<H")
_ID: Final = struct.Struct("<Q")
_SIZE: Final = struct.Struct("<I")
_PLACE: Final = struct.Struct("<II")
_REFUSED: Final = struct.Struct("<HQ")
_TALLY: Final = struct.Struct("<QIQ")
_KNOWN: Final = frozenset(map(int, ExtraType))


def pack_extras(extras: Iterable[Extra]) -> bytes:
    """
    Write extras one behind the other.

    :param extras: In the order they travel in.
    :returns: The extras area of a frame.
    :raises LocalProtocolError: When a number does not fit, or all together do not.
    """
    parts: list[bytes] = []
    try:
        for extra in extras:
            parts += (_ENTRY.pack(extra.type, len(extra.value)), extra.value)
    except struct.error as error:
        raise LocalProtocolError(f"an extra does not fit: {error}") from None
    area = b"".join(parts)
    if len(area) > EXTRAS_BYTES:
        raise LocalProtocolError(f"{len(area)} bytes of extras, {EXTRAS_BYTES} fit")
    return area


def unpack_extras(area: bytes) -> tuple[Extra, ...]:
    """
    Read an extras area as the one it is meant for.

    :param area: The bytes between head and body.
    :returns: All extras, in order, also the ignorable ones that we do not know.
    :raises MalformedFrame: When the lengths do not add up.
    :raises UnknownMandatory: When there is one that we do not know and may not ignore.
    """
    if len(area) > EXTRAS_BYTES:
        raise MalformedFrame(f"{len(area)} bytes of extras, {EXTRAS_BYTES} are allowed")
    extras: list[Extra] = []
    position = 0
    while position < len(area):
        if len(area) - position < _ENTRY.size:
            raise MalformedFrame("half an extra at the end")
        number, length = _ENTRY.unpack_from(area, position)
        position += _ENTRY.size
        if length > len(area) - position:
            raise MalformedFrame(f"extra {number:#x} claims {length} bytes")
        if number & MANDATORY_EXTRA_BIT and number not in _KNOWN:
            raise UnknownMandatory(f"extra {number:#x}")
        extras.append(Extra(number, area[position : position + length]))
        position += length
    return tuple(extras)


def find_extra(extras: Iterable[Extra], wanted: int) -> bytes | None:
    """
    Find the first extra of a type.

    :param extras: Where to look.
    :param wanted: The type.
    :returns: Its value, or None.
    """
    return next((extra.value for extra in extras if extra.type == wanted), None)


def number_extra(extra_type: ExtraType, value: int) -> Extra:
    """
    Make an IN_REPLY_TO or a DEADLINE.

    :param extra_type: Which.
    :param value: An unsigned 64-bit number.
    :returns: The extra.
    :raises LocalProtocolError: When the number does not fit.
    """
    try:
        return Extra(extra_type, _ID.pack(value))
    except struct.error:
        raise LocalProtocolError(f"{value} is no unsigned 64-bit number") from None


def read_number(extras: Iterable[Extra], extra_type: ExtraType) -> int | None:
    """
    Read an IN_REPLY_TO or a DEADLINE.

    :param extras: Where to look.
    :param extra_type: Which.
    :returns: Its number, or None when there is none.
    :raises MalformedFrame: When it is not 8 bytes long.
    """
    value = find_extra(extras, extra_type)
    if value is None:
        return None
    if len(value) != _ID.size:
        raise MalformedFrame(f"{extra_type.name} of {len(value)} bytes")
    number: int = _ID.unpack(value)[0]
    return number


def header_size_extra(size_bytes: int) -> Extra:
    """
    Say how long the header block is with which each payload of a publication begins.

    :param size_bytes: An unsigned 32-bit number.
    :returns: The extra.
    """
    return Extra(ExtraType.HEADER_SIZE, _SIZE.pack(size_bytes))


def read_header_size(extras: Iterable[Extra]) -> int:
    """
    Read how long the header block is with which each payload begins.

    :param extras: Where to look.
    :returns: Its bytes; 0 when there is none.
    :raises MalformedFrame: When the extra is not 4 bytes long.
    """
    value = find_extra(extras, ExtraType.HEADER_SIZE)
    if value is None:
        return 0
    if len(value) != _SIZE.size:
        raise MalformedFrame(f"HEADER_SIZE of {len(value)} bytes")
    size: int = _SIZE.unpack(value)[0]
    return size


def refused_extra(refusal: InterestRefusal) -> Extra:
    """
    Say why not everybody knows what an INTEREST has asked of.

    :param refusal: Its status is not `Status.OK`; of its words as many travel as may.
    :returns: The extra.
    :raises LocalProtocolError: When the node is no bus id.
    """
    try:
        head = _REFUSED.pack(refusal.status, refusal.node)
    except struct.error:
        raise LocalProtocolError(f"{refusal.node} is no unsigned 64-bit number") from None
    return Extra(ExtraType.REFUSED, head + cut_detail(refusal.detail).encode())


def read_refused(extras: Iterable[Extra]) -> InterestRefusal | None:
    """
    Read why not everybody knows what an INTEREST has asked of.

    :param extras: Where to look.
    :returns: None when nobody has refused it.
    :raises MalformedFrame: When the extra is too short, its words are no text, or nothing is wrong.
    """
    value = find_extra(extras, ExtraType.REFUSED)
    if value is None:
        return None
    if len(value) < _REFUSED.size:
        raise MalformedFrame(f"REFUSED of {len(value)} bytes")
    number, node = _REFUSED.unpack_from(value)
    status = Status.from_wire(number)
    if status is Status.OK:
        raise MalformedFrame("REFUSED with nothing wrong")
    try:
        detail = value[_REFUSED.size :].decode()
    except UnicodeDecodeError:
        raise MalformedFrame("REFUSED with words that are no UTF-8") from None
    return InterestRefusal(status, node, cut_detail(detail))


def piece_extra(offset: int, total: int) -> Extra:
    """
    Say which piece of a publication a frame carries.

    :param offset: Where the piece begins, in bytes.
    :param total: Size of the whole, in bytes.
    :returns: The extra.
    """
    return Extra(ExtraType.PIECE, _PLACE.pack(offset, total))


def read_piece(extras: Iterable[Extra]) -> tuple[int, int] | None:
    """
    Read which piece of a publication a frame carries.

    :param extras: Where to look.
    :returns: Where it begins and how long the whole is, in bytes; None when it is whole.
    :raises MalformedFrame: When the extra is not 8 bytes long.
    """
    value = find_extra(extras, ExtraType.PIECE)
    if value is None:
        return None
    if len(value) != _PLACE.size:
        raise MalformedFrame(f"PIECE of {len(value)} bytes")
    offset, total = _PLACE.unpack(value)
    return offset, total


def zone_extra(zone: str) -> Extra:
    """
    Say of members in which zone there is talk.

    :param zone: The label; as long as labels may be.
    :returns: The extra.
    """
    return Extra(ExtraType.ZONE, zone.encode())


def read_zone(extras: Iterable[Extra]) -> str:
    """
    Read of members in which zone there is talk.

    :param extras: Where to look.
    :returns: The label; empty when of all members.
    :raises MalformedFrame: When it is empty, too long, or no text.
    """
    value = find_extra(extras, ExtraType.ZONE)
    if value is None:
        return ""
    if not 0 < len(value) <= LABELS_BYTES:
        raise MalformedFrame(f"ZONE of {len(value)} bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedFrame("ZONE that is no UTF-8") from None


def tally_extra(tally: Tally) -> Extra:
    """
    Say who is to be told that nobody has got a publication.

    :param tally: The node that counts, and by what it knows the publication.
    :returns: The extra.
    """
    return Extra(ExtraType.TALLY, _TALLY.pack(*tally))


def read_tally(extras: Iterable[Extra]) -> Tally | None:
    """
    Read who is to be told that nobody has got a publication.

    :param extras: Where to look.
    :returns: None when that is its source.
    :raises MalformedFrame: When the extra is not 20 bytes long.
    """
    value = find_extra(extras, ExtraType.TALLY)
    if value is None:
        return None
    if len(value) != _TALLY.size:
        raise MalformedFrame(f"TALLY of {len(value)} bytes")
    return Tally(*_TALLY.unpack(value))


def counted_extra(ids: Iterable[int]) -> Extra:
    """
    Name the siblings among whose members the sender of a publication draws itself.

    :param ids: Bus ids; as many as may be named, and at least one.
    :returns: The extra.
    """
    return Extra(ExtraType.COUNTED, b"".join(map(_ID.pack, ids)))


def read_counted(extras: Iterable[Extra]) -> tuple[int, ...]:
    """
    Read among whose members the sender of a publication draws itself.

    :param extras: Where to look.
    :returns: Their bus ids; empty without a COUNTED.
    :raises MalformedFrame: When it is no list of ids, an empty one, or one that is too long.
    """
    value = find_extra(extras, ExtraType.COUNTED)
    if value is None:
        return ()
    if not 0 < len(value) <= COUNTED_SIBLINGS_MAX * _ID.size or len(value) % _ID.size:
        raise MalformedFrame(f"COUNTED of {len(value)} bytes")
    return tuple(number for (number,) in _ID.iter_unpack(value))


def trace_extra(ids: Iterable[int]) -> Extra:
    """
    Make a TRACE.

    :param ids: The nodes passed so far; a sender begins with none.
    :returns: The extra.
    :raises LocalProtocolError: When one is no bus id.
    """
    try:
        return Extra(ExtraType.TRACE, b"".join(map(_ID.pack, ids)))
    except struct.error:
        raise LocalProtocolError("a trace holds unsigned 64-bit numbers") from None


def read_trace(extras: Iterable[Extra]) -> tuple[int, ...]:
    """
    Read the nodes that a frame has passed, in order.

    :param extras: Where to look.
    :returns: Their bus ids; empty without a TRACE.
    :raises MalformedFrame: When it is no list of ids.
    """
    value = find_extra(extras, ExtraType.TRACE) or b""
    if len(value) % _ID.size:
        raise MalformedFrame(f"TRACE of {len(value)} bytes")
    return tuple(number for (number,) in _ID.iter_unpack(value))


def append_trace(frame: bytes, bus_id: int, frame_bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """
    Add a relay to the TRACE of a frame it passes on.

    A frame without the extra, or without room for one id more, comes back as it is: tracing never
    costs a message.

    :param frame: A whole frame whose TRACE flag is set.
    :param bus_id: The relay.
    :param frame_bytes_max: The longest frame that the next hop accepts.
    :returns: The frame with the longer trace.
    :raises MalformedFrame: When head and extras do not add up.
    """
    head = peek(frame)
    start = body_start(frame, head)
    if head[0] + _ID.size > frame_bytes_max or head[11] + _ID.size > EXTRAS_BYTES:
        return frame
    position = HEAD_SIZE
    while position + _ENTRY.size <= start:
        number, length = _ENTRY.unpack_from(frame, position)
        end = position + _ENTRY.size + length
        if end > start:
            raise MalformedFrame(f"extra {number:#x} claims {length} bytes")
        if number == ExtraType.TRACE:
            grown = bytearray(frame[:end] + _ID.pack(bus_id) + frame[end:])
            _LENGTH.pack_into(grown, 0, head[0] + _ID.size)
            _EXTRAS_LENGTH.pack_into(grown, 42, head[11] + _ID.size)
            _ENTRY.pack_into(grown, position, number, length + _ID.size)
            return bytes(grown)
        position = end
    return frame
