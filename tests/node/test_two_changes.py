"""A target that moves while the way to its new place is being opened."""

from __future__ import annotations

from atbus.node.node import Node
from atbus.testing.channel import VirtualChannel
from tests.node.mesh import address_of
from tests.node.test_path_change import PathTests


class TwoChangesTests(PathTests):
    """One way is being opened, and another one left."""

    def tree(self, places: dict[int, tuple[int, ...]]) -> dict[int, Node]:
        """Make nodes that find each other by records, and say of each who may be above it."""
        return {
            bus_id: self.node(
                bus_id,
                topology="records",
                proxy=bus_id < 0x100,
                route_table="full",
                listen=[address_of(bus_id)],
                upstreams=[address_of(each) for each in above],
            )
            for bus_id, above in places.items()
        }

    def assert_nothing_overtaken(
        self, one: Node, leaf: Node, stuck: VirtualChannel, slow: VirtualChannel
    ) -> None:
        """
        Let the leaf, which has moved, be talked to before and after the way to its proxy opens.

        :param stuck: Where messages to its former place wait; it goes on last.
        :param slow: Where the FLUSH to the proxy waits.
        """
        self.assertEqual(leaf.next_hop(0x1).id, 0x21)
        self.assertEqual(one.next_hop(0x112).id, 0x21)
        self.talk(one, 0x112, 5)
        slow.resume()
        self.network.settle(0.1)
        self.assertEqual(one.endpoints[0x21].gate.value, "open")
        self.talk(one, 0x112, 5)
        self.network.settle(0.1)
        stuck.resume()
        self.network.settle(2.0)
        self.talk(one, 0x112, 5)
        self.network.settle()
        self.assert_all_in_order(leaf, 0x11)
        self.assertEqual(self.given_up(one), [])

    def test_what_is_still_on_its_way_to_the_former_place(self) -> None:
        """
        The direct way to a proxy opens, and a leaf has just moved below that proxy.

        What was sent to the leaf at its former place arrives first.
        """
        nodes = self.tree({0x1: (), 0x11: (0x1,), 0x12: (0x1,), 0x21: (0x1,), 0x112: (0x12, 0x21)})
        self.network.start(*nodes.values())
        top, one, former, later, leaf = nodes.values()
        self.network.result_of(one.connect(address_of(0x12)))
        self.network.settle(2.0)
        self.talk(one, 0x112, 5)
        self.network.settle(0.1)
        stuck, slow = self.data_channel(one, former), self.data_channel(top, later)
        stuck.stall()
        self.talk(one, 0x112, 5)
        slow.stall()
        one.connect(address_of(0x21))
        former.drain()
        self.network.settle(0.3)
        self.assertEqual(one.endpoints[0x21].gate.value, "flushing")
        self.assert_nothing_overtaken(one, leaf, stuck, slow)

    def test_what_took_the_same_neighbor_to_the_former_place(self) -> None:
        """
        So it is when both its former place and the proxy were reached through the upstream.

        The FLUSH for the proxy did not go where the messages for the leaf had gone.
        """
        nodes = self.tree({0x1: (), 0x11: (0x1,), 0x12: (0x1,), 0x21: (0x1,), 0x112: (0x12, 0x21)})
        self.network.start(*nodes.values())
        top, one, former, later, leaf = nodes.values()
        self.network.settle(2.0)
        self.talk(one, 0x112, 5)
        self.network.settle(0.1)
        stuck, slow = self.data_channel(top, former), self.data_channel(top, later)
        stuck.stall()
        slow.stall()
        one.connect(address_of(0x21))
        self.network.settle(0.1)
        self.assertEqual(one.endpoints[0x21].gate.value, "flushing")
        self.assertEqual(one.next_hop(0x112).id, 0x1)
        self.talk(one, 0x112, 5)
        former.drain()
        self.network.settle(0.3)
        self.assert_nothing_overtaken(one, leaf, stuck, slow)
