"""The endpoints of a node: who is in the set, and what it says of them."""

from __future__ import annotations

from atbus.errors import Status, Undeliverable
from atbus.routing.relation import Relation
from atbus.testing.conversation import make_terms
from atbus.testing.network import VirtualNetwork
from atbus.wire.messages import RegisterRequest
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests
from tests.node.stranger import Stranger

PEER = 0x20000


class MembershipTests(BusTests):
    """Coming and going."""

    def test_ids_in_any_order(self) -> None:
        """
        Nodes without ranges register in any order; each is one endpoint.

        Scenario: A24
        """
        root = self.root()
        self.network.start(root)
        for bus_id in (0x10005, 0x10001, 0x10003):
            self.network.start(self.child(bus_id))
        self.network.settle()
        self.assertEqual(self.ids(root), [0x10001, 0x10003, 0x10005])
        self.network.result_of(root.disconnect(0x10003))
        self.assertEqual(self.ids(root), [0x10001, 0x10005])

    def test_leaving_whom_one_does_not_know(self) -> None:
        """
        An unknown id is not found; known ones are left, and their routes go with them.

        Scenario: A19
        """
        root = self.root()
        proxy = self.child(0x10100, subnets=[(0, 8)])
        self.network.start(root, proxy)
        self.network.settle()
        error = self.failure_of(root.disconnect(0x10300), Undeliverable)
        self.assertEqual(error.status, Status.UNKNOWN_ENDPOINT)
        # Inside the range of a child is not a child.
        self.failure_of(root.disconnect(0x10101), Undeliverable)
        self.assertEqual(root.next_hop(0x10101).id, 0x10100)
        self.network.result_of(root.disconnect(0x10100))
        self.assertRaises(Undeliverable, root.next_hop, 0x10101)
        self.assertEqual(root.endpoints, {})

    def test_leaving_oneself(self) -> None:
        """
        A node is no endpoint of itself.

        Scenario: A26
        """
        root, child = self.pair()
        for node in (root, child):
            error = self.failure_of(node.disconnect(node.bus_id), Undeliverable)
            self.assertEqual(error.status, Status.UNKNOWN_ENDPOINT)
            self.assertNotIn(node.bus_id, node.endpoints)
            self.assertIs(node.relation_to(node.bus_id), Relation.SELF)
        self.assertEqual(child.state, "running")

    def test_ranges_that_overlap(self) -> None:
        """
        A second child whose range overlaps the first one's is refused.

        Scenario: A17
        """
        root = self.root()
        first = self.child(0x10101, subnets=[(0, 8)])
        self.network.start(root, first)
        second = self.child(0x10180, subnets=[(0, 8)])
        self.assertEqual(self.refusal_of(second.start()), Status.SUBNET_CONFLICT)
        self.assertEqual(self.ids(root), [0x10101])

    def test_too_many(self) -> None:
        """When the set is full the next one is told to try elsewhere, and goes on asking."""
        root = self.root(endpoints_max=2)
        self.network.start(root, self.child(CHILD), self.child(SIBLING))
        third = self.child(0x10003)
        started = third.start()
        self.network.settle(3)
        self.assertEqual(third.state, "starting")
        self.assertIn((ROOT, "CONTROL", "OVERLOADED"), self.diaries[third].registrations())
        self.network.result_of(root.disconnect(CHILD))
        self.network.settle(0.1)
        self.network.result_of(self.nodes[1].stop())
        self.network.result_of(started)

    def test_during_a_farewell(self) -> None:
        """
        While an endpoint is left, a second call finds nobody to leave, and nothing is sent there.

        Scenario: H10
        """
        self.network.delay_seconds = 0.1
        root, _ = self.pair()
        leaving = root.disconnect(CHILD)
        self.assertFalse(leaving.called)
        self.failure_of(root.disconnect(CHILD), Undeliverable)
        error = self.assertRaises(Undeliverable, root.send, CHILD, b"?")
        self.assertIn(error.status, (Status.CLOSING, Status.NOT_CONNECTED))
        self.network.result_of(leaving)

    def test_when_a_farewell_is_over(self) -> None:
        """
        Nothing is open between the two any more, in whatever order the connections have closed.

        Scenario: H10
        """
        for seed in range(20):
            self.begin(VirtualNetwork(seed=seed, jitter_seconds=0.02))
            root, child = self.pair()
            before = self.network.between(root, child)
            self.network.result_of(root.disconnect(CHILD))
            self.assertEqual([channel for channel in before if channel.open], [])
            self.assertEqual(self.diaries[root].removed(), [(CHILD, "DISCONNECTED")])
            self.end()

    def test_both_sides_leave_at_once(self) -> None:
        """
        Farewells that cross end in the same way as one.

        Scenario: H10
        """
        one = self.node(ROOT, listen=[ROOT_ADDRESS])
        two = self.node(PEER)
        self.network.start(one, two)
        self.network.result_of(two.connect(ROOT_ADDRESS))
        self.network.settle()
        leaving = [one.disconnect(PEER), two.disconnect(ROOT)]
        for each in leaving:
            self.network.result_of(each, 1)
        self.network.settle(1)
        for node, other in ((one, PEER), (two, ROOT)):
            self.assertEqual(self.diaries[node].removed(), [(other, "DISCONNECTED")])


class KnowledgeTests(BusTests):
    """What a node knows of an endpoint."""

    def test_what_the_other_side_says_of_itself(self) -> None:
        """
        Labels, addresses, software and identity arrive as they were configured.

        Scenario: G5, H9
        """
        root = self.root(hostname="machine-one", labels={"region": "eu"})
        child = self.child(hostname="machine-two", labels={"zone": "b"})
        self.network.start(root, child)
        for near, far, host, labels in (
            (root, child, "machine-two", {"zone": "b"}),
            (child, root, "machine-one", {"region": "eu"}),
        ):
            request = near.endpoints[far.bus_id].peer.request
            self.assertEqual(request.host, host)
            self.assertEqual(dict(request.labels), labels)
            self.assertEqual(request.addresses, tuple(str(each) for each in far.addresses))
            self.assertTrue(request.software.startswith("atbus "))

    def test_unknown_kinds_of_addresses(self) -> None:
        """A newer node that listens in a way we do not know is none the worse for it."""
        root = self.root()
        self.network.start(root)
        request = RegisterRequest(
            host="h", process="p", addresses=("quantum://x", "ipv4://10.9.9.9:1")
        )
        stranger = Stranger(self.network, make_terms(CHILD, request=request)).dial(ROOT_ADDRESS)
        self.assertIsNotNone(stranger.peer)
        self.assertEqual(self.ids(root), [CHILD])
        stranger.leave()

    def test_relations(self) -> None:
        """
        Through a proxy: immediate and transitive, up and down, and whoever is neither.

        Scenario: H9
        """
        root = self.root()
        proxy = self.child(0x10100, listen=["ipv4://10.0.1.1:1"], subnets=[(0, 8)])
        leaf = self.node(0x10101, upstream="ipv4://10.0.1.1:1")
        self.network.start(root, proxy, leaf)
        self.network.settle()
        self.assertIs(root.relation_to(0x10100), Relation.IMMEDIATE_DOWNSTREAM)
        self.assertIs(root.relation_to(0x10101), Relation.TRANSITIVE_DOWNSTREAM)
        self.assertIs(proxy.relation_to(ROOT), Relation.IMMEDIATE_UPSTREAM)
        self.assertIs(proxy.relation_to(0x10101), Relation.IMMEDIATE_DOWNSTREAM)
        self.assertIs(leaf.relation_to(0x10100), Relation.IMMEDIATE_UPSTREAM)
        self.assertIs(leaf.relation_to(ROOT), Relation.TRANSITIVE_UPSTREAM)
        self.assertIs(root.relation_to(PEER), Relation.INVALID)
