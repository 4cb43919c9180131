"""
Bytes on their way out: counted exactly, and given to the kernel as soon as it takes them.

A Twisted transport takes any amount of bytes and says neither how many it holds nor how many it
got rid of. So the queue is ours and the transport is kept nearly empty:

1. As long as the transport holds nothing, bytes go straight to its socket, which never blocks.
2. When the kernel takes no more, one piece of the rest, at most 64 KiB, is given to the
   transport, which waits until the socket is writable; everything behind it stays here.
3. A transport asks its pull producer for more each time it has written everything out: the one
   moment in which Twisted says how many bytes have gone. Then we go on with 1.

So the count is never too small, and too large by at most the piece in the transport.

A transport that changes bytes on their way to the kernel (TLS) gets piece after piece as long as
each goes through it whole. One without a socket of its own (in a test) goes through 2 and 3 only.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IPullProducer, ISystemHandle
from zope.interface import Interface, implementer

#: The piece that waits in the transport: what is counted though the kernel may have it.
PIECE_BYTES: Final = 64 * 1024

#: One call to the kernel: as much as a socket takes at once, and few enough buffers (a limit of
#: the kernel is 1024).
_CALL_BYTES: Final = 256 * 1024
_CALL_BUFFERS: Final = 512

#: Below this average, frames are joined: copying is cheaper than one buffer each.
_JOIN_BYTES: Final = 1024

#: A longer frame that fits a piece is not cut: alone it is not copied. Shorter ones are, so that
#: pieces are full, and so are the records of TLS that they become.
_WHOLE_BYTES: Final = PIECE_BYTES // 2

#: One channel's share of a turn of the reactor; others want to write as well.
_TURN_BYTES: Final = 1024 * 1024


class IThroughTransport(Interface):
    """A transport that changes bytes, so that what the kernel did not take cannot be taken back."""

    def write_through(data: bytes) -> bool:  # noqa: N805  # an interface has no self
        """
        Write a piece as far as the kernel takes it, and keep the rest.

        :param data: At most `PIECE_BYTES`.
        :returns: Whether the kernel has taken everything. If not, the producer is asked for more
            when it has.
        """


@implementer(IPullProducer)
class OutgoingBytes:
    """
    The queue between `IChannel.send` and the kernel.

    :param transport: A connected transport that has no producer; nobody else may write to it.
    :param emptied: Called each time everything has been taken after something had to wait; never
        from within `put`.
    """

    __slots__ = (
        "_descriptors", "_emptied", "_frames", "_handed_bytes", "_has_producer", "_socket",
        "_through", "_transport", "queued_bytes", "written_bytes",
    )  # fmt: skip

    def __init__(self, transport: Any, emptied: Callable[[], None]) -> None:
        self.queued_bytes = 0
        self.written_bytes = 0
        self._emptied = emptied
        self._transport = transport
        # A list: mostly nothing waits, and an empty deque takes ten times as much memory.
        self._frames: list[bytes | memoryview] = []
        # To be sent beside the next bytes.
        self._descriptors: tuple[int, ...] = ()
        # Of queued_bytes: those in the transport. Frames wait only while this is not 0.
        self._handed_bytes = 0
        handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
        self._through = transport if IThroughTransport.providedBy(transport) else None
        # None where bytes are changed on their way to it.
        self._socket: socket.socket | None = None
        if isinstance(handle, socket.socket) and self._through is None:
            self._socket = handle
        self._has_producer = True
        transport.registerProducer(self, False)

    def put(self, frames: Sequence[bytes | memoryview]) -> None:
        """
        Write frames, or queue what the kernel does not take now.

        :param frames: Owned from now on; a frame may be given in pieces.
        """
        sock = self._socket
        if len(frames) == 1 and not (self.queued_bytes or self._descriptors) and sock is not None:
            # As most are: alone, with nothing before it, and taken whole.
            frame = frames[0]
            try:
                taken = sock.send(frame)
            except OSError:
                # Full, or broken: the transport, which gets the next piece, finds out which.
                taken = 0
            self.written_bytes += taken
            if taken < len(frame):
                self._keep_rest(frame, taken)
            return
        self.queued_bytes += sum(map(len, frames))
        self._frames.extend(frames)
        if not self._handed_bytes:
            self._push()

    def _keep_rest(self, frame: bytes | memoryview, taken: int) -> None:
        """Queue what the kernel did not take of a lone frame."""
        rest = memoryview(frame)[taken:] if taken else frame
        self.queued_bytes = len(rest)
        self._frames.append(rest)
        self._hand_over()

    def put_with(self, frame: bytes, descriptors: Sequence[int]) -> None:
        """
        Write a frame, with descriptors beside it or beside what is before it.

        :param frame: Longer than *descriptors*.
        :param descriptors: Stay the caller's, and open until the frame was answered.
        """
        self._descriptors += tuple(descriptors)
        self.put([frame])

    def finish(self) -> None:
        """Let the transport end: nothing more is put. Twice does no harm."""
        if self._has_producer:
            self._has_producer = False
            self._transport.unregisterProducer()

    def resumeProducing(self) -> None:
        """Take note that the transport has written everything out, and go on."""
        written, self._handed_bytes = self._handed_bytes, 0
        self._count(written)
        self._push()
        if written and not self.queued_bytes:
            self._emptied()

    def stopProducing(self) -> None:
        """Forget everything: the transport is gone. The counts stay."""
        self._frames.clear()
        self._socket = self._through = None

    def _push(self) -> None:
        if self._through is not None:
            self._push_through()
            return
        room = _TURN_BYTES
        while self._socket is not None and self._frames and room > 0 and not self._descriptors:
            batch, size = self._next_batch()
            taken = _write(self._socket, batch, size)
            self._count(taken)
            if taken < size:
                self._frames[:0] = _rest(batch, taken)
                break
            room -= taken
        if self._frames:
            self._hand_over()

    def _next_batch(self) -> tuple[list[bytes | memoryview], int]:
        batch = self._frames[:_CALL_BUFFERS]
        size = 0
        for count, frame in enumerate(batch, 1):
            size += len(frame)
            if size >= _CALL_BYTES:
                del batch[count:]
                break
        del self._frames[: len(batch)]
        return batch, size

    def _push_through(self) -> None:
        room = _TURN_BYTES
        while self._through is not None and self._frames:
            piece = self._next_piece()
            size = len(piece)
            self._handed_bytes = size
            if room <= 0:
                self._transport.write(piece)
                return
            if not self._through.write_through(piece):
                return
            self._handed_bytes = 0
            self._count(size)
            room -= size

    def _hand_over(self) -> None:
        piece = self._next_piece()
        self._handed_bytes = len(piece)
        for descriptor in self._descriptors:
            # Twisted sends each beside one byte of what it writes next; it holds nothing now.
            self._transport.sendFileDescriptor(descriptor)
        self._descriptors = ()
        self._transport.write(piece)

    def _next_piece(self) -> bytes:
        parts: list[bytes | memoryview] = []
        room = PIECE_BYTES
        rest: list[bytes | memoryview] = []
        for frame in self._frames:
            if len(frame) > room:
                if room and not (parts and _WHOLE_BYTES < len(frame) <= PIECE_BYTES):
                    parts.append(memoryview(frame)[:room])
                    rest.append(memoryview(frame)[room:])
                break
            parts.append(frame)
            room -= len(frame)
        self._frames[: len(parts)] = rest
        # A lone frame is not copied.
        return b"".join(parts)

    def _count(self, written: int) -> None:
        self.queued_bytes -= written
        self.written_bytes += written


def _send(sock: socket.socket, frame: bytes | memoryview) -> int:
    try:
        return sock.send(frame)
    except OSError:
        # Full, or broken: the transport, which gets the next piece, finds out which.
        return 0


def _write(sock: socket.socket, batch: list[bytes | memoryview], size: int) -> int:
    if len(batch) == 1:
        return _send(sock, batch[0])
    try:
        if size < len(batch) * _JOIN_BYTES:
            return sock.send(b"".join(batch))
        return sock.sendmsg(batch)
    except OSError:
        # Full, or broken: the transport, which gets the next piece, finds out which.
        return 0


def _rest(batch: list[bytes | memoryview], taken: int) -> list[bytes | memoryview]:
    for index, frame in enumerate(batch):
        if taken < len(frame):
            return [memoryview(frame)[taken:], *batch[index + 1 :]]
        taken -= len(frame)
    return []
