"""Messages that wait for a connection: in order, bounded, each with an answer."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.errors import Status
from atbus.node.node import Node
from tests.node.mail import ROOT, MailTests


class WaitingTests(MailTests):
    """Messages that wait for the connection to their target."""

    def half_open(self, **options: Any) -> tuple[Node, Node]:
        """Start a child whose data connection cannot come up yet."""
        root = self.root(**options)
        self.network.start(root)
        child = self.child()
        self.starting = child.start()
        self.starting.addErrback(lambda _: None)
        self.network.clock.run_until(lambda: child.bus_id in root.endpoints)
        self.network.unreachable.add(root.addresses[0])
        return root, child

    def test_until_the_connection_is_there(self) -> None:
        """
        Messages to a child whose data connection is being made are delivered in order after it.

        Scenario: V1, Y1, CC7, X2
        """
        root, child = self.half_open()
        self.send_all(root, child.bus_id, [b"1", b"2", b"3"])
        self.network.settle(1)
        self.assertEqual(self.mail[child].letters, [])
        self.assertEqual(len(root.endpoints[child.bus_id].pending), 3)
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        root.send(child.bus_id, b"4")
        self.network.settle()
        self.assertEqual(self.mail[child].payloads, [b"1", b"2", b"3", b"4"])
        self.assertEqual(len(root.endpoints[child.bus_id].pending), 0)

    def test_bounded_in_number_and_bytes(self) -> None:
        """
        What waits is bounded; what is more is refused at once, and the rest arrives.

        Scenario: V3
        """
        root, child = self.half_open(pending_count_max=3, pending_bytes_max=10_000)
        root.send(child.bus_id, bytes(9_000))
        self.assertEqual(self.refused(root, child.bus_id, bytes(2_000)), "BACKPRESSURE")
        self.send_all(root, child.bus_id, [b"2", b"3"])
        self.assertEqual(self.refused(root, child.bus_id, b"4"), "BACKPRESSURE")
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        self.assertEqual([len(p) for p in self.mail[child].payloads], [9_000, 1, 1])

    def test_fragments_wait_all_or_none(self) -> None:
        """
        A message in fragments waits whole, or is refused whole, and the next one is another one.

        Each fragment that waits leaves less room for the others than it takes itself.
        """
        root, child = self.half_open(queued_bytes_node=400_000)
        pending = root.endpoints[child.bus_id].pending
        root.send(child.bus_id, bytes(120_000))
        self.assertEqual(len(pending), 2)
        root.send(child.bus_id, bytes(100_000))
        self.assertEqual(len(pending), 4)
        self.assertEqual(self.refused(root, child.bus_id, bytes(90_000)), "BACKPRESSURE")
        self.assertEqual(len(pending), 4)
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        self.assertEqual([len(p) for p in self.mail[child].payloads], [120_000, 100_000])
        self.assertEqual(self.mail[root].fates, [])

    def test_what_has_waited_elsewhere_is_bounded_too(self) -> None:
        """What does not fit where it goes now is refused for that, not for what has gone before."""
        root, child = self.half_open(pending_count_max=2)
        self.send_all(root, child.bus_id, [b"1"])
        late = root.send(child.bus_id, b"2")
        items = root.endpoints[child.bus_id].pending.take()
        root.send(child.bus_id, b"3")
        root._parts.traffic.resubmit(items, Status.NOT_CONNECTED)
        self.network.settle(0.1)
        self.assertEqual(self.mail[root].news, [(child.bus_id, late, 1, "BUFFER_LIMIT")])

    def test_a_relay_is_bounded_too(self) -> None:
        """
        What does not fit at a relay is answered by name, exactly once each.

        Scenario: V3, V10
        """
        root, child = self.half_open(pending_count_max=2)
        self.network.freeze(child)
        self.network.unreachable.clear()
        other = self.child(0x10009)
        self.network.start(other)
        self.network.settle(0.1)
        sequences = []
        for _ in range(4):
            sequences.append(other.send(child.bus_id, b"x"))
            self.network.settle(0.01)
        self.assertEqual(len(root.endpoints[child.bus_id].pending), 2)
        refused = [(child.bus_id, sequence, 1, "BUFFER_LIMIT") for sequence in sequences[2:]]
        self.assertEqual(self.mail[other].news, refused)
        self.assertEqual({fate.gave_up_at for fate in self.mail[other].fates}, {ROOT})
        self.network.thaw(child)
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        self.assertEqual([letter.sequence for letter in self.mail[child].letters], sequences[:2])

    def test_bounded_in_time(self) -> None:
        """
        What has waited too long is answered once; what comes later is not touched by it.

        Scenario: V4
        """
        root, child = self.half_open(pending_seconds=2.0)
        late = root.send(child.bus_id, b"late")
        self.network.settle(1.5)
        soon = root.send(child.bus_id, b"soon")
        self.network.settle(1)
        self.assertEqual(self.mail[root].news, [(child.bus_id, late, 1, "TIMEOUT")])
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS)
        told = self.mail[root].news[1:]
        arrived = [letter.sequence for letter in self.mail[child].letters]
        self.assertEqual(arrived + [sequence for _, sequence, _, _ in told], [soon])

    def test_an_endpoint_that_goes(self) -> None:
        """
        What waits for an endpoint that goes is answered CLOSING, each message once.

        Scenario: V5
        """
        root, child = self.half_open()
        sequences = self.send_all(root, child.bus_id, [b"1", b"2"])
        waiting = root.deliver(child.bus_id, b"3")
        self.kill(child)
        self.network.settle(0.1)
        self.assertIs(self.ended(waiting), Status.CLOSING)
        closing = [(child.bus_id, sequences[0] + n, 1, "CLOSING") for n in range(3)]
        self.assertEqual(self.mail[root].news, closing)


class ImpatientTests(MailTests):
    """Nodes that are configured not to let messages wait for a connection."""

    def half_open(self, policy: str) -> tuple[Node, Node, Node]:
        """Start a child whose data connection cannot come up yet, and one that is connected."""
        root = self.root(pending_policy=policy)
        other = self.child(0x10009)
        self.network.start(root, other)
        self.network.settle()
        child = self.child()
        child.start().addErrback(lambda _: None)
        self.network.clock.run_until(lambda: child.bus_id in root.endpoints)
        self.network.unreachable.add(root.addresses[0])
        return root, child, other

    def test_refused(self) -> None:
        """With "fail" a message is refused by name, at the sender at once and at a relay with an
        answer; nothing waits."""
        root, child, other = self.half_open("fail")
        self.assertEqual(self.refused(root, child.bus_id), "NOT_CONNECTED")
        sequence = other.send(child.bus_id, b"x")
        long = other.send(child.bus_id, bytes(200_000))
        self.network.settle(0.1)
        self.assertEqual(
            self.mail[other].news,
            [
                (child.bus_id, sequence, 1, "NOT_CONNECTED"),
                (child.bus_id, long, 1, "NOT_CONNECTED"),
            ],
        )
        self.assertEqual(len(root.endpoints[child.bus_id].pending), 0)

    def test_dropped(self) -> None:
        """With "drop" a message is accepted, dropped and counted, once however long it is; what
        somebody waits for is refused instead."""
        root, child, other = self.half_open("drop")
        root.send(child.bus_id, b"1")
        root.send(child.bus_id, bytes(200_000))
        other.send(child.bus_id, b"2")
        other.send(child.bus_id, bytes(200_000))
        self.network.settle(0.1)
        self.assertEqual(root.statistics.dropped_messages, 4)
        self.assertEqual(self.mail[other].news, [])
        for node in (root, other):
            self.assertIs(self.ended(node.deliver(child.bus_id, b"3")), Status.NOT_CONNECTED)
            self.assertIs(self.ended(node.request(child.bus_id, b"4")), Status.NOT_CONNECTED)
        self.assertEqual(root.statistics.dropped_messages, 4)
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        root.send(child.bus_id, b"5")
        self.network.settle()
        self.assertEqual(self.mail[child].payloads, [b"5"])
        self.assert_quiet(root, child, other)
