"""Streams: however they are cut, whole frames come out, and never more is kept than allowed."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import FrameTooLarge, MalformedFrame, RemoteProtocolError, Status
from atbus.testing.strategies import any_message
from atbus.wire import codec
from atbus.wire.framing import FrameBuffer
from atbus.wire.messages import Message, Ping
from tests.wire import document

LIMIT = limits.FRAME_BYTES


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """
    Cut a stream into chunks.

    :param stream: Its bytes.
    :param sizes: Of the chunks; the last one gets the rest.
    :returns: The chunks; some may be empty.
    """
    chunks = []
    for size in sizes:
        chunks.append(stream[:size])
        stream = stream[size:]
    return [*chunks, stream]


def lengths(*values: int) -> bytes:
    """
    Write the beginnings of frames.

    :param values: What they say about their length.
    :returns: The bytes.
    """
    return b"".join(value.to_bytes(4, "little") for value in values)


class CuttingTests(SynchronousTestCase):
    """Whole frames, whatever the chunks."""

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(any_message(), max_size=6),
        st.lists(st.integers(0, 400), max_size=30),
    )
    def test_cut_anywhere(self, messages: list[Message], sizes: list[int]) -> None:
        """A stream cut at any places gives the frames that were sent, in order."""
        frames = [codec.encode(message) for message in messages]
        buffer = FrameBuffer(LIMIT)
        received: list[bytes] = []
        for chunk in cut(b"".join(frames), sizes):
            received += buffer.feed(chunk)
        self.assertEqual(received, frames)
        self.assertEqual(buffer.pending_bytes, 0)

    def test_byte_by_byte(self) -> None:
        """
        A stream that arrives byte by byte gives each frame with its last byte.

        Scenario: D12
        """
        frames = [vector.raw for section in document.sections() for vector in section.vectors]
        buffer = FrameBuffer(LIMIT)
        received: list[bytes] = []
        for count, frame in enumerate(frames, 1):
            for place in range(len(frame)):
                self.assertEqual(len(received), count - 1)
                received += buffer.feed(frame[place : place + 1])
                self.assertEqual(buffer.pending_bytes, (place + 1) % len(frame))
        self.assertEqual(received, frames)

    def test_several_in_one_read(self) -> None:
        """
        Three frames in one read, and one and a half with the rest behind.

        Scenario: D12
        """
        frame = codec.encode(Ping())
        buffer = FrameBuffer(LIMIT)
        self.assertEqual(buffer.feed(frame * 3), [frame] * 3)
        half = len(frame) // 2
        self.assertEqual(buffer.feed(frame + frame[:half]), [frame])
        self.assertEqual(buffer.feed(frame[half:]), [frame])
        self.assertEqual(buffer.feed(b""), [])

    def test_a_lone_frame_is_not_copied(self) -> None:
        """A read that is exactly one frame is handed on as it came."""
        frame = codec.encode(Ping())
        (received,) = FrameBuffer(LIMIT).feed(frame)
        self.assertIs(received, frame)

    def test_long_frames_come_alone(self) -> None:
        """Who reads as much as the buffer asks for gets long frames whole, and copies none."""
        frames = [lengths(size) + bytes(size - 4) for size in (100, *[70_000] * 9, 200, 200)]
        stream, buffer = b"".join(frames), FrameBuffer(300_000)
        received: list[bytes] = []
        reads: list[int] = []
        while stream:
            chunk = stream[: buffer.next_read(150_000)]
            stream = stream[len(chunk) :]
            reads.append(len(chunk))
            received += buffer.feed(chunk)
        self.assertEqual(received, frames)
        # The first read ends in the third long frame; what that lacks comes next.
        self.assertEqual(reads, [150_000, 60_100, *[70_000] * 6, 400])

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(st.sampled_from([48, 1000, 65_535, 65_536, 90_000]), max_size=12),
        st.lists(st.integers(1, 300_000), max_size=30),
    )
    def test_read_as_asked(self, sizes: list[int], arrived: list[int]) -> None:
        """However much has arrived at each read, reading what is asked for gives all frames."""
        frames = [lengths(size) + bytes(size - 4) for size in sizes]
        stream, buffer = b"".join(frames), FrameBuffer(100_000)
        received: list[bytes] = []
        while stream:
            wanted = buffer.next_read(4096)
            self.assertGreater(wanted, 0)
            chunk = stream[: min(wanted, arrived.pop() if arrived else wanted)]
            stream = stream[len(chunk) :]
            received += buffer.feed(chunk)
        self.assertEqual(received, frames)
        self.assertEqual(buffer.pending_bytes, 0)

    def test_frames_up_to_the_limit(self) -> None:
        """A frame as long as the limit is taken, the smallest one too."""
        buffer = FrameBuffer(100)
        for length in (48, 100):
            frame = lengths(length) + bytes(length - 4)
            self.assertEqual(buffer.feed(frame), [frame])

    def test_the_limit_may_change(self) -> None:
        """After registration longer frames are taken than before."""
        frame = lengths(200) + bytes(196)
        buffer = FrameBuffer(100)
        self.assertRaises(FrameTooLarge, buffer.feed, frame)
        buffer = FrameBuffer(100)
        buffer.limit = 200
        self.assertEqual(buffer.feed(frame), [frame])


class LyingLengthTests(SynchronousTestCase):
    """Lengths that cannot be."""

    def test_found_with_the_fourth_byte(self) -> None:
        """
        A length beyond the limit is refused before one byte more is kept.

        Scenario: D7
        """
        for length in (101, 2**20, 2**32 - 1):
            buffer = FrameBuffer(100)
            buffer.feed(lengths(50) + bytes(46))
            self.assertEqual(buffer.feed(lengths(length)[:3]), [])
            self.assertRaises(FrameTooLarge, buffer.feed, lengths(length)[3:])

    def test_shorter_than_a_head(self) -> None:
        """A length that leaves no room for a head, zero above all, is malformed."""
        for length in (0, 1, 47):
            self.assertRaises(MalformedFrame, FrameBuffer(100).feed, lengths(length) + bytes(60))

    def test_good_frames_before_a_lie_are_kept(self) -> None:
        """What was whole is handed out whatever follows it in the same read."""
        frame = codec.encode(Ping())
        buffer = FrameBuffer(LIMIT)
        self.assertEqual(buffer.feed(frame + frame + lengths(7)), [frame, frame])
        self.assertIsInstance(buffer.fault, MalformedFrame)
        self.assertRaises(MalformedFrame, buffer.feed, b"")

    def test_a_broken_stream_stays_broken(self) -> None:
        """After a lie nothing can be cut any more, whatever comes."""
        buffer = FrameBuffer(LIMIT)
        self.assertIs(buffer.fault, None)
        first = self.assertRaises(FrameTooLarge, buffer.feed, lengths(2**32 - 1))
        again = self.assertRaises(FrameTooLarge, buffer.feed, codec.encode(Ping()))
        self.assertIs(again, first)

    def test_memory_is_bounded(self) -> None:
        """Whoever sends an endless frame, in pieces of one byte even, fills one limit."""
        buffer = FrameBuffer(LIMIT)
        buffer.feed(lengths(LIMIT))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(LIMIT - 5):
            self.assertEqual(buffer.feed(bytes(1)), [])
        _, peak = tracemalloc.get_traced_memory()
        self.assertEqual(buffer.pending_bytes, LIMIT - 1)
        self.assertTrue(peak < 4 * LIMIT, f"{peak} bytes for a frame of {LIMIT}")

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=300), st.lists(st.integers(0, 40), max_size=12))
    def test_noise(self, noise: bytes, sizes: list[int]) -> None:
        """Any bytes at all either wait, make frames within the limit, or break the stream."""
        buffer = FrameBuffer(100)
        try:
            for chunk in cut(noise, sizes):
                for frame in buffer.feed(chunk):
                    self.assertTrue(48 <= len(frame) <= 100)
                self.assertTrue(buffer.pending_bytes <= 100)
        except RemoteProtocolError as error:
            self.assertTrue(error.status.is_breach)


class StrangerTests(SynchronousTestCase):
    """Other protocols at our door."""

    def _stranger(self, first: bytes, word: str) -> None:
        buffer = FrameBuffer(limits.HANDSHAKE_BYTES)
        error = self.assertRaises(RemoteProtocolError, buffer.feed, first)
        self.assertIs(error.status, Status.NOT_ATBUS)
        self.assertIn(word, str(error))

    def test_they_are_named(self) -> None:
        """The log says who knocked, so that people see what is set up wrongly."""
        self._stranger(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP")
        self._stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n", "web server")
        self._stranger(b"<!DOCTYPE HTML>\n<html>", "web server")
        self._stranger(b"\x16\x03\x01\x02\x00\x01\x00", "TLS")
        self._stranger(b"\x15\x03\x03\x00\x02\x02\x28", "TLS")
        self._stranger(b"SSH-2.0-OpenSSH_9.6\r\n", "SSH")
        self._stranger(b'INFO {"server_id":"x"}\r\n', "NATS")
        self._stranger(b'CONNECT {"verbose":false}\r\n', "NATS")
        self._stranger(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "load balancer")
        self._stranger(b"\r\n\r\n\x00\r\nQUIT\n", "load balancer")

    def test_noise_is_just_malformed(self) -> None:
        """What nobody knows is refused by its length."""
        buffer = FrameBuffer(limits.HANDSHAKE_BYTES)
        self.assertRaises(FrameTooLarge, buffer.feed, b"\xde\xad\xbe\xef")

    def test_only_first_bytes_are_compared(self) -> None:
        """A frame in the middle of a stream with such a length is a lie like any other."""
        buffer = FrameBuffer(limits.HANDSHAKE_BYTES)
        buffer.feed(codec.encode(Ping()))
        self.assertRaises(FrameTooLarge, buffer.feed, b"GET / HTTP/1.1")
