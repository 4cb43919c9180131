"""Runs: what the hot path makes of messages and of frames."""

from __future__ import annotations

import struct
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import LocalProtocolError, MalformedFrame
from atbus.wire.extras import pack_extras
from atbus.wire.head import HEAD_SIZE, peek
from atbus.wire.messages import Extra
from atbus.wire.runs import fragment_pieces, iter_run, pack_run, read_fragment, split_run


def run(*payloads: bytes, **more: Any) -> bytes:
    """
    Pack a run whose kinds count from 0.

    :returns: The frame.
    """
    return pack_run(1, 2, 3, 4, list(range(len(payloads))), payloads, **more)


class RunTests(SynchronousTestCase):
    """What goes in comes out."""

    def test_payloads_are_opaque(self) -> None:
        """NUL bytes, text that is none, and nothing at all arrive as they were sent."""
        payloads = (b"a\x00b", b"", b"\xff\xfe", b"")
        self.assertEqual(iter_run(run(*payloads)), list(enumerate(payloads)))

    def test_an_empty_payload_alone(self) -> None:
        """
        A message with an empty payload packs, travels and unpacks.

        Scenario: D14
        """
        self.assertEqual(iter_run(run(b"")), [(0, b"")])

    def test_kinds_arrive_unchanged(self) -> None:
        """Kinds are numbers of the application, also negative and large ones."""
        kinds = [-(2**31), -1, 0, 1, 2**31 - 1]
        frame = pack_run(1, 2, 3, 4, kinds, [b"x"] * 5)
        self.assertEqual([kind for kind, _ in iter_run(frame)], kinds)

    def test_one_message_and_many_are_laid_out_alike(self) -> None:
        """The short way for a single message writes what the long one would."""
        one = run(b"payload", flags=3, frame=9, ack=8)
        two = run(b"payload", b"", flags=3, frame=9, ack=8)
        self.assertEqual(one[HEAD_SIZE : HEAD_SIZE + 8], two[HEAD_SIZE : HEAD_SIZE + 8])
        self.assertEqual(peek(one)[1:10], peek(two)[1:10])
        self.assertEqual((peek(one)[10], peek(two)[10]), (1, 2))

    def test_messages_that_are_alike(self) -> None:
        """Messages of one length and one kind are packed and cut like all others."""
        for length in (0, 1, 200):
            for count in (2, 3, 63, 64, 65, 300):
                payloads = [bytes((place % 251,)) * length for place in range(count)]
                frame = pack_run(1, 2, 3, 4, [-7] * count, payloads)
                self.assertEqual(frame[HEAD_SIZE : HEAD_SIZE + 8 * count][-8:-4], frame[48:52])
                self.assertEqual(iter_run(frame), [(-7, payload) for payload in payloads])
                if length:
                    self.assertRaises(MalformedFrame, split_run, frame[:-1], HEAD_SIZE, count)
                    self.assertRaises(MalformedFrame, split_run, frame + b"x", HEAD_SIZE, count)

    def test_alike_but_for_one(self) -> None:
        """One message of another length or kind among many is kept apart."""
        for place in (0, 1, 150, 299):
            payloads = [b"same"] * 300
            payloads[place] = b"other one"
            self.assertEqual([p for _, p in iter_run(run(*payloads))], payloads)
            kinds = [3] * 300
            kinds[place] = -(2**31)
            frame = pack_run(1, 2, 3, 4, kinds, [b"same"] * 300)
            self.assertEqual([kind for kind, _ in iter_run(frame)], kinds)

    def test_extras_stand_before_the_table(self) -> None:
        """A run with extras is read as the same messages."""
        extras = pack_extras([Extra(1, b"12345678")])
        frame = run(b"a", b"b", extras=extras)
        self.assertEqual(frame[HEAD_SIZE : HEAD_SIZE + len(extras)], extras)
        self.assertEqual(iter_run(frame), [(0, b"a"), (1, b"b")])
        self.assertEqual(iter_run(run(b"a", extras=extras)), [(0, b"a")])

    def test_the_longest_run(self) -> None:
        """As many messages as a run may have, and not one more in either direction."""
        most = limits.RUN_COUNT_MAX
        self.assertEqual(len(iter_run(run(*[b""] * most))), most)
        self.assertRaises(LocalProtocolError, run, *[b""] * (most + 1))
        table = bytes(8 * (most + 1))
        self.assertRaises(MalformedFrame, split_run, table, 0, most + 1)


class LyingTableTests(SynchronousTestCase):
    """Tables that do not tell the truth."""

    def test_lengths_that_do_not_fill_the_frame(self) -> None:
        """One byte too few, one too many, or four gigabytes: nothing is delivered of the run."""
        for payloads in ((b"abcd",), (b"ab", b"cd"), (b"", b"abcd", b"")):
            frame = run(*payloads)
            for wrong in (frame[:-1], frame + b"x"):
                self.assertRaises(MalformedFrame, split_run, wrong, HEAD_SIZE, len(payloads))
            for place in range(len(payloads)):
                at = HEAD_SIZE + 8 * place
                lie = frame[:at] + b"\xff\xff\xff\xff" + frame[at + 4 :]
                self.assertRaises(MalformedFrame, iter_run, lie)

    def test_lengths_that_cancel_out(self) -> None:
        """A table cannot make up for one long message with another: sums do not wrap."""
        frame = run(b"ab", b"cd")
        at = HEAD_SIZE
        lie = (
            frame[:at]
            + (2**32 - 1).to_bytes(4, "little")
            + frame[at + 4 : at + 8]
            + (5).to_bytes(4, "little")
            + frame[at + 12 :]
        )
        self.assertRaises(MalformedFrame, iter_run, lie)

    def test_counts_that_do_not_fit(self) -> None:
        """No message at all, or a table longer than the frame."""
        frame = run(b"abc")
        for count in (0, 2, 500, 65535):
            self.assertRaises(MalformedFrame, split_run, frame, HEAD_SIZE, count)
        self.assertRaises(MalformedFrame, iter_run, frame[:40])


class FragmentTests(SynchronousTestCase):
    """Pieces of a message that is longer than a frame."""

    def test_a_piece_lies_inside_its_message(self) -> None:
        """A piece that brings nothing, or reaches beyond the end, is neither made nor taken."""
        for offset, piece in ((0, b""), (8, b"abc"), (11, b"a")):
            with self.assertRaises(LocalProtocolError):
                fragment_pieces(1, 2, 3, 4, piece, (offset, 10, 0))
            frame = b"".join(fragment_pieces(1, 2, 3, 4, b"abc", (0, 10, 0)))
            length = struct.pack("<I", 48 + 12 + len(piece))
            frame = length + frame[4:48] + struct.pack("<IIi", offset, 10, 0) + piece
            with self.assertRaises(MalformedFrame):
                read_fragment(frame, peek(frame))

    def test_a_number_that_does_not_fit(self) -> None:
        """A kind of more than 32 bits is ours to correct, not the other side's."""
        with self.assertRaises(LocalProtocolError):
            fragment_pieces(1, 2, 3, 4, b"abc", (0, 3, 2**31))

    def test_a_frame_without_a_body(self) -> None:
        """A frame too short for its own body is malformed."""
        frame = b"".join(fragment_pieces(1, 2, 3, 4, b"abc", (0, 3, 7)))
        short = (56).to_bytes(4, "little") + frame[4:56]
        with self.assertRaises(MalformedFrame):
            read_fragment(short, peek(short))
