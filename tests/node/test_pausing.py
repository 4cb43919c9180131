"""Receivers that pause in the middle of a frame: the rest of it waits, and is not discharged."""

from __future__ import annotations

import itertools

from atbus.node.node import Node
from atbus.node.reload import reconfigure
from tests.node.flow_case import FlowCase
from tests.node.mail import ROOT, Receiving

COUNT = 7


class PausingTests(FlowCase):
    """A receiver that takes three messages, and the next three when it is asked to go on."""

    def setUp(self) -> None:
        super().setUp()
        self.got: list[bytes] = []

    def careful(self) -> tuple[Node, Node]:
        """Start two nodes; the upper one pauses after each third message."""
        root, child = self.pair()

        def take(_source: int, payload: bytes) -> None:
            self.got.append(payload)
            if len(self.got) % 3 == 0:
                root.pause()

        root.receiver = Receiving(take)
        return root, child

    def goes_on(self, root: Node, *counts: int) -> None:
        """Resume again and again; so many are there each time, in order."""
        for count in counts:
            self.network.settle(0.5)
            self.assertEqual(self.got, [b"%d" % number for number in range(count)])
            self.assertEqual(root.statistics.received_messages, count)
            root.resume()
        self.network.settle(0.5)

    def is_idle(self, node: Node, other: Node) -> bool:
        """Tell whether nothing of one node's is on its way to another."""
        links = [each.link for each in node.endpoints[other.bus_id].connections]
        return all(link is None or link.idle for link in links)

    def test_a_run(self) -> None:
        """Nobody answers for the frame but its sender, until the program has got all of it."""
        root, child = self.careful()
        for number in range(COUNT):
            child.send(ROOT, b"%d" % number)
        for count in (3, 6):
            self.network.settle(0.5)
            self.assertFalse(self.is_idle(child, root))
            self.goes_on(root, count)
        self.assertTrue(self.is_idle(child, root))
        self.goes_on(root, COUNT)
        self.assert_quiet(root, child)

    def test_what_comes_behind_it(self) -> None:
        """It waits behind the rest, whoever has sent it, though the program goes on meanwhile."""
        root, child = self.careful()
        for first, end in itertools.pairwise((0, 4, 8, 10)):
            for number in range(first, end):
                child.send(ROOT, b"%d" % number)
            self.network.settle(0.0001)
        self.goes_on(root, 3, 6, 9, 10)
        self.assert_quiet(root, child)

    def test_questions_whether_they_arrive(self) -> None:
        """What the program has not got is not said to be delivered."""
        root, child = self.careful()
        fates = [child.deliver(ROOT, b"%d" % number) for number in range(COUNT)]
        arrived: list[object] = []
        for fate in fates:
            fate.addCallback(arrived.append)
        for count in (3, 6, COUNT):
            self.network.settle(0.5)
            self.assertEqual((len(self.got), len(arrived)), (count, count))
            root.resume()
        self.assert_quiet(root, child)

    def test_messages_that_are_too_long(self) -> None:
        """They are refused in their turn, and do not count."""
        root, child = self.careful()
        reconfigure(root, root.config.replace(message_bytes_max=100))
        payloads = [b"0", b"1", bytes(101), b"2", bytes(101), b"3", b"4", b"5", b"6", bytes(101)]
        for payload in payloads:
            child.send(ROOT, payload)
        self.goes_on(root, 3, 6, COUNT)
        refused = [fate.status.name for fate in self.mail[child].fates]
        self.assertEqual(refused, ["MESSAGE_TOO_LARGE"] * 3)
        self.assert_quiet(root, child)

    def test_pause_and_resume_at_once(self) -> None:
        """The rest comes at the end of the turn, before what comes then."""
        root, child = self.pair()

        def take(_source: int, payload: bytes) -> None:
            self.got.append(payload)
            root.pause()
            root.resume()

        root.receiver = Receiving(take)
        for number in range(COUNT):
            child.send(ROOT, b"%d" % number)
        self.network.settle(0.5)
        self.assertEqual(self.got, [b"%d" % number for number in range(COUNT)])
        self.assert_quiet(root, child)

    def test_the_sender_goes(self) -> None:
        """What has come is given to the program, also when the link has ended meanwhile."""
        root, child = self.careful()
        for number in range(COUNT):
            child.send(ROOT, b"%d" % number)
        self.network.settle(0.5)
        self.kill(child)
        self.goes_on(root, 3, 6, COUNT)
        self.assert_quiet(root)
