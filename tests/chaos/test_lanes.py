"""
Writers and readers of lanes that are killed at any instant, and many writers at once.

The processes are forks that do nothing but write or read: what is killed is the lane's own code, as
often as time allows.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels import outgoing_lane
from atbus.channels.bell import Rope
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.lane import record_max_of
from atbus.channels.lane_channel import Fence
from atbus.channels.lane_writer import join_lane
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.testing.lanes import read_damaged
from atbus.testing.recording import RecordingReceiver
from tests.channels.sockets import SocketTests
from tests.extent import extent, is_soon
from tests.processes.harness import PATIENCE_SECONDS

PLACE = Address(Scheme.SHM, "reader")
LONG_SECONDS = 3600
FREE_SECONDS = 0.5
"""From the end of a killed writer until nothing is left of its lane."""


def frame_of(writer: int, number: int, size: int) -> bytes:
    """Make a frame whose every word says who wrote it and when."""
    count = max(6, size // 8)
    words = struct.pack("<Q", writer << 40 | number) * count
    return (len(words) + 8).to_bytes(4, "little") + bytes(4) + words


def check(frame: bytes) -> tuple[int, int]:
    """
    Read a frame back.

    :returns: Who wrote it, and its number.
    :raises AssertionError: A word of it is another one.
    """
    words = frame[8:]
    if words[8:] != words[:-8]:
        raise AssertionError("words of a frame differ")
    (word,) = struct.unpack_from("<Q", words)
    return word >> 40, word & 0xFF_FFFF_FFFF


class Checker(RecordingReceiver):
    """Checks every word and the order of every frame, and keeps none."""

    def __init__(self, writer: int) -> None:
        super().__init__()
        self.writer = writer
        self.count = 0

    def frames_received(self, frames: list[bytes]) -> None:
        for frame in frames:
            if check(frame) != (self.writer, self.count):
                raise AssertionError(f"{check(frame)} instead of {self.writer}, {self.count}")
            self.count += 1
        self.changed()


def write_for_ever(
    memory: memoryview, bell: int, writer: int, sizes: int, seconds: float = 1e9
) -> None:
    """Write frames to a lane, as fast as they go."""
    lane = join_lane(memory, record_max_of(len(memory) - 192))
    fence = Fence()
    rope = Rope(bell)
    draw = random.Random(writer)
    number = 0
    # A process without a reactor.
    end = time.monotonic() + seconds  # noqa: TID251
    # Once in any case: it may be a while before a process runs at all.
    while not number or time.monotonic() < end:  # noqa: TID251
        batch = [frame_of(writer, number + n, draw.randrange(sizes)) for n in range(4)]
        written = lane.write(batch)
        number += written
        fence.cross()
        if lane.must_ring():
            rope.ring()
        if not written:
            time.sleep(0.000_2)  # noqa: TID251


def read_and_tell(lane: IncomingLane, telling: int, count: int) -> None:
    """Read so many frames, check them, and tell the writer of room as a node does."""
    reader = lane._lane
    fence = Fence()
    number = 0
    reader.read(8)
    while number < count:
        frames = reader.read(65_536)
        for frame in frames:
            if check(frame) != (1, number):
                os.write(telling, b"wrong")
            number += 1
        fence.cross()
        if reader.must_tell_room():
            os.write(telling, b"!")
        elif not frames:
            time.sleep(0.000_2)  # noqa: TID251
    os.write(telling, b"done")


@implementer(IReadDescriptor)
class Listener:
    """
    Hears what the reader in another process tells, as the stream of a node does.

    :param descriptor: The reading end of a pipe.
    """

    def __init__(self, descriptor: int, writer: OutgoingLane) -> None:
        self.writer = writer
        self.descriptor = descriptor
        self.rung = 0
        self.said = b""

    def fileno(self) -> int:
        """Give the pipe to the reactor."""
        return self.descriptor

    def logPrefix(self) -> str:
        """Name this in Twisted's log."""
        return "listener"

    def connectionLost(self, reason: Failure) -> None:
        """Take note that the reactor has stopped listening."""

    def doRead(self) -> None:
        """Let the writer go on."""
        said = os.read(self.descriptor, 100)
        self.rung += said.count(b"!")
        self.said = said.strip(b"!")
        self.writer.nudge()


def fork(work: Callable[[], None]) -> int:
    """Do something in a process of its own, which ends with it."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def wait_for(pid: int) -> None:
    """Wait for the end of a process."""
    os.waitpid(pid, 0)


class LaneTests(SocketTests):
    """Lanes between this process and forks of it."""

    timeout = LONG_SECONDS

    def setUp(self) -> None:
        super().setUp()
        self.fence = Fence()
        self.addCleanup(self.fence.close)

    def used(self) -> tuple[int, int, bool]:
        """Count descriptors and threads, and look for memory of lanes."""
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        return descriptors, threading.active_count(), "memfd:atbus" in maps

    async def warmed_up(self) -> tuple[int, int, bool]:
        """Let reactor and timers take what they keep, and count."""
        lane, receiver = self.incoming(0)
        await self.pause(0.01)
        lane.abort("enough")
        await receiver.end()
        await self.pause(0.01)
        return self.used()

    async def pause(self, seconds: float) -> None:
        """Let the reactor work."""
        turn: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, turn.callback, None)
        await turn

    def lane(self, peer: str, size_bytes: int = limits.LANE_BYTES) -> IncomingLane:
        """Make a lane."""
        return IncomingLane(self.reactor, PLACE, peer, self.timers, self.fence, size_bytes)

    def writer_of(self, lane: IncomingLane) -> OutgoingLane:
        """Take the writing end of a lane."""
        memory, bell = lane.descriptors
        return OutgoingLane(
            PLACE,
            "reader",
            self.timers,
            ChannelOptions(),
            self.fence,
            (os.dup(memory), os.dup(bell)),
            size_bytes=lane.size_bytes,
            record_max=lane.record_max,
        )

    def incoming(self, writer: int) -> tuple[IncomingLane, Checker]:
        """Make a lane and read it."""
        lane = self.lane(f"{writer}")
        receiver = Checker(writer)
        lane.start(receiver)
        return lane, receiver

    async def test_writers_are_killed(self) -> None:
        """
        A writer that is killed at any instant leaves whole frames in order and nothing else; what
        it had committed is read, and its lane is free again within half a second.

        Scenario: E7, E8
        """
        before = await self.warmed_up()
        draw = random.Random(1)
        total = 0
        # On a busy machine many are dead before they have written anything.
        for round_ in itertools.count():
            if round_ >= extent(150, 5_000) and total > 100:
                break
            lane, receiver = self.incoming(round_)
            memory, bell = lane._memory, lane.descriptors[1]
            pid = fork(partial(write_for_ever, memory, bell, round_, 2_000))
            await self.pause(draw.random() * 0.02)
            os.kill(pid, signal.SIGKILL)
            wait_for(pid)
            began = self.reactor.seconds()
            lane.drain()
            self.assertEqual(lane.unread_bytes, 0)
            lane.abort("the writer is gone")
            await receiver.end()
            took_seconds = self.reactor.seconds() - began
            self.assertTrue(is_soon(took_seconds, FREE_SECONDS), (round_, took_seconds))
            self.assertEqual(receiver.faults, [])
            total += receiver.count
        self.assertEqual(self.used(), before)

    async def test_readers_are_killed(self) -> None:
        """
        A reader that is killed at any instant leaves a lane whose writer can tell what was not
        read, waits for nobody, and is free as soon as it gives up.
        """
        before = await self.warmed_up()
        draw = random.Random(2)
        for round_ in range(extent(150, 5_000)):
            lane = self.lane("r")
            writer = self.writer_of(lane)
            receiver = RecordingReceiver()
            writer.start(receiver)

            def read_for_ever(lane: IncomingLane = lane) -> None:
                while True:
                    lane._lane.read(8_192)

            pid = fork(read_for_ever)
            end = self.reactor.seconds() + draw.random() * 0.02
            number = 0
            while self.reactor.seconds() < end:
                if writer.queued_bytes < 100_000:
                    writer.send([frame_of(round_, number, draw.randrange(2_000))])
                    number += 1
                await self.pause(0)
            os.kill(pid, signal.SIGKILL)
            wait_for(pid)
            writer.send([frame_of(round_, number, 100)])
            self.assertTrue(writer.unread_bytes + writer.queued_bytes > 0)
            self.assertEqual(receiver.ends, [])
            writer.abort("the reader is gone")
            await receiver.end()
            self.assertEqual(receiver.faults, [])
            lane.abort("not started")
            await self.pause(0)
        await self.pause(0.01)
        self.assertEqual(self.used(), before)

    async def test_a_writer_that_waits(self) -> None:
        """
        A writer whose lane is full again and again is told of room each time by a reader in another
        process: it never looks by itself, and gets rid of everything.
        """
        self.patch(outgoing_lane, "LANE_FULL_SECONDS", float(LONG_SECONDS))
        before = await self.warmed_up()
        count = extent(20_000, 300_000)
        lane = self.lane("r", limits.LANE_BYTES_MIN)
        writer = self.writer_of(lane)
        receiver = RecordingReceiver()
        writer.start(receiver)
        hearing, telling = os.pipe()
        pid = fork(partial(read_and_tell, lane, telling, count))
        os.close(telling)
        listener = Listener(hearing, writer)
        self.reactor.addReader(listener)
        for number in range(0, count, 100):
            writer.send([frame_of(1, number + n, 1_000) for n in range(100)])
            while writer.queued_bytes:
                await self.pause(0)
        while listener.said != b"done":
            await self.pause(0.001)
        self.reactor.removeReader(listener)
        wait_for(pid)
        os.close(hearing)
        self.assertGreater(listener.rung, 10)
        writer.abort("done")
        await receiver.end()
        lane.abort("not started")
        await self.pause(0.01)
        self.assertEqual(self.used(), before)

    async def test_thirty_two_writers(self) -> None:
        """
        Thirty-two processes write to one reader, blocks up to 8 KiB: of every one each frame comes,
        in order, every word as it was written, and no wake-up is missed. Each has a lane of its
        own, where libatbus has one ring for all.

        Scenario: E5
        """
        before = await self.warmed_up()
        seconds = float(extent(2, 16))
        lanes = [self.incoming(writer) for writer in range(32)]
        pids = []
        for writer, (lane, _) in enumerate(lanes):
            memory, bell = lane._memory, lane.descriptors[1]
            pids.append(fork(partial(write_for_ever, memory, bell, writer, 8_192, seconds)))
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end:
            await self.pause(0.05)
        for pid in pids:
            wait_for(pid)
        for lane, receiver in lanes:
            # Nobody looks after a reader that sleeps: it was woken for everything.
            latest = self.reactor.seconds() + PATIENCE_SECONDS
            while lane.unread_bytes:
                self.assertLess(self.reactor.seconds(), latest, "a reader sleeps")
                await self.pause(0.001)
            self.assertEqual(receiver.faults, [])
            self.assertEqual(receiver.ends, [])
            self.assertGreater(receiver.count, 0)
            lane.abort("done")
            await receiver.end()
        self.assertEqual(self.used(), before)

    def test_damaged_lanes(self) -> None:
        """Of a great many damaged lanes each is read or refused."""
        count = extent(2_000, 1_000_000)
        self.assertEqual(sum(read_damaged(seed=2, count=count).values()), count)
