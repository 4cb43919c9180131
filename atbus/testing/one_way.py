"""
What a way for frames has to do in one direction, as tests: what a lane and a stream have in common.

Mix `OneWayContract` into a `twisted.trial.unittest.TestCase` and say how a way is made. All of them
keep `atbus.testing.channels.ChannelContract` besides, which asks for the way back as well. A lane
has none, and its reader does not see its writer's end: there it is kept by a lane in each direction
and the stream over which they were offered, which tells of the end.
"""

# ruff: noqa: PT009, PT027 - trial, not pytest.

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from atbus.channels.interfaces import IChannel
from atbus.errors import ChannelClosed, Status
from atbus.testing.recording import RecordingReceiver, frame_of

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Tests
else:
    _Tests = object


class OneWayContract(_Tests):
    """
    The contract of a way from one writer to one reader.

    A subclass gives the method that raises `NotImplementedError` here.
    """

    timeout = 120

    #: Enough that no kernel and no lane takes it all.
    many_frames = 400
    long_payload_bytes = 60_000

    async def make_way(self, reader: RecordingReceiver) -> RecordingReceiver:
        """
        Open a way; both ends are ended when the test is over.

        :param reader: The receiver of the reading end, whose channel is open afterwards.
        :returns: That of the writing end.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def fill(self, writer: RecordingReceiver) -> list[bytes]:
        """
        Send more than is taken while nobody reads.

        :param writer: The writing end.
        :returns: What was sent.
        """
        frames = [frame_of(self.long_payload_bytes, seed) for seed in range(self.many_frames)]
        for frame in frames:
            writer.channel.send([frame])
        self.assertGreater(writer.channel.queued_bytes, 0)
        return frames

    async def test_both_ends_are_channels(self) -> None:
        """Each end is a channel, tells who is at the other one, and was opened once."""
        reader = RecordingReceiver()
        writer = await self.make_way(reader)
        for end in (writer, reader):
            verifyObject(IChannel, end.channel)
            self.assertEqual(end.calls, ["channel_opened"])
            self.assertNotEqual(end.channel.peer, "")
        self.assertEqual((writer.channel.dialled, reader.channel.dialled), (True, False))

    async def test_frames_of_all_sizes(self) -> None:
        """Small and large frames arrive whole, once and in order, also one without a payload."""
        reader = RecordingReceiver()
        writer = await self.make_way(reader)
        sent = [frame_of(size, size) for size in (0, 13, 28, 100, 56 * 1024 + 3)]
        writer.channel.send(sent)
        self.assertEqual(reader.frames, [])
        self.assertEqual(await reader.received(len(sent)), sent)

    async def test_what_was_written_is_counted(self) -> None:
        """Frames have been written when the count says so, and the reader has all of them."""
        reader = RecordingReceiver()
        writer = await self.make_way(reader)
        before = writer.channel.written_bytes
        sent = [frame_of(size, size) for size in (64, 256, 1024)]
        for frame in sent:
            writer.channel.send([frame])
        self.assertEqual(await reader.received(3), sent)
        self.assertEqual(writer.channel.written_bytes - before, sum(map(len, sent)))
        self.assertEqual(writer.channel.queued_bytes, 0)

    async def test_a_reader_that_stops(self) -> None:
        """
        While nobody reads, exactly what was not written yet is counted; nothing is lost when the
        reader goes on, and the writer is told once.
        """
        reader = RecordingReceiver()
        writer = await self.make_way(reader)
        before = writer.channel.written_bytes
        reader.channel.pause_reading()
        sent = self.fill(writer)
        full_bytes = writer.channel.queued_bytes
        for _ in range(10):
            sent.append(frame_of(1000, len(sent)))
            writer.channel.send([sent[-1]])
        self.assertEqual(writer.channel.queued_bytes, full_bytes + 10 * len(sent[-1]))
        total_bytes = sum(map(len, sent))
        written_bytes = writer.channel.written_bytes - before
        self.assertEqual(written_bytes + writer.channel.queued_bytes, total_bytes)
        reader.channel.resume_reading()
        self.assertEqual(await reader.received(len(sent)), sent)
        await writer.until(lambda: "channel_drained" in writer.calls)
        self.assertEqual(writer.calls, ["channel_opened", "channel_drained"])
        self.assertEqual(writer.channel.written_bytes - before, total_bytes)

    async def test_closing_writes_everything(self) -> None:
        """A writer that closes ends when everything is written, and all of it can be read."""
        reader = RecordingReceiver()
        writer = await self.make_way(reader)
        reader.channel.pause_reading()
        sent = self.fill(writer)
        writer.channel.close(Status.GOODBYE, "bye")
        writer.channel.close(Status.STOPPED, "again")
        self.assertRaises(ChannelClosed, writer.channel.send, [frame_of(100)])
        self.assertEqual(writer.ends, [])
        reader.channel.resume_reading()
        self.assertEqual(await writer.end(), (Status.GOODBYE, "bye"))
        self.assertEqual(await reader.received(len(sent)), sent)

    async def test_aborting(self) -> None:
        """An end that is aborted is told once, soon, and what is called afterwards does no harm."""
        for place in (0, 1):
            reader = RecordingReceiver()
            writer = await self.make_way(reader)
            end = (writer, reader)[place]
            end.channel.abort("broken", Status.HEARTBEAT_LOST)
            self.assertEqual(end.ends, [])
            self.assertEqual(await end.end(), (Status.HEARTBEAT_LOST, "broken"))
            end.channel.close()
            end.channel.abort("again")
            end.channel.pause_reading()
            end.channel.resume_reading()
            self.assertRaises(ChannelClosed, end.channel.send, [frame_of(1)])
            self.assertEqual(end.calls, ["channel_opened", "channel_closed"])

    async def test_aborting_overrules_closing(self) -> None:
        """A writer that cannot get rid of its bytes can be aborted while it closes."""
        reader = RecordingReceiver()
        writer = await self.make_way(reader)
        reader.channel.pause_reading()
        self.fill(writer)
        writer.channel.close()
        writer.channel.abort("no more time")
        self.assertEqual(await writer.end(), (Status.LINK_LOST, "no more time"))
        self.assertGreater(writer.channel.queued_bytes, 0)

    async def test_a_receiver_that_fails(self) -> None:
        """A reader whose receiver raises loses its channel, and is named in the log."""
        reader = RecordingReceiver(failing="frames_received")
        writer = await self.make_way(reader)
        writer.channel.send([frame_of(100)])
        self.assertEqual((await reader.end())[0], Status.LINK_LOST)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
