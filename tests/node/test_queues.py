"""What is queued in all, and endpoints that take nothing."""

from __future__ import annotations

from collections import Counter

from atbus import limits
from atbus.errors import Status
from atbus.node import bounds
from atbus.node.node import Node
from atbus.testing.network import VirtualNetwork
from tests.node.flow_case import SMALL, FlowCase
from tests.node.mail import ROOT, Receiving


class BudgetTests(FlowCase):
    """What all queues of a node hold together."""

    def test_two_hundred_slow_neighbors(self) -> None:
        """
        However many do not read, a node holds no more than its budget; each gets the same part.

        Scenario: D19
        """
        budget = 2_000_000
        hub = self.root(queued_bytes_node=budget, direct_notice=False, **SMALL)
        self.network.start(hub)
        leaves = [self.leaf(ROOT + 1 + n) for n in range(200)]
        for leaf in leaves:
            self.data_channel(hub, leaf).stall()
        accepted: Counter[int] = Counter()
        most = 0
        for number in range(60):
            for leaf in leaves:
                if self.offer(hub, leaf.bus_id, self.number(number, 1_000)):
                    accepted[leaf.bus_id] += 1
            most = max(most, hub._parts.context.budget.used_bytes)
            self.network.settle(0.001)
        held = sum(
            link.queued_bytes
            for endpoint in hub.endpoints.values()
            if (link := endpoint.data_link) is not None
        )
        self.assertEqual(held, hub._parts.context.budget.used_bytes)
        self.assertLessEqual(most, budget)
        self.assertGreater(held, budget // 2)
        self.assertEqual(len(accepted), 200)
        self.assertLessEqual(max(accepted.values()) - min(accepted.values()), 1)
        for leaf in leaves:
            self.data_channel(hub, leaf).resume()
        self.network.settle()
        for leaf in leaves:
            self.assertEqual(len(self.mail[leaf].letters), accepted[leaf.bus_id])

    def test_one_turn_cannot_exceed_it(self) -> None:
        """Also what a program sends to everybody at once stays within the budget."""
        budget = 1_000_000
        hub = self.root(queued_bytes_node=budget, direct_notice=False)
        self.network.start(hub)
        leaves = [self.leaf(ROOT + 1 + n) for n in range(30)]
        for leaf in leaves:
            self.data_channel(hub, leaf).stall()
        accepted = 0
        for leaf in leaves:
            while self.offer(hub, leaf.bus_id, bytes(2_000)):
                accepted += 1
        self.assertLessEqual(accepted * 2_008, budget)
        self.assertGreater(accepted * 2_008, budget // 2)
        for leaf in leaves:
            self.data_channel(hub, leaf).resume()
        self.network.settle()
        self.assertEqual(sum(len(self.mail[leaf].letters) for leaf in leaves), accepted)


class StuckTests(FlowCase):
    """Endpoints that take nothing at all."""

    def test_the_link_is_closed_after_the_deadline(self) -> None:
        """
        When not one byte moves for ten seconds the link ends, and all that it held has a fate.

        Scenario: D19
        """
        root, child = self.pair(**SMALL)
        self.data_channel(child, root).stall()
        count = 0
        while self.offer(child, ROOT, bytes(1_000)):
            count += 1
            self.network.settle(0.001)
        begun = self.network.clock.seconds()
        closed = self.diaries[child].of("on_close_connection")
        self.network.clock.run_until(
            lambda: len(self.diaries[child].of("on_close_connection")) > len(closed), 30
        )
        took = self.network.clock.seconds() - begun
        self.assertTrue(9 < took < 11, took)
        _, status = self.diaries[child].of("on_close_connection")[-1]
        self.assertIs(status, Status.SLOW_CONSUMER)
        self.network.settle(1)
        self.assertEqual(len(self.mail[child].statuses()), count)
        self.assertEqual(set(self.mail[child].statuses()), {"UNCERTAIN", "NOT_CONNECTED"})
        self.assertTrue(self.offer(child, ROOT, b"again"))
        self.network.settle(1)
        self.assertEqual(self.mail[root].payloads[-1], b"again")

    def test_a_frozen_process_is_named_in_time(self) -> None:
        """Who takes bytes and never says so is named within eleven seconds, once."""
        root, child = self.pair()
        self.network.freeze(root)
        child.send(ROOT, b"x")
        self.network.settle(9.5)
        self.assertEqual(self.diaries[child].of("on_slow_endpoint"), [])
        self.network.settle(1.4)
        slow = self.diaries[child].of("on_slow_endpoint")
        self.assertEqual([endpoint.bus_id for endpoint, _ in slow], [ROOT])
        self.assertEqual(child.statistics.slow_endpoints, 1)
        self.network.settle(2)
        self.assertEqual(len(self.diaries[child].of("on_slow_endpoint")), 1)
        self.network.thaw(root)
        self.network.settle(1)
        self.assertEqual(self.mail[root].payloads, [b"x"])

    def test_who_never_acknowledges_is_cut_off(self) -> None:
        """
        Who reads and owes more than half of what all may together is cut off when nothing has
        come for a while, though what it is sent leaves; who owes less stays.
        """
        self.patch(bounds, "UNACKNOWLEDGED_ALL_MAX", 200)
        hub, owing, good = self.with_debtor()
        for count, ends in ((40, []), (80, [Status.SLOW_CONSUMER])):
            self.send_both(hub, count)
            self.network.settle(limits.SLOW_SECONDS + 2)
            closed = self.diaries[hub].of("on_close_connection")
            self.assertEqual([status for _, status in closed], ends)
            self.assertEqual([connection.bus_id for connection, _ in closed], [owing] * len(ends))
        self.assertIn(good, hub.endpoints)

    def test_answers_that_are_never_acknowledged(self) -> None:
        """Past its window only answers go: who owes more than that is cut off at once."""
        self.patch(bounds, "UNACKNOWLEDGED_ALL_MAX", 230)
        hub, _, _ = self.with_debtor()
        self.send_both(hub, 120)
        for window, ends in ((130, []), (110, [Status.SLOW_CONSUMER])):
            self.patch(limits, "UNACKNOWLEDGED_FRAMES_MAX", window)
            self.network.settle(2)
            closed = self.diaries[hub].of("on_close_connection")
            self.assertEqual([status for _, status in closed], ends)

    def test_slow_neighbors_share_what_is_unacknowledged(self) -> None:
        """
        However many acknowledge nothing for a while, what all of them are sent has a bound: the
        more it is the less each may have. Who takes what it is sent gets more.
        """
        self.patch(bounds, "UNACKNOWLEDGED_ALL_MAX", 1_000)
        hub = self.root(direct_notice=False)
        self.network.start(hub)
        leaves = [self.leaf(ROOT + 1 + number) for number in range(20)]
        good = self.leaf(ROOT + 50)
        for leaf in leaves:
            self.network.freeze(leaf)
        for _ in range(20):
            for leaf in leaves:
                for _ in range(10):
                    self.offer(hub, leaf.bus_id, b"x")
                    self.network.settle(0.001)
            self.network.settle(limits.SWEEP_SECONDS)
            sights = [each.link.sight for each in hub._parts.dialer.connections if each.link]
            self.assertLess(sum(sight.open_frames for sight in sights), 1_100)
            self.assertTrue(self.offer(hub, good.bus_id, b"more"))
        self.network.settle(0.1)
        self.assertEqual(len(self.mail[good].letters), 20)

    def test_who_owes_little_stays(self) -> None:
        """While one who reads now and then owes nearly all, who owes one frame is only named."""
        self.patch(bounds, "UNACKNOWLEDGED_ALL_MAX", 40)
        hub, busy, silent = self.with_debtor()
        self.network.freeze(self.leaves[silent])
        hub.send(silent, b"x")
        for _ in range(round(limits.SLOW_SECONDS + 4)):
            for _ in range(30):
                self.offer(hub, busy, b"x")
                self.network.settle(1 / 30)
            self.network.thaw(self.leaves[busy])
            self.network.settle(0.01)
            self.network.freeze(self.leaves[busy])
        named = self.diaries[hub].of("on_slow_endpoint")
        self.assertIn(silent, [endpoint.bus_id for endpoint, _ in named])
        self.assertEqual(self.diaries[hub].of("on_close_connection"), [])

    def with_debtor(self) -> tuple[Node, int, int]:
        """Start a node and two below it, one of which acknowledges nothing."""
        hub = self.root()
        self.network.start(hub)
        owing, good = (self.leaf(ROOT + 1 + number) for number in range(2))
        self.leaves = {each.bus_id: each for each in (owing, good)}
        self.network.freeze(owing)
        return hub, owing.bus_id, good.bus_id

    def send_both(self, hub: Node, count: int) -> None:
        """Send a number of messages, each in a frame of its own, to the two."""
        for _ in range(count):
            hub.send(ROOT + 1, b"x")
            hub.send(ROOT + 2, b"x")
            self.network.settle(0.001)


class DelayTests(FlowCase):
    """What messages wait for, when others do not read."""

    def delays(self, slow: int) -> list[float]:
        """
        Send to one that reads, and to many others, of whom some do not.

        :param slow: How many do not.
        :returns: How long each message to the one that reads took, seconds, in order of time.
        """
        hub = self.root(queued_bytes_node=20_000_000, direct_notice=False, **SMALL)
        self.network.start(hub)
        others = [self.leaf(ROOT + 2 + n) for n in range(max(slow, 20))]
        one = self.leaf(ROOT + 1)
        clock = self.network.clock
        sent: list[float] = []
        delays: list[float] = []

        def take(_source: int, payload: bytes) -> None:
            delays.append(clock.seconds() - sent[int.from_bytes(payload[:4], "little")])

        one.receiver = Receiving(take)
        for other in others[:slow]:
            self.data_channel(hub, other).stall()
        for _ in range(60):
            for other in others:
                for _ in range(10):
                    if not self.offer(hub, other.bus_id, bytes(2_000)):
                        break
            sent.append(clock.seconds())
            hub.send(one.bus_id, self.number(len(sent) - 1, 1_000))
            self.network.settle(0.003)
        self.network.settle()
        self.assertEqual(len(delays), len(sent))
        return sorted(delays)

    def test_nobody_waits_for_who_does_not_read(self) -> None:
        """Whether one or two hundred do not read: others wait no longer than they always do."""
        found = []
        for slow in (0, 1, 200):
            delays = self.delays(slow)
            found.append(delays[len(delays) * 99 // 100])
            self.end()
            self.begin(VirtualNetwork())
        self.assertGreater(found[0], 0)
        self.assertLessEqual(max(found), 2 * found[0])
