"""Lanes as channels: real memory, real doorbells, one process or two."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import socket
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels import outgoing_lane
from atbus.channels.incoming_lane import LANE_TURN_READS, IncomingLane
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.lane import HEADER_BYTES, record_max_of
from atbus.channels.lane_channel import Fence
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.channels.schemes import Channels
from atbus.channels.shm import ShmScheme, why_unavailable
from atbus.channels.stream import DESCRIPTORS_MAX
from atbus.errors import (
    ChannelClosed,
    ConnectFailed,
    ListenFailed,
    LocalProtocolError,
    MalformedFrame,
    Status,
)
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from tests.channels.sockets import SocketTests

PLACE = Address(Scheme.SHM, "reader")


def _open_ones() -> int:
    """Count the descriptors that lanes are made of."""
    kinds = ("/memfd:", "anon_inode:[eventfd]", "socket:")
    count = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += str(each.readlink()).startswith(kinds)
    return count


def _is_mapped() -> bool:
    """Tell whether any lane is mapped."""
    return "memfd:atbus" in Path("/proc/self/maps").read_text(encoding="utf-8")


class LaneTests(SocketTests):
    """Both ends of a lane on one reactor."""

    def setUp(self) -> None:
        super().setUp()
        self.fence = Fence()
        self.addCleanup(self.fence.close)
        self.descriptors_before = _open_ones()

    async def ended(self, *receivers: RecordingReceiver) -> None:
        """End both channels and see that nothing is left."""
        for receiver in receivers:
            if not receiver.ends:
                receiver.channel.abort("the test is over")
            await receiver.end()

    def incoming(self, size_bytes: int = limits.LANE_BYTES) -> IncomingLane:
        """Make a lane."""
        return IncomingLane(self.reactor, PLACE, "writer", self.timers, self.fence, size_bytes)

    def outgoing(
        self, descriptors: tuple[int, int], size_bytes: int, record_max: int
    ) -> OutgoingLane:
        """Take the writing end of a lane."""
        return OutgoingLane(
            PLACE,
            "reader",
            self.timers,
            ChannelOptions(),
            self.fence,
            descriptors,
            size_bytes=size_bytes,
            record_max=record_max,
        )

    def pair(
        self, size_bytes: int = limits.LANE_BYTES, failing: str = ""
    ) -> tuple[RecordingReceiver, RecordingReceiver]:
        """Make a lane and open both ends."""
        lane = self.incoming(size_bytes)
        memory, bell = lane.descriptors
        ends = self.outgoing((os.dup(memory), os.dup(bell)), size_bytes, lane.record_max)
        # Between nodes the word goes over the stream.
        lane.tell_room = ends.nudge
        writer, reader = RecordingReceiver(), RecordingReceiver(failing)
        ends.start(writer)
        lane.start(reader)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.ended(writer, reader)))
        return writer, reader

    async def test_frames_arrive(self) -> None:
        """
        Frames of all sizes arrive whole, once and in order, and the reader knows that the writer
        has its memory.

        Scenario: D2, D14
        """
        writer, reader = self.pair()
        sent = [frame_of(size, size) for size in (44, 100, 1000, 30_000, 5, 0x8000)]
        sent = [frame if len(frame) >= 48 else frame_of(48) for frame in sent]
        writer.channel.send(sent)
        self.assertEqual(reader.frames, [])
        self.assertEqual(await reader.received(len(sent)), sent)
        lane: Any = reader.channel
        self.assertTrue(lane.is_proven)
        self.assertEqual(writer.calls, ["channel_opened"])

    async def test_a_sleeping_reader_is_rung(self) -> None:
        """Frame by frame, with sleep in between, no wake-up is missed."""
        writer, reader = self.pair()
        lane: Any = reader.channel
        for number in range(200):
            writer.channel.send([frame_of(100, number)])
            await reader.received(number + 1)
            self.assertFalse(lane.look())

    async def test_a_full_lane_waits(self) -> None:
        """
        What does not fit waits at the writer, counted exactly; nothing is lost when the reader goes
        on, and the writer is told once.

        Scenario: D19, E12
        """
        writer, reader = self.pair(size_bytes=32_768)
        reader.channel.pause_reading()
        sent = [frame_of(5_000, seed) for seed in range(40)]
        writer.channel.send(sent)
        total = sum(map(len, sent))
        self.assertGreater(writer.channel.queued_bytes, 100_000)
        self.assertEqual(
            writer.channel.written_bytes + writer.channel.queued_bytes,
            total + limits.NONCE_BYTES,
        )
        reader.channel.resume_reading()
        self.assertEqual(await reader.received(40), sent)
        await writer.until(lambda: "channel_drained" in writer.calls)
        self.assertEqual(writer.channel.queued_bytes, 0)

    async def test_a_full_lane_is_not_looked_at(self) -> None:
        """
        A writer whose lane is full is told when there is room, every time: it goes on though it
        never looks by itself.
        """
        self.patch(outgoing_lane, "LANE_FULL_SECONDS", 3600.0)
        writer, reader = self.pair(size_bytes=32_768)
        ends: Any = writer.channel
        ends.missed = lambda: self.fail("it looked")
        sent = [frame_of(5_000, seed) for seed in range(1000)]
        for start in range(0, 1000, 100):
            reader.channel.pause_reading()
            writer.channel.send(sent[start : start + 100])
            self.assertTrue(ends._lane.waits)
            reader.channel.resume_reading()
            await reader.received(start + 100)
            await writer.until(lambda: not writer.channel.queued_bytes)
        self.assertEqual(reader.frames, sent)
        await writer.until(lambda: "channel_drained" in writer.calls)

    async def test_a_reader_that_tells_nothing(self) -> None:
        """Room of which the writer was not told is found by its second look, and counted."""
        self.patch(outgoing_lane, "LANE_FULL_SECONDS", 0.01)
        writer, reader = self.pair(size_bytes=32_768)
        lane: Any = reader.channel
        lane.tell_room = lambda: None
        missed: list[int] = []
        ends: Any = writer.channel
        ends.missed = lambda: missed.append(len(reader.frames))
        reader.channel.pause_reading()
        sent = [frame_of(5_000, seed) for seed in range(12)]
        writer.channel.send(sent)
        reader.channel.resume_reading()
        self.assertEqual(await reader.received(12), sent)
        self.assertGreater(len(missed), 0)

    async def test_a_reader_that_stops_is_no_miss(self) -> None:
        """Of a reader that reads nothing no word is missed, however long it takes."""
        self.patch(outgoing_lane, "LANE_FULL_SECONDS", 0.001)
        writer, reader = self.pair(size_bytes=32_768)
        ends: Any = writer.channel
        ends.missed = lambda: self.fail("missed")
        looks: list[bool] = []
        has_room = ends._has_room

        def look() -> bool:
            looks.append(has_room())
            return looks[-1]

        self.patch(ends, "_has_room", look)
        reader.channel.pause_reading()
        sent = [frame_of(5_000, seed) for seed in range(12)]
        writer.channel.send(sent)
        while len(looks) < 5:
            turn: Deferred[None] = Deferred()
            self.reactor.callLater(0, turn.callback, None)
            await turn
        # Only what is told counts from now on.
        self.patch(outgoing_lane, "LANE_FULL_SECONDS", 3600.0)
        reader.channel.resume_reading()
        self.assertEqual(await reader.received(12), sent)

    async def test_a_writer_that_lies_while_nobody_reads(self) -> None:
        """A reader that pauses reports a writer that broke the rules before it did."""
        writer, reader = self.pair()
        writer.channel.send([frame_of(100)])
        await reader.received(1)
        lane: Any = writer.channel
        lane._memory[64:72] = (1 << 60).to_bytes(8, "little")
        lane._memory[72:80] = (1).to_bytes(8, "little")
        reader.channel.pause_reading()
        self.assertEqual((await reader.end())[0], Status.MALFORMED_FRAME)

    async def test_closing_writes_everything(self) -> None:
        """A writer that closes ends when all is in the lane; the reader still reads it."""
        writer, reader = self.pair(size_bytes=32_768)
        sent = [frame_of(5_000, seed) for seed in range(40)]
        writer.channel.send(sent)
        writer.channel.close(Status.GOODBYE, "bye")
        self.assertRaises(ChannelClosed, writer.channel.send, [frame_of(100)])
        self.assertEqual(await writer.end(), (Status.GOODBYE, "bye"))
        reader.channel.close(Status.STOPPED, "done")
        self.assertEqual(await reader.end(), (Status.STOPPED, "done"))
        self.assertEqual(reader.frames, sent)

    async def test_aborting(self) -> None:
        """Each end can be aborted, is told once, and what is called afterwards does no harm."""
        writer, reader = self.pair()
        for end in (writer, reader):
            end.channel.abort("broken", Status.HEARTBEAT_LOST)
            self.assertEqual(end.ends, [])
            self.assertEqual(await end.end(), (Status.HEARTBEAT_LOST, "broken"))
            end.channel.close()
            end.channel.abort("again")
            end.channel.pause_reading()
            end.channel.resume_reading()
            self.assertRaises(ChannelClosed, end.channel.send, [frame_of(100)])
            self.assertEqual(end.calls, ["channel_opened", "channel_closed"])

    async def test_nothing_is_left(self) -> None:
        """
        The last end that goes takes the memory with it: no descriptor and no mapping is left.

        Scenario: F4, F5
        """
        for _ in range(3):
            writer, reader = self.pair()
            writer.channel.send([frame_of(100)])
            await reader.received(1)
            await self.ended(writer, reader)
        self.assertEqual(_open_ones(), self.descriptors_before)
        self.assertFalse(_is_mapped())

    async def test_a_receiver_that_fails(self) -> None:
        """A receiver that raises loses its channel, and is named in the log."""
        writer, reader = self.pair(failing="frames_received")
        writer.channel.send([frame_of(100)])
        self.assertEqual((await reader.end())[0], Status.LINK_LOST)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_a_writer_that_lies(self) -> None:
        """
        A writer that leaves nonsense loses its lane: the reader reports a fault, once, and its end.

        Scenario: E9
        """
        writer, reader = self.pair()
        writer.channel.send([frame_of(100)])
        await reader.received(1)
        lane: Any = writer.channel
        lane._memory[64:72] = (1 << 60).to_bytes(8, "little")
        lane._rope.ring()
        self.assertEqual((await reader.end())[0], Status.MALFORMED_FRAME)
        self.assertEqual(len(reader.faults), 1)

    async def test_a_record_that_is_no_frame(self) -> None:
        """
        A record whose length is not the frame's own, or is less than a head, is a fault, however
        good its check is.
        """
        for record in (b"x" * 100, (47).to_bytes(4, "little") + bytes(43)):
            writer, reader = self.pair()
            writer.channel.send([record])
            self.assertEqual((await reader.end())[0], Status.MALFORMED_FRAME)
            self.assertEqual(reader.frames, [])

    async def test_a_reader_that_lies(self) -> None:
        """A reader that claims to have read what was never written loses its writer."""
        writer, reader = self.pair()
        lane: Any = reader.channel
        lane._memory[128:136] = (1 << 60).to_bytes(8, "little")
        writer.channel.send([frame_of(100)])
        self.assertEqual((await writer.end())[0], Status.MALFORMED_FRAME)

    async def test_memory_keeps_its_size(self) -> None:
        """Neither side can make the memory of a lane longer or shorter, nor take that back."""
        lane = self.incoming()
        memory = lane.descriptors[0]
        for size_bytes in (lane.size_bytes // 2, lane.size_bytes * 2):
            self.assertRaises(PermissionError, os.ftruncate, memory, size_bytes)
        self.assertRaises(PermissionError, fcntl.fcntl, memory, fcntl.F_ADD_SEALS, 0)
        lane.abort("the test is over")

    async def test_a_bell_that_could_block(self) -> None:
        """
        A reader that is woken though nobody has rung, or whose stroke somebody took, does not wait
        for one.
        """
        writer, reader = self.pair()
        lane: Any = reader.channel
        lane.doRead()
        writer.channel.send([frame_of(100)])
        self.assertEqual(await reader.received(1), [frame_of(100)])

    async def test_what_comes_meanwhile(self) -> None:
        """
        What comes while frames are dealt with is read in the same turn of the reactor, but not
        without end: others must get their turn.
        """
        writer, reader = self.pair()
        lane: Any = reader.channel
        frames_received = reader.frames_received

        def answer(frames: list[bytes]) -> None:
            frames_received(frames)
            if len(reader.frames) < 100:
                writer.channel.send([frame_of(100, len(reader.frames))])

        self.patch(reader, "frames_received", answer)
        writer.channel.send([frame_of(100)])
        lane.doRead()
        self.assertEqual(len(reader.frames), LANE_TURN_READS)
        self.assertEqual(len(await reader.received(100)), 100)

    async def test_a_dead_writer(self) -> None:
        """What a writer had committed when it died is read in one go, however much it is."""
        writer, reader = self.pair()
        reader.channel.pause_reading()
        writer.channel.send([frame_of(5_000, seed) for seed in range(20)])
        lane: Any = reader.channel
        lane.drain()
        self.assertEqual(len(reader.frames), 20)

    def test_a_frame_that_is_too_long(self) -> None:
        """A frame that no lane takes is refused at once: whoever sends it must cut it."""
        writer, _ = self.pair()
        with self.assertRaises(LocalProtocolError):
            writer.channel.send([frame_of(limits.LANE_BYTES)])

    def assert_refused(self, word: str, memory: int, ring: int, size_bytes: int) -> None:
        """See that what is offered is refused, and hear why; the descriptors are given away."""
        with self.assertRaises(MalformedFrame) as caught:
            self.outgoing((memory, ring), size_bytes, record_max_of(size_bytes - HEADER_BYTES))
        self.assertIn(word, str(caught.exception))

    def test_what_is_offered_is_checked(self) -> None:
        """
        Memory that is not sealed, not allocated, of another size or no memory at all, and a bell
        that is none, are refused by name, and every descriptor is closed.

        Scenario: E1, E2, F1
        """
        size = limits.LANE_BYTES
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        left, right = socket.socketpair()
        bells = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        bell = bells[0].fileno()
        lonely = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for word, memory, ring, allocate, seal in (
            ("sealed", os.memfd_create("x", flags), bell, size, 0),
            ("allocated", os.memfd_create("x", flags), bell, 0, seals),
            ("were offered", os.memfd_create("x", flags), bell, size * 2, seals),
            ("magic", os.memfd_create("x", flags), bell, size, seals),
            ("not memory", os.dup(left.fileno()), bell, 0, 0),
        ):
            if allocate:
                os.posix_fallocate(memory, 0, allocate)
            elif seal:
                os.ftruncate(memory, size)
            if seal:
                fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seal)
            self.assert_refused(word, memory, os.dup(ring), size)
        for word, ring in (
            ("SOCK_STREAM", right.fileno()),
            ("rings nowhere", lonely.fileno()),
            ("no socket", self.fence._descriptor),
        ):
            lane = self.incoming()
            memory, _ = lane.descriptors
            self.assert_refused(word, os.dup(memory), os.dup(ring), lane.size_bytes)
            lane.abort("not taken")
        for each in (left, right, lonely, *bells):
            each.close()
        self.assertEqual(_open_ones(), self.descriptors_before)


class SchemeTests(SocketTests):
    """What can be listened at, and where."""

    def scheme(self, **options: Any) -> ShmScheme:
        """Make the scheme of one node."""
        return ShmScheme(self.reactor, ChannelOptions(**options), self.timers)

    async def test_a_name(self) -> None:
        """A name opens nothing and cannot be dialled; an automatic one is like no other."""
        auto = Address(Scheme.SHM, "auto")
        names = [(await self.scheme().listen(auto, Reception())).address for _ in range(3)]
        self.assertEqual(len(set(names)), 3)
        self.assertTrue(all(name.is_dialable for name in names))
        error = await error_of(self.scheme().connect(names[0], RecordingReceiver()), ConnectFailed)
        self.assertIn("offered by its reader", error.detail)

    async def test_another_processor(self) -> None:
        """On a processor of weaker memory order there is no shared memory unless asked for."""
        with mock.patch.object(platform, "machine", return_value="aarch64"):
            error = await error_of(self.scheme().listen(PLACE, Reception()), ListenFailed)
            self.assertIn("aarch64", error.detail)
            await self.scheme(shm_weak_memory=True).listen(PLACE, Reception())
            self.assertEqual(why_unavailable(weak_memory=True), "")

    def test_a_system_without_memory(self) -> None:
        """Where memory cannot be made, the reason is told."""
        with mock.patch.object(os, "memfd_create", side_effect=OSError(1, "not permitted")):
            self.assertIn("not permitted", why_unavailable(weak_memory=False))

    async def test_a_system_without_fences(self) -> None:
        """Where there is no memory without a name, or no fence, nobody can listen, by name."""
        for missing in ("memfd_create", "eventfd"):
            kept = getattr(os, missing)
            delattr(os, missing)
            try:
                error = await error_of(self.scheme().listen(PLACE, Reception()), ListenFailed)
            finally:
                setattr(os, missing, kept)
            self.assertIn("fences", error.detail)


class DescriptorTests(SocketTests):
    """Descriptors beside frames, over a unix socket."""

    async def test_descriptors_travel(self) -> None:
        """
        Two descriptors arrive with the frame that tells of them, whatever is queued before it; they
        are kept only where they are awaited.
        """
        scheme = Channels(self.reactor, ChannelOptions(frame_limit=1 << 20), self.timers)
        reception, dialler = Reception(), RecordingReceiver()
        listener = await scheme.listen(self.unix_address(), reception)
        self.addCleanup(listener.stop)
        channel: Any = await scheme.connect(listener.address, dialler)
        [guest] = await reception.guests(1)
        other: Any = guest.channel
        self.assertTrue(channel.carries_descriptors and other.carries_descriptors)
        reading, writing = os.pipe()
        for expected in (False, True):
            other.takes_descriptors = expected
            count = len(guest.frames)
            channel.send([frame_of(60_000, seed) for seed in range(30)])
            channel.send_with(frame_of(100), (reading, writing))
            channel.send([frame_of(10)])
            await guest.received(count + 32)
            taken = other.take_descriptors(2)
            self.assertEqual(len(taken), 2 if expected else 0)
        os.write(taken[1], b"through")
        self.assertEqual(os.read(reading, 100), b"through")
        for _ in range(10):
            channel.send_with(frame_of(100), (reading, writing))
        await guest.received(74)
        self.assertEqual(len(other.take_descriptors(DESCRIPTORS_MAX)), 4)
        for descriptor in (*taken, reading, writing):
            os.close(descriptor)
        channel.close()
        await guest.end()
        await dialler.end()
