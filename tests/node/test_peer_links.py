"""The links to other nodes, told as nats-server tells its routes."""

from __future__ import annotations

from atbus.node.node import Node
from tests.node.garden import LEFT, LEFT_LEAF, RIGHT, RIGHT_LEAF, TOP, GardenTests, address_of


class PeerLinkTests(GardenTests):
    """What a node tells of those it is linked with."""

    def test_whom_it_stays_connected_to(self) -> None:
        """The upstream is dialled for ever, a peer only when the configuration has it."""
        static = {"addresses": [address_of(RIGHT)], "use": "peers"}
        self.plant(TOP, RIGHT)
        left = self.plant(LEFT, static=static)[0]
        near, far = self.plant(LEFT_LEAF, RIGHT_LEAF)
        self.network.result_of(near.connect(address_of(RIGHT_LEAF)))
        self.settle(5.0)
        told = {
            node.bus_id: {
                link.id: (link.dialled, link.configured) for link in node.describe_peers()
            }
            for node in (left, near, far)
        }
        self.assertEqual(
            told,
            {
                LEFT: {TOP: (True, True), RIGHT: (True, True), LEFT_LEAF: (False, False)},
                LEFT_LEAF: {LEFT: (True, True), RIGHT_LEAF: (True, False)},
                RIGHT_LEAF: {RIGHT: (True, True), LEFT_LEAF: (False, False)},
            },
        )

    def test_who_accepted_does_not_dial(self) -> None:
        """Who has dialed because of its configuration comes again; the other one waits for that."""
        static = {"addresses": [address_of(RIGHT)], "use": "peers"}
        _, right = self.plant(TOP, RIGHT)
        left = self.plant(LEFT, static=static)[0]
        self.settle()
        self.assertIn(LEFT, right.endpoints)
        for end in (self.kill, self.power_off):
            end(left)
            self.settle(120.0)
            self.assertNotIn(LEFT, right.endpoints)
            self.assertNotIn(address_of(LEFT), map(str, self.network.dials))
            left = self.plant(LEFT, static=static)[0]
            self.settle(5.0)
            self.assertIn(LEFT, right.endpoints)
        self.assertGreater([*map(str, self.network.dials)].count(address_of(RIGHT)), 2)

    def test_what_went_each_way(self) -> None:
        """Publications are counted where they leave and where they arrive, runs among them."""
        top, left = self.plant(TOP, LEFT)
        self.listen(left, "a.>")
        self.settle()
        top.publish("a.b", b"x" * 100_000)
        top.publish_many("a.c", [b"1", b"2", b"3"])
        top.publish("b", b"nobody wants it")
        self.settle()
        (here,), (there,) = top.describe_peers(), left.describe_peers()
        self.assertEqual((here.out_publications, here.in_publications), (4, 0))
        self.assertEqual((there.in_publications, there.out_publications), (4, 0))
        self.assertEqual(here.out_bytes, there.in_bytes)
        self.assertGreater(here.out_bytes, 100_000)
        self.assertEqual((here.subscriptions, there.subscriptions), (1, 0))
        self.assertEqual(dict(top.wanted_by(LEFT)), {("a.>", ""): 1})
        self.assertEqual((here.ip, here.port, here.pending_bytes), ("", 0, 0))


class RouteRuleTests(GardenTests):
    """Rules of routes that are about several links at once."""

    def peer(self, bus_id: int, *others: int) -> Node:
        """Start a node without an upstream that stays connected to others."""
        static = {"addresses": [address_of(other) for other in others], "use": "peers"}
        node = self.node(bus_id, listen=[address_of(bus_id)], static=static if others else {})
        self.network.start(node)
        return node

    def test_peers_are_one_hop(self) -> None:
        """What one peer publishes another one gets, and nobody who is only a peer of that one."""
        first, last = self.peer(1 << 16), self.peer(3 << 16)
        middle = self.peer(2 << 16, 1 << 16, 3 << 16)
        self.settle(30.0)
        for node in (middle, last):
            self.listen(node, "a")
        self.listen(last, "b")
        self.settle()
        self.assertEqual(dict(first.wanted_by(2 << 16)), {("a", ""): 1})
        self.assertEqual(dict(middle.wanted_by(3 << 16)), {("a", ""): 1, ("b", ""): 1})
        first.publish("a", b"x")
        first.publish("b", b"x")
        self.settle()
        self.assertEqual(self.got, {2 << 16: [b"x"], 3 << 16: []})
        self.assertEqual(last.statistics.publications_repeated, 0)
        # Nor was it sent on, and refused there.
        self.assertEqual(middle.endpoints[3 << 16].out_publications, 0)
        self.assertEqual(sum(last.statistics.publications_dropped.values()), 0)

    def test_two_routes_deliver_once(self) -> None:
        """Two that have each other in their configuration share one link, kept by both."""
        one = self.peer(1 << 16, 2 << 16)
        other = self.peer(2 << 16, 1 << 16)
        self.listen(other, "a")
        self.settle(30.0)
        (here,), (there,) = one.describe_peers(), other.describe_peers()
        self.assertEqual((here.configured, there.configured), (True, True))
        self.assertNotEqual(here.dialled, there.dialled)
        one.publish("a", b"x")
        self.settle()
        self.assertEqual(self.got, {2 << 16: [b"x"]})
        self.assertEqual((here.out_publications, one.describe_peers()[0].out_publications), (0, 1))
