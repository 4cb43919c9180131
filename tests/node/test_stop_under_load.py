"""Nodes that stop, or leave each other, while messages arrive from everywhere: nothing is lost."""

from __future__ import annotations

from typing import Any

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests


class LoadTests(MailTests):
    """A tree in which everybody talks to everybody."""

    def tree(self, **options: Any) -> list[Node]:
        """Start a root, two proxies and four leaves."""
        nodes = list(self.proxies(**options))
        leaves = (NORTH + 1, NORTH + 2, SOUTH + 1, SOUTH + 2)
        nodes += [self.leaf(bus_id) for bus_id in leaves]
        self.accepted: dict[tuple[int, int], list[bytes]] = {}
        self.number = 0
        return nodes

    def talk(self, senders: list[Node], targets: list[Node], turns: int) -> None:
        """Have each sender send something to each target, turn after turn."""
        for _ in range(turns):
            for sender in senders:
                for target in targets:
                    if sender is not target:
                        self.send_one(sender, target.bus_id)
            self.network.settle(0.002)

    def send_one(self, sender: Node, target: int) -> None:
        """Send one message, and note that it was accepted."""
        self.number += 1
        payload = b"%06d" % self.number + bytes(self.number % 7 * 300)
        if self.number % 50 == 0:
            payload += bytes(100_000)
        try:
            sender.send(target, payload, self.number)
        except Undeliverable as error:
            self.assertIn(error.status.name, ("CLOSING", "NO_ROUTE", "NOT_STARTED"))
            return
        self.accepted.setdefault((sender.bus_id, target), []).append(payload)

    def judge(self, nodes: list[Node]) -> dict[str, int]:
        """Assert that each message arrived in order, or was refused by name; count them."""
        counts = {"arrived": 0, "refused": 0}
        told: dict[tuple[int, int], int] = {}
        for node in nodes:
            statuses = set(self.mail[node].statuses())
            self.assertEqual(statuses - {"CLOSING", "NO_ROUTE"}, set(), hex(node.bus_id))
            self.assertEqual(node.statistics.uncertain_messages, 0)
            for fate in self.mail[node].fates:
                flow = (node.bus_id, fate.target)
                told[flow] = told.get(flow, 0) + fate.count
        by_id = {node.bus_id: node for node in nodes}
        for (source, target), payloads in self.accepted.items():
            arrived = self.mail[by_id[target]].payloads_from(source)
            self.assertEqual(sorted(set(arrived)), arrived, "out of order, or twice")
            self.assertTrue(set(arrived) <= set(payloads))
            refused = told.get((source, target), 0)
            self.assertEqual(len(arrived) + refused, len(payloads), f"{source:x} -> {target:x}")
            counts["arrived"] += len(arrived)
            counts["refused"] += refused
        return counts


class StopTests(LoadTests):
    """`stop`."""

    def stop_one(self, place: int) -> None:
        """Stop a node of the tree while everybody talks, and judge."""
        nodes = self.tree()
        self.talk(nodes, nodes, 15)
        stopping = nodes[place].stop()
        self.talk(nodes, nodes, 40)
        self.network.result_of(stopping)
        self.assertEqual(nodes[place].state, "stopped")
        self.talk(nodes, nodes, 5)
        self.network.settle(2)
        counts = self.judge(nodes)
        self.assertTrue(counts["arrived"] > 600, counts)
        self.assertTrue(counts["refused"] > 0, counts)
        for node in nodes:
            if node is not nodes[place]:
                self.assertEqual(node._parts.traffic.courier.parked, 0)

    def test_a_leaf(self) -> None:
        """A leaf stops under load from several senders."""
        self.stop_one(3)

    def test_a_proxy(self) -> None:
        """A proxy stops while it relays for two leaves."""
        self.stop_one(1)

    def test_the_root(self) -> None:
        """The root stops while everything between the proxies goes through it."""
        self.stop_one(0)

    def test_everybody_at_once(self) -> None:
        """A whole tree stops at once; what was accepted arrives or is refused by name."""
        nodes = self.tree()
        self.talk(nodes, nodes, 10)
        stopping = [node.stop() for node in nodes]
        self.talk(nodes, nodes, 5)
        for each in stopping:
            self.network.result_of(each)
        self.assertTrue(self.judge(nodes)["arrived"] > 300)

    def test_one_after_the_other(self) -> None:
        """Leaves first, then proxies, then the root: an operator's order."""
        nodes = self.tree()
        self.talk(nodes, nodes, 5)
        for node in reversed(nodes):
            stopping = node.stop()
            self.talk(nodes, nodes, 5)
            self.network.result_of(stopping)
        self.judge(nodes)

    def test_answers_on_their_way(self) -> None:
        """Deliveries through a root that stops are confirmed or refused; none is left in doubt."""
        nodes = self.tree()
        one, two = nodes[3], nodes[5]
        ends: list[str] = []
        stopping = None
        for turn in range(60):
            waiting = one.deliver(two.bus_id, b"%d" % turn)
            waiting.addCallbacks(
                lambda fate: ends.append(fate.status.name),
                lambda failure: ends.append(failure.value.status.name),
            )
            if turn == 20:
                stopping = nodes[0].stop()
            self.network.settle(0.003)
        assert stopping is not None
        self.network.result_of(stopping)
        self.network.settle(10)
        self.assertEqual(len(ends), 60)
        self.assertEqual(set(ends) - {"OK", "CLOSING", "NO_ROUTE"}, set())
        self.assertEqual(ends.count("OK"), len(self.mail[two].letters))

    def test_a_node_that_waits_for_another(self) -> None:
        """A stop waits for a message that the next hop has not answered for, but not for ever."""
        nodes = self.tree(drain_seconds=3)
        _, north, _, one, two, *_ = nodes
        self.network.freeze(two)
        sequence = one.send(two.bus_id, b"slow")
        self.network.settle(0.1)
        stopping = north.stop()
        self.network.settle(2)
        self.assertEqual(north.state, "draining")
        self.network.thaw(two)
        self.network.result_of(stopping, 2)
        self.assertEqual([letter.sequence for letter in self.mail[two].letters], [sequence])
        self.assertEqual(self.mail[one].fates, [])

    def test_a_node_that_waits_in_vain(self) -> None:
        """When its time is over a node leaves all the same, and says what is uncertain."""
        nodes = self.tree(drain_seconds=2)
        _, north, _, one, two, *_ = nodes
        self.network.freeze(two)
        sequence = one.send(two.bus_id, b"never")
        self.network.settle(0.1)
        self.network.result_of(north.stop(), 5)
        self.network.settle(1)
        self.assertEqual(self.mail[one].news, [(two.bus_id, sequence, 1, "UNCERTAIN")])
        self.network.thaw(two)
        self.network.settle(1)

    def test_two_stops(self) -> None:
        """
        A second stop is the same stop; stopping what has stopped is nothing.

        Scenario: D16
        """
        nodes = self.tree()
        first, second = nodes[1].stop(), nodes[1].stop()
        self.network.result_of(first)
        self.network.result_of(second)
        self.network.result_of(nodes[1].stop())


class DisconnectTests(LoadTests):
    """`disconnect`."""

    def test_a_child(self) -> None:
        """
        A proxy leaves a child under load: nothing is lost, the child comes back, others go on.

        Scenario: D20
        """
        nodes = self.tree()
        north, one = nodes[1], nodes[3]
        self.talk(nodes, nodes, 10)
        leaving = north.disconnect(one.bus_id)
        self.talk(nodes, nodes, 20)
        self.network.result_of(leaving)
        self.network.settle(3)
        self.assertEqual(one.state, "running")
        self.talk(nodes, nodes, 5)
        self.network.settle(2)
        self.judge(nodes)

    def test_the_upstream(self) -> None:
        """A leaf leaves its upstream under load: nothing is lost, it registers again."""
        nodes = self.tree()
        one = nodes[3]
        self.talk(nodes, nodes, 10)
        leaving = one.disconnect(NORTH)
        self.assertIs(self.ended(one.disconnect(ROOT)), Status.UNKNOWN_ENDPOINT)
        self.assertIs(self.ended(one.disconnect(NORTH)), Status.UNKNOWN_ENDPOINT)
        self.talk(nodes, nodes, 20)
        self.network.result_of(leaving)
        self.network.settle(3)
        self.assertEqual(one.state, "running")
        self.talk(nodes, nodes, 5)
        self.network.settle(2)
        self.judge(nodes)
