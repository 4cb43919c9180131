"""
Byte chunks to whole frames (wire protocol, section 2.1).

A frame begins with its own length, so a stream is cut without looking at anything else. A length
that cannot be is found when its four bytes are there, before any more is kept; so a buffer never
holds more than the limit and one chunk, whatever the other side sends.
"""

from __future__ import annotations

import struct
from typing import Final

from atbus.errors import FrameTooLarge, MalformedFrame, RemoteProtocolError, Status
from atbus.wire.head import HEAD_SIZE

_LENGTH: Final = struct.Struct("<I")
_CHUNKS_KEPT: Final = 64
_CHUNK_BYTES: Final = 1024
# From here on a copy costs more than a read.
_LONG_BYTES: Final = 64 * 1024

# What other protocols say first, and what that means to whoever runs the two ends.
_STRANGERS: Final = (
    (b"\x16\x03", "a TLS handshake: the other side dials tls+..., this listener has no TLS"),
    (b"\x15\x03", "a TLS alert: the other side speaks TLS, this side does not"),
    (b"HTTP", "an HTTP answer: the address dialled is a web server's"),
    (b"<!DO", "a page of HTML: the address dialled is a web server's"),
    (b"<htm", "a page of HTML: the address dialled is a web server's"),
    (b"GET ", "an HTTP request: a browser or a health check asks at the bus's own port"),
    (b"HEAD", "an HTTP request: a browser or a health check asks at the bus's own port"),
    (b"POST", "an HTTP request"),
    (b"PUT ", "an HTTP request"),
    (b"PRI ", "an HTTP/2 request"),
    (b"OPTI", "an HTTP request"),
    (b"CONN", "an HTTP or NATS CONNECT: NATS clients have a gateway of their own"),
    (b"INFO", "a NATS server's INFO: NATS servers are reached through the gateway"),
    (b"SSH-", "an SSH banner"),
    (b"PROX", "a PROXY protocol header: a load balancer in front adds it"),
    (b"\r\n\r\n", "a PROXY protocol header: a load balancer in front adds it"),
)


class FrameBuffer:
    """
    Cuts one direction of one stream into frames.

    Frames that are whole in the chunk are sliced out of it, and a chunk that is exactly one frame
    is handed on as it is. Chunks of an unfinished frame are kept as they came and joined once, with
    no more of the last one than the frame lacks.

    :param limit: The longest frame allowed, in bytes; may be changed between two calls.
    """

    __slots__ = (
        *("_chunks", "_last_bytes", "_needed_bytes", "_opened"),
        *("fault", "limit", "pending_bytes"),
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._chunks: list[bytes] = []
        #: Bytes of an unfinished frame, at most the limit.
        self.pending_bytes = 0
        self._needed_bytes = _LENGTH.size
        self._last_bytes = 0
        self._opened = False
        #: What ended this stream; once set, `feed` only raises it.
        self.fault: RemoteProtocolError | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """
        Take what has arrived and give what is whole now.

        Frames before a fault are not lost: they are returned, `fault` is set, and the next call
        raises it. Without any, the fault is raised at once.

        :param chunk: The next bytes of the stream; none is allowed.
        :returns: Whole frames, in order.
        :raises FrameTooLarge: When a frame says that it is longer than the limit.
        :raises MalformedFrame: When a frame says that it is shorter than a head.
        :raises RemoteProtocolError: NOT_ATBUS, when the first bytes are another protocol's.
        """
        if self.fault is not None:
            raise self.fault
        if not self._chunks:
            size = len(chunk)
            if HEAD_SIZE <= size <= self.limit and _LENGTH.unpack_from(chunk)[0] == size:
                # A frame that comes alone, as most do that do not come by the dozen.
                self._opened = True
                self._last_bytes = size
                return [chunk]
            return self._cut(chunk, [], 0)
        missing = self._needed_bytes - self.pending_bytes
        if len(chunk) < missing:
            self._chunks.append(chunk)
            self.pending_bytes += len(chunk)
            # Whoever sends byte by byte must not make us keep an object for every byte.
            if len(self._chunks) > _CHUNKS_KEPT + self.pending_bytes // _CHUNK_BYTES:
                self._chunks = [b"".join(self._chunks)]
            return []
        kept, self._chunks, self.pending_bytes = self._chunks, [], 0
        if not _LENGTH.size < self._needed_bytes <= self.limit:
            return self._cut(b"".join((*kept, chunk)), [], 0)
        # Only what the unfinished frame lacks is joined to it: the rest of a long chunk stays.
        return self._cut(chunk, [b"".join((*kept, memoryview(chunk)[:missing]))], missing)

    def next_read(self, usual: int) -> int:
        """
        Say how much to read next.

        A long frame that comes alone, or whose end comes alone, is not copied out of what else was
        read, and nothing of the next one has to be kept.

        :param usual: Bytes of a read where no long frame is expected.
        :returns: What a long frame that has begun still lacks; the length of the last one, when
            that was long and another may follow; else *usual*.
        """
        if self._chunks:
            needed = self._needed_bytes
            return needed - self.pending_bytes if _LONG_BYTES <= needed <= self.limit else usual
        return self._last_bytes if self._last_bytes >= _LONG_BYTES else usual

    def _cut(self, chunk: bytes, frames: list[bytes], position: int) -> list[bytes]:
        """
        Slice the whole frames off a chunk and keep the rest.

        :param chunk: Has a frame that begins at *position*.
        :param frames: Those before it; they are returned with the others.
        :param position: Where to begin.
        :returns: Whole frames, in order.
        :raises RemoteProtocolError: As `feed`.
        """
        end, limit = len(chunk), self.limit
        read_length = _LENGTH.unpack_from
        needed = _LENGTH.size
        while end - position >= 4:
            (length,) = read_length(chunk, position)
            if not HEAD_SIZE <= length <= limit:
                self.fault = self._explain(chunk, position, length)
                if frames:
                    return frames
                raise self.fault
            self._opened = True
            self._last_bytes = length
            stop = position + length
            if stop > end:
                needed = length
                break
            # bytes slices of a whole bytes object are the object itself: no copy of a lone frame.
            frames.append(chunk[position:stop])
            position = stop
        if position < end:
            rest = chunk[position:]
            self._chunks.append(rest)
            self.pending_bytes = len(rest)
            self._needed_bytes = needed
        return frames

    def _explain(self, chunk: bytes, position: int, length: int) -> RemoteProtocolError:
        """
        Say what is wrong with a length.

        :param chunk: What is there.
        :param position: Where the frame begins.
        :param length: What it says.
        :returns: The error to raise.
        """
        if not self._opened:
            first = chunk[position : position + 4]
            for beginning, hint in _STRANGERS:
                if first.startswith(beginning):
                    return RemoteProtocolError(Status.NOT_ATBUS, hint)
        if length < HEAD_SIZE:
            return MalformedFrame(f"a frame of {length} bytes, a head has {HEAD_SIZE}")
        return FrameTooLarge(f"a frame of {length} bytes, {self.limit} are allowed")
