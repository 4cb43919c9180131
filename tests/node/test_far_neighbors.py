"""Neighbors so far away that messages arrive long before word of those who have sent them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.routing import bounds
from atbus.routing.sync_terms import TableMode
from atbus.testing.channel import VirtualChannel
from atbus.testing.checker import Verdict
from atbus.testing.virtual_bus import VirtualBus

TOP, RELAY = 0x1, 0x10
_ONE_WAY_SECONDS = 0.15


def _address(bus_id: int) -> str:
    return f"ipv4://10.0.{bus_id >> 8}.{bus_id & 255}:1"


@implementer(IMessageReceiver)
class _Sink:
    """Takes everything."""

    def __init__(self, node: Node) -> None:
        node.receiver = self

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take a message."""


class FarNeighborTests(SynchronousTestCase):
    """Leaves behind a relay send all the time, while the one above it comes back, far away."""

    def setUp(self) -> None:
        self.bus = VirtualBus(1, delay_seconds=_ONE_WAY_SECONDS, jitter_seconds=0.0)
        self.addCleanup(self.bus.close)
        self.fates: Counter[str] = Counter()
        # When what arrived too early was refused.
        self.refused_at: list[float] = []

    def node(self, bus_id: int, upstream: int = 0) -> Node:
        """Make a node of which no address says where it is."""
        above = {"upstreams": [_address(upstream)]} if upstream else {}
        options: dict[str, Any] = {"topology": "records", "program": _Sink, **above}
        return self.bus.node(bus_id, listen=[_address(bus_id)], **options)

    def leaves(self, count: int, size: int, pause_seconds: float) -> None:
        """Start a relay and those below it, which send all the time to the one above."""
        relay = self.node(RELAY, TOP)
        leaves = [self.node(0x100 * number + RELAY, RELAY) for number in range(1, count + 1)]
        for each in (relay, *leaves):
            each.start()
        self.bus.run(2.0)
        for leaf in leaves:
            leaf.events.on_forward_response.observe(self._heard)
            for number in range(int(4.0 / pause_seconds)):
                at = (number + self.bus.random.random()) * pause_seconds
                self.bus.later(at, leaf.config.id, lambda node: self._send(node, size))

    def _send(self, node: Node, size: int) -> None:
        try:
            node.send(TOP, bytes(size))
        except Undeliverable as refused:
            self.fates[refused.status.name] += 1

    def _heard(self, fate: Any) -> None:
        self.fates[fate.status.name] += fate.count
        if fate.status is Status.SOURCE_REFUSED:
            self.refused_at.append(self.bus.network.clock.seconds())

    def top_comes(self) -> tuple[Node, Verdict]:
        """Start the one above, let all send until they are done, and judge."""
        top = self.node(TOP)
        self.bus.start(top)
        self.bus.run(8.0)
        return top, self.bus.finish()

    def test_relay_that_registers(self) -> None:
        """What a relay brings in the name of a hundred others waits for its table."""
        self.leaves(100, 100, 0.1)
        _, verdict = self.top_comes()
        self.assertEqual(self.fates["SOURCE_REFUSED"], 0)
        self.assertGreater(verdict.delivered, 500)

    def test_relay_that_brings_much(self) -> None:
        """When enough waits no more is read of the relay for a moment, and nothing refused."""
        self.leaves(10, 2_000, 0.02)
        top, verdict = self.top_comes()
        self.assertEqual(self.fates["SOURCE_REFUSED"], 0)
        self.assertGreater(verdict.delivered, 500)
        self.assertGreater(top.statistics.reading_held, 0)

    def test_is_read_again(self) -> None:
        """As soon as the table is there, not only when the moment is over."""
        self.leaves(10, 2_000, 0.02)
        top = self.node(TOP)
        self.bus.start(top)
        parts = top._parts
        while not parts.floodgate._held:
            self.bus.run(0.005)
        self.assertGreater(parts.traffic.verifier.waiting, bounds.EARLY_ENOUGH_BYTES)
        while parts.traffic.verifier.waiting:
            self.assertNotEqual(parts.floodgate._held, {})
            self.bus.run(0.005)
        self.assertEqual(parts.floodgate._held, {})
        self.bus.run(8.0)
        self.assertEqual(self.bus.finish().refused.get("SOURCE_REFUSED", 0), 0)

    def stuck(self) -> float:
        """Have a relay register whose table stays on its way; when its first message is there."""
        relay, top = self.bus[RELAY], self.bus[TOP]
        while not (RELAY in top.endpoints and TOP in relay.endpoints):
            self.bus.run(0.01)
        control = relay.endpoints[TOP].control
        assert control is not None and isinstance(control.channel, VirtualChannel)
        while not relay.endpoints[TOP].available:
            self.bus.run(0.01)
        control.channel.stall()
        while not top._parts.traffic.verifier.waiting:
            self.bus.run(0.01)
        return self.bus.network.clock.seconds()

    def new_leaf(self) -> Node:
        """Start a leaf below a relay that knows nothing of it; the one above that is there."""
        top, relay, leaf = self.node(TOP), self.node(RELAY, TOP), self.node(0x110, RELAY)
        self.bus.start(top, relay)
        self.bus.run(2.0)
        leaf.events.on_forward_response.observe(self._heard)
        leaf.start()
        return leaf

    def test_leaf_that_registers(self) -> None:
        """What it says itself goes on when its relay can tell others where it is."""
        leaf = self.new_leaf()
        while leaf.state != "running":
            self.bus.run(0.01)
        for number in range(100):
            self.bus.later(0.01 * number, 0x110, lambda node: self._send(node, 10))
        self.bus.run(3.0)
        self.assertEqual(self.fates, {})
        self.assertEqual(self.bus.finish().delivered, 100)

    def test_leaf_that_publishes(self) -> None:
        """So do its publications, none of which is dropped."""
        leaf = self.new_leaf()
        got: list[bytes] = []
        self.bus[TOP].subscribe("a", lambda message: got.append(message.payload))
        self.bus.run(0.5)
        while leaf.state != "running":
            self.bus.run(0.01)
        for number in range(100):
            self.bus.later(0.01 * number, 0x110, lambda node: node.publish("a", b"x"))
        self.bus.run(3.0)
        self.assertEqual(len(got), 100)

    def test_leaf_whose_table_does_not_come(self) -> None:
        """Its relay passes on what it says itself all the same; others decide."""
        leaf, relay = self.new_leaf(), self.bus[RELAY]
        while not (0x110 in relay.endpoints and RELAY in leaf.endpoints):
            self.bus.run(0.01)
        while not leaf.endpoints[RELAY].available:
            self.bus.run(0.01)
        control = leaf.endpoints[RELAY].control
        assert control is not None and isinstance(control.channel, VirtualChannel)
        control.channel.stall()
        self._send(leaf, 10)
        self.bus.run(_ONE_WAY_SECONDS + 0.01)
        self.assertGreater(relay._parts.traffic.verifier.waiting, 0)
        self.bus.run(bounds.EARLY_SECONDS)
        self.assertEqual(relay._parts.traffic.verifier.waiting, 0)
        self.assertEqual(relay.statistics.refused[Status.SOURCE_REFUSED], 0)
        self.assertEqual(relay.statistics.forwarded_messages, 1)

    def test_whose_table_is_awaited(self) -> None:
        """That of who has been asked or will be, and tells; but for some seconds only."""
        self.leaves(1, 10, 10.0)
        top = self.node(TOP)
        self.bus.start(top)
        while RELAY not in top.endpoints:
            self.bus.run(0.01)
        relay, table = top.endpoints[RELAY], top._parts.route_table
        # Nobody is available yet, so there is no table.
        self.assertFalse(table.awaits(relay))
        while table.machine is None:
            self.bus.run(0.01)
        self.assertTrue(relay.available)
        self.assertTrue(table.awaits(relay))
        del table._controls[RELAY]
        self.assertTrue(table.awaits(relay))
        table.machine.mode = TableMode.UPSTREAM
        self.assertFalse(table.awaits(relay))
        table.machine.mode = TableMode.AUTO
        table._controls[RELAY] = relay.connections[0]
        self.bus.run(2 * _ONE_WAY_SECONDS - 0.01)
        self.assertTrue(table.awaits(relay))
        self.bus.run(0.1)
        self.assertFalse(table.awaits(relay))

    def test_table_that_does_not_come(self) -> None:
        """What has waited for it long enough is refused, and later on it waits no longer."""
        self.leaves(1, 10, 0.05)
        self.bus.start(self.node(TOP))
        came_at = self.stuck()
        self.bus.run(bounds.EARLY_TABLE_SECONDS)
        waited_seconds = self.refused_at[0] - came_at - _ONE_WAY_SECONDS * 2
        self.assertLess(abs(waited_seconds - bounds.EARLY_SECONDS), 0.02)
        leaf, top = self.bus[0x100 + RELAY], self.bus[TOP]
        self.bus.run(1.0)
        verifier = top._parts.traffic.verifier
        self.assertEqual(verifier.waiting, 0)
        self._send(leaf, 10)
        self.bus.run(2 * _ONE_WAY_SECONDS + 0.01)
        self.assertGreater(verifier.waiting, 0)
        self.bus.run(limits.UNVERIFIED_SECONDS)
        self.assertEqual(verifier.waiting, 0)
