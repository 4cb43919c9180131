"""Nodes that choose each other by what they offer, with nothing but their bus."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.node.node import Node
from atbus.routing import bounds
from atbus.routing.services import Filter, Service
from tests.node.bus import BusTests

LEFT, RIGHT = 0x10100, 0x10200
LEFT_ADDRESS, RIGHT_ADDRESS = "ipv4://10.0.0.2:1", "ipv4://10.0.0.3:1"
LEAF, OTHER = 0x10101, 0x10201
BATTLES = Filter(type="battle")


class EmbeddedTests(BusTests):
    """Two proxies below one node, a leaf below each of them; no registry."""

    def setUp(self) -> None:
        super().setUp()
        self.top = self.root()
        self.left = self.child(LEFT, listen=[LEFT_ADDRESS], subnets=[(LEFT, 8)])
        self.right = self.child(RIGHT, listen=[RIGHT_ADDRESS], subnets=[(RIGHT, 8)])
        self.network.start(self.top, self.left, self.right)
        self.other = self.leaf(OTHER, upstream=RIGHT_ADDRESS)
        self.battle = self.leaf(LEAF, name="battle-1", service={"type": "battle"})

    def leaf(self, bus_id: int, **options: Any) -> Node:
        """Start a leaf."""
        made = self.node(bus_id, **{"upstream": LEFT_ADDRESS, **options})
        self.network.start(made)
        self.network.settle(3.0)
        return made

    def chosen_by(self, node: Node) -> int:
        """Say whom a node chooses."""
        service = node.select(BATTLES)
        return 0 if service is None else service.bus_id

    @property
    def choices(self) -> set[int]:
        """Whom everybody chooses, except the leaf itself."""
        return {self.chosen_by(node) for node in (self.top, self.left, self.right, self.other)}

    def test_what_a_node_offers_is_known_everywhere(self) -> None:
        """A service without any registry is chosen by nodes at the other end, and by its own."""
        self.assertEqual(self.choices, {LEAF})
        self.assertEqual(self.chosen_by(self.battle), LEAF)

    def test_who_comes_later(self) -> None:
        """A node that comes later knows what was there before."""
        late = self.leaf(OTHER + 1, upstream=RIGHT_ADDRESS)
        self.assertEqual(self.chosen_by(late), LEAF)

    def test_offering_something_else(self) -> None:
        """What the program offers instead of its configuration takes its place everywhere."""
        self.battle.offer(Service(name="battle-1", type="lobby"))
        self.network.settle(3.0)
        self.assertEqual(self.choices, {0})
        found = self.other.select(Filter(type="lobby"))
        self.assertEqual(found and found.bus_id, LEAF)

    def test_stopping(self) -> None:
        """A node that stops is chosen by nobody any more, and again when it is back."""
        self.network.result_of(self.battle.stop())
        self.network.settle(1.0)
        self.assertEqual(self.choices, {0})
        self.network.start(self.battle)
        self.network.settle(3.0)
        self.assertEqual(self.choices, {LEAF})

    def test_a_crash(self) -> None:
        """A node that was killed is soon chosen by nobody any more."""
        self.kill(self.battle)
        self.network.settle(10.0)
        self.assertEqual(self.choices, {0})

    def test_choices_by_key_are_prepared(self) -> None:
        """Services that come in crowds are put where choices by key find them, some at a time."""
        self.patch(bounds, "SERVICES_IN_SWEEP", 3)
        services = self.top._parts.discovering.services
        services.by_hash(1)
        for number in range(9):
            services.add(Service(bus_id=0x20000 + number, name=f"many-{number}"))
        ring = services._all._ring
        assert ring is not None
        left = [len(ring._new)]
        while left[-1]:
            self.network.settle(limits.SWEEP_SECONDS)
            left.append(len(ring._new))
        self.assertEqual(left, [9, 6, 3, 0])
