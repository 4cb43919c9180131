"""Bytes on their way out: exact counts, whatever the kernel takes."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.channels.outgoing import PIECE_BYTES, IThroughTransport, OutgoingBytes

#: Frames to be put, bytes to be read, or a reactor's turn.
STEPS = st.lists(
    st.one_of(
        st.lists(st.integers(0, 5000), min_size=1, max_size=8),
        st.integers(1, 40_000),
        st.none(),
    ),
    max_size=40,
)

#: Changes each byte, and back.
OVER = bytes(255 - byte for byte in range(256))


@implementer(ISystemHandle)
class SocketTransport(StringTransport):
    """A transport over a socket whose other end is read by the test, in portions."""

    def __init__(self) -> None:
        StringTransport.__init__(self)
        self._ours, self.theirs = socket.socketpair()
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self._ours.setblocking(False)
        self.theirs.setblocking(False)

    def getHandle(self) -> socket.socket:
        return self._ours

    def write_out(self) -> None:
        """Do a reactor's part: write what the kernel takes, ask for more when nothing is left."""
        held = self.value()
        self.clear()
        try:
            taken = self._ours.send(held)
        except BlockingIOError:
            taken = 0
        self.io.write(held[taken:])
        if not self.value() and self.producer is not None:
            self.producer.resumeProducing()

    def read(self, size: int) -> bytes:
        """Read at the other end."""
        try:
            return self.theirs.recv(size)
        except BlockingIOError:
            return b""

    def unread_bytes(self) -> int:
        """Count what the kernel has for the other end."""
        [count] = struct.unpack("i", fcntl.ioctl(self.theirs, termios.FIONREAD, bytes(4)))
        return int(count)

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()


@implementer(IThroughTransport)
class VeiledTransport(SocketTransport):
    """A transport that changes bytes, as TLS does: each is the other end's turned over."""

    def write(self, data: bytes) -> None:
        StringTransport.write(self, data.translate(OVER))

    def write_through(self, data: bytes) -> bool:
        changed = data.translate(OVER)
        try:
            taken = 0 if self.value() else self._ours.send(changed)
        except BlockingIOError:
            taken = 0
        StringTransport.write(self, changed[taken:])
        return taken == len(changed)

    def read(self, size: int) -> bytes:
        return super().read(size).translate(OVER)


class PortionSocket(socket.socket):
    """A socket that takes only so many bytes as the test allows."""

    allowance = 0

    def send(self, data: Any, flags: int = 0) -> int:
        part = memoryview(data)[: self.allowance]
        self.allowance -= len(part)
        if not part:
            raise BlockingIOError
        return super().send(part, flags)


class PortionTests(SynchronousTestCase):
    """A frame that the kernel takes in parts."""

    def setUp(self) -> None:
        self.transport = SocketTransport()
        self.addCleanup(self.transport.close)
        self.socket = PortionSocket(fileno=self.transport._ours.detach())
        self.transport._ours = self.socket
        self.outgoing = OutgoingBytes(self.transport, lambda: None)

    def counts(self) -> tuple[int, int]:
        return self.outgoing.queued_bytes, self.outgoing.written_bytes

    def test_what_is_left_is_counted(self) -> None:
        """
        Of 99 bytes of which 50 were taken 49 wait, then none; never fewer than none.

        Ours has no block to look at; that the rest begins where it was cut is seen behind it.

        Scenario: C4, C8
        """
        frame = bytes(range(99))
        self.socket.allowance = 50
        self.outgoing.put([frame])
        self.assertEqual(self.counts(), (49, 50))
        self.socket.allowance = 1000
        self.transport.write_out()
        self.assertEqual(self.counts(), (0, 99))
        self.assertEqual(self.transport.read(1000), frame)
        self.transport.write_out()
        self.assertEqual(self.counts(), (0, 99))
        self.assertEqual(self.transport.read(1000), b"")

    def test_more_behind_a_part(self) -> None:
        """
        What was cut stays at the front: what is put behind it comes behind it.

        Scenario: C8
        """
        self.socket.allowance = 3
        self.outgoing.put([b"first", b"second"])
        self.outgoing.put([b"third"])
        self.assertEqual(self.counts(), (13, 3))
        self.socket.allowance = 1000
        self.transport.write_out()
        self.assertEqual(self.counts(), (0, 16))
        self.assertEqual(self.transport.read(1000), b"firstsecondthird")


class QueueTests(SynchronousTestCase):
    """A queue, and who reads at the other end."""

    make_transport: Callable[[], SocketTransport] = SocketTransport

    def setUp(self) -> None:
        self.transport = self.make_transport()
        self.addCleanup(self.transport.close)
        self.emptied = 0
        self.outgoing = OutgoingBytes(self.transport, self._note_emptied)

    def _note_emptied(self) -> None:
        self.emptied += 1

    def _fresh_transport(self) -> SocketTransport:
        self.transport.close()
        self.transport = self.make_transport()
        self.addCleanup(self.transport.close)
        return self.transport

    def _drain(self) -> bytes:
        """Read at the other end and write out at this one until nothing is left."""
        received = bytearray()
        while True:
            portion = self.transport.read(1 << 20)
            received += portion
            if not portion and not self.outgoing.queued_bytes:
                return bytes(received)
            self.transport.write_out()

    def _follow(self, steps: list[list[int] | int | None]) -> None:
        """
        Put frames of these sizes, read so many bytes, or write out; look at the counts each time.
        """
        transport = self._fresh_transport()
        outgoing = OutgoingBytes(transport, self._note_emptied)
        put, received = bytearray(), bytearray()
        for step in steps:
            if step is None:
                transport.write_out()
            elif isinstance(step, int):
                received += transport.read(step)
            else:
                frames = [bytes([len(put) & 0xFF]) * size for size in step]
                put += b"".join(frames)
                outgoing.put(frames)
            self.assertEqual(outgoing.written_bytes + outgoing.queued_bytes, len(put))
            taken = len(received) + transport.unread_bytes()
            self.assertLessEqual(outgoing.written_bytes, taken)
            self.assertLessEqual(taken, outgoing.written_bytes + PIECE_BYTES)
        self.outgoing = outgoing
        received += self._drain()
        self.assertEqual(received, put)
        self.assertEqual(outgoing.queued_bytes, 0)


class OutgoingTests(QueueTests):
    """The queue before the kernel."""

    def test_an_idle_socket_gets_everything_at_once(self) -> None:
        """Small frames on an idle link are with the kernel when put returns; nobody is told."""
        self.outgoing.put([b"one", b"two", b"three"])
        self.assertEqual(self.transport.read(100), b"onetwothree")
        self.assertEqual((self.outgoing.queued_bytes, self.outgoing.written_bytes), (0, 11))
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.emptied, 0)

    def test_nothing_put(self) -> None:
        """No frames, or empty ones, change nothing."""
        self.outgoing.put([])
        self.outgoing.put([b"", b""])
        self.assertEqual(self.outgoing.queued_bytes, 0)
        self.assertEqual(self.emptied, 0)

    def test_large_frames_are_not_joined(self) -> None:
        """Several large frames in one call arrive in order, cut wherever the kernel is full."""
        frames = [bytes([number]) * 3000 for number in range(30)]
        self.outgoing.put(frames)
        self.assertGreater(self.outgoing.written_bytes, 0)
        self.assertGreater(self.outgoing.queued_bytes, 0)
        self.assertEqual(self._drain(), b"".join(frames))

    def test_one_piece_waits_in_the_transport(self) -> None:
        """However much is queued, the transport is given one piece of at most 64 KiB."""
        self.outgoing.put([bytes(1_000_000)])
        self.assertEqual(len(self.transport.value()), PIECE_BYTES)
        total = self.outgoing.queued_bytes
        self.outgoing.put([bytes(1000)])
        self.assertEqual(len(self.transport.value()), PIECE_BYTES)
        self.assertEqual(self.outgoing.queued_bytes, total + 1000)
        self.assertEqual(len(self._drain()), 1_001_000)

    def test_emptied_is_told_once(self) -> None:
        """When everything that had to wait is gone this is told, once, and again the next time."""
        for count in (1, 2):
            self.outgoing.put([bytes(100_000)])
            self.assertEqual(self.emptied, count - 1)
            self._drain()
            self.assertEqual(self.emptied, count)

    def test_more_can_be_put_when_emptied(self) -> None:
        """Whoever is told that the queue is empty may fill it again at once."""
        self.outgoing = OutgoingBytes(self._fresh_transport(), lambda: self.outgoing.put([b"more"]))
        self.outgoing.put([bytes(100_000)])
        self.assertEqual(self._drain()[-4:], b"more")

    def test_a_broken_socket(self) -> None:
        """What a broken socket does not take goes to the transport, which finds out why."""
        self.transport.theirs.close()
        self.outgoing.put([b"lost"])
        self.assertEqual(self.transport.value(), b"lost")
        self.assertEqual(self.outgoing.queued_bytes, 4)
        self.outgoing.stopProducing()
        self.assertEqual(self.outgoing.queued_bytes, 4)

    def test_pieces_are_full(self) -> None:
        """Short frames are cut, so that as few pieces as possible are encrypted and written."""
        transport = StringTransport()
        outgoing = OutgoingBytes(transport, self._note_emptied)
        outgoing.put([bytes(200), *[bytes(16_384)] * 8])
        pieces = []
        while transport.value():
            pieces.append(len(transport.value()))
            transport.clear()
            outgoing.resumeProducing()
        self.assertEqual(pieces, [PIECE_BYTES, PIECE_BYTES, 200])

    def test_others_want_to_write_as_well(self) -> None:
        """A socket that takes everything does not get everything in one turn of the reactor."""

        class Greedy(socket.socket):
            def send(self, data: Any, flags: int = 0, /) -> int:
                return memoryview(data).nbytes

            def sendmsg(self, buffers: Any, *_: Any) -> int:
                return sum(map(len, buffers))

        transport = self._fresh_transport()
        transport._ours = Greedy(fileno=transport._ours.detach())
        outgoing = OutgoingBytes(transport, self._note_emptied)
        outgoing.put([bytes(60_000)] * 50)
        self.assertGreater(outgoing.written_bytes, 500_000)
        self.assertGreater(outgoing.queued_bytes, 1_500_000)

    def test_without_a_socket(self) -> None:
        """A transport that has no socket is given one piece after the other."""
        transport = StringTransport()
        outgoing = OutgoingBytes(transport, self._note_emptied)
        outgoing.put([bytes(PIECE_BYTES), b"rest"])
        self.assertEqual(len(transport.value()), PIECE_BYTES)
        outgoing.resumeProducing()
        self.assertEqual(transport.value()[PIECE_BYTES:], b"rest")
        self.assertEqual((outgoing.queued_bytes, self.emptied), (4, 0))
        outgoing.resumeProducing()
        self.assertEqual((outgoing.queued_bytes, self.emptied), (0, 1))

    @settings(deadline=None, max_examples=60)
    @given(STEPS)
    def test_whatever_happens(self, steps: list[list[int] | int | None]) -> None:
        """
        Whatever is put and read in whatever order arrives unchanged, and the count is never too
        small and too large by a piece at most.
        """
        self._follow(steps)


class ThroughTests(QueueTests):
    """The queue before a transport that changes bytes on their way to the kernel."""

    make_transport = VeiledTransport

    def test_nothing_waits(self) -> None:
        """As long as the kernel takes everything, nothing is left in the transport."""
        self.outgoing.put([b"one", b"two"])
        self.outgoing.put([b"three"])
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual((self.outgoing.queued_bytes, self.outgoing.written_bytes), (0, 11))
        self.assertEqual(self.transport.read(100), b"onetwothree")

    def test_frames_stay_whole(self) -> None:
        """A frame that would fit into the next piece is not cut; a longer one is."""
        transport = StringTransport()
        outgoing = OutgoingBytes(transport, self._note_emptied)
        outgoing.put([bytes(40_000), bytes(40_000), bytes(PIECE_BYTES + 1)])
        pieces = []
        while transport.value():
            pieces.append(len(transport.value()))
            transport.clear()
            outgoing.resumeProducing()
        self.assertEqual(pieces, [40_000, PIECE_BYTES, 40_001])

    def test_others_want_to_write_as_well(self) -> None:
        """What takes everything does not get everything in one turn of the reactor."""

        class Greedy(VeiledTransport):
            def write_through(self, data: bytes) -> bool:
                return True

        self.make_transport = Greedy
        outgoing = OutgoingBytes(self._fresh_transport(), self._note_emptied)
        outgoing.put([bytes(60_000)] * 50)
        self.assertGreater(outgoing.written_bytes, 500_000)
        self.assertGreater(outgoing.queued_bytes, 1_500_000)

    def test_an_end_in_the_midst(self) -> None:
        """A transport that finds out that it is broken while it is written to gets no more."""

        class Broken(VeiledTransport):
            def write_through(self, data: bytes) -> bool:
                outgoing.stopProducing()
                return True

        self.make_transport = Broken
        outgoing = OutgoingBytes(self._fresh_transport(), self._note_emptied)
        outgoing.put([bytes(60_000)] * 3)
        self.assertEqual(outgoing.written_bytes, 60_000)

    @settings(deadline=None, max_examples=60)
    @given(STEPS)
    def test_whatever_happens(self, steps: list[list[int] | int | None]) -> None:
        """
        Whatever is put and read in whatever order arrives unchanged, and the count is never too
        small and too large by a piece at most.
        """
        self._follow(steps)
