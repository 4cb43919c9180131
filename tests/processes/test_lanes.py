"""Data between nodes of one host takes shared memory, and leaves it again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from atbus import limits
from atbus.busid import BusId
from atbus.channels import lane as lane_module
from atbus.channels import lane_reader, outgoing_lane
from atbus.errors import Status
from atbus.node import lanes as lanes_module
from atbus.node.config import NodeConfig
from atbus.node.endpoint import Gate
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.wire.loose import Frame, LooseRun
from atbus.wire.messages import Capability
from benchmarks import lane_memory
from tests.node.bus import CHILD, ROOT, SIBLING, Keeper
from tests.processes.lanes import LaneCase, lanes_of

FRAME = b"x" * 1000


class LaneTests(LaneCase):
    """A root that reads and a child that writes."""

    async def test_traffic_deserves_a_lane(self) -> None:
        """
        A child that sends much gets a lane, and its data changes to it without loss or doubles; one
        that is silent gets none.

        Scenario: H21
        """
        root, child = await self.pair(offered=False)
        sent = 0
        while self.used(child) != "shm":
            for _ in range(20):
                child.send(ROOT, b"%d" % sent + FRAME)
                sent += 1
            await self.pause(0.02)
        for _ in range(200):
            child.send(ROOT, b"%d" % sent + FRAME)
            sent += 1
        await self.until(lambda: len(self.received(root)) == sent)
        self.assertEqual(self.received(root), [b"%d" % n + FRAME for n in range(sent)])
        self.assertEqual([lane.is_read for lane in lanes_of(root)], [True])
        [(_, connection)] = self.diaries[child].of("on_channel_changed")
        self.assertEqual(connection.address.scheme.value, "shm")
        self.assertEqual(root.statistics.missed_wakeups, 0)

    async def test_everything_goes_through(self) -> None:
        """
        Large messages as fragments, requests, commands and acknowledgements: all as over a stream.

        Scenario: E6, L5
        """
        root, child = await self.pair()
        payload = os.urandom(limits.MESSAGE_BYTES)
        self.assertIs((await child.deliver(ROOT, payload)).status, Status.OK)
        self.assertIs((await child.deliver(ROOT, b"")).status, Status.OK)
        self.assertEqual(self.received(root), [payload, b""])
        root.on_request(lambda _source, asked: asked[::-1])
        self.assertEqual(await child.request(ROOT, b"abc"), b"cba")
        root.on_command(lambda _source, words: list(words))
        self.assertEqual(await child.command(ROOT, b"one", b"two"), [b"one", b"two"])
        [lane] = lanes_of(child)
        assert lane.ring is not None and lane.ring.link is not None
        link = lane.ring.link
        await self.until(lambda: link.idle)
        self.assertGreater(lane.channel.written_bytes, limits.MESSAGE_BYTES)

    async def test_long_messages(self) -> None:
        """
        Long messages for the reader are copied out of the lane one by one; those that go on through
        it stay the frames they are. All of them arrive, in order, among short ones.
        """
        root, child = await self.pair()
        sibling = await self.node(SIBLING, upstream=f"unix://{self.directory}/root.sock")
        sibling.receiver = Keeper()
        await self.until(lambda: child.next_hop(SIBLING).connection is not None)
        [lane] = lanes_of(root)
        receiver: Any = lane.channel._receiver
        seen: list[Frame] = []

        def see(frames: list[Frame]) -> None:
            seen.extend(frames)
            take(frames)

        take = receiver.frames_received
        self.patch(receiver, "frames_received", see)
        sent = [os.urandom(size) for size in (200_000, 5, 140_000, 131_072, 16_384)]
        for turn in range(3):
            for payload in sent:
                child.send(ROOT, b"%d" % turn + payload)
                child.send(SIBLING, payload + b"%d" % turn)
                if turn:
                    await self.pause()
        await self.until(lambda: len(self.received(root)) == len(self.received(sibling)) == 15)
        expected = [(b"%d" % turn, payload) for turn in range(3) for payload in sent]
        self.assertEqual(self.received(root), [turn + payload for turn, payload in expected])
        self.assertEqual(self.received(sibling), [payload + turn for turn, payload in expected])
        loose = [frame for frame in seen if isinstance(frame, LooseRun)]
        self.assertEqual({frame.head[6] for frame in loose}, {ROOT})
        lengths = [len(payload) for frame in loose for payload in frame.payloads]
        self.assertEqual(sum(length > 131_072 for length in lengths), 9)

    async def test_many_changes(self) -> None:
        """
        Data changes between shared memory and the stream a thousand times under load, both ways:
        nothing is lost, doubled or overtaken, and no wake-up is missed.
        """
        # Whatever this machine does meanwhile, no order is given up.
        self.patch(limits, "FLUSH_SECONDS", 600.0)
        root, child = await self.pair_both_ways()
        ways = [(root, CHILD), (child, ROOT)]
        ends = [node.endpoints[BusId(other)] for node, other in ways]
        rings = [end.ring for end in ends]
        change = sent = 0
        while min(len(self.diaries[node].of("on_channel_changed")) for node, _ in ways) < 1000:
            change += 1
            for (node, _), end, ring in zip(ways, ends, rings, strict=True):
                node._parts.paths.change_channel(end, None if change % 2 == 0 else ring)
            for _ in range(5):
                for node, other in ways:
                    node.send(other, b"%d" % sent)
                sent += 1
            # Now and then the next change comes before this one is through.
            while change % 8 and any(end.gate is not Gate.OPEN for end in ends):
                await self.pause()
        expected = [b"%d" % n for n in range(sent)]
        for node in (root, child):
            while len(self.received(node)) < sent:
                await self.pause()
            self.assertEqual(self.received(node), expected)
            self.assertEqual(node.statistics.order_given_up, 0)
            self.assertEqual(node.statistics.missed_wakeups, 0)

    # A few seconds, on a machine that does nothing else.
    test_many_changes.timeout = 600  # type: ignore[attr-defined]

    async def test_an_idle_lane_is_given_back(self) -> None:
        """A lane that nobody writes to is retired; data goes on over the stream, in order."""
        self.patch(lanes_module, "LANE_IDLE_SECONDS", 0.3)
        root, child = await self.pair()
        child.send(ROOT, b"before")
        await self.until(lambda: not list(lanes_of(root)) and not list(lanes_of(child)))
        child.send(ROOT, b"after")
        await self.until(lambda: len(self.received(root)) == 2)
        self.assertEqual(self.received(root), [b"before", b"after"])
        self.assertEqual(self.used(child), "unix")
        self.assertEqual(self.diaries[child].of("on_error"), [])
        # What it is worth is judged anew.
        self.offer(root)
        await self.until(lambda: self.used(child) == "shm")

    async def test_a_writer_that_breaks_the_rules(self) -> None:
        """
        A neighbor that leaves nonsense in its lane loses shared memory, is named, and keeps its
        stream: its messages still come.
        """
        root, child = await self.pair()
        [lane] = lanes_of(child)
        memory: Any = lane.channel
        memory._memory[64:72] = (1 << 50).to_bytes(8, "little")
        memory._rope.ring()
        await self.until(lambda: not list(lanes_of(root)) and not list(lanes_of(child)))
        self.assertIn("MALFORMED_FRAME", self.diaries[root].errors())
        self.assertIn("MALFORMED_FRAME", self.diaries[child].errors())
        child.send(ROOT, b"still here")
        await self.until(lambda: self.received(root))
        self.assertEqual(self.used(child), "unix")
        self.offer(root)
        self.assertEqual(list(lanes_of(root)), [])

    async def test_a_reader_that_breaks_the_rules(self) -> None:
        """A reader that claims what cannot be loses its writer, which goes on over the stream."""
        root, child = await self.pair()
        [lane] = lanes_of(root)
        memory: Any = lane.channel
        memory._memory[128:136] = (1 << 50).to_bytes(8, "little")
        child.send(ROOT, b"lost or not")
        await self.until(lambda: not list(lanes_of(child)) and not list(lanes_of(root)))
        child.send(ROOT, b"still here")
        await self.until(lambda: b"still here" in self.received(root))
        self.assertEqual(self.used(child), "unix")

    async def test_a_full_lane_is_flow_control(self) -> None:
        """
        While its reader stands still a lane fills, and what is sent waits or is refused; one frame
        waits for the lane, everything behind it as messages that could take another way.
        """
        root, child = await self.pair(shm_lane_bytes=262_144)
        [read] = lanes_of(root)
        # Whoever looks at a full lane by himself comes too late.
        self.patch(outgoing_lane, "LANE_FULL_SECONDS", 3600.0)
        read.channel.pause_reading()
        for number in range(1000):
            child.send(ROOT, b"%03d" % number + FRAME)
            if number % 50 == 0:
                await self.pause()
        [written] = lanes_of(child)
        await self.until(lambda: written.channel.queued_bytes)
        self.assertGreater(written.channel.unread_bytes, 262_144 // 2)
        self.assertLessEqual(written.channel.queued_bytes, limits.FRAME_BYTES)
        read.channel.resume_reading()
        await self.until(lambda: len(self.received(root)) == 1000)
        self.assertEqual(self.received(root), [b"%03d" % n + FRAME for n in range(1000)])
        self.assertEqual(child.statistics.missed_wakeups, 0)

    async def test_lanes_are_shown(self) -> None:
        """
        The built-in command tells each end of a lane: who is there, how much went through it, and
        what is in it.

        Scenario: E3, F1
        """
        root, child = await self.pair()
        await child.deliver(ROOT, FRAME)
        for node, other, direction in ((root, CHILD, "reading"), (child, ROOT, "writing")):
            [line] = await node.command(node.bus_id, b"atbus.shm")
            [row] = json.loads(line)
            self.assertEqual((row["id"], row["direction"]), (f"{other:#x}", direction))
            self.assertEqual((row["state"], row["size_bytes"]), ("attached", limits.LANE_BYTES))
            self.assertGreater(row["moved_bytes"], len(FRAME))
            self.assertIn(f"pid={os.getpid()}", row["owner"])

    async def shown(self, node: Node) -> dict[str, Any]:
        """Give what a node tells of its only lane."""
        [line] = await node.command(node.bus_id, b"atbus.shm")
        [row] = json.loads(line)
        return dict(row)

    async def test_depths_are_shown(self) -> None:
        """
        Both ends tell how much of a lane is not read yet, the writer how much waits for room in it
        as well; and whether it is only offered, in use, or about to be given back.
        """
        root, child = await self.pair(offered=False, shm_lane_bytes=131_072)
        self.offer(root)
        self.assertEqual((await self.shown(root))["state"], "offered")
        await self.until(lambda: self.used(child) == "shm")
        [read], [written] = lanes_of(root), lanes_of(child)
        read.channel.pause_reading()
        for number in range(400):
            child.send(ROOT, b"%03d" % number + FRAME)
        await self.until(lambda: written.channel.queued_bytes)
        reads, writes = await self.shown(root), await self.shown(child)
        self.assertEqual(reads["unread_bytes"], writes["unread_bytes"])
        self.assertGreater(reads["unread_bytes"], 131_072 // 2)
        self.assertEqual(reads["queued_bytes"], 0)
        self.assertGreater(writes["queued_bytes"], 200 * len(FRAME))
        self.assertEqual(reads["lane"], writes["lane"])
        self.assertEqual([row["state"] for row in (reads, writes)], ["attached"] * 2)
        self.assertTrue(all(row["address"].startswith("shm://auto-") for row in (reads, writes)))
        self.assertTrue(all(0 <= row["age_seconds"] < self.timeout for row in (reads, writes)))
        read.channel.resume_reading()
        await self.until(lambda: len(self.received(root)) == 400)
        self.assertEqual((await self.shown(root))["unread_bytes"], 0)
        read.retiring = True
        self.assertEqual((await self.shown(root))["state"], "retiring")
        read.retiring = False

    async def test_a_stop_loses_nothing(self) -> None:
        """What was sent before a stop arrives, whoever stops, and no memory is left."""
        root, child = await self.pair()
        for number in range(500):
            child.send(ROOT, b"%03d" % number + FRAME)
        await child.stop()
        self.assertEqual(self.received(root), [b"%03d" % n + FRAME for n in range(500)])
        self.assertEqual(list(lanes_of(child)), [])
        await self.until(lambda: not list(lanes_of(root)))
        self.assertFalse(_is_mapped())

    async def test_budgets(self) -> None:
        """No more lanes are offered than the configuration allows, in number and in bytes."""
        root, _ = await self.pair(offered=False, shm_lanes_max=0)
        self.offer(root)
        self.assertEqual(list(lanes_of(root)), [])

    async def test_all_to_all(self) -> None:
        """
        A node that more neighbors write to than it has lanes for takes what its budget allows, and
        64 such nodes 256 MiB of memory; the other neighbors use their sockets.
        """
        # Whatever this machine does meanwhile, no offer is taken back.
        self.patch(lanes_module, "LANE_OFFER_SECONDS", 600.0)
        self.diaries = {}
        path = f"unix://{self.directory}/root.sock"
        root = await self.node(ROOT, listen=[path, "shm://auto"], subnets=[(0, 16)])
        root.receiver = Keeper()
        children = [await self.node(CHILD + n, upstream=path) for n in range(12)]
        await self.until(lambda: all(child.next_hop(ROOT).connection for child in children))
        for endpoint in root.endpoints.values():
            lanes_of(root)._offer(endpoint)
        most = limits.LANES_MAX
        await self.until(lambda: sum(self.used(child) == "shm" for child in children) == most)
        allocated_bytes = lane_memory.allocated_bytes([os.getpid()])
        self.assertEqual(allocated_bytes, most * limits.LANE_BYTES)
        self.assertLessEqual(64 * allocated_bytes, lane_memory.AIM_BYTES)
        for child in children:
            child.send(ROOT, b"%x" % child.bus_id)
        await self.until(lambda: len(self.received(root)) == len(children))

    async def test_budget_of_bytes(self) -> None:
        """A lane that is larger than what is left of the budget is not offered."""
        size_bytes = limits.LANE_BYTES_MIN
        root, child = await self.pair(
            shm_lane_bytes=size_bytes, shm_lanes_max=2, shm_bytes_max=2 * size_bytes - 1
        )
        other = await self.node(CHILD + 1, upstream=str(child.config.upstream))
        await self.until(lambda: other.next_hop(ROOT).connection)
        endpoint = root.endpoints[BusId(CHILD + 1)]
        await self.until(lambda: endpoint.available)
        lanes_of(root)._offer(endpoint)
        self.assertEqual(len(list(lanes_of(root))), 1)
        reconfigure(root, root.config.replace(shm_bytes_max=2 * size_bytes))
        lanes_of(root)._offer(endpoint)
        self.assertEqual(len(list(lanes_of(root))), 2)

    async def test_a_neighbor_that_knows_no_lanes(self) -> None:
        """No lane is offered to a node that did not say that it can take one."""
        self.diaries = {}
        path = f"unix://{self.directory}/root.sock"
        root = await self.node(ROOT, listen=[path, "shm://auto"], subnets=[(0, 16)])
        old = Node(NodeConfig(id=CHILD, upstream=path), reactor=self.reactor)
        old._parts.dialer.capabilities &= ~Capability.LANES
        self.addCleanup(old.stop)
        await old.start()
        await self.until(lambda: root.endpoints[BusId(CHILD)].available)
        self.offer(root)
        self.assertEqual(list(lanes_of(root)), [])

    async def test_a_refused_lane(self) -> None:
        """A writer that cannot use a lane says why; no other one is offered to it."""
        root, child = await self.pair(offered=False)
        lanes_of(child).sharing.why_not = "not here"
        self.offer(root)
        await self.until(lambda: root.statistics.lanes_refused)
        self.assertIn("POLICY_DENIED", self.diaries[root].errors())
        self.offer(root)
        self.assertEqual(list(lanes_of(root)), [])

    async def test_a_lane_that_is_too_large(self) -> None:
        """Memory of more than is mapped for anybody is refused by name, and data goes on."""
        root, child = await self.pair(offered=False)
        self.patch(limits, "LANE_BYTES_MAX", limits.LANE_BYTES - 8)
        self.offer(root)
        await self.until(lambda: root.statistics.lanes_refused)
        self.assertIn(Status.MALFORMED_FRAME.name, self.diaries[child].errors())
        self.assertEqual([list(lanes_of(node)) for node in (root, child)], [[], []])
        child.send(ROOT, b"after")
        await self.until(lambda: self.received(root) == [b"after"])

    async def refused_for_its_version(self, version: int) -> None:
        """See that a lane of another version is refused by name, and that data goes on."""
        root, child = await self.pair(offered=False)
        child.send(ROOT, b"before")
        known = self.patch(lane_reader, "VERSION", version)
        self.offer(root)
        known.restore()
        await self.until(lambda: root.statistics.lanes_refused)
        child.send(ROOT, b"after")
        await self.until(lambda: len(self.received(root)) == 2)
        self.assertEqual(self.received(root), [b"before", b"after"])
        self.assertEqual(self.used(child), "unix")
        for node, word in ((root, "refused a lane"), (child, f"a lane of version {version:#x}")):
            [(status, detail)] = self.diaries[node].of("on_error")
            self.assertIs(status, Status.UNSUPPORTED_VERSION)
            self.assertIn(word, detail)
        # It is not tried again and again.
        self.offer(root)
        self.assertEqual([list(lanes_of(node)) for node in (root, child)], [[], []])

    async def test_an_older_version(self) -> None:
        """
        A neighbor that was not replaced yet offers a lane of an older version: it is refused as
        one, both sides are told, and data goes on over the stream, none lost.
        """
        await self.refused_for_its_version(lane_module.VERSION - 1)

    async def test_a_newer_version(self) -> None:
        """The same with a neighbor that was replaced first."""
        await self.refused_for_its_version(lane_module.VERSION + 1)


class ReloadTests(LaneCase):
    """Each test is named for the option that changes while the node runs."""

    async def reloaded(self, small: dict[str, Any], large: dict[str, Any]) -> None:
        """See that no lane is offered within the small bound, and one within the large one."""
        root, child = await self.pair(offered=False, **small)
        self.offer(root)
        self.assertEqual(list(lanes_of(root)), [])
        reconfigure(root, root.config.replace(**large))
        self.offer(root)
        await self.until(lambda: self.used(child) == "shm")
        self.assertEqual(len(list(lanes_of(root))), 1)

    async def test_shm_lanes_max(self) -> None:
        """As many lanes are offered as the new configuration allows."""
        await self.reloaded({"shm_lanes_max": 0}, {"shm_lanes_max": 1})

    async def test_shm_bytes_max(self) -> None:
        """
        The new budget of bytes counts for the next offer; left out, it follows the number of lanes.
        """
        path = f"unix://{self.directory}/root.sock"
        root, _ = await self.pair()
        other = await self.node(CHILD + 1, upstream=path, listen=["shm://auto"])
        await self.until(lambda: other.next_hop(ROOT).connection)
        endpoint = root.endpoints[BusId(CHILD + 1)]
        await self.until(lambda: endpoint.available)
        size_bytes = root.config.shm_lane_bytes
        for changes, lanes in (
            ({"shm_lanes_max": 2, "shm_bytes_max": size_bytes}, 1),
            ({"shm_lanes_max": 2}, 2),
        ):
            reconfigure(root, root.config.replace(**({"shm_bytes_max": None} | changes)))
            lanes_of(root)._offer(endpoint)
            self.assertEqual(len(list(lanes_of(root))), lanes)
        await self.until(lambda: self.used(other) == "shm")

    async def test_shm_lane_bytes(self) -> None:
        """The next lane has the new size."""
        root, child = await self.pair(offered=False)
        size_bytes = limits.LANE_BYTES_MIN
        reconfigure(root, root.config.replace(shm_lane_bytes=size_bytes))
        self.offer(root)
        await self.until(lambda: self.used(child) == "shm")
        [lane] = lanes_of(root)
        self.assertEqual(lane.channel.size_bytes, size_bytes)


def _is_mapped() -> bool:
    return "memfd:atbus" in Path("/proc/self/maps").read_text(encoding="utf-8")
