"""The short ways out of a lane: a lone frame at once, and long payloads copied once."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels.lane import CHECKED_HEAD, CHECKED_WHOLE, HEADER_BYTES
from atbus.channels.lane_reader import LaneReader, make_lane
from atbus.channels.lane_writer import LaneWriter, join_lane
from atbus.errors import MalformedFrame
from atbus.limits import FRAME_BYTES_MAX
from atbus.wire.extras import pack_extras
from atbus.wire.loose import Frame, LooseRun, joined
from atbus.wire.messages import Extra, Flags
from atbus.wire.runs import fragment_pieces, pack_run

NONCE = bytes(range(16))
READER, OTHER = 0x77, 0x78
CONSUMED_AT, COMMITTED_AT = 128, 64


def run_of(
    *sizes: int, destination: int = READER, flags: int = 0, extras: bytes = b""
) -> bytes:
    """Make a DATA frame of messages with these lengths."""
    payloads = [bytes([place + 1]) * size for place, size in enumerate(sizes)]
    kinds = [-1 - place for place in range(len(sizes))]
    return pack_run(
        OTHER, destination, 9, 3, kinds, payloads, flags=flags, frame=5, ack=6, extras=extras
    )


class Lane:
    """Both ends on one bytearray; what proves it has been read."""

    def __init__(self, capacity: int, checked: int = CHECKED_HEAD) -> None:
        self.memory = bytearray(HEADER_BYTES + capacity)
        view = memoryview(self.memory)
        self.reader: LaneReader = make_lane(view, NONCE, checked)
        self.writer: LaneWriter = join_lane(view, self.reader.record_max)
        self.capacity = capacity
        assert not self.reader.read(capacity)

    def begin_at(self, place: int) -> None:
        """Have the next record begin at a place of the ring, a multiple of 8 beyond 24."""
        while (ahead := place - self.writer._place % self.capacity) != 0:
            ahead = ahead % self.capacity or self.capacity
            size = min(ahead, self.capacity // 2)
            size = ahead - 16 if 0 < ahead - size < 16 else size
            assert self.writer.write((bytes(size - 8),))
            self.reader.read(self.capacity)

    def number(self, at: int) -> int:
        """Load one of the header's numbers."""
        return int.from_bytes(self.memory[at : at + 8], "little")


def read_whole(both: Lane) -> Sequence[Frame]:
    """Read everything in one piece each."""
    return both.reader.read(both.capacity)


class LoneFrameTests(SynchronousTestCase):
    """`read_one` gives a lone frame, or nothing and changes nothing."""

    def test_a_lone_frame(self) -> None:
        """Frames that come alone are read one by one, and counted as by `read`."""
        both = Lane(1024)
        read_before = both.reader.read_bytes
        for size in (1, 7, 8, 9, 100, 400):
            both.writer.write((b"x" * size,))
            self.assertFalse(both.reader.is_empty)
            self.assertEqual(both.reader.read_one(), b"x" * size)
            self.assertTrue(both.reader.is_empty)
            self.assertEqual(both.number(CONSUMED_AT), both.number(COMMITTED_AT))
        self.assertEqual(both.reader.read_bytes - read_before, 525)
        self.assertIsNone(both.reader.read_one())

    def refused(self, both: Lane) -> None:
        """See that there is nothing for `read_one`, and that nothing has changed."""
        before = bytes(both.memory), both.reader.read_bytes, both.reader.consumed_bytes
        self.assertIsNone(both.reader.read_one())
        after = bytes(both.memory), both.reader.read_bytes, both.reader.consumed_bytes
        self.assertEqual(after, before)

    def test_what_is_not_lone(self) -> None:
        """Two frames, a long one, and one that goes around the end are left to `read`."""
        both = Lane(16_384)
        for frames in ([b"a", b"b"], [b"c" * 4_096]):
            both.writer.write(frames)
            self.refused(both)
            self.assertEqual(both.reader.read(both.capacity), frames)
        both.begin_at(both.capacity - 64)
        both.writer.write((b"d" * 57,))
        self.refused(both)
        self.assertEqual(both.reader.read(both.capacity), [b"d" * 57])
        both.begin_at(both.capacity - 64)
        both.writer.write((b"e" * 56,))
        self.assertEqual(both.reader.read_one(), b"e" * 56)

    def test_the_nonce(self) -> None:
        """What the first record is, is for `read` to say: nobody takes it for a frame."""
        memory = bytearray(HEADER_BYTES + 1024)
        reader = make_lane(memoryview(memory), NONCE)
        join_lane(memoryview(memory), reader.record_max)
        self.assertIsNone(reader.read_one())
        self.assertFalse(reader.proven)
        self.assertEqual(reader.read(1024), [])
        self.assertTrue(reader.proven)

    def test_what_breaks_the_rules(self) -> None:
        """A wrong check, a wrong length, and indices that cannot be are left to `read`."""
        for checked in (CHECKED_HEAD, CHECKED_WHOLE):
            for place, value in (
                (HEADER_BYTES + 24, 49), (HEADER_BYTES + 24, 41), (HEADER_BYTES + 24, 1 << 31),
                (HEADER_BYTES + 28, 1), (HEADER_BYTES + 32, 0x55),
                (COMMITTED_AT, 0), (COMMITTED_AT, 24 + 57), (COMMITTED_AT, 1 << 30),
            ):  # fmt: skip
                both = Lane(1024, checked)
                both.writer.write((b"x" * 48,))
                both.memory[place : place + 4] = value.to_bytes(4, "little")
                self.refused(both)
                self.assertRaises(MalformedFrame, both.reader.read, 1024)

    def test_lengths_that_cannot_be(self) -> None:
        """A record of nothing, and one longer than a lane takes, are refused though they check."""
        for size in (0, 600):
            both = Lane(1024)
            both.memory[COMMITTED_AT : COMMITTED_AT + 8] = (24 + 8 + size).to_bytes(8, "little")
            check = crc32(bytes(min(size, CHECKED_HEAD)), 24 + size)
            struct.pack_into("=II", both.memory, HEADER_BYTES + 24, size, check)
            self.refused(both)
            self.assertRaises(MalformedFrame, both.reader.read, 1024)


class LongRunTests(SynchronousTestCase):
    """`read_runs` gives payloads of long runs for this node each by itself."""

    def read(self, both: Lane) -> list[Frame]:
        """Read everything as node 0x77 does."""
        return both.reader.read_runs(both.capacity, READER)

    def both_ways(self) -> Iterator[tuple[int, Lane]]:
        """Give lanes in which a frame begins here and there, also around the end."""
        capacity = 1 << 19
        # Behind the record's head, in the frame's head, in the table, in payloads, behind all.
        for before_end in (capacity, 8, 16, 56, 64, 72, 120, 70_000, 150_000, 200_000):
            both = Lane(capacity)
            both.begin_at((capacity - before_end) % capacity)
            yield before_end, both

    def test_payloads_come_loose(self) -> None:
        """Wherever a run begins and wraps, its payloads are what was sent, and so is the frame."""
        for sizes in ((131_072,), (70_000, 0, 5, 90_001), (32_768,) * 5):
            frame = run_of(*sizes)
            for before_end, both in self.both_ways():
                read_before = both.reader.read_bytes
                self.assertEqual(both.writer.write((b"first", frame, b"last")), 3)
                first, loose, last = self.read(both)
                self.assertEqual((first, last), (b"first", b"last"))
                assert isinstance(loose, LooseRun), (sizes, before_end)
                self.assertEqual(list(map(len, loose.payloads)), list(sizes))
                self.assertEqual(loose.join(), frame)
                self.assertEqual(both.reader.read_bytes - read_before, len(frame) + 9)
                self.assertTrue(both.reader.is_empty)

    def test_what_comes_in_one_piece(self) -> None:
        """Short and relayed frames, fragments, packed and signed ones are what `read` gives."""
        extras = pack_extras((Extra(7, b"text"),))
        for frame in (
            run_of(100_000),
            run_of(*[1_000] * 200),
            run_of(200_000, destination=OTHER),
            run_of(200_000, destination=0),
            run_of(200_000, flags=int(Flags.COMPRESSED)),
            run_of(200_000, extras=extras),
            b"".join(fragment_pieces(OTHER, READER, 9, 3, bytes(200_000), (0, 1 << 20, 0))),
        ):
            both = Lane(1 << 20)
            both.writer.write((frame,))
            self.assertEqual(self.read(both), [frame])

    def test_a_frame_that_lies(self) -> None:
        """What is no run, though its check is right, comes in one piece for others to judge."""
        frame = bytearray(run_of(70_000, 80_000))
        for place, value in ((0, 150_113), (1, 0xFF), (40, 0), (40, 3), (40, 9), (42, 8)):
            lying = bytearray(frame)
            lying[place : place + 2] = value.to_bytes(4, "little")[:2]
            self.one_piece(bytes(lying))
        for place, value in ((48, 70_001), (48, 1 << 31), (56, 79_999), (56, (1 << 32) - 1)):
            lying = bytearray(frame)
            lying[place : place + 4] = value.to_bytes(4, "little")
            self.one_piece(bytes(lying))

    def one_piece(self, frame: bytes) -> None:
        both = Lane(1 << 20)
        both.writer.write((frame,))
        self.assertEqual(self.read(both), [frame])

    def test_wherever_the_whole_is_checked(self) -> None:
        """Where more than the head has to be checked, nothing is loosened, and damage is found."""
        both = Lane(1 << 20, CHECKED_WHOLE)
        frame = run_of(200_000)
        both.writer.write((frame,))
        self.assertEqual(self.read(both), [frame])
        both.writer.write((frame,))
        both.memory[both.reader.consumed_bytes + HEADER_BYTES + 100_000] ^= 1
        self.assertRaises(MalformedFrame, self.read, both)

    def test_a_head_that_fails_its_check(self) -> None:
        """Any bit of a head that was changed ends the lane, loose or not."""
        for bit in range(8 * 48):
            both = Lane(1 << 19)
            both.writer.write((run_of(150_000),))
            both.memory[HEADER_BYTES + 24 + 8 + bit // 8] ^= 1 << bit % 8
            self.assertRaises(MalformedFrame, self.read, both)

    def test_what_changes_meanwhile(self) -> None:
        """
        What tells where payloads are is copied before it is believed: a writer that changes it then
        changes nothing.
        """
        frame = run_of(70_000, 80_000)
        both = Lane(1 << 20)
        both.writer.write((frame,))
        copy = both.reader._copy
        # Behind the nonce and the record's head: the frame's head, then its table.
        at = HEADER_BYTES + 24 + 8
        changes = iter(((at, 48), (at + 48, 16)))

        def then_changed(start: int, size: int) -> bytes:
            copied = copy(start, size)
            begin, count = next(changes, (0, 0))
            both.memory[begin : begin + count] = b"\xff" * count
            return copied

        self.patch(both.reader, "_copy", then_changed)
        [loose] = self.read(both)
        assert isinstance(loose, LooseRun)
        self.assertEqual(loose.join(), frame)

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_as_by_read(self, data: st.DataObject) -> None:
        """Whatever is damaged, both ways of reading give the same frames or the same refusal."""
        lanes = [Lane(1 << 19), Lane(1 << 19)]
        start = 8 * data.draw(st.integers(8, (1 << 16) - 1))
        sizes = data.draw(
            st.lists(st.one_of(st.integers(0, 200), st.integers(20_000, 130_000)), max_size=4)
        )
        frames = [run_of(*sizes[:2] or [150_000]), run_of(*sizes[2:] or [1])]
        changes = data.draw(
            st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3)
        )
        outcomes = []
        for both, reads in zip(lanes, (read_whole, self.read), strict=True):
            both.begin_at(start)
            both.writer.write(frames)
            for place, value in changes:
                both.memory[HEADER_BYTES + (start + place) % both.capacity] = value
            try:
                outcomes.append([joined(each) for each in reads(both)])
            except MalformedFrame as error:
                outcomes.append([error.detail.encode()])
        self.assertEqual(*outcomes)

    def test_the_longest_frame(self) -> None:
        """A frame as long as there may be is read like any other."""
        both = Lane(4 << 20)
        frame = run_of(FRAME_BYTES_MAX - 56)
        both.writer.write((frame,))
        [loose] = self.read(both)
        assert isinstance(loose, LooseRun)
        self.assertEqual(loose.join(), frame)
