"""Lanes whose other side would keep us busy for ever."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.channels.incoming_lane import LANE_TURN_READS
from atbus.channels.lane import HEADER_BYTES, record_max_of
from atbus.channels.lane_reader import make_lane
from atbus.channels.lane_writer import join_lane
from atbus.errors import MalformedFrame
from atbus.testing.recording import RecordingReceiver, frame_of
from tests.channels.test_lane import NONCE, Lane
from tests.channels.test_lane_fences import Case


class MemoryTests(SynchronousTestCase):
    """The memory itself."""

    def test_no_room_for_a_nonce(self) -> None:
        """A lane in which not even its nonce has room is none."""
        for capacity in range(16, 48, 8):
            memory = memoryview(bytearray(HEADER_BYTES + capacity))
            make_lane(memory, NONCE)
            with self.assertRaises(MalformedFrame):
                join_lane(memory, record_max_of(capacity))

    def test_a_record_of_an_earlier_round(self) -> None:
        """A record is bound to its place: one that was there a round ago is not read again."""
        both = Lane(256)
        for _ in range(4):
            both.writer.write([b"x" * 50])
            both.reader.read(10_000)
        both.store(64, int.from_bytes(both.memory[64:72], "little") + 64)
        with self.assertRaises(MalformedFrame):
            both.reader.read(10_000)

    def test_a_reader_that_lies(self) -> None:
        """A reader that claims to have read what was not written, or goes back, is found out."""
        both = Lane()
        both.writer.write([b"x" * 100])
        both.store(128, 1 << 40)
        with self.assertRaises(MalformedFrame):
            both.writer.write([b"y"])
        both.store(128, 24)
        both.writer.write([b"y"])
        both.store(128, 0)
        with self.assertRaises(MalformedFrame):
            both.writer.write([b"z"])

    def test_a_reader_in_the_middle_of_a_word(self) -> None:
        """
        Nobody has read a part of a word: where half of a lane is said to be free the longest frame
        has room, so that a writer which waits for that does not look for ever.
        """
        both = Lane(1032)
        while both.writer.write([b"x" * 56]):
            pass
        committed = int.from_bytes(both.memory[64:72], "little")
        both.store(128, committed - both.capacity // 2)
        with self.assertRaises(MalformedFrame):
            _ = both.writer.is_half_free


class ChannelTests(Case):
    """Both ends as channels."""

    def test_a_writer_that_outlives_its_stream(self) -> None:
        """Who goes on writing when its stream has ended is not read for ever."""
        lane, ends = self.pair(limits.LANE_BYTES_MIN)
        writer, reader = RecordingReceiver(), RecordingReceiver()
        ends.start(writer)
        lane.start(reader)
        lane.pause_reading()
        taken = 0

        def taking(frames: list[bytes]) -> None:
            nonlocal taken
            taken += len(frames)
            if taken < 10 * LANE_TURN_READS:
                ends.send([frame_of(100)])

        self.patch(reader, "frames_received", taking)
        ends.send([frame_of(100)])
        lane.drain()
        self.assertTrue(0 < taken <= LANE_TURN_READS, taken)
        # What is done when the stream of a lane has ended.
        lane.abort("its stream has ended")
