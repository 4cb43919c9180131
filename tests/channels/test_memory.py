"""Channels in memory: what only they can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.address import Address, Scheme
from atbus.channels.interfaces import (
    ChannelOptions,
    IChannelListener,
    IRunChannel,
    IRunReceiver,
)
from atbus.channels.memory import WINDOW_BYTES, MemoryScheme
from atbus.errors import ConnectFailed, FrameTooLarge, ListenFailed, Status
from atbus.testing.recording import Reception, RecordingReceiver, frame_of
from atbus.wire.head import peek
from atbus.wire.loose import Frame, LooseRun
from atbus.wire.runs import pack_run, unpack_run

PLACE = Address(Scheme.MEM, "service")


def loosened(frame: bytes) -> LooseRun:
    """Take a run apart."""
    return LooseRun(peek(frame), b"", *unpack_run(frame))


def frame_with(payload_bytes: int) -> bytes:
    """Make a frame with one message."""
    return pack_run(1, 2, 3, 4, [5], [bytes(payload_bytes)])


class MemoryTests(SynchronousTestCase):
    """Two nodes of one process, on a clock that stands still unless told."""

    def setUp(self) -> None:
        self.reactor = Clock()

    def scheme(self, reactor: Any = None, **options: Any) -> MemoryScheme:
        """Make the scheme of one node."""
        reactor = reactor or self.reactor
        return MemoryScheme(reactor, ChannelOptions(**{"frame_limit": 1 << 20, **options}), reactor)

    def listen(self, accept: Reception, address: Address = PLACE) -> IChannelListener:
        """Listen as a node called 'reader'."""
        listener = self.successResultOf(self.scheme(name=lambda: "reader").listen(address, accept))
        self.addCleanup(listener.stop)
        return listener

    def turns(self, count: int = 10) -> None:
        """Let the reactor turn."""
        for _ in range(count):
            self.reactor.advance(0)

    def pair(self, **options: Any) -> tuple[RecordingReceiver, RecordingReceiver]:
        """Connect a writer to a reader."""
        reception, writer = Reception(), RecordingReceiver()
        self.listen(reception)
        self.scheme(name=lambda: "writer", **options).connect(PLACE, writer)
        self.turns()
        [reader] = reception.receivers
        return writer, reader

    def test_nothing_is_copied(self) -> None:
        """A frame arrives as the object that was sent, in a later turn."""
        writer, reader = self.pair()
        frame = frame_of(1000)
        writer.channel.send([frame])
        self.assertEqual(reader.frames, [])
        self.turns(1)
        self.assertIs(reader.frames[0], frame)

    def test_runs_are_handed_over(self) -> None:
        """
        Who takes runs gets the objects that were sent, between frames and in order, each counted
        with the length of its frame; anybody else gets frames.
        """

        @implementer(IRunReceiver)
        class Taking(RecordingReceiver):
            def frames_received(self, frames: Sequence[Frame]) -> None:
                super().frames_received(cast("list[bytes]", frames))

        frames = [frame_of(10), frame_with(2_000), frame_of(20)]
        run = loosened(frames[1])
        for made, expected in ((Taking, [frames[0], run, frames[2]]), (RecordingReceiver, frames)):
            reception, writer = Reception(made), RecordingReceiver()
            listener = self.listen(reception)
            self.scheme().connect(PLACE, writer)
            self.turns()
            channel = writer.channel
            assert IRunChannel.providedBy(channel)
            channel.send_runs([frames[0], run, frames[2]])
            self.turns()
            self.assertEqual(reception.receivers[0].frames, expected)
            self.assertEqual(channel.written_bytes, sum(map(len, frames)))
            listener.stop()

    def test_a_run_that_is_too_long(self) -> None:
        """A run whose frame would be beyond the limit is a fault, as the frame would be."""
        writer, reader = self.pair()
        reader.channel.frame_limit = 2000
        channel = writer.channel
        assert IRunChannel.providedBy(channel)
        channel.send_runs([loosened(frame_with(10)), loosened(frame_with(3000)), frame_of(11)])
        self.turns()
        self.assertEqual(reader.frames, [frame_with(10)])
        self.assertIsInstance(reader.faults[0], FrameTooLarge)

    def test_each_knows_the_other_by_name(self) -> None:
        """The peer of a channel is the other node's name."""
        writer, reader = self.pair()
        self.assertEqual(writer.channel.peer, "mem:reader")
        self.assertEqual(reader.channel.peer, "mem:writer")

    def test_what_waits_is_bounded(self) -> None:
        """A reader that stands still holds a window of bytes, the rest is counted at the writer."""
        writer, reader = self.pair()
        reader.channel.pause_reading()
        for seed in range(100):
            writer.channel.send([frame_of(10_000, seed)])
        self.turns()
        self.assertEqual(reader.frames, [])
        self.assertLess(writer.channel.written_bytes, WINDOW_BYTES + 10_048)
        self.assertGreaterEqual(writer.channel.written_bytes, WINDOW_BYTES)
        reader.channel.resume_reading()
        self.turns(40)
        self.assertEqual(len(reader.frames), 100)

    def test_a_turn_is_shared(self) -> None:
        """Bulk on one channel does not keep another one waiting for more than its turn."""
        seen: list[int] = []

        class Watching(RecordingReceiver):
            def frames_received(self, frames: list[bytes]) -> None:
                super().frames_received(frames)
                if len(frames) == 1:
                    seen.append(sum(len(guest.frames) for guest in reception.receivers))

        reception, writer, other = Reception(Watching), RecordingReceiver(), RecordingReceiver()
        self.listen(reception)
        for receiver in (writer, other):
            self.scheme().connect(PLACE, receiver)
        self.turns()
        writer.channel.send([frame_of(60_000, seed) for seed in range(300)])
        other.channel.send([frame_of(1)])
        self.turns()
        self.assertLess(seen[0], 100)
        self.assertEqual(len(reception.receivers[0].frames), 300)

    def test_names_belong_to_a_reactor(self) -> None:
        """Nodes on two reactors may have one name, and do not meet."""
        self.listen(Reception())
        other = Clock()
        elsewhere = self.scheme(other)
        missed = elsewhere.connect(PLACE, RecordingReceiver())
        other.advance(0)
        self.failureResultOf(missed, ConnectFailed)
        self.successResultOf(elsewhere.listen(PLACE, Reception()))

    def test_automatic_names(self) -> None:
        """Each automatic name is one that nobody has, and can be dialled."""
        auto = Address(Scheme.MEM, "auto")
        names = {self.listen(Reception(), auto).address for _ in range(3)}
        self.assertEqual(len(names), 3)
        self.assertTrue(all(name.is_dialable for name in names))

    def test_a_name_that_is_taken(self) -> None:
        """A second node that wants a name is told that another one has it."""
        self.listen(Reception())
        refused = self.failureResultOf(self.scheme().listen(PLACE, Reception()), ListenFailed)
        self.assertIn("another node of this process", refused.value.detail)

    def test_a_frame_that_is_too_long(self) -> None:
        """A frame beyond the limit is a fault, what was before it is delivered, nothing behind."""
        writer, reader = self.pair()
        reader.channel.frame_limit = 2000
        writer.channel.send([frame_of(10), frame_of(3000), frame_of(11)])
        self.turns()
        self.assertEqual(reader.frames, [frame_of(10)])
        self.assertIsInstance(reader.faults[0], FrameTooLarge)
        self.assertEqual(reader.ends[0][0], Status.FRAME_TOO_LARGE)
        self.assertEqual(writer.ends[0][0], Status.LINK_LOST)

    def test_a_limit_that_is_raised_in_time(self) -> None:
        """A frame is judged by the limit that counts once those before it were delivered."""

        class Growing(RecordingReceiver):
            def frames_received(self, frames: list[bytes]) -> None:
                self.channel.frame_limit = 10_000
                super().frames_received(frames)

        reception, writer = Reception(Growing), RecordingReceiver()
        self.listen(reception)
        self.scheme().connect(PLACE, writer)
        self.turns()
        [reader] = reception.receivers
        reader.channel.frame_limit = 2000
        writer.channel.send([frame_of(10), frame_of(3000)])
        self.turns()
        self.assertEqual(len(reader.frames), 2)

    def test_closing_gives_up(self) -> None:
        """A channel that closes towards a reader that stands still ends at the deadline."""
        writer, reader = self.pair(write_deadline_seconds=3, linger_seconds=1)
        reader.channel.pause_reading()
        for seed in range(100):
            writer.channel.send([frame_of(10_000, seed)])
        writer.channel.close(Status.GOODBYE, "bye")
        self.turns()
        self.reactor.advance(2.9)
        self.turns()
        self.assertEqual(writer.ends, [])
        self.reactor.advance(0.2)
        self.turns()
        self.assertEqual(writer.ends[0][0], Status.LINK_LOST)
        self.assertIn("could not be written", writer.ends[0][1])
        reader.channel.resume_reading()
        self.turns(40)
        self.assertEqual(len(reader.ends), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_closing_when_the_other_side_stays(self) -> None:
        """What was written is not waited for longer than the linger, and no timer is left."""
        writer, reader = self.pair(linger_seconds=1)
        reader.channel.pause_reading()
        writer.channel.close(Status.GOODBYE, "bye")
        self.turns()
        self.reactor.advance(1.1)
        self.turns()
        self.assertEqual(writer.ends, [(Status.GOODBYE, "bye")])
        reader.channel.resume_reading()
        self.turns()
        self.assertEqual(reader.ends[0][0], Status.LINK_LOST)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_dead_writer_is_noticed_behind_its_frames(self) -> None:
        """What was handed over before an abort is delivered before the end is told."""
        writer, reader = self.pair()
        writer.channel.send([frame_of(100, seed) for seed in range(30)])
        writer.channel.abort("gone")
        self.turns()
        self.assertEqual(len(reader.frames), 30)
        self.assertEqual(reader.calls[-1], "channel_closed")
        self.assertEqual(len(reader.ends), 1)
