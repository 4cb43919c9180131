"""What holds where something is wrong already: what comes twice, and what is forbidden."""

from __future__ import annotations

from atbus import limits
from atbus.errors import Status, Undeliverable
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

    def test_answers_are_free(self) -> None:
        """Who may publish nothing may answer who has asked him, and asks nobody himself."""
        others = [hex(TOP), hex(RIGHT)]
        rules = [
            SECRET | {"publish": [">"]},
            # Then nobody else may publish anything either.
            {"action": "allow", "ids": others, "publish": [">"]},
        ]
        top, left, right = self.plant(TOP, LEFT, RIGHT, rights=rules)
        left.subscribe("ask.left", lambda _: b"here")
        right.subscribe("ask.right", lambda _: b"here")
        self.settle()
        for asker in (top, right):
            waiting = asker.request_subject("ask.left")
            self.assertEqual(self.network.result_of(waiting).payload, b"here")
        error = self.failureResultOf(left.request_subject("ask.right"), Undeliverable).value
        self.assertIs(error.status, Status.NO_RIGHT)

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
