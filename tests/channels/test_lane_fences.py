"""
What is ordered by fences, and how much a lane takes of one turn.

A fence is recorded where the system is asked for it: what the other side does at that very moment
must be seen behind it, and what this side has stored must be there before.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels.incoming_lane import LANE_TURN_BYTES, IncomingLane
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.lane import AT_COMMITTED, AT_CONSUMED, AT_SLEEPING, AT_WAITING
from atbus.channels.lane_channel import Fence
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.testing.recording import RecordingReceiver, Watched, frame_of
from tests.channels.sockets import SocketTests

PLACE = Address(Scheme.SHM, "reader")


class Case(SocketTests):
    """Both ends of a lane; the test begins to read when it wants to."""

    def setUp(self) -> None:
        super().setUp()
        self.fence = Fence()
        self.addCleanup(self.fence.close)

    def pair(self, size_bytes: int) -> tuple[IncomingLane, OutgoingLane]:
        """Make a lane."""
        lane = IncomingLane(self.reactor, PLACE, "writer", self.timers, self.fence, size_bytes)
        memory, rope = lane.descriptors
        ends = OutgoingLane(
            *(PLACE, "reader", self.timers, ChannelOptions(), self.fence),
            (os.dup(memory), os.dup(rope)),
            size_bytes=size_bytes,
            record_max=lane.record_max,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(self.end(lane, ends)))
        return lane, ends

    async def end(self, *channels: IncomingLane | OutgoingLane) -> None:
        """End channels, and let that be told."""
        for channel in channels:
            channel.abort("the test is over")
        await self.turn()

    async def turn(self) -> None:
        """Let the reactor turn."""
        turn: Deferred[None] = Deferred()
        self.reactor.callLater(0, turn.callback, None)
        await turn


class FenceTests(Case):
    """Store, fence, load, on both sides."""

    def setUp(self) -> None:
        super().setUp()
        #: What happens at the moment of a fence.
        self.meanwhile: Callable[[], None] = lambda: None
        self.fences = 0
        write = os.eventfd_write

        def recorded(descriptor: int, value: int) -> None:
            self.fences += 1
            self.meanwhile()
            write(descriptor, value)

        self.patch(os, "eventfd_write", recorded)
        self.lane, self.ends = self.pair(limits.LANE_BYTES_MIN)
        self.numbers = self.lane._memory.cast("Q")
        self.addCleanup(self.numbers.release)
        self.ends.start(RecordingReceiver())
        self.rung = 0

        def ring() -> None:
            self.rung += 1

        self.patch(self.ends._rope, "ring", ring)

    def test_a_reader_that_falls_asleep_as_one_commits(self) -> None:
        """What is committed is there before the fence; a reader that sleeps by then is rung."""
        before = self.numbers[AT_COMMITTED]
        committed = []

        def falls_asleep() -> None:
            committed.append(self.numbers[AT_COMMITTED])
            self.numbers[AT_SLEEPING] = 1

        self.meanwhile = falls_asleep
        self.ends.send([frame_of(100)])
        self.assertEqual(committed, [self.numbers[AT_COMMITTED]])
        self.assertGreater(committed[0], before)
        self.assertEqual(self.rung, 1)

    def test_a_reader_that_sleeps_is_rung_without_a_fence(self) -> None:
        """Ringing is a fence itself; one that is awake is not rung."""
        self.ends.send([frame_of(100, 1)])
        self.assertEqual((self.fences, self.rung), (1, 0))
        self.numbers[AT_SLEEPING] = 1
        self.ends.send([frame_of(100, 2)])
        self.assertEqual((self.fences, self.rung), (1, 1))

    def test_room_comes_as_one_begins_to_wait(self) -> None:
        """A writer says that it waits before the fence, and sees room that there is by then."""
        waiting = []

        def reads_all() -> None:
            if self.ends._lane.waits:
                waiting.append(self.numbers[AT_WAITING] % 2)
                self.numbers[AT_CONSUMED] = self.numbers[AT_COMMITTED]

        self.meanwhile = reads_all
        self.ends.send([frame_of(5_000, seed) for seed in range(20)])
        self.assertEqual(set(waiting), {1})
        self.assertEqual(self.ends.queued_bytes, 0)

    async def test_a_frame_comes_as_one_falls_asleep(self) -> None:
        """A reader says that it sleeps before the fence, and reads what is there by then."""
        receiver = RecordingReceiver()
        self.lane.start(receiver)
        frame = frame_of(100)
        self.ends.send([frame])
        await receiver.received(1)
        sleeping: list[int] = []

        def commits() -> None:
            if not sleeping:
                sleeping.append(self.numbers[AT_SLEEPING] % 2)
                self.ends._lane.write([frame])

        self.lane._lane.wake()
        self.meanwhile = commits
        self.assertFalse(self.lane.fall_asleep())
        self.assertEqual(sleeping, [1])
        self.assertEqual(await receiver.received(2), [frame, frame])
        self.assertEqual(self.rung, 0)

    def test_a_writer_begins_to_wait_as_one_pauses(self) -> None:
        """A reader that pauses tells a writer that waits by then that there is room."""
        told: list[bool] = []
        self.lane.tell_room = lambda: told.append(True)
        consumed = []

        def waits() -> None:
            consumed.append(self.numbers[AT_CONSUMED])
            self.numbers[AT_WAITING] = 1

        self.lane._lane.read(limits.LANE_BYTES_MIN)
        self.meanwhile = waits
        self.lane.pause_reading()
        self.assertEqual(consumed, [self.lane._lane._consumed])
        self.assertEqual(told, [True])


@implementer(IReadDescriptor)
class Neighbor(Watched):
    """A socket beside the lane, which notes how far that was when it was read."""

    def __init__(self, lane: IncomingLane, descriptor: socket.socket) -> None:
        super().__init__()
        self.lane, self.descriptor = lane, descriptor
        self.progress: list[int] = []

    def fileno(self) -> int:
        return self.descriptor.fileno()

    def logPrefix(self) -> str:
        """Name this in Twisted's log."""
        return "neighbor"

    def connectionLost(self, reason: Failure) -> None:
        """Take note of nothing."""

    def doRead(self) -> None:
        """Read, and note how much was read from the lane."""
        self.descriptor.recv(100)
        self.progress.append(self.lane.read_bytes)
        self.changed()


class LookTests(Case):
    """What a look at a lane that sleeps finds."""

    async def sleeping(self) -> tuple[IncomingLane, OutgoingLane, RecordingReceiver]:
        """Make a lane whose reader has read one frame and sleeps."""
        lane, ends = self.pair(limits.LANE_BYTES_MIN)
        receiver = RecordingReceiver()
        ends.start(RecordingReceiver())
        lane.start(receiver)
        ends.send([frame_of(100)])
        await receiver.received(1)
        await self.turn()
        self.assertTrue(lane._lane.asleep)
        return lane, ends, receiver

    async def test_a_missed_wake_up(self) -> None:
        """A reader that nobody has rung is found by the second look, and goes on."""
        lane, ends, receiver = await self.sleeping()
        with mock.patch.object(ends._lane, "must_ring", return_value=False):
            ends.send([frame_of(100, 1)])
        self.assertFalse(lane.look())
        self.assertTrue(lane.look())
        self.assertEqual(len(receiver.frames), 2)

    async def test_a_writer_that_is_held_up(self) -> None:
        """
        A writer that stands still between what it commits and the bell has missed nothing yet: the
        reader goes on by itself, and counts nothing. What it does not ring for afterwards counts.
        """
        lane, ends, receiver = await self.sleeping()
        with mock.patch.object(ends, "_ring") as held_up:
            ends.send([frame_of(100, 1)])
        held_up.assert_called_once()
        self.assertEqual([lane.look(), lane.look()], [False, False])
        self.assertEqual(len(receiver.frames), 2)
        ends._ring()
        with mock.patch.object(ends._lane, "must_ring", return_value=False):
            ends.send([frame_of(100, 2)])
        assert lane._bell is not None
        self.assertTrue(lane._bell.answer())
        self.assertEqual([lane.look(), lane.look()], [False, True])

    async def test_a_late_wake_up(self) -> None:
        """
        A reader that was rung has missed nothing, though its process comes to its timers before
        its doorbells, twice: it reads when it comes to those.
        """
        lane, ends, receiver = await self.sleeping()
        ends.send([frame_of(100, 1)])
        self.assertEqual([lane.look(), lane.look()], [False, False])
        self.assertEqual(len(receiver.frames), 1)
        await receiver.received(2)

    async def test_a_late_word(self) -> None:
        """
        A writer that was told of room has missed nothing, though its process comes to its timers
        before its sockets, twice; without that word it goes on by itself, and says so.
        """
        lane, ends, receiver = await self.sleeping()
        words: list[None] = []
        lane.tell_room = lambda: words.append(None)
        missed: list[None] = []
        ends.missed = lambda: missed.append(None)
        sent = [frame_of(1000, seed) for seed in range(2 * limits.LANE_BYTES_MIN // 1000)]
        for is_told in (True, False):
            before = len(receiver.frames)
            lane.pause_reading()
            ends.send(sent)
            lane.resume_reading()
            await receiver.until(lambda: bool(words) and not lane.unread_bytes)
            # It sleeps when the word has left.
            while not lane._lane.asleep:
                await self.turn()
            words.clear()
            for _ in range(2):
                # As the alarm does.
                ends._cancel()
                ends._look()
            self.assertEqual(missed, [])
            if is_told:
                ends.nudge()
            while ends.queued_bytes:
                await self.turn()
                if words:
                    words.clear()
                    ends.nudge()
            await receiver.received(before + len(sent))
            self.assertEqual(len(missed), 0 if is_told else 1)

    async def test_a_reader_that_is_held_up(self) -> None:
        """
        A reader that has read and stands still before it tells its writer of room, as one does
        whose program takes long for what was read, has forgotten nobody: it is awake until the
        word has left with its turn. The writer goes on by itself, and counts nothing.
        """
        lane, ends, receiver = await self.sleeping()
        asleep: list[bool] = []
        lane.tell_room = lambda: self.reactor.callLater(0, tells)
        ends.missed = lambda: self.fail("missed")

        def tells() -> None:
            asleep.append(lane._lane.asleep)
            ends.nudge()

        sent = [frame_of(1000, seed) for seed in range(4 * limits.LANE_BYTES_MIN // 1000)]
        lane.pause_reading()
        ends.send(sent)
        waiting = ends.queued_bytes
        lane._lane.wake()
        read = lane._lane.read(limits.LANE_BYTES_MIN)
        for _ in range(2):
            # As the alarm does.
            ends._cancel()
            ends._look()
            await self.turn()
        self.assertLess(ends.queued_bytes, waiting)
        lane.resume_reading()
        await receiver.received(1 + len(sent) - len(read))
        await self.turn()
        while not lane._lane.asleep:
            await self.turn()
        self.assertEqual(receiver.frames[1:], sent[len(read) :])
        self.assertEqual(set(asleep), {False})


class TurnTests(Case):
    """What a lane takes of one turn."""

    async def test_sockets_get_their_turns(self) -> None:
        """
        Beside a lane that is full a socket is read after each share of the lane, not after all of
        it.
        """
        lane, ends = self.pair(limits.LANE_BYTES)
        ends.start(RecordingReceiver())
        size = 100_000
        frames = [frame_of(size, seed) for seed in range(limits.LANE_BYTES // size - 1)]
        ends.send(frames)
        self.assertEqual(ends.queued_bytes, 0)
        reading, writing = socket.socketpair()
        self.addCleanup(reading.close)
        self.addCleanup(writing.close)
        neighbor = Neighbor(lane, reading)
        self.reactor.addReader(neighbor)
        self.addCleanup(self.reactor.removeReader, neighbor)
        begun = []

        class Receiver(RecordingReceiver):
            """Something comes on the socket while the lane's share is dealt with."""

            def frames_received(self, frames: list[bytes]) -> None:
                begun.append(lane.read_bytes)
                writing.send(b"x")
                super().frames_received(frames)

        receiver = Receiver()
        lane.start(receiver)
        self.assertEqual(await receiver.received(len(frames)), frames)
        await neighbor.until(lambda: bool(neighbor.progress))
        share = LANE_TURN_BYTES + size + limits.FRAME_HEAD_BYTES
        self.assertLessEqual(neighbor.progress[0] - begun[0], share)
        steps = zip([0, *begun], begun, strict=False)
        self.assertLessEqual(max(after - before for before, after in steps), share)
        self.assertGreaterEqual(len(neighbor.progress), limits.LANE_BYTES // (2 * share))
