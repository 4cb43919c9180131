"""Lanes between two nodes, whatever happens to them in whatever order: drawn, with real memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

from atbus import limits
from atbus.busid import BusId
from atbus.errors import Status, Undeliverable
from atbus.node.events import Fate
from atbus.node.lane_link import Lane
from atbus.node.node import Node
from atbus.node.outbox import Notice
from atbus.wire.messages import LaneAccept, LaneRetire, LinkAck, Message
from tests.node.bus import CHILD, ROOT
from tests.processes.lanes import LaneCase, lanes_of

STEPS = 60
#: Looks, a millisecond apart at least, within which all has come to rest.
LOOKS_MAX = 20_000
_HOSTILE_STATUSES = (Status.STOPPED, Status.OVERLOADED, Status.OK)


def _is_mapped() -> bool:
    return "memfd:atbus" in Path("/proc/self/maps").read_text(encoding="utf-8")


class Writer:
    """
    Numbers what one node sends to another, and keeps what it is told of that.

    :param node: Who sends.
    :param target: To whom.
    """

    def __init__(self, node: Node, target: int) -> None:
        self.node = node
        self.target = target
        self.accepted: dict[int, int] = {}
        self.told: Counter[int] = Counter()
        self._next = 0
        node.events.on_forward_response.observe(self._tell)

    def _tell(self, fate: Fate) -> None:
        for place in range(fate.count):
            self.told[fate.first_sequence + place] += 1

    def send(self, size_bytes: int) -> None:
        """Send the next message, if it is taken."""
        number, self._next = self._next, self._next + 1
        try:
            sequence = self.node.send(self.target, b"%d " % number + b"x" * size_bytes)
        except Undeliverable:
            return
        self.accepted[sequence] = number

    def missing(self, received: list[int]) -> set[int]:
        """Say of which messages neither side has said anything yet."""
        arrived = set(received)
        return {n for s, n in self.accepted.items() if n not in arrived and not self.told[s]}


class DrawnTests(LaneCase):
    """A root and a child that read lanes of each other's."""

    def numbers(self, node: Node) -> list[int]:
        """Give the numbers of what a node has received."""
        return [int(payload.split()[0]) for payload in self.received(node)]

    async def act(self, draw: Random, writers: list[Writer]) -> None:
        """Let one thing happen, if it can."""
        writer = draw.choice(writers)
        node = writer.node
        endpoint = node.endpoints.get(BusId(writer.target))
        lane = draw.choice([*lanes_of(node), None])
        match draw.randrange(9):
            case 0 | 1 | 2:
                for _ in range(draw.randrange(1, 40)):
                    writer.send(draw.choice((0, 100, 3000)))
            case 3 if endpoint is not None:
                # Whoever has broken a lane would get no other one.
                lanes_of(node)._banned.clear()
                lanes_of(node)._offer(endpoint)
            case 4 if lane is not None:
                draw.choice((lane.channel.pause_reading, lane.channel.resume_reading))()
            case 5 if lane is not None and lane.ring is not None:
                lane.ring.abort(draw.choice((Status.OVERLOADED, Status.SLOW_CONSUMER)), "drawn")
            case 6 if lane is not None and lane.is_read and not lane.retiring:
                lane.retiring = True
                lanes_of(node)._retire(lane, Status.STOPPED)
            case 7:
                self.say(node, endpoint is not None, writer.target, self.word(draw, node, lane))
            case 8 if endpoint is not None and draw.random() < 0.2:
                draw.choice(endpoint.connections).abort(Status.LINK_LOST, "drawn")
        for _ in range(draw.randrange(4)):
            await self.pause()

    def word(self, draw: Random, node: Node, lane: Lane | None) -> Message:
        """Make a word about a lane, at the wrong time."""
        number = draw.choice((0, 1, 0x8000_0FF1, 0x8000_0FF2))
        if lane is not None and lane.is_read:
            # Who says that he has given up a lane to which he writes on loses what he writes.
            number = draw.choice((number, lane.number, lane.number))
        status = draw.choice(_HOSTILE_STATUSES)
        return draw.choice(
            (
                LaneAccept(source=node.bus_id, lane=number, status=status),
                LaneRetire(source=node.bus_id, lane=number, status=status),
                LinkAck(source=node.bus_id, lane=number),
            )
        )

    def say(self, node: Node, is_there: bool, target: int, message: Message) -> None:
        """Say something to a neighbor on any of its streams."""
        endpoint = node.endpoints[BusId(target)] if is_there else None
        streams = [] if endpoint is None else [endpoint.control, *endpoint.data]
        for stream in streams:
            if stream is not None and stream.link is not None and not stream.link.closed:
                stream.link.put(Notice(message))
                return

    async def drawn(self, seed: int) -> None:
        """Let things happen, and see that all comes to rest and nothing is left."""
        draw = Random(seed)
        root, child = await self.pair(shm_lane_bytes=limits.LANE_BYTES_MIN)
        writers = [Writer(child, ROOT), Writer(root, CHILD)]
        for _ in range(STEPS):
            await self.act(draw, writers)
        readers = [root, child]

        def rests() -> bool:
            for node in readers:
                for lane in lanes_of(node):
                    lane.channel.resume_reading()
            pairs = zip(writers, readers, strict=True)
            return not any(writer.missing(self.numbers(node)) for writer, node in pairs)

        for _ in range(LOOKS_MAX):
            if rests():
                break
            await self.pause(0.001)
        for writer, node in zip(writers, readers, strict=True):
            numbers = self.numbers(node)
            self.assertEqual(writer.missing(numbers), set(), f"seed {seed}")
            self.assertEqual(numbers, sorted(set(numbers)), f"seed {seed}")
            self.assertLessEqual(set(numbers), set(writer.accepted.values()), f"seed {seed}")
            self.assertEqual([s for s, n in writer.told.items() if n > 1], [], f"seed {seed}")
        for node in (child, root):
            await node.stop()
            self.assertEqual(list(lanes_of(node)), [], f"seed {seed}")
            self.assertIsNone(lanes_of(node)._fence)
        self.assertFalse(_is_mapped())
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_drawn_events(self) -> None:
        """
        Whatever is done to lanes, and said of them at the wrong time: each message arrives once and
        in order, or its sender is told once; every lane is given back.
        """
        await self.drawn(1)

    async def test_more_drawn_events(self) -> None:
        """The same, drawn otherwise."""
        await self.drawn(2)
