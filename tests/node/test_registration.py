"""Nodes register with each other: what both sides are told, in order."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from atbus.errors import ConnectFailed, Status, Undeliverable
from atbus.node.node import Node
from atbus.routing.relation import Relation
from atbus.wire.messages import Role
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests

PEER = 0x20000
PEER_ADDRESS = "ipv4://10.0.0.2:1"


class OrderTests(BusTests):
    """The order of events, as the flows of registration draw it."""

    def test_dialler_is_told_of_connection_then_endpoint_then_registration(self) -> None:
        """
        The child hears of its control connection, its upstream, its registration; then of data.

        Scenario: H2, H3
        """
        _, child = self.pair()
        self.assertEqual(
            self.diaries[child].story(),
            [
                "new_connection to control",
                "endpoint_added 10000",
                "register 10000 to control OK",
                "new_connection to data",
                "register 10000 to data OK",
            ],
        )

    def test_listener_is_told_the_same_in_the_same_order(self) -> None:
        """
        The root hears of the same events, each once.

        Scenario: H2, H3
        """
        root, _ = self.pair()
        self.assertEqual(
            self.diaries[root].story(),
            [
                "new_connection from control",
                "endpoint_added 10001",
                "register 10001 from control OK",
                "new_connection from data",
                "register 10001 from data OK",
            ],
        )

    def test_a_node_is_up_when_its_upstream_is_available(self) -> None:
        """
        The root is up before anybody registers; the child only afterwards.

        Scenario: H9, G2
        """
        root = self.root()
        child = self.child()
        started = root.start()
        self.assertTrue(started.called)
        self.assertEqual(
            self.diaries[root].story("node_up", "state_changed"),
            ["state_changed starting", "state_changed running", "node_up"],
        )
        self.network.start(child)
        told = self.diaries[child].story("register", "node_up", "upstream_changed")
        self.assertEqual(
            told,
            [
                "register 10000 to control OK",
                "register 10000 to data OK",
                "node_up",
                "upstream_changed 10000",
            ],
        )

    def test_a_node_that_refuses_last_takes_the_endpoint_back(self) -> None:
        """
        The listener has added the dialler when the dialler refuses: added, refused, removed.

        Scenario: H2
        """
        # The upstream takes the child in, and the child finds that it is not contained.
        root = self.root(subnets=[(0, 4)])
        child = self.child(ROOT + 0x100, accept_subnets=[])
        self.network.start(root)
        self.assertEqual(self.refusal_of(child.start()), Status.SUBNET_CONFLICT)
        self.network.settle()
        self.assertEqual(
            self.diaries[root].story(),
            [
                "new_connection from control",
                "endpoint_added 10100",
                "register 10100 from control SUBNET_CONFLICT",
                "endpoint_removed 10100 SUBNET_CONFLICT",
            ],
        )
        self.assertEqual(
            self.diaries[child].story(),
            ["new_connection to control", "register 10000 to control SUBNET_CONFLICT"],
        )


class PeerTests(BusTests):
    """Two nodes, neither above the other."""

    def test_peers_with_a_common_token_talk_both_ways(self) -> None:
        """
        Each side has added the other once, and bytes arrive as they were sent, zeros included.

        Scenario: H1, H14
        """
        one = self.node(ROOT, listen=[ROOT_ADDRESS], access_tokens=["common"])
        two = self.node(PEER, listen=[PEER_ADDRESS], access_tokens=["common"])
        self.network.start(one, two)
        endpoint = self.network.result_of(one.connect(PEER_ADDRESS))
        self.network.settle()
        self.assertEqual(endpoint.bus_id, PEER)
        self.assertTrue(one.endpoints[PEER].available)
        self.assertTrue(two.endpoints[ROOT].available)
        self.assertEqual(self.diaries[one].added(), [PEER])
        self.assertEqual(self.diaries[two].added(), [ROOT])
        for near, far in ((one, two), (two, one)):
            far.on_request(lambda source, payload: b"%x:" % source + payload)
            answer = self.network.result_of(near.request(far.bus_id, b"\0a\0b\0"))
            self.assertEqual(answer, b"%x:\0a\0b\0" % near.bus_id)

    def test_peers_part_in_good_order(self) -> None:
        """
        Leaving a peer succeeds once; the second time there is nobody to leave.

        Scenario: H14, H10
        """
        one, two = self.peers()
        self.network.result_of(one.disconnect(PEER))
        self.assertEqual(self.network.between(one, two), [])
        self.network.settle()
        self.assertEqual((self.ids(one), self.ids(two)), ([], []))
        self.assertEqual(self.diaries[one].removed(), [(PEER, "DISCONNECTED")])
        self.assertEqual([who for who, _ in self.diaries[two].removed()], [ROOT])
        self.assertEqual(one.state, "running")
        self.assertEqual(two.state, "running")
        error = self.failure_of(one.disconnect(PEER), Undeliverable)
        self.assertEqual(error.status, Status.UNKNOWN_ENDPOINT)

    def test_a_second_dial_to_the_same_node_joins_its_endpoint(self) -> None:
        """
        A process that dials a node again stays one endpoint; nobody is told of a second one.

        Scenario: H17
        """
        one, two = self.peers()
        again = self.network.result_of(one.connect(PEER_ADDRESS))
        self.network.settle(40)
        self.assertIs(again, one.endpoints[PEER])
        self.assertEqual(self.diaries[one].added(), [PEER])
        self.assertEqual(self.diaries[two].added(), [ROOT])
        self.assertEqual(self.diaries[one].removed() + self.diaries[two].removed(), [])
        for node in (one, two):
            ends = [status for _, status in self.diaries[node].of("on_close_connection")]
            self.assertEqual(ends, [Status.REPLACED], "the older control stream")
        two.on_request(lambda source, payload: payload)
        self.assertEqual(self.network.result_of(one.request(PEER, b"still there")), b"still there")

    def test_two_dials_to_one_address_are_one(self) -> None:
        """
        A second connect while the first is under way gets the same endpoint and no connection.

        Scenario: B14
        """
        one = self.node(ROOT)
        two = self.node(PEER, listen=[PEER_ADDRESS])
        self.network.start(one, two)
        first, second = one.connect(PEER_ADDRESS), one.connect(PEER_ADDRESS)
        self.assertIs(self.network.result_of(first), self.network.result_of(second))
        self.network.settle()
        self.assertEqual(
            self.diaries[two].story("new_connection"),
            ["new_connection from control", "new_connection from data"],
        )

    def test_a_port_that_the_system_chose(self) -> None:
        """Who listens on port 0 tells its neighbors the real one, and its connections have it."""
        one = self.node(ROOT)
        two = self.node(PEER, listen=["ipv4://10.0.0.2:0"])
        self.network.start(one, two)
        address = two.addresses[0]
        self.assertNotEqual(address.port, 0)
        endpoint = self.network.result_of(one.connect(address))
        self.assertEqual(endpoint.peer.request.addresses, (str(address),))
        accepted = [connection for (connection,) in self.diaries[two].of("on_new_connection")]
        self.assertEqual([connection.address for connection in accepted], [address] * 2)

    def test_two_dials_to_one_address_fail_as_one(self) -> None:
        """
        Both calls are told that nobody is there.

        Scenario: B14
        """
        one = self.node(ROOT)
        self.network.start(one)
        first, second = one.connect(PEER_ADDRESS), one.connect(PEER_ADDRESS)
        self.failure_of(first, ConnectFailed)
        self.failure_of(second, ConnectFailed)
        self.assertEqual(len(self.network.dials), 1)

    def test_who_waits_does_not_disturb_others_who_wait(self) -> None:
        """
        What one caller makes of the result, or that it waits no more, is no matter of the other.

        Scenario: B14
        """
        one = self.node(ROOT)
        two = self.node(PEER, listen=[PEER_ADDRESS])
        self.network.start(one, two)
        first = one.connect(PEER_ADDRESS)
        first.addCallback(lambda _: None)
        second, third = one.connect(PEER_ADDRESS), one.connect(PEER_ADDRESS)
        third.cancel()
        self.assertIs(self.network.result_of(second), one.endpoints[PEER])
        self.assertTrue(first.called)
        self.assertRaises(CancelledError, self.network.result_of, third)
        self.assertEqual(len(self.network.dials), 2)

    def test_nobody_waits_any_more(self) -> None:
        """
        When all who wait have cancelled, the dial ends, at any moment, and nothing is left of it.

        Scenario: B14
        """
        for step in range(12):
            self.begin(type(self.network)())
            one = self.node(ROOT)
            two = self.node(PEER, listen=[PEER_ADDRESS])
            self.network.start(one, two)
            waiting = [one.connect(PEER_ADDRESS), one.connect(PEER_ADDRESS)]
            self.network.settle(step * 0.0005)
            was_too_late = waiting[0].called
            was_added = bool(one.endpoints)
            for each in waiting:
                if not was_too_late:
                    each.cancel()
                    self.assertRaises(CancelledError, self.network.result_of, each)
            self.network.settle(3)
            # Who has been added already stays: it has to be left, not cancelled.
            stays = was_too_late or was_added
            self.assertEqual(self.ids(one), [PEER] if stays else [])
            self.assertEqual(self.ids(two), [ROOT] if stays else [])
            self.end()

    def test_dialling_where_the_upstream_is_dialled(self) -> None:
        """
        A program that dials its upstream while the node does gets the same endpoint.

        Scenario: B14
        """
        root, child = self.root(), self.child()
        started = child.start()
        dialling = child.connect(ROOT_ADDRESS)
        self.failure_of(dialling, ConnectFailed)
        self.network.start(root)
        self.network.clock.run_until(lambda: len(self.network.dials) > 1)
        dialling = child.connect(ROOT_ADDRESS)
        self.assertIs(self.network.result_of(dialling), child.endpoints[ROOT])
        self.network.result_of(started)
        self.assertEqual(child.state, "running")

    def test_one_way_channels_are_not_for_the_program_to_open(self) -> None:
        """
        Memory is opened by registration only; a program that dials it is refused at once.

        Scenario: B13
        """
        one = self.node(ROOT)
        self.network.start(one)
        for address in ("mem://here", "shm://here"):
            self.failure_of(one.connect(address), ConnectFailed)
        self.assertEqual(self.network.dials, [])

    def test_dialling_any_host_means_this_one(self) -> None:
        """
        A node that listens on all hosts is reached at that very address.

        Scenario: B10
        """
        one = self.node(ROOT)
        two = self.node(PEER, listen=["ipv4://0.0.0.0:9"])
        self.network.start(one, two)
        endpoint = self.network.result_of(one.connect("ipv4://0.0.0.0:9"))
        self.assertEqual(endpoint.bus_id, PEER)

    def peers(self) -> tuple[Node, Node]:
        """Start two peers and connect them."""
        one = self.node(ROOT, listen=[ROOT_ADDRESS])
        two = self.node(PEER, listen=[PEER_ADDRESS])
        self.network.start(one, two)
        self.network.result_of(one.connect(PEER_ADDRESS))
        self.network.settle()
        return one, two


class TreeTests(BusTests):
    """A parent and its children."""

    def test_child_and_parent_know_how_they_stand(self) -> None:
        """
        Relation, next hop and identity of the other side are right on both.

        Scenario: H9
        """
        root, child = self.pair()
        self.assertIs(root.relation_to(CHILD), Relation.IMMEDIATE_DOWNSTREAM)
        self.assertIs(child.relation_to(ROOT), Relation.IMMEDIATE_UPSTREAM)
        for near, far in ((root, child), (child, root)):
            hop = near.next_hop(far.bus_id)
            self.assertIs(hop.endpoint, near.endpoints[far.bus_id])
            assert hop.connection is not None
            self.assertEqual(hop.connection.role, Role.DATA)
            self.assertGreater(hop.connection.opened_at, 0)
        self.assertNotEqual(
            root.endpoints[CHILD].peer.request.process, child.endpoints[ROOT].peer.request.process
        )

    def test_child_of_a_second_range(self) -> None:
        """
        A child outside of its parent's own prefix, inside a second range of it, registers.

        Scenario: H11
        """
        root = self.root(subnets=[(0, 16), (0x22340000, 16)])
        child = self.child(0x22341234)
        self.network.start(root, child)
        self.assertIs(root.relation_to(0x22341234), Relation.IMMEDIATE_DOWNSTREAM)

    def test_siblings_with_overlapping_ranges(self) -> None:
        """
        The second of two children whose ranges overlap is refused; the others go on.

        Scenario: H15
        """
        root = self.root()
        one = self.child(CHILD, subnets=[(0x10000 + 0x100, 8)])
        two = self.child(SIBLING, subnets=[(0x10000 + 0x100, 4)])
        self.network.start(root)
        starting = [one.start(), two.start()]
        self.network.result_of(starting[0])
        self.assertEqual(self.refusal_of(starting[1]), Status.SUBNET_CONFLICT)
        self.network.settle()
        self.assertEqual([root.state, one.state, two.state], ["running", "running", "stopped"])
        self.assertIn("SUBNET_CONFLICT", self.diaries[root].errors())

    def test_leaving_from_above_and_from_below(self) -> None:
        """
        Parent or child, whoever leaves does it once, and both lose the endpoint.

        Scenario: H10
        """
        root, child = self.pair()
        self.network.result_of(root.disconnect(CHILD))
        self.network.settle(0.01)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "DISCONNECTED")])
        self.assertEqual(len(self.diaries[child].removed()), 1)
        self.network.settle(2)
        self.assertEqual(self.ids(child), [ROOT], "an upstream is dialled again")
        self.network.result_of(child.disconnect(ROOT))
        self.network.settle(0.01)
        self.assertEqual(len(self.diaries[root].removed()), 2)
        self.assertEqual(self.diaries[child].removed()[1:], [(ROOT, "DISCONNECTED")])
