"""Frames that are copied into a lane as they are made, whole or in pieces."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.lane import CHECKED_HEAD, CHECKED_WHOLE, HEADER_BYTES, record_max_of
from atbus.channels.lane_channel import Fence
from atbus.channels.lane_reader import LaneReader, make_lane
from atbus.channels.lane_writer import LaneWriter, join_lane
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.errors import ChannelClosed, LocalProtocolError
from atbus.testing.recording import RecordingReceiver, frame_of
from tests.channels.sockets import SocketTests

PLACE = Address(Scheme.SHM, "reader")
NONCE = b"sixteen bytes..."


def both_ends(capacity: int, checked: int = CHECKED_HEAD) -> tuple[LaneReader, LaneWriter]:
    """Make both ends of a lane of which the nonce was read."""
    memory = memoryview(bytearray(HEADER_BYTES + capacity))
    reader = make_lane(memory, NONCE, checked)
    writer = join_lane(memory, record_max_of(capacity))
    reader.read(capacity)
    return reader, writer


class PutTests(SynchronousTestCase):
    """The ring itself."""

    def test_a_frame_in_pieces(self) -> None:
        """
        A frame that is copied piece by piece is the frame, wherever the ring ends in it, and
        nobody sees it before it is committed.
        """
        for checked in (CHECKED_HEAD, CHECKED_WHOLE):
            reader, writer = both_ends(1024, checked)
            for number in range(200):
                front = bytes((number,)) * 48
                middle = memoryview(bytes(range(number)))
                pieces: list[bytes | memoryview] = [front, b"", middle, b"end" * (number % 30)]
                self.assertTrue(writer.put(pieces))
                self.assertTrue(writer.put([front]))
                self.assertEqual(reader.unread_bytes, 0)
                self.assertTrue(writer.commit())
                self.assertFalse(writer.commit())
                self.assertEqual(reader.read(10_000), [b"".join(pieces), front])

    def test_room_is_seen_while_a_batch_is_put(self) -> None:
        """What the reader has read since the batch began is room for the rest of it."""
        reader, writer = both_ends(512)
        self.assertEqual(writer.write([b"x" * 56] * 4), 4)
        puts = [writer.put((b"y" * 56,)) for _ in range(5)]
        self.assertEqual(puts, [True, True, True, True, False])
        self.assertEqual(reader.read(10_000), [b"x" * 56] * 4)
        self.assertTrue(writer.put((b"z" * 56,)))
        self.assertTrue(writer.commit())
        self.assertEqual(reader.read(10_000), [b"y" * 56] * 4 + [b"z" * 56])

    def test_room_is_looked_at_when_it_is_little(self) -> None:
        """While less than half of the lane is taken, as seen last, nobody looks what was read."""
        reader, writer = both_ends(512)
        writer.write([b"x" * 56] * 3)
        reader.read(10_000)
        self.assertEqual(writer.room_bytes, 512 - 3 * 64)
        writer.write([b"x" * 56])
        self.assertEqual(writer.room_bytes, 512 - 64)
        writer.write([b"x" * 56] * 4)
        self.assertEqual(writer.room_bytes, 512 - 5 * 64)
        reader.read(10_000)
        self.assertEqual(writer.room_bytes, 512)

    def test_a_lone_frame(self) -> None:
        """The short way leaves in the lane what the long one does, whatever number a frame has."""
        frames = [bytes((number,)) * (40 + number) for number in range(60)]
        memories = []
        for has_short_way in (True, False):
            memory = memoryview(bytearray(HEADER_BYTES + 512))
            reader = make_lane(memory, b"n" * 16)
            writer = join_lane(memory, reader.record_max)
            reader.read(10_000)
            short = 0
            for frame in frames:
                if has_short_way and writer.write_one(frame):
                    short += 1
                else:
                    self.assertEqual(writer.write([frame]), 1)
                self.assertEqual((reader.read(10_000), writer.unread_bytes), ([frame], 0))
            # Those that go around the end do not go that way.
            self.assertTrue(short > 40 if has_short_way else not short)
            memories.append((bytes(memory), writer.written_bytes, reader.read_bytes))
        self.assertEqual(memories[0], memories[1])

    def test_no_short_way(self) -> None:
        """Where there is no room, and for a frame that is too long, nothing changes."""
        reader, writer = both_ends(512)
        self.assertFalse(writer.write_one(bytes(writer.record_max + 1)))
        for _ in range(7):
            self.assertTrue(writer.write_one(b"x" * 56))
        reader.read(64)
        # There is room for eight of them, of which one goes around the end.
        self.assertEqual(writer.write([b"y" * 56] * 3), 2)
        self.assertFalse(writer.write_one(b"z" * 56))
        self.assertFalse(writer.commit())
        self.assertEqual(reader.read(10_000), [b"x" * 56] * 6 + [b"y" * 56] * 2)
        self.assertTrue(writer.write_one(b"z" * 56))
        self.assertEqual(reader.read(10_000), [b"z" * 56])

    def test_a_frame_that_is_too_long(self) -> None:
        """What the reader would take for a breach is not put, and changes nothing."""
        _, writer = both_ends(512)
        with self.assertRaises(LocalProtocolError):
            writer.put((bytes(200), bytes(writer.record_max - 199)))
        self.assertFalse(writer.commit())


class EachTests(SocketTests):
    """The writing channel."""

    async def test_frames_are_made_one_by_one(self) -> None:
        """
        Each frame is copied before the next one is made, and what has no room waits behind the
        others; all of them are made also when the channel has ended.
        """
        fence = Fence()
        self.addCleanup(fence.close)
        size_bytes = limits.LANE_BYTES_MIN
        lane = IncomingLane(self.reactor, PLACE, "writer", self.timers, fence, size_bytes)
        memory, bell = lane.descriptors
        ends = OutgoingLane(
            PLACE,
            "reader",
            self.timers,
            ChannelOptions(),
            fence,
            (os.dup(memory), os.dup(bell)),
            size_bytes=size_bytes,
            record_max=lane.record_max,
        )
        lane.tell_room = ends.nudge
        writer, reader = RecordingReceiver(), RecordingReceiver()
        ends.start(writer)
        lane.start(reader)
        sent = [frame_of(3_000 + number, number) for number in range(30)]
        queued: list[int] = []

        def made() -> Iterator[Sequence[bytes]]:
            for frame in sent:
                queued.append(ends.queued_bytes)
                yield (frame[:60], frame[60:]) if len(frame) % 2 else (frame,)

        ends.send_each(made())
        self.assertEqual(queued[:10], [0] * 10)
        self.assertGreater(queued[-1], 0)
        self.assertEqual(await reader.received(30), sent)
        self.assertEqual(ends.queued_bytes, 0)
        ends.abort("the end")
        with self.assertRaises(ChannelClosed):
            ends.send_each(made())
        self.assertEqual(len(queued), 60)
        lane.abort("the end")
        await writer.end()
        await reader.end()
