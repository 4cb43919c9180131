"""Receivers that take their time, and receivers that want nothing."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.node.node import Node
from atbus.wire.messages import MessageType
from tests.node.flow_case import FlowCase
from tests.node.mail import NORTH, ROOT, SOUTH, Receiving


class WindowTests(FlowCase):
    """Receivers that take their time."""

    def slow(self, node: Node) -> list[Deferred[None]]:
        """Let a node deal with nothing until the test says so."""
        open_ends: list[Deferred[None]] = []

        def take(*_: object) -> Deferred[None]:
            open_ends.append(Deferred())
            return open_ends[-1]

        node.receiver = Receiving(take)
        return open_ends

    def test_a_slow_receiver_pauses_its_senders(self) -> None:
        """What a program has not dealt with stays bounded, over any number of hops."""
        root, north, south = self.proxies(direct_notice=False)
        two = self.leaf(SOUTH + 1, window_count=50)
        one = self.leaf(NORTH + 1)
        open_ends = self.slow(two)
        accepted = 0
        for _ in range(500):
            accepted += self.offer(one, SOUTH + 1, b"x")
            self.network.settle(0.001)
        self.assertTrue(50 < accepted < 80, accepted)
        # What was on its way when the word came back waits at the relays.
        self.assertTrue(50 < len(open_ends) < 60)
        for each in open_ends[:25]:
            each.callback(None)
        self.network.settle(0.1)
        self.assertFalse(self.offer(one, SOUTH + 1, b"x"))
        for each in open_ends[25:]:
            each.callback(None)
        self.network.settle(0.1)
        self.assertEqual(len(open_ends), accepted)
        self.assertTrue(self.offer(one, SOUTH + 1, b"x"))
        self.network.settle(0.1)
        for each in open_ends:
            if not each.called:
                each.callback(None)
        self.assertEqual(self.mail[one].fates, [])
        self.assert_quiet(root, north, south, one, two)

    def test_who_does_not_pause_is_refused_in_the_end(self) -> None:
        """At four times the window messages are refused by name."""
        _, north, _ = self.proxies(direct_notice=False)
        two = self.leaf(NORTH + 2, window_count=10)
        one = self.leaf(NORTH + 1)
        open_ends = self.slow(two)
        for node in (one, north):
            del node._parts.registrar.readers[MessageType.FLOW]
        for _ in range(60):
            one.send(NORTH + 2, b"x")
            self.network.settle(0.001)
        one.send(NORTH + 2, bytes(200_000))
        self.network.settle(0.1)
        self.assertEqual(len(open_ends), 10 * limits.WINDOW_HARD_FACTOR)
        self.assertEqual(self.mail[one].statuses(), ["BUFFER_LIMIT"] * 21)
        for each in open_ends:
            each.callback(None)
        self.network.settle(0.1)
        one.send(NORTH + 2, bytes(200_000))
        self.network.settle(0.1)
        open_ends[-1].callback(None)
        self.assertEqual(len(self.mail[one].statuses()), 21)

    def test_pause_and_resume(self) -> None:
        """A program that pauses gets nothing, then everything, in order, and loses nothing."""
        root, north, south, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        two.pause()
        accepted = []
        for number in range(100):
            if self.offer(one, SOUTH + 1, b"%d" % number):
                accepted.append(b"%d" % number)
            self.network.settle(0.001)
        self.assertEqual(self.mail[two].payloads, [])
        self.assertTrue(0 < len(accepted) < 30)
        two.resume()
        self.assertEqual(self.mail[two].payloads, [])
        self.network.settle(0.1)
        self.assertEqual(self.mail[two].payloads, accepted)
        self.assertTrue(self.offer(one, SOUTH + 1, b"on"))
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [*accepted, b"on"])
        self.assert_quiet(root, north, south, one, two)

    def test_pausing_in_the_middle(self) -> None:
        """A receiver may pause in its callback; what comes behind it waits."""
        _, child = self.pair()
        got: list[bytes] = []
        root = self.nodes[0]

        def take(_source: int, payload: bytes) -> None:
            got.append(payload)
            if len(got) % 2 == 0:
                root.pause()

        root.receiver = Receiving(take)
        for number in range(6):
            child.send(ROOT, b"%d" % number)
            self.network.settle(0.0001)
        self.network.settle(0.1)
        for expected in (2, 4, 6):
            self.assertEqual(len(got), expected)
            root.resume()
            self.network.settle(0.1)
        self.assertEqual(got, [b"%d" % number for number in range(6)])

    def test_messages_to_oneself(self) -> None:
        """A node that is paused accepts nothing from itself either, and tells when it does."""
        root = self.root()
        self.network.start(root)
        root.pause()
        self.assertEqual(self.refused(root, ROOT), "BACKPRESSURE")
        waiting = root.writable(ROOT)
        root.resume()
        self.assertIsNone(self.ended(waiting, 1))
        root.send(ROOT, b"x")
        self.assertEqual(self.mail[root].payloads, [b"x"])

    def test_a_node_that_stops_takes_what_was_held(self) -> None:
        """What waited for a paused program is delivered before the node leaves."""
        root, child = self.pair()
        root.pause()
        child.send(ROOT, b"x")
        self.network.settle(0.1)
        self.network.stop(root)
        self.assertEqual(self.mail[root].payloads, [b"x"])
        self.assertEqual(self.mail[child].fates, [])
