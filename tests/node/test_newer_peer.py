"""A node meets one of the next version: what it must understand, may skip, and has to refuse."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.errors import Status
from atbus.node.endpoint import Endpoint
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.network import VirtualNetwork
from atbus.wire.messages import Extra

ROOT, LEFT, RIGHT = 0x10000, 0x10001, 0x10002
UPSTREAM = "unix:///virtual/root"


@implementer(IMessageReceiver)
class Recorder:
    """Remembers payloads."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message."""
        self.payloads.append(payload)


class NewerPeerTests(SynchronousTestCase):
    """A root with two children; frames that this version does not know come from the left one."""

    def setUp(self) -> None:
        self.network = VirtualNetwork()
        self.root = self.network.node(id=ROOT, listen=[UPSTREAM], subnets=[(0, 8)])
        self.left = self.network.node(id=LEFT, upstream=UPSTREAM)
        self.right = self.network.node(id=RIGHT, upstream=UPSTREAM)
        self.network.start(self.root, self.left, self.right)
        self.network.settle()

    def frame(self, kind: int, destination: int, number: int) -> bytes:
        """Make a frame of a type that this version does not know."""
        head = struct.pack(
            "<IBBBBQQQIIHHI", 51, kind, 0, 16, 0, LEFT, destination, 7, 1, number, 0, 0, 0
        )
        return head + b"new"

    def inject(self, frame: bytes) -> None:
        """Have the root receive a frame on its control connection with the left child."""
        self.network.between(self.root, self.left)[0].arrive([frame])
        self.network.settle(0.5)

    def test_unknown_ignorable_frame_is_skipped(self) -> None:
        """A frame that may be ignored is counted, and the link goes on."""
        before = self.root.statistics.ignored_frames
        self.inject(self.frame(0xBF, ROOT, 0))
        self.assertEqual(self.root.statistics.ignored_frames, before + 1)
        self.assertEqual(len(self.root.endpoints[LEFT].connections), 2)

    def test_unknown_mandatory_frame_ends_the_link(self) -> None:
        """A frame that must be understood and is not ends the link, by name on both sides."""
        ends: list[tuple[Node, Status]] = []

        def observe(node: Node) -> None:
            def removed(_: Endpoint, status: Status) -> None:
                ends.append((node, status))

            node.events.on_endpoint_removed.observe(removed)

        observe(self.root)
        observe(self.left)
        self.inject(self.frame(0x3F, ROOT, 0))
        self.assertIn((self.root, Status.UNKNOWN_MANDATORY), ends)
        self.assertEqual({node for node, _ in ends}, {self.root, self.left})

    def test_unknown_routed_frame_is_passed_on(self) -> None:
        """A relay passes on what is for somebody else by the head alone, known or not."""
        self.inject(self.frame(0x7F, RIGHT, 1))
        sent = [f for c in self.network.between(self.root, self.right) for f in c.sent]
        self.assertEqual([f[48:] for f in sent if f[4] == 0x7F], [b"new"])

    def test_extras(self) -> None:
        """An extra that may be ignored is; one that must be understood refuses the message."""
        receiver = Recorder()
        self.root.receiver = receiver
        fates: list[Fate] = []
        self.left.events.on_forward_response.observe(fates.append)
        for number, extra in ((1, 0x0999), (2, 0x8999)):
            payload = b"payload %d" % number
            self.left._parts.sender.send_with(ROOT, payload, extras=(Extra(extra, b"?"),))
        self.network.settle()
        self.assertEqual(receiver.payloads, [b"payload 1"])
        self.assertEqual([fate.status for fate in fates], [Status.UNKNOWN_MANDATORY])
        self.assertEqual(len(self.root.endpoints[LEFT].connections), 2)

    def test_highest_common_version_is_spoken(self) -> None:
        """A node of this and the next version registers, with capabilities that we do not know."""
        newer = self.network.node(id=0x10003, upstream=UPSTREAM)
        newer._parts.dialer.version_max = 2
        newer._parts.dialer.capabilities = 0x8000_0000
        self.network.start(newer)
        self.assertEqual(newer.endpoints[ROOT].peer.version, 1)
        self.assertEqual(newer.endpoints[ROOT].peer.capabilities, 0)

    def test_no_version_in_common(self) -> None:
        """A node that speaks the next version only is refused; both say so, neither keeps it.

        Scenario: H8
        """
        seen: list[Status] = []
        self.root.events.on_register.observe(lambda _id, _connection, status: seen.append(status))
        newer = self.network.node(id=0x10003, upstream=UPSTREAM)
        newer._parts.dialer.version_min = newer._parts.dialer.version_max = 2
        ended: list[object] = []
        newer.start().addErrback(ended.append)
        self.network.settle(3.0)
        self.assertEqual(seen, [Status.UNSUPPORTED_VERSION])
        self.assertEqual(len(ended), 1)
        self.assertEqual(newer.endpoints, {})
        self.assertNotIn(0x10003, self.root.endpoints)
