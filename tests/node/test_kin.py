"""Nodes that programs connect to somebody above their upstream, and what is published there."""

from __future__ import annotations

from itertools import chain

from atbus.node.node import Node
from tests.node.garden import LEFT, LEFT_LEAF, RIGHT, TOP, GardenTests, address_of

_COUNT = 60


class KinTests(GardenTests):
    """A leaf with a connection of its own to the upstream of its upstream."""

    def family(self) -> list[Node]:
        """Start the tree, and connect its leaf to the top."""
        options = {"topology": "records", "route_table": "full", "subnets": []}
        planted = self.plant(TOP, LEFT, RIGHT, LEFT_LEAF, **options)
        self.network.result_of(planted[-1].connect(address_of(TOP)))
        self.settle()
        self.assertEqual(sorted(planted[-1].endpoints), [TOP, LEFT])
        return planted

    def publish(self, node: Node) -> list[bytes]:
        """Publish from a node, one after the other."""
        payloads = [b"%d" % number for number in range(_COUNT)]
        for payload in payloads:
            node.publish("a", payload)
            self.settle(0.01)
        self.settle(1)
        return payloads

    def assert_nobody_refused(self, planted: list[Node]) -> None:
        """Assert that each node has believed all that it was given."""
        for node in planted:
            self.assertEqual(node.statistics.publications_dropped, {})
            self.assertEqual(node.statistics.refused, {})

    def test_a_group_in_its_own_branch(self) -> None:
        """
        What the leaf gives to the top for a group is not given down to where the leaf is.

        Nobody there believes the top about the leaf, and it was lost.
        """
        planted = self.family()
        _, left, right, leaf = planted
        for node in (left, right):
            self.listen(node, "a", "g")
        self.settle()
        published = self.publish(leaf)
        self.assertEqual(sorted(self.got[LEFT] + self.got[RIGHT]), sorted(published))
        self.assertTrue(self.got[LEFT] and self.got[RIGHT])
        self.assert_nobody_refused(planted)

    def test_one_member_in_its_own_branch(self) -> None:
        """The top hands back what it has nobody for, and the upstream gets it."""
        planted = self.family()
        _, left, _, leaf = planted
        self.listen(left, "a", "g")
        self.settle()
        self.assertEqual(sorted(self.got[LEFT]), [])
        published = self.publish(leaf)
        self.assertEqual(sorted(self.got[LEFT]), sorted(published))
        self.assert_nobody_refused(planted)

    def test_members_at_the_leaf_itself(self) -> None:
        """What the upstream has passed up does not go to the leaf over its own connection."""
        planted = self.family()
        _, left, _, leaf = planted
        for node in (left, leaf):
            self.listen(node, "a", "g")
        self.settle()
        published = self.publish(leaf)
        self.assertEqual(sorted(self.got[LEFT] + self.got[LEFT_LEAF]), sorted(published))
        self.assert_nobody_refused(planted)

    def test_plain_subscribers(self) -> None:
        """Each gets everything once, whoever publishes."""
        planted = self.family()
        for node in planted:
            self.listen(node, "a")
        self.settle()
        for node in planted:
            for got in self.got.values():
                got.clear()
            published = self.publish(node)
            for other in planted:
                self.assertEqual(self.got[other.bus_id], published)
        self.assert_nobody_refused(planted)

    def test_a_group_everywhere(self) -> None:
        """The same with a group: one member gets it, whoever publishes."""
        planted = self.family()
        for node in planted:
            self.listen(node, "a", "g")
        self.settle()
        for node in planted:
            for got in self.got.values():
                got.clear()
            published = self.publish(node)
            self.assertEqual(sorted(chain(*self.got.values())), sorted(published))
        self.assert_nobody_refused(planted)
