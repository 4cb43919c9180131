"""Which member of a queue group is near, over several nodes: just what is promised of it."""

from __future__ import annotations

from atbus.node.node import Node
from tests.node.garden import LEFT, LEFT_LEAF, RIGHT, RIGHT_LEAF, TOP, GardenTests

SECOND_LEAF = LEFT_LEAF + 1


class ZoneTests(GardenTests):
    """Two zones; every node prefers what is near."""

    def place(self, bus_id: int, zone: str) -> Node:
        """Start a node in a zone; none if it is empty."""
        labels = {"zone": zone} if zone else {}
        [node] = self.plant(bus_id, labels=labels, queue_policy="nearest")
        return node

    def test_a_zone_that_is_a_part_of_the_tree(self) -> None:
        """What is published in it goes over its nodes to its members, then to others."""
        self.place(TOP, "")
        for bus_id, zone in ((LEFT, "x"), (RIGHT, "y")):
            self.place(bus_id, zone)
        publisher = self.place(LEFT_LEAF, "x")
        near = self.place(SECOND_LEAF, "x").subscribe("a", lambda _: None, queue="g")
        far = self.place(RIGHT_LEAF, "y").subscribe("a", lambda _: None, queue="g")
        self.settle()
        for _ in range(50):
            publisher.publish("a", b"")
        self.settle()
        self.assertEqual((near.taken, far.taken), (50, 0))
        near.unsubscribe()
        self.settle()
        publisher.publish("a", b"")
        self.settle()
        self.assertEqual(far.taken, 1)

    def test_a_zone_behind_another_one(self) -> None:
        """What is behind a neighbor of another zone is not near, wherever it is."""
        top = self.place(TOP, "x")
        for bus_id in (LEFT, RIGHT):
            self.place(bus_id, "y")
        ours = self.place(LEFT_LEAF, "x").subscribe("a", lambda _: None, queue="g")
        theirs = self.place(RIGHT_LEAF, "y").subscribe("a", lambda _: None, queue="g")
        self.settle()
        for _ in range(300):
            top.publish("a", b"")
        self.settle()
        self.assertEqual(ours.taken + theirs.taken, 300)
        self.assertTrue(100 < ours.taken < 200, ours.taken)

    def test_behind_a_neighbor_of_the_zone(self) -> None:
        """What is behind a neighbor of the zone counts as near, whatever zone it is in."""
        top = self.place(TOP, "x")
        self.place(LEFT, "x")
        right = self.place(RIGHT, "x").subscribe("a", lambda _: None, queue="g")
        theirs = self.place(LEFT_LEAF, "y").subscribe("a", lambda _: None, queue="g")
        self.settle()
        for _ in range(300):
            top.publish("a", b"")
        self.settle()
        self.assertEqual(right.taken + theirs.taken, 300)
        self.assertTrue(100 < theirs.taken < 200, theirs.taken)
