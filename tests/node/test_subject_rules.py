"""What holds where something is wrong already: what comes twice, and what is forbidden."""

from __future__ import annotations

from atbus import limits
from atbus.errors import Status
from tests.node.garden import (
    LEFT,
    LEFT_LEAF,
    RIGHT,
    RIGHT_LEAF,
    TOP,
    GardenTests,
    address_of,
)

SECRET = {"ids": [hex(LEFT)], "action": "deny"}


class TwiceTests(GardenTests):
    """Publications that come by two ways."""

    def test_what_comes_twice_is_given_once(self) -> None:
        """Where branches cannot be named each subscriber gets it once all the same; it counts."""
        self.patch(limits, "SERVED_BRANCHES_MAX", 0)
        nodes = self.plant(TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF)
        _, left, right, near, _ = nodes
        self.network.result_of(left.connect(address_of(RIGHT)))
        for node in nodes:
            self.listen(node, "a")
        self.settle()
        near.publish("a", b"1")
        self.settle()
        near.publish_many("a", [b"2", b"3"])
        self.settle()
        near.publish("a", b"4")
        near.publish_many("a", [b"5", b"6"])
        self.settle()
        for bus_id, got in self.got.items():
            self.assertEqual(got, [b"1", b"2", b"3", b"4", b"5", b"6"], hex(bus_id))
        self.assertEqual(right.statistics.publications_repeated, 6)


class ForbiddenTests(GardenTests):
    """Rights of others than who publishes, for what is published at once."""

    def test_from_a_neighbor(self) -> None:
        """What a neighbor may not publish is dropped and counted, one by one and all at once."""
        top = self.plant(TOP, rights=[SECRET | {"publish": ["secret.>"]}])[0]
        left, right = self.plant(LEFT, RIGHT)
        self.listen(right, ">")
        self.listen(top, ">")
        self.settle()
        left.publish("secret.a", b"1")
        left.publish_many("secret.a", [b"2", b"3"])
        left.publish_many("open.a", [b"4", b"5"])
        self.settle()
        self.assertEqual((self.got[TOP], self.got[RIGHT]), ([b"4", b"5"], [b"4", b"5"]))
        self.assertEqual(top.statistics.publications_dropped, {Status.NO_RIGHT: 3})

    def test_to_a_neighbor(self) -> None:
        """Of several that may not all be had by everybody each one that somebody misses counts."""
        top = self.plant(TOP, rights=[SECRET | {"subscribe": ["secret.>"]}])[0]
        left, right = self.plant(LEFT, RIGHT)
        self.listen(left, ">")
        self.listen(right, ">")
        self.settle()
        top.publish_many("secret.a", [b"1", b"2"])
        top.publish_many("open.a", [b"3"])
        self.settle()
        self.assertEqual((self.got[LEFT], self.got[RIGHT]), ([b"3"], [b"1", b"2", b"3"]))
        self.assertEqual(top.statistics.publications_dropped, {Status.NO_RIGHT: 2})
