"""
Hostile frames for `atbus.testing.hostile`.

An input is a damaged frame or a damaged recorded stream (`atbus.testing.mutation`), cut into
chunks. Its frames are decoded until one ends the link; the first of them are also taken apart as a
run or a fragment, patched, traced, and cut for a link that takes shorter ones, as a relay would.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from random import Random
from typing import Final

from atbus import limits
from atbus.errors import LocalProtocolError, RemoteProtocolError
from atbus.testing.examples import example_messages
from atbus.testing.findings import Findings
from atbus.testing.mutation import chunks, mutate, mutate_stream
from atbus.wire import codec, schema
from atbus.wire.cutting import cut
from atbus.wire.extras import append_trace
from atbus.wire.framing import FrameBuffer
from atbus.wire.head import peek
from atbus.wire.messages import Message, MessageType, Unknown
from atbus.wire.runs import read_fragment

_STREAM_SHARE: Final = 0.1
_RELAYED_MAX: Final = 16
# As a link: by the third that its neighbor has made, it ends.
_UNREADABLE_MAX: Final = 3
_ALLOCATED_FACTOR: Final = 64
_ALLOCATED_BYTES: Final = 256 * 1024

# A registration, traffic both ways and a clean end, as one side hears it.
_SESSION: Final = (
    MessageType.HELLO,
    MessageType.REGISTER_REQUEST,
    MessageType.REGISTER_RESPONSE,
    MessageType.SUBSCRIBE_REQUEST,
    MessageType.ROUTE_BATCH,
    MessageType.DATA,
    MessageType.PING,
    MessageType.PUBLISH,
    MessageType.GOODBYE,
    MessageType.GOODBYE_ACK,
)


class Frames:
    """
    What is damaged: one frame of every type.

    :param frame: The number that they bear.
    """

    def __init__(self, frame: int) -> None:
        frames = {
            message_type: codec.encode(message, frame, 1)
            for message_type, message in example_messages().items()
        }
        self._session = [frames[message_type] for message_type in _SESSION]
        self._all = list(frames.values())

    def hostile(self, random: Random) -> tuple[bytes, list[bytes]]:
        """
        Make a damaged frame, or a damaged stream of them.

        :param random: Draws.
        :returns: It, and the chunks in which it comes.
        """
        if random.random() < _STREAM_SHARE:
            start = random.randrange(len(self._session) - 3)
            stream = mutate_stream(random, self._session[start : start + 4], self._all)
        else:
            stream = mutate(random, random.choice(self._all), self._all)
        return stream, chunks(random, stream)


def read_stream(pieces: Sequence[bytes], findings: Findings) -> list[bytes]:
    """
    Take a stream as a node does, and note what its frames are.

    :param pieces: The chunks.
    :param findings: Gets the counts.
    :returns: The frames that were cut out.
    """
    buffer = FrameBuffer(limits.FRAME_BYTES)
    frames: list[bytes] = []
    try:
        for piece in pieces:
            frames += buffer.feed(piece)
        buffer.feed(b"")
    except RemoteProtocolError as error:
        findings.outcomes[f"stream {error.status.name}"] += 1
    findings.frames += len(frames)
    unreadable = 0
    for frame in frames:
        try:
            message = codec.decode(frame)
            findings.outcomes["skipped" if isinstance(message, Unknown) else "read"] += 1
        except RemoteProtocolError as error:
            findings.outcomes[error.status.name] += 1
            unreadable += 1
            if unreadable == _UNREADABLE_MAX:
                break
    for frame in frames[:_RELAYED_MAX]:
        _relay(frame)
    return frames


def _relay(frame: bytes) -> None:
    """
    Do what a node does with frames that it does not decode.

    :param frame: A frame of the right length.
    """
    codec.patch(frame, hop_limit=1, frame_number=2, ack=3)
    for look in (codec.iter_run, lambda traced: append_trace(traced, 1), _shorten, _take_apart):
        try:
            look(frame)
        except RemoteProtocolError:
            continue


def _shorten(frame: bytes) -> None:
    if frame[4] in (MessageType.DATA, MessageType.FRAGMENT):
        shorter = cut(frame, limits.FRAME_BYTES_MIN)
        if any(len(each) > limits.FRAME_BYTES_MIN for each in shorter):
            raise AssertionError("a frame was to be shorter")


def _take_apart(frame: bytes) -> None:
    if frame[4] == MessageType.FRAGMENT:
        offset, total, _, piece = read_fragment(frame, peek(frame))
        if offset + len(piece) > total:
            raise AssertionError("a fragment reaches beyond its message")


def check_memory(pieces: Sequence[bytes]) -> None:
    """
    Assert that what is read costs a small multiple of its size.

    :param pieces: What is read.
    :raises AssertionError: It costs more.
    """
    size = sum(map(len, pieces))
    tracemalloc.start()
    try:
        read_stream(pieces, Findings())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > _ALLOCATED_FACTOR * size + _ALLOCATED_BYTES:
        raise AssertionError(f"{peak} bytes allocated for {size}")


def check_readers(frame: bytes) -> None:
    """
    Assert that codec and schema read alike, and that what was read can be written again.

    :param frame: A frame of the right length.
    :raises AssertionError: It is not so.
    """
    fast, normative = _outcome(codec.decode, frame), _outcome(schema.parse, frame)
    if fast != normative:
        raise AssertionError(f"codec reads {fast!r}, schema {normative!r}")
    if isinstance(fast, Message) and not isinstance(fast, Unknown):
        try:
            again = codec.decode(codec.encode(fast))
        except LocalProtocolError as error:
            raise AssertionError(f"read and not writable: {error}") from error
        if again != fast:
            raise AssertionError(f"{fast!r} comes back as {again!r}")


def _outcome(read: object, frame: bytes) -> object:
    try:
        return read(frame)  # type: ignore[operator]  # either of the two readers
    except RemoteProtocolError as error:
        return error.status
