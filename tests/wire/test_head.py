"""The head: what a relay reads and changes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import MalformedFrame
from atbus.testing.strategies import any_message, links, unsigned
from atbus.wire import codec, head
from atbus.wire.messages import Message, Ping


class PeekTests(SynchronousTestCase):
    """Looking at a head."""

    def test_all_fields_in_order(self) -> None:
        """The thirteen numbers of the head, from anywhere inside a larger chunk."""
        frame = codec.encode(
            Ping(source=1, destination=2, sequence=3, epoch=4, hop_limit=5, flags=6), 7, 8
        )
        expected = (72, 4, 6, 5, 0, 1, 2, 3, 4, 7, 0, 0, 8)
        self.assertEqual(head.peek(frame), expected)
        self.assertEqual(head.peek(b"xyz" + frame, 3), expected)

    def test_too_short(self) -> None:
        """
        Fewer bytes than a head are no frame.

        Scenario: D15
        """
        for size in (0, 1, 47):
            self.assertRaises(MalformedFrame, head.peek, bytes(size))
            self.assertRaises(
                MalformedFrame, head.patch, bytes(size), hop_limit=1, frame_number=1, ack=1
            )

    def test_a_length_that_is_not_the_frames(self) -> None:
        """A frame says how long it is, and is not read if that is not so."""
        frame = codec.encode(Ping())
        for wrong in (frame + b"x", frame[:-1]):
            self.assertRaises(MalformedFrame, head.body_start, wrong, head.peek(wrong))
            self.assertRaises(MalformedFrame, codec.decode, wrong)

    def test_extras_longer_than_the_frame(self) -> None:
        """Extras cannot reach beyond the end."""
        frame = bytearray(codec.encode(Ping()))
        frame[42:44] = (len(frame) - 47).to_bytes(2, "little")
        self.assertRaises(MalformedFrame, codec.decode, bytes(frame))


class PatchTests(SynchronousTestCase):
    """Passing a frame on."""

    @settings(deadline=None, max_examples=100)
    @given(any_message(), links(), links(), unsigned(8))
    def test_only_link_fields_change(
        self, message: Message, before: tuple[int, int], after: tuple[int, int], hop_limit: int
    ) -> None:
        """A relay changes hop limit, number and acknowledgement, and no other bit of a frame."""
        frame = codec.encode(message, *before)
        patched = head.patch(frame, hop_limit=hop_limit, frame_number=after[0], ack=after[1])
        again = head.patch(
            patched, hop_limit=message.hop_limit, frame_number=before[0], ack=before[1]
        )
        self.assertEqual(again, frame)
        was, now = head.peek(frame), head.peek(patched)
        self.assertEqual((now[3], now[9], now[12]), (hop_limit, *after))
        for place in (0, 1, 2, 4, 5, 6, 7, 8, 10, 11):
            self.assertEqual(now[place], was[place])
        self.assertEqual(patched[head.HEAD_SIZE :], frame[head.HEAD_SIZE :])

    @settings(deadline=None, max_examples=50)
    @given(st.binary(min_size=48, max_size=80))
    def test_what_a_relay_does_not_know_it_keeps(self, frame: bytes) -> None:
        """Also the reserved byte, unknown flags and unknown types come through unchanged."""
        patched = head.patch(frame, hop_limit=1, frame_number=2, ack=3)
        kept = [*range(6), *range(7, 36), *range(40, 44), *range(48, len(frame))]
        self.assertEqual([patched[i] for i in kept], [frame[i] for i in kept])
