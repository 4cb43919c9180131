"""Siblings are told of each other, by their parent alone, and only when it helps."""

from __future__ import annotations

from typing import Any, ClassVar

from atbus.node.node import Node
from atbus.testing.conversation import make_terms
from atbus.wire.messages import ConnectNotice, Data, Goodbye, Mode
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests
from tests.node.stranger import Stranger


class NoticeCase(MailTests):
    """A root, two proxies, and leaves that listen."""

    options: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        super().setUp()
        self.top, self.north, self.south = self.proxies(**self.options)

    def talk(self, source: Node, target: Node, count: int = 3) -> list[bytes]:
        """Send some messages with time between them; what arrived in the end."""
        payloads = [b"%d" % number for number in range(count)]
        for payload in payloads:
            source.send(target.bus_id, payload)
            self.network.settle(2)
        arrived = self.mail[target].payloads_from(source.bus_id)
        self.assertEqual(arrived[-count:], payloads)
        return arrived


class NoticeTests(NoticeCase):
    """The parents tell their children of each other, which is the default."""

    def test_siblings_meet(self) -> None:
        """The first message goes through the parent; later ones go directly, and nobody else does.

        Scenario: K4, CC1
        """
        one, two = self.leaf(NORTH + 1, listens=True), self.leaf(NORTH + 2, listens=True)
        one.send(two.bus_id, b"first")
        self.assertEqual(set(one.endpoints), {NORTH})
        self.network.settle(2)
        self.assertEqual(set(one.endpoints), {NORTH, NORTH + 2})
        forwarded = self.north.statistics.forwarded_messages
        self.talk(one, two)
        self.assertEqual(self.north.statistics.forwarded_messages, forwarded)

    def test_only_for_children_of_one_parent(self) -> None:
        """Cousins keep relaying: no relay tells a node of somebody else's child.

        Scenario: K5, K25, CC1
        """
        one, two = self.leaf(NORTH + 1, listens=True), self.leaf(SOUTH + 1, listens=True)
        self.talk(one, two)
        self.assertEqual(set(one.endpoints), {NORTH})
        self.assertEqual(set(self.north.endpoints), {NORTH + 1, ROOT})

    def test_only_who_listens(self) -> None:
        """A sibling that cannot be dialled is not told of.

        Scenario: K25
        """
        one, two = self.leaf(NORTH + 1, listens=True), self.leaf(NORTH + 2)
        before = len(self.network.dials)
        self.talk(one, two)
        self.assertEqual(len(self.network.dials), before)
        # But it may dial who listens, when it writes itself.
        self.talk(two, one)
        self.assertEqual(set(two.endpoints), {NORTH, NORTH + 1})

    def test_unix_sockets_only_on_one_host(self) -> None:
        """A unix socket is named to a sibling of the same host only; another address is preferred
        to none.

        Scenario: K25
        """
        there = "unix:///there"
        one = self.leaf(NORTH + 1, hostname="host-1")
        two = self.leaf(NORTH + 2, listen=[there], hostname="host-2")
        self.talk(one, two)
        self.assertEqual(set(one.endpoints), {NORTH})
        three = self.leaf(NORTH + 3, hostname="host-2")
        self.talk(three, two)
        self.assertEqual(set(three.endpoints), {NORTH, NORTH + 2})
        self.assertEqual(three.next_hop(NORTH + 2).address, two.addresses[0])

    def test_a_notice_from_anybody_else(self) -> None:
        """Only the upstream's notices are obeyed, and only about others."""
        leaf = self.leaf(NORTH + 1, listens=True)
        address = leaf.addresses[0]
        before = len(self.network.dials)
        stranger = Stranger(self.network, make_terms(bus_id=NORTH + 9))
        stranger.dial(str(address))
        dialled = len(self.network.dials)
        self.assertEqual(dialled, before + 1)
        stranger.say(ConnectNotice(source=NORTH + 9, target=NORTH + 5, addresses=("unix:///x",)))
        self.assertEqual(len(self.network.dials), dialled)
        self.assertEqual(leaf.statistics.ignored_frames, 1)
        stranger.leave()

    def test_a_sibling_that_went_away(self) -> None:
        """When the direct connection ends, messages go through the parent again."""
        one, two = self.leaf(NORTH + 1, listens=True), self.leaf(NORTH + 2, listens=True)
        self.talk(one, two)
        self.network.result_of(one.disconnect(two.bus_id))
        forwarded = self.north.statistics.forwarded_messages
        one.send(two.bus_id, b"again")
        self.network.settle(0.1)
        self.assertEqual(self.north.statistics.forwarded_messages, forwarded + 1)
        self.assertEqual(self.mail[two].payloads[-1], b"again")


class SwitchedOffTests(NoticeCase):
    """The parents have been told not to."""

    options: ClassVar[dict[str, Any]] = {"direct_notice": False}

    def test_siblings_keep_relaying(self) -> None:
        """Every message between siblings goes through their parent.

        Scenario: K4, CC4
        """
        one, two = self.leaf(NORTH + 1, listens=True), self.leaf(NORTH + 2, listens=True)
        before = self.north.statistics.forwarded_messages
        self.talk(one, two, 5)
        self.assertEqual(set(one.endpoints), {NORTH})
        self.assertEqual(self.north.statistics.forwarded_messages, before + 5)


class UnregisteredTests(MailTests):
    """Messages from somebody who is not registered, or not for that."""

    def test_data_before_the_registration(self) -> None:
        """A message in the middle of a registration is delivered to nobody, and ends it.

        Scenario: K20
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network)
        stranger.dial(str(root.addresses[0]))
        data = Data(source=ROOT + 1, destination=ROOT, sequence=1, messages=((0, b"x"),))
        stranger.say(data)
        self.assertEqual(self.mail[root].payloads, [])
        self.assertIsNotNone(stranger.ended)
        stranger.leave()

    def test_data_of_a_temporary_node(self) -> None:
        """A temporary node sends commands and nothing else: its messages are not delivered.

        Scenario: K20
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(bus_id=0, mode=Mode.TEMPORARY))
        stranger.dial(str(root.addresses[0]))
        self.assertIsNotNone(stranger.peer)
        data = Data(source=0, destination=ROOT, sequence=1, messages=((0, b"x"),))
        stranger.say(data, frame=1)
        self.assertEqual(self.mail[root].payloads, [])
        self.assertEqual(root.statistics.received_messages, 0)
        self.assertNotIn(Goodbye, [type(message) for message in stranger.received])
        stranger.leave()
