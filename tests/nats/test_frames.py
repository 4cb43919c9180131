"""Frames of WebSocket, by the byte."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats.faults import Reason
from atbus.nats.frames import Frames, framed
from tests.nats.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, frames_in

MIB = 1024 * 1024


def read(frames: Frames, pieces: Iterable[bytes]) -> bytes:
    """Give what is in them."""
    found = []
    for piece in pieces:
        frames.add(piece)
        while frames.is_unread:
            found.append(frames.take())
    return b"".join(found)


class ContentTests(SynchronousTestCase):
    """What is in frames."""

    def setUp(self) -> None:
        self.frames = Frames()

    def test_it_comes_before_a_frame_ends(self) -> None:
        """The first bytes of a frame are given as they come, however long it says that it is."""
        begun = frame(b"PING\r\n", says=1 << 32)
        self.assertEqual(read(self.frames, [begun]), b"PING\r\n")
        # Masked on behind the sixth byte.
        self.assertEqual(read(self.frames, [bytes((0x03, 0x40, 0x01)), b"\x20"]), bytes(4))

    def test_it_comes_before_a_message_ends(self) -> None:
        """So are those of a message, control frames in between."""
        said = [
            frame(b"PI", is_last=False),
            frame(b"?", PING),
            frame(b"", CONTINUATION, is_last=False),
            frame(b"NG\r\n", CONTINUATION, is_last=False),
        ]
        self.assertEqual(read(self.frames, said), b"PING\r\n")
        self.assertEqual(frames_in(b"".join(self.frames.answers)), [(PONG, b"?")])

    def test_byte_by_byte(self) -> None:
        """Where it is cut means nothing, whatever the length of a frame is written in."""
        contents = [b"a", b"", b"b" * 125, b"c" * 126, b"d" * 70_000]
        said = b"".join(map(frame, contents)) + frame("ü€".encode(), TEXT)
        found = read(self.frames, (said[place : place + 1] for place in range(len(said))))
        self.assertEqual(found, b"".join(contents) + "ü€".encode())

    def test_nothing_is_kept(self) -> None:
        """A frame of 4 GiB, or fragments without end, take no more than a piece of them."""
        content = bytes(64 * 1024)
        fragment = frame(content, CONTINUATION, is_last=False)
        for begin, piece in (
            (frame(b"", says=1 << 32), content),
            (frame(b"", is_last=False), fragment),
        ):
            frames = Frames()
            frames.add(begin)
            tracemalloc.start()
            for _ in range(128):
                frames.add(piece)
                self.assertEqual(len(frames.take()), len(content))
            kept, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertTrue(kept < MIB // 4, kept)

    def test_portions(self) -> None:
        """Of very many in one read a portion is taken at once, answers count as well."""
        many = bounds.PORTION_FRAMES + 1
        self.frames.add(frame(b"x") * many)
        self.assertEqual(len(self.frames.take()), bounds.PORTION_FRAMES)
        self.assertTrue(self.frames.is_unread)
        self.assertEqual(self.frames.take(), b"x")
        self.assertFalse(self.frames.is_unread)
        self.frames.add(frame(b"", PING) * many)
        self.assertEqual(self.frames.take(), b"")
        self.assertEqual(len(self.frames.answers), bounds.PORTION_FRAMES)
        self.assertTrue(self.frames.is_unread)


class EndTests(SynchronousTestCase):
    """How frames end."""

    def test_the_client_closes(self) -> None:
        """What it closes with comes back; what it says behind that is nothing."""
        for said in (b"", b"\x03\xe8", b"\x0b\xb8bye"):
            frames = Frames()
            self.assertEqual(read(frames, [frame(b"last") + frame(said, CLOSE)]), b"last")
            self.assertEqual(read(frames, [frame(b"more")]), b"")
            self.assertIs(frames.ended, Reason.CLIENT_CLOSED)
            ending = frames.end(Reason.CLIENT_CLOSED)
            self.assertEqual(frames_in(ending), [(CLOSE, said)])

    def test_what_is_no_frame(self) -> None:
        """It ends them, behind what was in those before it."""
        for said in (
            b"\x82\x04PING",
            frame(b"x", 3),
            frame(b"x", CONTINUATION),
            frame(b"x", BINARY, is_last=False) + frame(b"y"),
            frame(b"x", PING, is_last=False),
            frame(b"x" * 126, PING),
            frame(b"\x03", CLOSE),
            frame(b"", says=1 << 63),
        ):
            frames = Frames()
            found = read(frames, [frame(b"ok") + said, frame(b"more")])
            self.assertIn(found, (b"ok", b"okx"))
            self.assertIs(frames.ended, Reason.PROTOCOL_VIOLATION)
            [(opcode, content)] = frames_in(frames.end(Reason.PROTOCOL_VIOLATION))
            self.assertEqual((opcode, content[:2]), (CLOSE, b"\x03\xea"))

    def test_half_a_letter(self) -> None:
        """A text that is none has a number of its own."""
        frames = Frames()
        self.assertEqual(read(frames, [frame(b"\xff", TEXT)]), b"")
        [(_, content)] = frames_in(frames.end(Reason.PROTOCOL_VIOLATION))
        self.assertEqual(content[:2], b"\x03\xef")

    def test_reasons(self) -> None:
        """Why a client is closed it is told as nats-server tells it."""
        for reason, said in (
            (Reason.PROTOCOL_VIOLATION, b"\x03\xeaProtocol Violation"),
            (Reason.LINE_MAX, b"\x03\xf0Maximum Control Line Exceeded"),
            (Reason.PAYLOAD_MAX, b"\x03\xf1Maximum Message Payload Exceeded"),
            (Reason.NO_RESPONDERS, b"\x03\xf3No Responders Requires Headers"),
            (Reason.PROTOCOL_VERSION, b"\x03\xeaBad Client Protocol Version"),
        ):
            self.assertEqual(frames_in(Frames().end(reason)), [(CLOSE, said)])


class FramedTests(SynchronousTestCase):
    """What a server sends."""

    def test_lengths(self) -> None:
        """They are written as short as they can be."""
        for size, head in (
            (0, b"\x82\x00"),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ):
            content = b"x" * size
            self.assertEqual(framed(content), head + content)
