"""Buses whose nodes write down every message they get, and all news about those they send."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.errors import Status, Undeliverable
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.network import VirtualChannel
from atbus.wire import codec
from atbus.wire.head import peek
from atbus.wire.messages import Message, MessageType
from tests.node.bus import ROOT_ADDRESS, BusTests

ROOT, NORTH, SOUTH = 0x10000, 0x10100, 0x10200
NORTH_ADDRESS, SOUTH_ADDRESS = "ipv4://10.0.1.0:1", "ipv4://10.0.2.0:1"


class Forged:
    """What a link keeps of a frame that its node knows nothing of."""


@attrs.frozen
class Letter:
    """One message as a receiver was given it."""

    source: int
    kind: int
    sequence: int
    payload: bytes


@implementer(IMessageReceiver)
class Mailbox:
    """The messages that one node received, and the news about those that it sent."""

    def __init__(self, node: Node) -> None:
        self.letters: list[Letter] = []
        self.fates: list[Fate] = []
        node.receiver = self
        node.events.on_forward_response.observe(self.fates.append)

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Keep a message."""
        self.letters.append(Letter(source, kind, sequence, payload))

    @property
    def payloads(self) -> list[bytes]:
        """What was received, in order."""
        return [letter.payload for letter in self.letters]

    def payloads_from(self, source: int) -> list[bytes]:
        """What was received from one node, in order."""
        return [letter.payload for letter in self.letters if letter.source == source]

    @property
    def news(self) -> list[tuple[int, int, int, str]]:
        """Target, first sequence, count and status of all news, in order."""
        return [(f.target, f.first_sequence, f.count, f.status.name) for f in self.fates]

    def statuses(self) -> list[str]:
        """The status of every message that there was news of, one for each message."""
        return [fate.status.name for fate in self.fates for _ in range(fate.count)]


@implementer(IMessageReceiver)
class Receiving:
    """
    A receiver that does what a test says.

    :param take: Called with source and payload; its result is the receiver's.
    """

    def __init__(self, take: Callable[[int, bytes], object]) -> None:
        self._take = take

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> object:
        """Do what the test says."""
        return self._take(source, payload)


class MailTests(BusTests):
    """
    A bus with mailboxes.

    The usual one is a root with two proxies, and leaves below them::

        ROOT 10000 -- NORTH 10100 -- 10101, 10102 ...
                   `- SOUTH 10200 -- 10201, 10202 ...
    """

    def setUp(self) -> None:
        super().setUp()
        self.mail: dict[Node, Mailbox] = {}

    def node(self, *arguments: Any, **options: Any) -> Node:
        """Make a node with a mailbox."""
        node = super().node(*arguments, **options)
        self.mail[node] = Mailbox(node)
        return node

    def proxies(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start a root and two proxies below it."""
        root = self.root(**options)
        north = self.node(
            NORTH, listen=[NORTH_ADDRESS], upstream=ROOT_ADDRESS, subnets=[(0, 8)], **options
        )
        south = self.node(
            SOUTH, listen=[SOUTH_ADDRESS], upstream=ROOT_ADDRESS, subnets=[(0, 8)], **options
        )
        self.network.start(root, north, south)
        return root, north, south

    def leaf(self, bus_id: int, *, listens: bool = False, **options: Any) -> Node:
        """Start a leaf below the proxy that its id belongs to."""
        upstream = {NORTH: NORTH_ADDRESS, SOUTH: SOUTH_ADDRESS, ROOT: ROOT_ADDRESS}
        listen = [f"ipv4://10.0.{bus_id >> 8 & 255}.{bus_id & 255}:1"] if listens else []
        node = self.node(
            bus_id, **{"listen": listen, "upstream": upstream[bus_id & ~0xFF], **options}
        )
        self.network.start(node)
        self.network.settle(0.1)
        return node

    def send_all(self, node: Node, target: int, payloads: Iterable[bytes]) -> list[int]:
        """Send some messages; their sequences."""
        return [node.send(target, payload) for payload in payloads]

    def refused(self, node: Node, target: int, payload: bytes = b"x", **options: Any) -> str:
        """Send a message that must not be accepted; the name of the reason."""
        try:
            node.send(target, payload, **options)
        except Undeliverable as error:
            self.assertEqual(error.target, target)
            return error.status.name
        raise AssertionError("it was accepted")

    def ended(self, waiting: Deferred[Any], seconds: float = 30.0) -> Any:
        """Wait for the end of something: its result, or the status that it failed with."""
        results: list[Any] = []
        waiting.addBoth(results.append)
        self.network.clock.run_until(lambda: bool(results), seconds)
        self.assertEqual(len(results), 1, "it did not end")
        result = results[0]
        if isinstance(result, Failure):
            error = result.trap(Undeliverable) and result.value
            assert isinstance(error, Undeliverable)
            return error.status
        return result

    # What is on the wire.

    def data_channel(self, one: Node, other: Node) -> VirtualChannel:
        """Give *one*'s end of the data connection between two nodes."""
        endpoint = one.endpoints[other.bus_id]
        link = endpoint.data_link
        assert link is not None
        channel = link.connection.channel
        assert isinstance(channel, VirtualChannel)
        return channel

    def control_channel(self, one: Node, other: Node) -> VirtualChannel:
        """Give *one*'s end of the control connection between two nodes."""
        link = one.endpoints[other.bus_id].control_link
        assert link is not None
        channel = link.connection.channel
        assert isinstance(channel, VirtualChannel)
        return channel

    def frames(self, channel: VirtualChannel, *types: MessageType) -> list[Any]:
        """Give the messages of some types that were written to a channel, in order."""
        return [codec.decode(frame) for frame in channel.sent if peek(frame)[1] in types]

    def say(
        self,
        node: Node,
        other: Node,
        *messages: Message,
        data: bool = True,
        settle_seconds: float = 0.2,
    ) -> None:
        """Make *node* send frames to *other* that no node would send."""
        for message in messages:
            frame = codec.encode(message)
            self.say_raw(node, other, frame, data=data, settle_seconds=settle_seconds)

    def say_raw(
        self,
        node: Node,
        other: Node,
        frame: bytes,
        *,
        data: bool = True,
        settle_seconds: float = 0.2,
    ) -> None:
        """Make *node* send a frame to *other*, numbered as the next one of its link."""
        endpoint = node.endpoints[other.bus_id]
        channel = self.data_channel(node, other) if data else self.control_channel(node, other)
        link = endpoint.data_link if data else endpoint.control_link
        assert link is not None
        number = link.outgoing.record(Forged())  # type: ignore[arg-type]  # has no custody
        hop_limit = peek(frame)[3]
        channel.send([codec.patch(frame, hop_limit=hop_limit, frame_number=number, ack=0)])
        self.network.settle(settle_seconds)

    def pretend_sent(self, node: Node, target: int) -> None:
        """Make a node believe that it has sent whatever a test sends in its name."""
        node._parts.sender._flow(target).next_sequence = 1 << 62

    def responses_on_wire(self, *nodes: Node) -> list[Any]:
        """Give every DATA_RESPONSE that any of these nodes has written, link by link."""
        found: list[Any] = []
        for node in nodes:
            for other in nodes:
                if other is not node and other.bus_id in node.endpoints:
                    for channel in self.network.between(node, other):
                        found += self.frames(channel, MessageType.DATA_RESPONSE)
        return found

    def assert_quiet(self, *nodes: Node) -> None:
        """Assert that nobody waits for anything, or keeps anything for anybody."""
        self.network.settle(1.0)
        for node in nodes:
            parts = node._parts
            self.assertEqual(parts.traffic.courier.parked, 0, "parked news")
            self.assertEqual(parts.fates.outstanding, 0, "open questions")
            self.assertEqual(parts.registrar.count_waiting(), 0, "waiting messages")
            for endpoint in node.endpoints.values():
                for connection in endpoint.connections:
                    if connection.link is not None:
                        self.assertTrue(connection.link.idle, f"{node.bus_id:x}: {connection}")


OK = Status.OK
