"""What becomes of messages when a lane, its stream or the process at its other end is gone."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

from atbus import limits
from atbus.busid import BusId
from atbus.errors import Status, Undeliverable
from atbus.node import lanes as lanes_module
from atbus.node.events import Fate
from atbus.node.node import Node
from atbus.node.readers import FrameReader
from atbus.wire.messages import MessageType
from tests.extent import is_soon
from tests.node.bus import CHILD, ROOT, Keeper
from tests.processes.lanes import LaneCase, lanes_of, spawn

FRAME = b"x" * 1000
SOON_SECONDS = 0.5


def uncertain(node: Node) -> Counter[Status]:
    """Count the messages of a node that have ended badly, from now on."""
    ended: Counter[Status] = Counter()

    def told(fate: Fate) -> None:
        ended[fate.status] += fate.count

    node.events.on_forward_response.observe(told)
    return ended


def _is_mapped() -> bool:
    return "memfd:atbus" in Path("/proc/self/maps").read_text(encoding="utf-8")


class EndTests(LaneCase):
    """A root that reads and a child that writes."""

    async def test_a_reader_that_gives_up(self) -> None:
        """
        When the reader gives a lane up, each message that was in it is uncertain, however many
        frames they were in, and what had no room is not lost: it takes the stream.
        """
        root, child = await self.pair(shm_lane_bytes=131_072)
        ended = uncertain(child)
        [read] = lanes_of(root)
        read.channel.pause_reading()
        for number in range(400):
            child.send(ROOT, b"%03d" % number + FRAME)
            if number % 10 == 0:
                await self.pause()
        [written] = lanes_of(child)
        await self.until(lambda: written.channel.unread_bytes > 131_072 // 2)
        assert written.ring is not None
        assert written.ring.link is not None
        self.assertGreater(written.ring.link.sight.open_frames, 3)
        assert read.ring is not None
        read.ring.abort(Status.OVERLOADED, "enough")
        await self.until(lambda: self.received(root) and not list(lanes_of(child)))
        await self.until(lambda: self.received(root)[-1][:3] == b"399")
        arrived = [int(payload[:3]) for payload in self.received(root)]
        self.assertEqual(arrived, list(range(arrived[0], 400)))
        self.assertTrue(0 < arrived[0] < 200, arrived[0])
        self.assertEqual(ended, {Status.UNCERTAIN: arrived[0]})

    async def test_a_reader_that_reads_nothing(self) -> None:
        """
        A full lane from which nothing is read for WRITE_DEADLINE_SECONDS ends, though its reader
        lives: what is in it is uncertain, and what waited takes the stream.
        """
        self.patch(limits, "WRITE_DEADLINE_SECONDS", 0.5)
        root, child = await self.pair(shm_lane_bytes=131_072)
        ended = uncertain(child)
        [read] = lanes_of(root)
        read.channel.pause_reading()
        for number in range(400):
            child.send(ROOT, b"%03d" % number + FRAME)
        await self.until(lambda: not (list(lanes_of(child)) or list(lanes_of(root))))
        await self.until(lambda: self.received(root)[-1:] == [b"399" + FRAME])
        arrived = [int(payload[:3]) for payload in self.received(root)]
        self.assertEqual(arrived, list(range(arrived[0], 400)))
        self.assertGreater(arrived[0], 0)
        self.assertEqual(ended, {Status.UNCERTAIN: arrived[0]})
        self.assertEqual(self.used(child), "unix")

    async def test_what_is_sent_behind_a_lane_that_is_cut(self) -> None:
        """
        What is sent in the very moment in which a writer gives a lane up stays behind what waited
        for room in it.
        """
        root, child = await self.pair(shm_lane_bytes=131_072)
        ended = uncertain(child)
        [read] = lanes_of(root)
        [written] = lanes_of(child)
        read.channel.pause_reading()
        for number in range(400):
            child.send(ROOT, b"%03d" % number + FRAME)
        await self.until(lambda: written.channel.unread_bytes > 131_072 // 2)
        assert written.ring is not None
        written.ring.abort(Status.SLOW_CONSUMER, "enough")
        for number in range(400, 410):
            child.send(ROOT, b"%03d" % number + FRAME)
        await self.until(lambda: len(self.received(root)) + ended.total() >= 410)
        arrived = [int(payload[:3]) for payload in self.received(root)]
        self.assertEqual(arrived, list(range(arrived[0], 410)))
        self.assertEqual(ended, {Status.UNCERTAIN: arrived[0]})

    async def test_what_was_uncertain_does_not_come_late(self) -> None:
        """
        What stands in a lane that its writer has given up is not read behind what was sent later
        over another stream, whenever the word of that is read.
        """
        root, child = await self.pair()
        ended = uncertain(child)
        [read] = lanes_of(root)
        [written] = lanes_of(child)
        read.channel.pause_reading()
        for number in range(10):
            child.send(ROOT, b"%d" % number)
        await self.until(lambda: read.channel.unread_bytes)
        control = read.stream.channel
        assert control is not None
        self.assertIs(read.stream, root.endpoints[CHILD].control)
        control.pause_reading()
        assert written.ring is not None
        written.ring.abort(Status.SLOW_CONSUMER, "enough")
        await self.until(lambda: self.used(child) == "unix")
        child.send(ROOT, b"later")
        await self.until(lambda: self.received(root))
        read.channel.resume_reading()
        await self.pause(0.05)
        control.resume_reading()
        await self.until(lambda: not list(lanes_of(root)))
        self.assertEqual(self.received(root), [b"later"])
        self.assertEqual(ended, {Status.UNCERTAIN: 10})

    async def test_a_stream_that_comes_after_the_end_of_a_lane(self) -> None:
        """
        What stands in a lane that its writer has given up is not read behind what was sent over a
        stream that was dialed only afterwards: that tells the lane's end as well. Once the reader
        has offered another lane it has let go the first one, and nobody speaks of that any more.
        """
        root, child = await self.pair()
        ended = uncertain(child)
        [read] = lanes_of(root)
        [written] = lanes_of(child)
        read.channel.pause_reading()
        for number in range(10):
            child.send(ROOT, b"%d" % number)
        await self.until(lambda: read.channel.unread_bytes)
        control = read.stream.channel
        assert control is not None
        self.assertIs(read.stream, root.endpoints[CHILD].control)
        control.pause_reading()
        [stream] = child.endpoints[BusId(ROOT)].data
        stream.abort(Status.LINK_LOST, "broken")
        assert written.ring is not None
        written.ring.abort(Status.LINK_LOST, "enough")
        child.send(ROOT, b"later")
        await self.until(lambda: self.received(root))
        read.channel.resume_reading()
        await self.pause(0.05)
        control.resume_reading()
        await self.until(lambda: not list(lanes_of(root)))
        self.assertEqual(self.received(root), [b"later"])
        self.assertEqual(ended, {Status.UNCERTAIN: 10})
        self.offer(root)
        await self.until(lambda: self.used(child) == "shm")
        words: list[object] = []
        root._parts.registrar.readers[MessageType.LANE_RETIRE] = lambda *read: words.append(read)
        [stream] = child.endpoints[BusId(ROOT)].data
        stream.abort(Status.LINK_LOST, "broken")
        await self.until(lambda: [*child.endpoints[BusId(ROOT)].data, stream][0] is not stream)
        self.assertIs((await child.deliver(ROOT, b"last")).status, Status.OK)
        self.assertEqual(words, [])

    async def test_what_was_committed_is_read(self) -> None:
        """What stands in a lane when its stream breaks is delivered before the lane is freed."""
        root, child = await self.pair()
        [read] = lanes_of(root)
        [written] = lanes_of(child)
        read.channel.pause_reading()
        for number in range(100):
            child.send(ROOT, b"%d" % number)
            if number % 10 == 0:
                await self.pause()
        assert written.ring is not None
        link = written.ring.link
        await self.until(lambda: link is not None and not link.queued_bytes)
        self.assertEqual(self.received(root), [])
        read.stream.abort(Status.LINK_LOST, "broken")
        await self.until(lambda: not list(lanes_of(root)))
        self.assertEqual(self.received(root), [b"%d" % number for number in range(100)])

    async def test_answers_to_what_is_read_at_the_end(self) -> None:
        """
        What is answered to messages that are read when their stream has ended is not written to
        that: every message has one fate on either side.
        """
        root, child = await self.pair()
        ended = uncertain(root)
        refused: list[Status] = []

        def answered(_source: int, payload: bytes) -> bytes:
            try:
                root.send(CHILD, payload)
            except Undeliverable as refusal:
                refused.append(refusal.status)
            return payload

        root.on_request(answered)
        [read] = lanes_of(root)
        [written] = lanes_of(child)
        read.channel.pause_reading()
        for number in range(200):
            child.request(ROOT, b"%d" % number).addErrback(lambda failure: None)
            await self.pause()
        assert written.ring is not None
        link = written.ring.link
        await self.until(lambda: link is not None and not link.queued_bytes)
        for connection in list(child.endpoints[BusId(ROOT)].connections):
            if connection is not written.ring:
                connection.abort(Status.LINK_LOST, "broken")
        await self.until(lambda: not list(lanes_of(root)))

        def count() -> int:
            return ended.total() + len(refused) + len(self.received(child))

        # A message and a reply for each question.
        await self.until(lambda: count() >= 400)
        self.assertEqual(count(), 400)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_a_stream_ends_before_the_word_of_its_lane(self) -> None:
        """
        Whose word that it has taken a lane is lost with the stream has sent uncertain messages;
        the reader goes on, and both are connected again.
        """
        root, child = await self.pair(offered=False)
        ended = uncertain(child)
        lost: list[object] = []
        root._parts.registrar.readers[MessageType.LANE_ACCEPT] = lambda *read: lost.append(read)
        self.offer(root)
        await self.until(lambda: lost and self.used(child) == "shm")
        for number in range(10):
            child.send(ROOT, b"%d" % number)
        [read] = lanes_of(root)
        await self.until(lambda: read.channel.unread_bytes)
        turns = mock.Mock(side_effect=AssertionError("this would not end"))
        self.patch(read.channel, "_drain", turns)
        read.stream.abort(Status.LINK_LOST, "broken")
        await self.until(lambda: not list(lanes_of(root)) and not list(lanes_of(child)))
        self.assertEqual(turns.mock_calls, [])
        await self.until(lambda: CHILD in root.endpoints and root.endpoints[CHILD].available)
        await self.until(lambda: ended.total() == 10)
        await self.until(lambda: self.used(child) == "unix")
        child.send(ROOT, b"after")
        await self.until(lambda: self.received(root))
        self.assertEqual((self.received(root), ended.total()), ([b"after"], 10))

    async def test_an_offer_that_nobody_answers(self) -> None:
        """
        LANE_OFFER_SECONDS: a lane that was offered and not taken is taken back, its memory given
        back, and no other one offered; the stream stays in use, and a late answer is nothing.
        """
        root, child = await self.pair(offered=False)
        readers = child._parts.registrar.readers
        late: list[Callable[[], None]] = []

        def later(read: FrameReader) -> FrameReader:
            return lambda *received: late.append(partial(read, *received))

        for kind in (MessageType.LANE_OFFER, MessageType.LANE_RETIRE):
            readers[kind] = later(readers[kind])
        # For as long as a busy machine needs.
        self.patch(lanes_module, "LANE_OFFER_SECONDS", 3600.0)
        self.offer(root)
        await self.until(lambda: late)
        self.assertEqual(len(list(lanes_of(root))), 1)
        lanes_of(root).sweep()
        self.assertEqual(len(list(lanes_of(root))), 1)
        self.patch(lanes_module, "LANE_OFFER_SECONDS", 0.0)
        await self.until(lambda: not list(lanes_of(root)))
        self.offer(root)
        self.assertEqual(list(lanes_of(root)), [])
        self.assertFalse(_is_mapped())
        await self.until(lambda: len(late) == 2)
        offered, taken_back = late
        offered()
        self.assertEqual(len(list(lanes_of(child))), 1)
        taken_back()
        await self.until(lambda: root.statistics.late_frames and not list(lanes_of(child)))
        self.assertFalse(_is_mapped())
        child.send(ROOT, b"after")
        await self.until(lambda: self.received(root) == [b"after"])
        self.assertEqual(self.used(child), "unix")

    async def test_another_writer_is_not_delayed(self) -> None:
        """
        A writer that stands still in the middle of its work, and is killed then, holds up nobody:
        what another one writes to its own lane arrives all the while.

        Scenario: E7
        """
        self.diaries = {}
        path = f"unix://{self.directory}/root.sock"
        options = {"listen": [path, "shm://auto"], "subnets": [(0, 16)], "shm_lanes_max": 2}
        root = await self.node(ROOT, **options)
        root.receiver = Keeper()
        process = spawn(self, "write", path)
        await self.until(lambda: any(lane.channel.moved_bytes for lane in lanes_of(root)))
        other = await self.node(CHILD + 1, upstream=path)
        await self.until(lambda: CHILD + 1 in root.endpoints)
        endpoint = root.endpoints[other.bus_id]
        await self.until(lambda: endpoint.available)
        lanes_of(root)._offer(endpoint)
        await self.until(lambda: self.used(other) == "shm")
        for step in (signal.SIGSTOP, signal.SIGKILL):
            process.send_signal(step)
            began = self.reactor.seconds()
            for _ in range(50):
                self.assertIs((await other.deliver(ROOT, FRAME)).status, Status.OK)
            self.assertTrue(is_soon(self.reactor.seconds() - began, SOON_SECONDS))
            self.assertEqual(self.used(other), "shm")
        await self.until(lambda: len(list(lanes_of(root))) == 1)
