"""Two nodes that read a lane of each other's: what is said of one is not said of the other."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.address import Address, Scheme
from atbus.busid import BusId
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import IDescriptorChannel
from atbus.channels.lane_channel import Fence
from atbus.errors import Status
from atbus.node import lanes as lanes_module
from atbus.node.lane_link import number_of
from atbus.node.node import Node
from atbus.wire.messages import LaneOffer
from tests.node.bus import CHILD, ROOT
from tests.processes.lanes import LaneCase, lanes_of

FRAME = b"x" * 1000


class NumberTests(SynchronousTestCase):
    """The numbers that two neighbors give to the lanes that they read."""

    def test_they_differ(self) -> None:
        """
        No number is one of the other direction, nor one that a neighbor of an earlier release
        gives, which counts from 1; the smaller id has the odd ones.
        """
        counts = (*range(1, 100), 0x3FFF_FFFE, 0x3FFF_FFFF)
        of_child = {number_of(count, CHILD, ROOT) for count in counts}
        of_root = {number_of(count, ROOT, CHILD) for count in counts}
        self.assertEqual(len(of_child | of_root), 2 * len(counts))
        self.assertEqual({number % 2 for number in of_root}, {ROOT < CHILD})
        self.assertEqual({number % 2 for number in of_child}, {CHILD < ROOT})
        self.assertGreaterEqual(min(of_child | of_root), 0x8000_0000)
        self.assertLess(max(of_child | of_root), 1 << 32)


class BothWaysTests(LaneCase):
    """A root and a child with a lane each way."""

    async def one_is_idle(self, writer: Node, reader: Node) -> None:
        """See that a lane that is written to goes on when the other one is given back."""
        target = reader.bus_id
        fates: list[Any] = []
        writer.events.on_forward_response.observe(fates.append)
        sent = 0
        while len(list(lanes_of(writer))) > 1 or len(list(lanes_of(reader))) > 1:
            writer.send(target, b"%d" % sent)
            sent += 1
            await self.pause(0.01)
        for _ in range(100):
            writer.send(target, b"%d" % sent)
            sent += 1
        await self.until(lambda: len(self.received(reader)) == sent)
        self.assertEqual(self.received(reader), [b"%d" % number for number in range(sent)])
        self.assertEqual(self.used(writer, target), "shm")
        self.assertEqual(self.used(reader, writer.bus_id), "unix")
        self.assertEqual([lane.is_read for lane in lanes_of(reader)], [True])
        self.assertEqual([lane.is_read for lane in lanes_of(writer)], [False])
        self.assertEqual(fates, [])
        for node in (writer, reader):
            self.assertEqual(self.diaries[node].of("on_error"), [])
            self.assertEqual(node.statistics.missed_wakeups, 0)

    async def test_the_lane_from_the_root_is_idle(self) -> None:
        """The child gives back the lane that it reads; what it writes itself still arrives."""
        self.patch(lanes_module, "LANE_IDLE_SECONDS", 0.5)
        root, child = await self.pair_both_ways()
        await self.one_is_idle(child, root)

    async def test_the_lane_from_the_child_is_idle(self) -> None:
        """The same the other way round: the smaller id gives back."""
        self.patch(lanes_module, "LANE_IDLE_SECONDS", 0.5)
        root, child = await self.pair_both_ways()
        await self.one_is_idle(root, child)

    async def test_a_neighbor_of_an_earlier_release(self) -> None:
        """A neighbor that counts from 1 is not confused by numbers of ours, nor we by its."""
        self.patch(lanes_module, "LANE_IDLE_SECONDS", 0.5)

        def numbered(count: int, reader: int, writer: int) -> int:
            return count if reader == CHILD else number_of(count, reader, writer)

        self.patch(lanes_module, "number_of", numbered)
        root, child = await self.pair_both_ways()
        await self.one_is_idle(child, root)

    async def test_a_number_that_is_taken(self) -> None:
        """
        An offer with a number that a lane of the other direction has, or with none, is refused by
        name; that lane and the stream stay in use.
        """
        root, child = await self.pair()
        [lane] = lanes_of(child)
        stream = lane.stream
        assert stream.link is not None
        errors = self.diaries[root].errors
        for count, number in enumerate((lane.number, 0), start=1):
            offer = LaneOffer(
                source=CHILD, destination=ROOT, lane=number, size_bytes=65_536, record_max=16_384
            )
            channel = stream.channel
            assert IDescriptorChannel.providedBy(channel)
            ends = os.pipe()
            channel.send_with(stream.link.own_frame(offer), ends)
            while len(errors()) < count:
                await self.pause(0.005)
            for end in ends:
                os.close(end)
        for status, detail in self.diaries[root].of("on_error"):
            self.assertIs(status, Status.MALFORMED_FRAME)
            self.assertIn("no new number", detail)
        child.send(ROOT, b"one way")
        root.send(CHILD, b"the other")
        await self.until(lambda: self.received(root) and self.received(child))
        self.assertEqual((self.used(child), self.used(root, CHILD)), ("shm", "unix"))

    async def test_a_lane_for_no_frame(self) -> None:
        """A lane below LANE_BYTES_MIN, where not every frame has room, is refused by name."""
        root, child = await self.pair(offered=False)
        fence = Fence()
        self.addCleanup(fence.close)
        place = Address(Scheme.SHM, "small")
        size_bytes = limits.LANE_BYTES_MIN - 8
        lane = IncomingLane(self.reactor, place, "root", self.reactor, fence, size_bytes)
        stream = child.endpoints[BusId(ROOT)].control
        assert stream is not None
        assert stream.link is not None
        assert IDescriptorChannel.providedBy(stream.channel)
        offer = LaneOffer(
            source=CHILD,
            destination=ROOT,
            lane=0x8000_0001,
            size_bytes=lane.size_bytes,
            record_max=lane.record_max,
        )
        stream.channel.send_with(stream.link.own_frame(offer), lane.descriptors)
        errors = self.diaries[root].errors
        await self.until(lambda: errors() or list(lanes_of(root)))
        self.assertEqual((errors(), list(lanes_of(root))), (["MALFORMED_FRAME"], []))
        lane.abort("not taken")
        root.send(CHILD, b"goes on")
        await self.until(lambda: self.received(child))

    async def test_both_are_idle(self) -> None:
        """Both are given back at the same time, and what is sent later takes the stream."""
        self.patch(lanes_module, "LANE_IDLE_SECONDS", 0.3)
        root, child = await self.pair_both_ways()
        await self.until(lambda: not list(lanes_of(root)) and not list(lanes_of(child)))
        child.send(ROOT, b"one way")
        root.send(CHILD, b"the other")
        await self.until(lambda: self.received(root) and self.received(child))
        self.assertEqual((self.used(child), self.used(root, CHILD)), ("unix", "unix"))

    async def test_one_breaks(self) -> None:
        """A reader that gives its lane up for a fault does not take the other one with it."""
        root, child = await self.pair_both_ways()
        [broken] = [lane for lane in lanes_of(root) if lane.is_read]
        assert broken.ring is not None
        broken.ring.abort(Status.OVERLOADED, "enough")
        await self.until(lambda: len(list(lanes_of(child))) == 1)
        for number in range(100):
            root.send(CHILD, b"%d" % number)
            child.send(ROOT, b"%d" % number)
        expected = [b"%d" % number for number in range(100)]
        await self.until(lambda: len(self.received(root)) + len(self.received(child)) == 200)
        self.assertEqual((self.received(root), self.received(child)), (expected, expected))
        self.assertEqual((self.used(child), self.used(root, CHILD)), ("unix", "shm"))

    async def test_a_lane_that_nobody_reads(self) -> None:
        """
        What stands in a lane while its reader lives is noticed: the neighbor is named as slow.
        """
        self.patch(limits, "SLOW_SECONDS", 0.3)
        root, child = await self.pair_both_ways()
        [read] = [lane for lane in lanes_of(root) if lane.is_read]
        read.channel.pause_reading()
        child.send(ROOT, FRAME)
        await self.until(lambda: self.diaries[child].of("on_slow_endpoint"))
        read.channel.resume_reading()
        await self.until(lambda: self.received(root) == [FRAME])
