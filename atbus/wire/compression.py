"""
Payloads made smaller, and made what they were again, within bounds (wire protocol, 3.2).

Nothing here trusts what it is given: an original size is compared with its bound before a byte is
produced, and no more bytes are produced than were announced. Where a node compresses is its own
business; any node on the way can restore a frame, and does for a neighbor that cannot.

DEFLATE is Python's own. Zstandard is an extra (``atbus[zstd]``) and imported here alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterable
from types import MappingProxyType
from typing import Any, Final

from atbus.errors import MalformedFrame, UnknownMandatory
from atbus.limits import FRAME_BYTES_MAX
from atbus.wire.extras import find_extra, pack_extras, unpack_extras
from atbus.wire.head import HEAD, HEAD_SIZE, Head, body_start, peek
from atbus.wire.messages import (
    Capability,
    CompressionAlgorithm,
    Extra,
    ExtraType,
    Flags,
    MessageType,
)
from atbus.wire.runs import iter_run, pack_table

#: By what a configuration calls it, the better one first.
ALGORITHMS: Final = MappingProxyType(
    {"zstd": CompressionAlgorithm.ZSTD, "deflate": CompressionAlgorithm.DEFLATE}
)
CAPABILITIES: Final = MappingProxyType(
    {
        CompressionAlgorithm.ZSTD: Capability.ZSTD,
        CompressionAlgorithm.DEFLATE: Capability.DEFLATE,
    }
)

_SIZE: Final = struct.Struct("<I")
_FRAGMENT_BODY: Final = struct.Struct("<IIi")
# Level 1 is three times as fast as the usual 6 and leaves a tenth more; so is Zstandard's 1.
_LEVEL: Final = 1
# Without the head and sum of zlib's own format (RFC 1950): what is damaged shows in the size.
_RAW: Final = -15
# What is not smaller by an eighth is not worth the other side's time.
_WORTH_PARTS: Final = 8
# Nothing that a frame holds needs more to be looked back at.
_ZSTD_WINDOW_BYTES: Final = FRAME_BYTES_MAX


def is_there(algorithm: CompressionAlgorithm) -> bool:
    """
    Tell whether this installation can use an algorithm.

    :param algorithm: Which.
    :returns: Whether what it needs is installed.
    """
    if algorithm is CompressionAlgorithm.DEFLATE:
        return True
    try:
        _zstandard()
    except ImportError:
        return False
    return True


def algorithm_named(name: str) -> CompressionAlgorithm | None:
    """
    Look up an algorithm.

    :param name: What a configuration calls it.
    :returns: The algorithm; None for a name that is none.
    """
    return ALGORITHMS.get(name)


def offered(names: Iterable[str]) -> int:
    """
    Say in a handshake what a configuration allows.

    :param names: Of algorithms.
    :returns: Bits of capabilities; 0 for none.
    """
    return sum(CAPABILITIES[ALGORITHMS[name]] for name in set(names) & set(ALGORITHMS))


def choose(capabilities: int) -> CompressionAlgorithm | None:
    """
    Choose how to compress towards a neighbor.

    :param capabilities: What both can do; bits that are not about compression do not matter.
    :returns: The best algorithm that both have; None when there is none.
    """
    for algorithm, capability in CAPABILITIES.items():
        if capabilities & capability:
            return algorithm
    return None


def squeeze(payload: bytes | memoryview, algorithm: CompressionAlgorithm) -> bytes | None:
    """
    Make a payload smaller.

    :param payload: At least a byte, at most as many as a frame has.
    :param algorithm: How.
    :returns: Its original size and the compressed bytes; None when it is hardly smaller so.
    """
    if algorithm is CompressionAlgorithm.DEFLATE:
        press = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
        squeezed = press.compress(payload) + press.flush()
    else:
        squeezed = _zstandard().ZstdCompressor(level=_LEVEL).compress(payload)
    size = len(payload)
    if _SIZE.size + len(squeezed) > size - size // _WORTH_PARTS:
        return None
    return _SIZE.pack(size) + squeezed


def compression_extra(algorithm: CompressionAlgorithm) -> Extra:
    """
    Make the extra that goes with the flag COMPRESSED.

    :param algorithm: How the payloads were made smaller.
    :returns: The extra.
    """
    return Extra(ExtraType.COMPRESSION, bytes([algorithm]))


def restore(frame: bytes, algorithms: Collection[CompressionAlgorithm]) -> bytes:
    """
    Make a compressed frame what it would be without.

    :param frame: A DATA or FRAGMENT frame whose flag COMPRESSED is set.
    :param algorithms: Those that were agreed with whoever sent it.
    :returns: The frame with the payloads as they were, and neither flag nor extra; all other fields
        are the same.
    :raises MalformedFrame: It is not what it says, or its payloads would be too large together.
    :raises UnknownMandatory: It is compressed in a way that was not agreed.
    """
    head = peek(frame)
    extras = unpack_extras(frame[HEAD_SIZE : body_start(frame, head)])
    algorithm = algorithm_of(extras)
    if algorithm not in algorithms:
        raise UnknownMandatory(f"compressed by {algorithm.name}, which was not agreed")
    rest = pack_extras(extra for extra in extras if extra.type != ExtraType.COMPRESSION)
    if head[1] == MessageType.FRAGMENT:
        return _restore_fragment(frame, head, rest, algorithm)
    if head[1] != MessageType.DATA:
        raise MalformedFrame(f"a compressed frame of type {head[1]:#x}")
    messages = iter_run(frame)
    _check_sizes([payload for _, payload in messages])
    payloads = [_restore_payload(payload, algorithm) for _, payload in messages]
    table, size = pack_table([kind for kind, _ in messages], payloads)
    length = HEAD_SIZE + len(rest) + len(table) + size
    return b"".join((_plain_head(head, length, len(rest)), rest, table, *payloads))


def algorithm_in(frame: bytes) -> CompressionAlgorithm:
    """
    Say how a frame is compressed.

    :param frame: A frame whose flag COMPRESSED is set.
    :returns: The algorithm.
    :raises MalformedFrame: It does not say.
    :raises UnknownMandatory: There is no such algorithm yet.
    """
    head = peek(frame)
    return algorithm_of(unpack_extras(frame[HEAD_SIZE : body_start(frame, head)]))


def algorithm_of(extras: Iterable[Extra]) -> CompressionAlgorithm:
    """
    Say how the frame is compressed that has these extras.

    :param extras: All of them.
    :returns: The algorithm.
    :raises MalformedFrame: They do not say.
    :raises UnknownMandatory: There is no such algorithm yet.
    """
    value = find_extra(extras, ExtraType.COMPRESSION)
    if value is None or len(value) != 1:
        raise MalformedFrame("a compressed frame that does not say how")
    try:
        return CompressionAlgorithm(value[0])
    except ValueError:
        raise UnknownMandatory(f"compressed by algorithm {value[0]}") from None


def restore_payload(squeezed: bytes | memoryview, algorithm: CompressionAlgorithm) -> bytes:
    """
    Make one payload what it was.

    :param squeezed: What `squeeze` made.
    :param algorithm: How.
    :returns: The payload.
    :raises MalformedFrame: It is not what it says.
    """
    _check_sizes([squeezed])
    return _restore_payload(squeezed, algorithm)


def ratio_of(frame: bytes, restored: bytes) -> float:
    """
    Say how many times as long a frame became.

    :param frame: As it came.
    :param restored: What `restore` made of it.
    :returns: The ratio of what is behind the heads.
    """
    return (len(restored) - HEAD_SIZE) / max(1, len(frame) - HEAD_SIZE)


def _zstandard() -> Any:
    # Only those who ask for it need to have it.
    import zstandard  # noqa: PLC0415

    return zstandard


def _restore_fragment(
    frame: bytes, head: Head, rest: bytes, algorithm: CompressionAlgorithm
) -> bytes:
    start = body_start(frame, head)
    body = frame[start : start + _FRAGMENT_BODY.size]
    if len(body) < _FRAGMENT_BODY.size:
        raise MalformedFrame(f"a fragment of {len(body)} bytes")
    squeezed = frame[start + _FRAGMENT_BODY.size :]
    _check_sizes([squeezed])
    piece = _restore_payload(squeezed, algorithm)
    length = HEAD_SIZE + len(rest) + len(body) + len(piece)
    return b"".join((_plain_head(head, length, len(rest)), rest, body, piece))


def _plain_head(head: Head, length: int, extras_length: int) -> bytes:
    flags = head[2] & ~Flags.COMPRESSED
    return HEAD.pack(length, head[1], flags, *head[3:11], extras_length, head[12])


def _check_sizes(squeezed: Iterable[bytes | memoryview]) -> None:
    """Refuse a frame whose payloads would be too large together, before a byte is produced."""
    total = 0
    for payload in squeezed:
        if len(payload) < _SIZE.size:
            raise MalformedFrame(f"a compressed payload of {len(payload)} bytes")
        total += _SIZE.unpack_from(payload)[0]
    if total > FRAME_BYTES_MAX:
        raise MalformedFrame(f"payloads of {total} bytes in one compressed frame")


def _restore_payload(squeezed: bytes | memoryview, algorithm: CompressionAlgorithm) -> bytes:
    size: int = _SIZE.unpack_from(squeezed)[0]
    data = squeezed[_SIZE.size :]
    if algorithm is CompressionAlgorithm.DEFLATE:
        payload = _inflate(data, size)
    else:
        payload = _expand(data, size)
    if len(payload) != size:
        raise MalformedFrame(f"a payload of {len(payload)} bytes that was to have {size}")
    return payload


def _inflate(data: bytes | memoryview, size: int) -> bytes:
    press = zlib.decompressobj(_RAW)
    try:
        # A byte more than there may be shows that there is more; 0 would mean no bound at all.
        payload = press.decompress(data, size + 1)
    except zlib.error as error:
        raise MalformedFrame(f"not DEFLATE: {error}") from None
    if not press.eof or press.unused_data:
        raise MalformedFrame(f"DEFLATE that does not end with its {size} bytes")
    return payload


def _expand(data: bytes | memoryview, size: int) -> bytes:
    zstandard = _zstandard()
    try:
        said = zstandard.get_frame_parameters(data)
        # What a frame says of its own size is believed by the library, so it is compared first.
        if said.content_size != size or said.window_size > _ZSTD_WINDOW_BYTES or said.dict_id:
            raise MalformedFrame(f"Zstandard of {said.content_size} bytes that was to have {size}")
        expander = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        payload: bytes = expander.decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedFrame(f"not Zstandard: {error}") from None
    return payload
