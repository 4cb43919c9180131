"""Who gets a lane, and how many there are."""

from __future__ import annotations

import os

import attrs

from atbus import limits
from atbus.busid import BusId
from atbus.channels.interfaces import IDescriptorChannel
from atbus.errors import Status
from atbus.node.sharing import LANE_WORTH_BYTES
from atbus.wire.messages import LaneOffer
from tests.node.bus import CHILD, ROOT
from tests.processes.lanes import LaneCase, lanes_of

SMALL = limits.LANE_BYTES_MIN


class BudgetTests(LaneCase):
    """A root that reads, and those who write to it."""

    async def test_what_deserves_a_lane(self) -> None:
        """
        LANE_WORTH_BYTES in a second, heard over sockets, deserve a lane; a byte less does not, nor
        does as much that took longer, and nobody is judged by less than a second.
        """
        root, child = await self.pair(offered=False)
        self.assertIs((await child.deliver(ROOT, b"something")).status, Status.OK)
        sharing = lanes_of(root).sharing
        endpoint = root.endpoints[BusId(CHILD)]
        channels = [connection.channel for connection in endpoint.data]
        heard = sum(each.read_bytes for each in channels if IDescriptorChannel.providedBy(each))
        self.assertGreater(heard, 0)
        for seconds, heard_bytes, deserves in (
            (1.0, LANE_WORTH_BYTES, True),
            (1.0, LANE_WORTH_BYTES - 1, False),
            (0.99, LANE_WORTH_BYTES, False),
            (2.0, 2 * LANE_WORTH_BYTES, True),
            (2.0, 2 * LANE_WORTH_BYTES - 1, False),
        ):
            sharing._heard[endpoint] = (0.0, heard - heard_bytes)
            self.assertIs(sharing.deserves(endpoint, seconds), deserves, (seconds, heard_bytes))

    async def test_number(self) -> None:
        """With room for more bytes there are still no more lanes than ``shm.lanes_max`` says."""
        root, child = await self.pair(
            shm_lane_bytes=SMALL, shm_lanes_max=1, shm_bytes_max=limits.LANE_BYTES
        )
        other = await self.node(CHILD + 1, upstream=str(child.config.upstream))
        await self.until(lambda: other.next_hop(ROOT).connection)
        endpoint = root.endpoints[BusId(CHILD + 1)]
        await self.until(lambda: endpoint.available)
        lanes_of(root)._offer(endpoint)
        self.assertEqual([lane.endpoint.bus_id for lane in lanes_of(root)], [CHILD])

    async def test_one_for_each_writer(self) -> None:
        """A writer that has a lane is offered no other one, however many there may be."""
        root, _ = await self.pair(shm_lane_bytes=SMALL, shm_lanes_max=2)
        self.offer(root)
        self.assertEqual(len(list(lanes_of(root))), 1)

    async def test_a_writer_takes_one(self) -> None:
        """
        A writer that is offered a second lane refuses it, and goes on with the first; memory that a
        neighbor makes for it is not mapped without end.
        """
        root, child = await self.pair(shm_lane_bytes=SMALL, shm_lanes_max=2)
        [first] = lanes_of(root)
        lanes_of(root)._lanes.clear()
        self.offer(root)
        lanes_of(root)._lanes.append(first)
        await self.until(lambda: root.statistics.lanes_refused)
        self.assertIn(Status.POLICY_DENIED.name, self.diaries[root].errors())
        [written] = lanes_of(child)
        self.assertEqual(written.number, first.number)
        self.assertIs((await child.deliver(ROOT, b"goes on")).status, Status.OK)
        self.assertEqual(self.used(child), "shm")

    async def test_another_host(self) -> None:
        """
        Whoever says that it is on another host is offered no lane, and takes none, though a socket
        leads to it: nothing tells that memory can be shared.
        """
        root, child = await self.pair(offered=False)
        contexts = [node._parts.context for node in (root, child)]
        known = contexts[0].identity
        contexts[0].identity = attrs.evolve(known, host="another")
        self.offer(root)
        self.assertEqual(list(lanes_of(root)), [])
        contexts[0].identity = known
        contexts[1].identity = attrs.evolve(contexts[1].identity, host="another")
        self.offer(root)
        self.assertEqual(len(list(lanes_of(root))), 1)
        await self.until(lambda: root.statistics.lanes_refused)
        self.assertIn(Status.POLICY_DENIED.name, self.diaries[root].errors())
        self.assertEqual([list(lanes_of(node)) for node in (root, child)], [[], []])
        self.assertEqual(self.used(child), "unix")

    async def test_a_stream_that_leaves(self) -> None:
        """Lanes are offered over the control stream, and over none that is about to end."""
        root, _ = await self.pair(offered=False)
        endpoint = root.endpoints[BusId(CHILD)]
        assert endpoint.control is not None
        [data] = endpoint.data
        self.assertIs(lanes_of(root)._stream_of(endpoint), endpoint.control)
        endpoint.control.leaving = True
        self.assertIs(lanes_of(root)._stream_of(endpoint), data)
        data.leaving = True
        self.assertIsNone(lanes_of(root)._stream_of(endpoint))
        endpoint.control.leaving = data.leaving = False

    async def test_an_offer_without_memory(self) -> None:
        """An offer beside which not both of its descriptors travel is refused by name."""
        root, child = await self.pair(offered=False)
        stream = root.endpoints[BusId(CHILD)].control
        assert stream is not None
        assert stream.link is not None
        assert IDescriptorChannel.providedBy(stream.channel)
        reading, writing = os.pipe()
        for number, beside in enumerate(((), (reading,)), start=1):
            offer = LaneOffer(
                source=ROOT,
                destination=CHILD,
                lane=2 * number,
                size_bytes=SMALL,
                record_max=limits.FRAME_BYTES,
            )
            if beside:
                stream.channel.send_with(stream.link.own_frame(offer), beside)
            else:
                stream.channel.send([stream.link.own_frame(offer)])
            while len(self.diaries[child].errors()) < number:
                await self.pause(0.005)
            [*_, (status, detail)] = self.diaries[child].of("on_error")
            self.assertIs(status, Status.MALFORMED_FRAME)
            self.assertIn("with 0 descriptors", detail)
        for each in (reading, writing):
            os.close(each)
        self.assertEqual(list(lanes_of(child)), [])
        self.assertIs((await child.deliver(ROOT, b"goes on")).status, Status.OK)
