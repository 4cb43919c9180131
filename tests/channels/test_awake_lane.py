"""Lanes of a process that looks for work before it sleeps: no bell while it is awake."""

from __future__ import annotations

import os
import select
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels.busy_polling import BusyPoller
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.lane import AT_WAITING
from atbus.channels.lane_channel import Fence
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.errors import Status
from atbus.testing.recording import RecordingReceiver, frame_of
from tests.channels.sockets import SocketTests

PLACE = Address(Scheme.SHM, "reader")


class AwakeLaneTests(SocketTests):
    """A lane whose reader looks for work; the test says when."""

    def setUp(self) -> None:
        super().setUp()
        self.fence = Fence()
        self.addCleanup(self.fence.close)
        sockets = select.epoll()
        self.addCleanup(sockets.close)
        self.now = 0.0
        self.poller = BusyPoller(sockets, 10.0, lambda: self.now, self._give_way)
        self.meanwhile: Any = lambda: None
        #: Strokes of bells that were answered.
        self.answered = 0
        self.writer, self.reader = self.pair()

    def _give_way(self) -> None:
        self.now += 1.0
        self.meanwhile()

    def pair(self, size_bytes: int = limits.LANE_BYTES) -> tuple[RecordingReceiver, ...]:
        """Make a lane and open both ends."""
        reactor = SimpleNamespace(
            addReader=self.reactor.addReader,
            removeReader=self.reactor.removeReader,
            _poller=self.poller,
        )
        lane = IncomingLane(reactor, PLACE, "writer", self.timers, self.fence, size_bytes)
        bell: Any = lane._bell
        answer = bell.answer

        def count() -> bool:
            answered: bool = answer()
            self.answered += answered
            return answered

        bell.answer = count
        memory, rope = lane.descriptors
        ends = OutgoingLane(
            *(PLACE, "reader", self.timers, ChannelOptions(), self.fence),
            (os.dup(memory), os.dup(rope)),
            size_bytes=size_bytes,
            record_max=lane.record_max,
        )
        lane.tell_room = ends.nudge
        writer, reader = RecordingReceiver(), RecordingReceiver()
        ends.start(writer)
        lane.start(reader)
        self.addCleanup(lambda: Deferred.fromCoroutine(self._ended(writer, reader)))
        return writer, reader

    async def _ended(self, *receivers: RecordingReceiver) -> None:
        for receiver in receivers:
            if not receiver.ends:
                receiver.channel.abort("the test is over")
            await receiver.end()

    @property
    def is_asleep(self) -> bool:
        """Whether the reader says that it sleeps."""
        lane: Any = self.reader.channel
        return bool(lane._lane.asleep)

    async def turn(self) -> None:
        """Let the reactor make a turn."""
        turn: Deferred[None] = Deferred()
        self.reactor.callLater(0, turn.callback, None)
        await turn

    async def warm(self) -> None:
        """Let one frame pass: from then on the lane is looked at."""
        self.writer.channel.send([frame_of(100)])
        await self.reader.received(1)
        # The lane is still being read when that is known.
        await self.turn()
        self.assertIn(self.reader.channel, self.poller._watched)
        self.assertFalse(self.is_asleep)
        self.answered = 0

    async def test_no_bell_while_awake(self) -> None:
        """What comes while the process looks is read without a bell, and the process is told."""
        await self.warm()
        for number in range(50):
            self.writer.channel.send([frame_of(100, number)])
            self.poller.poll(1.0, 16)
            self.assertEqual(len(self.reader.frames), number + 2)
        self.assertEqual((self.now, self.answered), (0.0, 0))
        self.assertFalse(self.is_asleep)

    async def test_found_while_it_looks(self) -> None:
        """What comes between two looks ends the wait."""
        await self.warm()
        sent = [frame_of(100, 1)]
        self.meanwhile = lambda: self.writer.channel.send(sent if self.now == 4.0 else [])
        self.assertEqual(self.poller.poll(10.5, 16), [])
        self.assertEqual(self.now, 4.0)
        self.assertEqual(self.reader.frames[1:], sent)

    async def test_a_process_that_sleeps_is_rung(self) -> None:
        """When the process has looked in vain its lanes sleep, and writers ring them."""
        await self.warm()
        self.assertEqual(self.poller.poll(10.001, 16), [])
        self.assertTrue(self.is_asleep)
        self.writer.channel.send([frame_of(100, 1)])
        self.assertEqual(await self.reader.received(2), [frame_of(100), frame_of(100, 1)])
        self.assertEqual(self.answered, 1)
        await self.turn()
        # Looks are not worth it just now: it sleeps by itself.
        self.assertTrue(self.is_asleep)

    async def test_what_comes_at_the_last_moment(self) -> None:
        """What comes when the lane is told to sleep keeps the process awake, and is read."""
        await self.warm()
        lane: Any = self.reader.channel
        look = lane.look_awake
        self.patch(lane, "look_awake", lambda: False)
        self.writer.channel.send([frame_of(100, 1)])
        self.assertEqual(self.poller.poll(10.5, 16), [])
        self.assertEqual(self.now, 10.0)
        self.patch(lane, "look_awake", look)
        await self.reader.received(2)

    async def test_a_writer_that_waits_is_told(self) -> None:
        """A writer with a full lane goes on, though its reader neither sleeps nor rings."""
        self.writer, self.reader = self.pair(size_bytes=32_768)
        await self.warm()
        sent = [frame_of(5_000, seed) for seed in range(60)]
        self.writer.channel.send(sent)
        self.assertGreater(self.writer.channel.queued_bytes, 0)
        for _ in range(200):
            self.poller.poll(1.0, 16)
        self.assertTrue(self.reader.frames[1:] == sent)
        self.assertEqual(self.writer.channel.queued_bytes, 0)

    async def test_a_writer_that_begins_to_wait_as_the_reader_falls_asleep(self) -> None:
        """A writer told of room at the last moment is written to before the process sleeps."""
        await self.warm()
        told: list[bool] = []
        reading: Any = self.reader.channel
        numbers = reading._lane._numbers

        def wait() -> None:
            numbers[AT_WAITING] |= 1

        reading._fence = SimpleNamespace(cross=wait)
        reading.tell_room = lambda: told.append(True)
        self.assertFalse(reading.fall_asleep())
        self.assertEqual(told, [True])
        self.assertTrue(reading.fall_asleep())
        self.assertEqual(told, [True])

    async def test_who_does_not_read_is_left_alone(self) -> None:
        """A lane that is not read is not looked at, and does not keep the process awake."""
        await self.warm()
        self.reader.channel.pause_reading()
        self.writer.channel.send([frame_of(100, 1)])
        self.assertEqual(self.poller.poll(10.001, 16), [])
        self.assertGreater(self.now, 10.0 - 1.0)
        self.assertEqual(len(self.reader.frames), 1)
        self.reader.channel.resume_reading()
        await self.reader.received(2)

    async def test_a_writer_that_lies(self) -> None:
        """A writer that leaves nonsense loses its lane, when it is looked at and when it sleeps."""
        for looks in (True, False):
            self.writer, self.reader = self.pair()
            await self.warm()
            lane: Any = self.writer.channel
            lane._memory[64:72] = (1 << 60).to_bytes(8, "little")
            reading: Any = self.reader.channel
            self.assertEqual(reading.look_awake() if looks else not reading.fall_asleep(), True)
            self.assertEqual((await self.reader.end())[0], Status.MALFORMED_FRAME)
            self.assertEqual(len(self.reader.faults), 1)

    async def test_the_end(self) -> None:
        """A lane that has ended is looked at no more; one that is closed ends when it is empty."""
        await self.warm()
        self.reader.channel.close()
        await self.reader.end()
        self.writer.channel.send([frame_of(100, 1)])
        self.poller.poll(1.0, 16)
        self.assertEqual(len(self.reader.frames), 1)
        self.assertEqual(self.poller._watched, ())
