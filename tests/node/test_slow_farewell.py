"""A neighbor that is left while much is on its way to it, and arrives slowly."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.node.node import Node
from atbus.testing.channel import VirtualChannel
from tests.node.mail import NORTH, MailTests

ONE, TWO = NORTH + 1, NORTH + 2
TWO_ADDRESS = f"ipv4://10.0.1.{TWO & 255}:1"
_COUNT, _BYTES = 8, 150_000
_DRAIN_SECONDS = 6.0
_LATER = limits.DRAIN_CLOSE_SECONDS * 0.75


class SlowFarewellTests(MailTests):
    """Two siblings that part."""

    def part(self) -> tuple[Node, Node, VirtualChannel, Deferred[None]]:
        """Send more than a channel takes at once, over one that takes nothing, and leave."""
        self.proxies(direct_notice=False)
        one = self.leaf(ONE, drain_seconds=_DRAIN_SECONDS)
        two = self.leaf(TWO, listens=True)
        self.network.result_of(one.connect(TWO_ADDRESS))
        self.network.settle()
        stuck = self.data_channel(one, two)
        stuck.stall()
        for _ in range(_COUNT):
            one.send(TWO, bytes(_BYTES))
        return one, two, stuck, one.disconnect(TWO)

    def let_pass(self, stuck: VirtualChannel, count: int) -> None:
        """Let some frames pass that a channel holds."""
        frames, stuck._queue = stuck._queue[:count], stuck._queue[count:]
        stuck.carry(lambda: stuck.other.arrive(frames))
        self.network.settle(0.01)

    def test_what_arrives_gives_more_time(self) -> None:
        """As long as one part after the other is taken nothing becomes uncertain."""
        one, two, stuck, leaving = self.part()
        for _ in range(3):
            self.network.settle(_LATER)
            self.assertNoResult(leaving)
            self.let_pass(stuck, 5)
        self.network.settle(_LATER)
        stuck.resume()
        self.network.result_of(leaving, 1.0)
        self.assertEqual(len(self.mail[two].payloads), _COUNT)
        self.assertEqual(self.mail[one].fates, [])

    def test_who_takes_nothing_is_left(self) -> None:
        """Two seconds after the last part it is over; what is left is uncertain."""
        one, _, stuck, leaving = self.part()
        self.network.settle(_LATER)
        self.let_pass(stuck, 5)
        self.network.settle(limits.DRAIN_CLOSE_SECONDS - 0.1)
        self.assertNoResult(leaving)
        self.assertEqual(self.mail[one].fates, [])
        self.network.settle(limits.GOODBYE_SECONDS + 0.5)
        self.successResultOf(leaving)
        self.assertEqual(set(self.mail[one].statuses()), {"UNCERTAIN"})

    def test_it_does_not_take_for_ever(self) -> None:
        """However little arrives each time: what a node has to stop is enough to leave one."""
        _, _, stuck, leaving = self.part()
        for _ in range(int(_DRAIN_SECONDS / _LATER)):
            self.assertNoResult(leaving)
            self.let_pass(stuck, 1)
            self.network.settle(_LATER)
        self.network.settle(limits.GOODBYE_SECONDS + 0.5)
        self.successResultOf(leaving)
