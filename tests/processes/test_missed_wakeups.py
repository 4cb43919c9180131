"""Wake-ups that are missed, as they would be without fences: each is counted, and made good for."""

from __future__ import annotations

from unittest import mock

from atbus.channels import outgoing_lane
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.outgoing_lane import OutgoingLane
from tests.node.bus import ROOT
from tests.processes.lanes import LaneCase, lanes_of


class MissedTests(LaneCase):
    """A root that reads and a child that writes; ``missed_wakeups`` is zero everywhere else."""

    async def test_a_reader_that_nobody_rings(self) -> None:
        """
        What lies in a lane whose reader sleeps and was not rung is read after two looks, and the
        reader's node counts that once; a reader that was rung counts nothing.
        """
        root, child = await self.pair()
        [written], [read] = lanes_of(child), lanes_of(root)
        assert isinstance(written.channel, OutgoingLane)
        assert isinstance(read.channel, IncomingLane)
        lane = read.channel._lane
        child.send(ROOT, b"rung")
        await self.until(lambda: self.received(root) == [b"rung"] and lane.asleep)
        self.assertEqual(root.statistics.missed_wakeups, 0)
        with mock.patch.object(written.channel._lane, "must_ring", return_value=False):
            child.send(ROOT, b"not rung")
            await self.until(lambda: self.received(root) == [b"rung", b"not rung"])
        self.assertEqual([node.statistics.missed_wakeups for node in (root, child)], [1, 0])

    async def test_a_writer_that_nobody_tells(self) -> None:
        """
        A writer that waits for room and is not told of it goes on after two looks, and its node
        counts that; nothing is lost.
        """
        self.patch(outgoing_lane, "LANE_FULL_SECONDS", 0.01)
        root, child = await self.pair(shm_lane_bytes=131_072)
        [read] = lanes_of(root)
        assert isinstance(read.channel, IncomingLane)
        # Acknowledgements are words as well.
        assert read.ring is not None
        assert read.ring.link is not None
        self.patch(read.channel, "tell_room", lambda: None)
        acking = mock.patch.object(type(read.ring.link), "_tell_acks")
        [written] = lanes_of(child)
        payloads: list[bytes] = []
        with acking:
            # A writer that looks while its reader is still awake has missed nothing: then again.
            while not child.statistics.missed_wakeups:
                read.channel.pause_reading()
                for number in range(len(payloads), len(payloads) + 400):
                    payloads.append(b"%06d" % number + b"x" * 1000)
                    child.send(ROOT, payloads[-1])
                await self.until(lambda: written.channel.queued_bytes)
                read.channel.resume_reading()
                await self.until(
                    lambda: child.statistics.missed_wakeups or not written.channel.queued_bytes
                )
        read.ring.link._tell_acks(())
        await self.until(lambda: self.received(root) == payloads)
        self.assertEqual(root.statistics.missed_wakeups, 0)
