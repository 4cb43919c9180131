"""The links to other nodes, told as nats-server tells its routes."""

from __future__ import annotations

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
