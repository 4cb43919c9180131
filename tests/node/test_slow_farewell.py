"""A neighbor that is left while much is on its way to it, and arrives slowly."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.node.node import Node
from atbus.testing.channel import VirtualChannel
from tests.node.mail import NORTH, ROOT, MailTests

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


class KeptFarewellTests(MailTests):
    """A leaf and its proxy part while the proxy keeps what the leaf has sent to somebody else."""

    def part(self, who: int, whom: int) -> tuple[Node, VirtualChannel, Deferred[None]]:
        """Send something that comes no further than the proxy, and let one leave the other."""
        root, north, _ = self.proxies()
        leaf = self.leaf(ONE, drain_seconds=_DRAIN_SECONDS)
        stuck = self.data_channel(north, root)
        stuck.stall()
        # More than the channel takes, so that the proxy answers for it.
        for _ in range(_COUNT):
            leaf.send(ROOT, bytes(_BYTES))
        self.network.settle(0.5)
        leaving = {ONE: leaf, NORTH: north}[who].disconnect(whom)
        return leaf, stuck, leaving

    def arrives(self, leaf: Node, stuck: VirtualChannel, leaving: Deferred[None]) -> None:
        """Long after the time for which nothing may happen it arrives, and they part."""
        for _ in range(2):
            self.network.settle(_LATER)
            self.assertNoResult(leaving)
        stuck.resume()
        self.network.result_of(leaving, 1.0)
        self.network.settle(1.0)
        self.assertEqual(len(self.mail[self.nodes[0]].payloads), _COUNT)
        self.assertEqual(self.mail[leaf].fates, [])

    def test_the_other_one_keeps_it(self) -> None:
        """Who leaves waits for a neighbor that lives."""
        self.arrives(*self.part(ONE, NORTH))

    def test_who_leaves_keeps_it(self) -> None:
        """Who leaves gets rid of what was sent through it before."""
        self.arrives(*self.part(NORTH, ONE))

    def test_who_does_not_live_is_left(self) -> None:
        """Two seconds after the last sign of life it is over."""
        leaf, _, leaving = self.part(ONE, NORTH)
        self.network.settle(_LATER)
        self.network.freeze(self.nodes[1])
        self.network.settle(limits.DRAIN_CLOSE_SECONDS - 0.1 - _LATER / 2)
        self.assertNoResult(leaving)
        self.network.settle(_LATER / 2 + limits.GOODBYE_SECONDS + 0.2)
        self.successResultOf(leaving)
        self.assertEqual(set(self.mail[leaf].statuses()), {"UNCERTAIN"})

    def test_it_does_not_take_for_ever(self) -> None:
        """A neighbor that keeps it for good is left when a node would have stopped."""
        leaf, _, leaving = self.part(ONE, NORTH)
        self.network.settle(_DRAIN_SECONDS - 0.1)
        self.assertNoResult(leaving)
        self.network.settle(0.2 + limits.GOODBYE_SECONDS)
        self.successResultOf(leaving)
        self.assertIn("UNCERTAIN", self.mail[leaf].statuses())
