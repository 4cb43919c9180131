"""When the frames of a lane are acknowledged, which takes another channel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from atbus import limits
from atbus.node import bounds
from atbus.node.acking import Ranges
from atbus.node.lane_link import LaneLink
from tests.node.mail import MailTests

_FRAME_BYTES = 200


class LaneAcknowledgementTests(MailTests):
    """What the reader says, and when."""

    def setUp(self) -> None:
        """Make the reading link of a lane, on a node that has other links as well."""
        super().setUp()
        root, child = self.pair()
        stream = root.endpoints[child.bus_id].data_link
        assert stream is not None
        self.context = stream._context
        self.channel: Any = SimpleNamespace(read_bytes=0, queued_bytes=0)
        nobody: Any = None
        self.link = LaneLink(
            self.context,
            SimpleNamespace(channel=self.channel, endpoint=None, bus_id=child.bus_id),
            frame_bytes_max=limits.FRAME_BYTES,
            data_reader=nobody,
            publication_reader=nobody,
            readers={},
            pass_on=nobody,
        )
        self.told: list[int] = []
        self.link.tell_ack = self.tell
        self.count = 0

    def tell(self, ack: int, early: Ranges) -> None:
        """Take what is said."""
        self.told.append(ack)

    def arrive(self, count: int, size_bytes: int = _FRAME_BYTES) -> None:
        """Have frames read and dealt with, each in a turn of its own."""
        for _ in range(count):
            self.count += 1
            self.channel.read_bytes += size_bytes
            self.link._incoming.received(self.count)
            self.link.discharge(self.count)
            self.network.settle(0)

    def test_little_is_acknowledged_less_often(self) -> None:
        """Short frames are many before it is worth a word, and long ones as few as elsewhere."""
        self.arrive(bounds.LANE_ACK_FRAMES_MAX - 1)
        self.assertEqual(self.told, [])
        self.arrive(1)
        self.assertEqual(self.told, [bounds.LANE_ACK_FRAMES_MAX])
        self.told.clear()
        each = bounds.LANE_ACK_BYTES // limits.ACK_FRAMES_MAX
        self.arrive(limits.ACK_FRAMES_MAX - 1, each)
        self.assertEqual(self.told, [])
        self.arrive(1, each)
        self.assertEqual(self.told, [self.count])
        # Counted from there, and looked at after each so many.
        self.arrive(limits.ACK_FRAMES_MAX, each - 1)
        self.assertEqual(len(self.told), 1)
        self.arrive(limits.ACK_FRAMES_MAX - 1)
        self.assertEqual(len(self.told), 1)
        self.arrive(1)
        self.assertEqual(len(self.told), 2)

    def test_in_time(self) -> None:
        """However few they are they are acknowledged after a while."""
        self.arrive(1)
        self.network.settle(limits.ACK_DELAY_SECONDS * 1.1)
        self.assertEqual(self.told, [1])

    def test_the_answer_comes_first(self) -> None:
        """What was read is answered before it is acknowledged, unless the lane has ended then."""
        turn, order = self.context.turn, self.told
        for has_ended in (False, True):
            order.clear()
            self.arrive(bounds.LANE_ACK_FRAMES_MAX - 1)
            turn.arrival_begins()
            turn.at_end(lambda: order.append(0))
            self.link._incoming.received(self.count + 1)
            self.link.discharge(self.count + 1)
            self.count += 1
            self.assertEqual(order, [])
            self.link.closed = has_ended
            turn.arrival_ends()
            self.network.settle(0)
            self.assertEqual(order, [0] if has_ended else [0, self.count])
