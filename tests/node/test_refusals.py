"""Registrations that are refused: the same reason on both sides, and nothing left on either."""

from __future__ import annotations

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import ConnectFailed, RegistrationRefused, Status
from atbus.handshake.terms import Rejected
from atbus.node.node import Node
from atbus.testing.conversation import make_terms
from atbus.wire.messages import RegisterRequest, RegisterResponse, Role
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests
from tests.node.stranger import HalfWay, Stranger

PEER = 0x20000
PEER_ADDRESS = "ipv4://10.0.0.2:1"


class TokenTests(BusTests):
    """Access tokens."""

    def dial(self, mine: list[str], theirs: list[str]) -> Status:
        """Have a node with some tokens dial one with others; give the outcome that both saw."""
        one = self.node(ROOT, access_tokens=mine)
        two = self.node(PEER, listen=[PEER_ADDRESS], access_tokens=theirs)
        self.network.start(one, two)
        status = Status.OK
        try:
            self.network.result_of(one.connect(PEER_ADDRESS))
        except RegistrationRefused as error:
            status = error.status
        self.network.settle()
        outcomes = [self.diaries[node].registrations() for node in (one, two)]
        self.assertEqual({told[0][2] for told in outcomes}, {status.name})
        if status is not Status.OK:
            self.assertEqual([len(told) for told in outcomes], [1, 1])
            self.assertEqual((self.ids(one), self.ids(two)), ([], []))
            for node in (one, two):
                self.assertEqual(self.diaries[node].errors(), [status.name])
        return status

    def test_different_tokens(self) -> None:
        """
        Both sides report that access was denied, and neither keeps an endpoint.

        Scenario: H5
        """
        self.assertEqual(self.dial(["one"], ["another"]), Status.ACCESS_DENIED)

    def test_token_only_here(self) -> None:
        """
        A token that the other side does not ask for is denied too.

        Scenario: H6
        """
        self.assertEqual(self.dial(["one"], []), Status.ACCESS_DENIED)

    def test_token_only_there(self) -> None:
        """
        Without a token there is no way in.

        Scenario: H6
        """
        self.assertEqual(self.dial([], ["one"]), Status.ACCESS_DENIED)

    def test_one_token_in_common_in_any_position(self) -> None:
        """
        While tokens are being changed, old and new nodes understand each other.

        Scenario: H7
        """
        self.assertEqual(self.dial(["old", "new", "newer"], ["newest", "newer"]), Status.OK)


class VersionTests(BusTests):
    """Nodes of versions that have nothing in common."""

    def test_dialler_of_another_version(self) -> None:
        """
        The node says hello, reports the version, and keeps nothing.

        Scenario: H8
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(CHILD, versions=(2, 3))).dial(ROOT_ADDRESS)
        assert stranger.refused is not None
        self.assertEqual(stranger.refused.status, Status.UNSUPPORTED_VERSION)
        self.assertEqual(
            self.diaries[root].registrations(), [(CHILD, "CONTROL", "UNSUPPORTED_VERSION")]
        )
        self.assertEqual(self.diaries[root].added(), [])
        self.assertIsNotNone(stranger.ended)

    def test_listener_of_another_version(self) -> None:
        """
        Who dials it learns the same.

        Scenario: H8
        """
        stranger = Stranger(self.network, make_terms(PEER, versions=(2, 3))).listen(PEER_ADDRESS)
        node = self.node(ROOT)
        self.network.start(node)
        self.assertEqual(self.refusal_of(node.connect(PEER_ADDRESS)), Status.UNSUPPORTED_VERSION)
        self.network.settle(0.1)
        assert stranger.refused is not None
        self.assertEqual(stranger.refused.status, Status.UNSUPPORTED_VERSION)
        self.assertEqual(self.diaries[node].added(), [])
        self.network.result_of(stranger.listener.stop())


    def test_one_among_others(self) -> None:
        """
        Versions are settled once, in HELLO, and no ping repeats them; a node of another version is
        answered with that, and the pings of all others go on.

        Scenario: J5
        """
        root, child = self.pair()
        interval = root.config.heartbeat_seconds
        self.network.settle(2 * interval)
        pongs = len(self.diaries[root].of("on_endpoint_pong"))
        for bus_id in (PEER, CHILD):
            stranger = Stranger(self.network, make_terms(bus_id, versions=(2, 3)))
            stranger.dial(ROOT_ADDRESS)
            assert stranger.refused is not None
            self.assertEqual(stranger.refused.status, Status.UNSUPPORTED_VERSION)
        self.network.settle(5 * interval)
        self.assertEqual((root.state, self.ids(root)), ("running", [CHILD]))
        self.assertGreaterEqual(len(self.diaries[root].of("on_endpoint_pong")), pongs + 3)
        self.assertEqual(self.ids(child), [ROOT])


class IdTests(BusTests):
    """Ids that somebody may not have."""

    def test_own_id(self) -> None:
        """
        Another process with the dialler's id is a conflict, said on both sides.

        Scenario: H16
        """
        one = self.node(ROOT)
        two = self.node(ROOT, listen=[PEER_ADDRESS])
        self.network.start(one, two)
        self.assertEqual(self.refusal_of(one.connect(PEER_ADDRESS)), Status.ID_CONFLICT)
        self.network.settle()
        self.assertEqual(self.diaries[two].registrations(), [(ROOT, "CONTROL", "ID_CONFLICT")])

    def test_a_node_does_not_register_with_itself(self) -> None:
        """A node that dials its own address finds out that it is its own."""
        one = self.node(ROOT, listen=[ROOT_ADDRESS])
        self.network.start(one)
        self.assertEqual(self.refusal_of(one.connect(ROOT_ADDRESS)), Status.SELF_CONNECT)
        self.network.settle()
        self.assertEqual(one.endpoints, {})

    def test_request_in_the_name_of_another(self) -> None:
        """
        Who says hello as one node and registers as another is refused, by name on both sides.

        Scenario: H18
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        self.assertEqual(self.diaries[root].added(), [CHILD])
        # The registration is over; it comes again under another name.
        stranger.say(RegisterRequest(source=CHILD + 1, host="h", process="p"))
        answer = stranger.received[-1]
        assert isinstance(answer, RegisterResponse)
        self.assertEqual(answer.status, Status.BUS_ID_MISMATCH)
        self.assertIsNotNone(stranger.ended)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "BUS_ID_MISMATCH")])

    def test_request_that_is_repeated(self) -> None:
        """
        The same request once more on a registered connection is answered, and changes nothing.

        Scenario: H29
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        before = len(self.diaries[root].entries)
        stranger.say(RegisterRequest(source=CHILD, host="h", process=f"h:{CHILD}:1"))
        answer = stranger.received[-1]
        assert isinstance(answer, RegisterResponse)
        self.assertEqual(answer.status, Status.OK)
        self.assertEqual(len(self.diaries[root].entries), before)
        self.assertIsNone(stranger.ended)
        stranger.leave()

    def test_another_node_than_expected(self) -> None:
        """A data connection that meets somebody else is refused before we show our proof."""
        root, child = self.pair()
        self.kill(root)
        other = self.node(PEER, listen=[ROOT_ADDRESS])
        self.network.start(other)
        waiting = child._parts.dialer.connect(child.config.upstreams[0], expected_id=ROOT)
        self.assertEqual(self.refusal_of(waiting), Status.BUS_ID_MISMATCH)
        self.network.settle(0.1)
        self.assertIn((CHILD, "CONTROL", "BUS_ID_MISMATCH"), self.diaries[other].registrations())


class AdmissionTests(BusTests):
    """Ranges and positions."""

    def test_a_peer_that_would_be_above(self) -> None:
        """
        Wide ranges make nobody upstream: who contains us and was not dialled as such is refused.

        Scenario: A17
        """
        one = self.node(ROOT, subnets=[(0, 16)])
        two = self.node(0x1000000, listen=[PEER_ADDRESS], subnets=[(0x10000, 20)])
        self.network.start(one, two)
        self.assertEqual(self.refusal_of(one.connect(PEER_ADDRESS)), Status.SUBNET_CONFLICT)
        self.network.settle()
        self.assertEqual((self.ids(one), self.ids(two)), ([], []))

    def test_a_second_upstream(self) -> None:
        """
        A node with an upstream refuses another one.

        Scenario: H19, A17
        """
        _, child = self.pair()
        second = self.node(0x12000, listen=[PEER_ADDRESS], subnets=[(0x10000, 16)])
        self.network.start(second)
        dialling = child._parts.dialer.connect(second.addresses[0], upstream=True)
        self.assertEqual(self.refusal_of(dialling), Status.SECOND_UPSTREAM)
        self.network.settle()
        self.assertEqual(self.ids(child), [ROOT])
        self.assertEqual(self.ids(second), [])

    def test_subnets_that_are_not_let_in(self) -> None:
        """A peer that announces more than it may is not admitted; both sides say so."""
        one = self.node(ROOT, subnets=[(0, 16)], accept_subnets=[(0x50000, 16)])
        two = self.node(PEER, listen=[PEER_ADDRESS])
        self.network.start(one, two)
        self.assertEqual(self.refusal_of(one.connect(PEER_ADDRESS)), Status.NOT_ADMITTED)
        self.network.settle()
        self.assertEqual(self.diaries[two].registrations(), [(ROOT, "CONTROL", "NOT_ADMITTED")])

    def test_refusal_by_a_listener_tells_why(self) -> None:
        """Who has proven itself is told the reason also in words."""
        root = self.root()
        self.network.start(root)
        request = RegisterRequest(host="h", process="p", subnets=(Subnet(0x50000, 16),))
        stranger = Stranger(self.network, make_terms(CHILD, request=request)).dial(ROOT_ADDRESS)
        assert stranger.refused is not None
        self.assertEqual(stranger.refused.status, Status.SUBNET_CONFLICT)
        self.assertIn("is not inside", stranger.refused.detail)

    def test_data_connection_of_nobody(self) -> None:
        """A data connection without a control connection is refused."""
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(CHILD, role=Role.DATA)).dial(ROOT_ADDRESS)
        assert stranger.refused is not None
        self.assertEqual(stranger.refused.status, Status.UNKNOWN_ENDPOINT)
        self.assertEqual(root.endpoints, {})

    def test_refusal_by_the_dialler_reaches_the_listener(self) -> None:
        """The listener takes back what it has added when the dialler says no."""
        root = self.root()
        self.network.start(root)
        verdict = Rejected(status=Status.NOT_ADMITTED, detail="not you")
        Stranger(self.network, make_terms(CHILD), verdict).dial(ROOT_ADDRESS)
        self.assertEqual(self.diaries[root].added(), [CHILD])
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "NOT_ADMITTED")])
        self.assertEqual(self.diaries[root].registrations(), [(CHILD, "CONTROL", "NOT_ADMITTED")])


class DeadlineTests(BusTests):
    """Registrations that do not come to an end."""

    def seconds(self, node: Node) -> float:
        """Give how long a registration may take."""
        return node.config.handshake_seconds

    def test_silent_dialler(self) -> None:
        """
        Who connects and says nothing is invalid at the deadline, and not before it.

        Scenario: H4, J7
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network).dial(ROOT_ADDRESS)
        self.network.settle(self.seconds(root) - 0.2)
        self.assertEqual(self.diaries[root].of("on_invalid_connection"), [])
        self.network.settle(0.2)
        told = self.diaries[root].story("new_connection", "register", "invalid_connection")
        self.assertEqual(
            told,
            [
                "new_connection from control",
                "register 0 from control HANDSHAKE_TIMEOUT",
                "invalid_connection from control HANDSHAKE_TIMEOUT",
            ],
        )
        self.network.settle()
        self.assertIsNotNone(stranger.ended)
        self.assertEqual(self.network.channels, set())

    def test_silent_listener(self) -> None:
        """
        Who accepts and says nothing: the same, and whoever waits for the endpoint is told.

        Scenario: H4, J7
        """
        stranger = Stranger(self.network).listen(PEER_ADDRESS)
        node = self.node(ROOT)
        self.network.start(node)
        self.assertEqual(self.refusal_of(node.connect(PEER_ADDRESS)), Status.HANDSHAKE_TIMEOUT)
        self.network.settle()
        self.assertEqual(
            [status for _, status in self.diaries[node].of("on_invalid_connection")],
            [Status.HANDSHAKE_TIMEOUT],
        )
        self.assertEqual(self.network.channels, set())
        self.network.result_of(stranger.listener.stop())

    def test_dialler_that_stops_half_way(self) -> None:
        """
        One that proves itself and never says OK: what was added is removed again.

        Scenario: H4
        """
        root = self.root()
        self.network.start(root)

        HalfWay(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        self.assertEqual(self.diaries[root].added(), [CHILD])
        self.assertFalse(root.endpoints[CHILD].available)
        self.network.settle(self.seconds(root))
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "HANDSHAKE_TIMEOUT")])

    def test_the_last_word_comes_too_late(self) -> None:
        """
        The dialler is registered, and its OK reaches the listener after the deadline: both lose
        the endpoint for the same reason, and the child goes on trying.

        Scenario: H4
        """
        self.network.delay_seconds = 1.0
        root, child = self.root(), self.child()
        self.network.start(root)
        started = child.start()
        self.network.settle(8.5)
        self.assertEqual(self.diaries[child].registrations(), [(ROOT, "CONTROL", "OK")])
        self.assertEqual(
            self.diaries[root].registrations(), [(CHILD, "CONTROL", "HANDSHAKE_TIMEOUT")]
        )
        self.assertEqual(self.diaries[child].removed(), [(ROOT, "HANDSHAKE_TIMEOUT")])
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "HANDSHAKE_TIMEOUT")])
        self.assertEqual(child.state, "starting")
        self.network.delay_seconds = 0.001
        self.network.result_of(started)

    def test_a_slow_network(self) -> None:
        """A round trip of a second is no reason not to register."""
        self.network.delay_seconds = 0.5
        root, child = self.root(), self.child()
        self.network.start(root, child)
        self.network.settle(100)
        self.assertEqual(self.ids(root), [CHILD])
        for node in (root, child):
            self.assertEqual(self.diaries[node].removed(), [])

    def test_a_registered_connection_has_no_deadline(self) -> None:
        """
        What is registered is not ended by the deadline of its registration.

        Scenario: J7
        """
        root, child = self.pair()
        self.network.settle(30)
        for node in (root, child):
            self.assertEqual(self.diaries[node].of("on_invalid_connection"), [])
            self.assertEqual(self.diaries[node].of("on_close_connection"), [])

    def test_a_frame_that_is_too_long_for_a_stranger(self) -> None:
        """Before it is registered nobody may send more than a registration needs."""
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network).dial(ROOT_ADDRESS)
        stranger.say_raw(bytes(limits.HANDSHAKE_BYTES + 1))
        self.network.settle(1)
        self.assertIsNotNone(stranger.ended)
        self.assertEqual(self.diaries[root].errors(), ["FRAME_TOO_LARGE"])
        self.assertEqual(self.diaries[root].registrations(), [(0, "CONTROL", "FRAME_TOO_LARGE")])

    def test_nobody_there(self) -> None:
        """A refused dial is told as such; there was no connection to report."""
        node = self.node(ROOT)
        self.network.start(node)
        self.failure_of(node.connect(PEER_ADDRESS), ConnectFailed)
        self.assertEqual(self.diaries[node].errors(), ["CONNECT_FAILED"])
        self.assertEqual(self.diaries[node].story(), [])

    def test_too_many_unfinished(self) -> None:
        """
        With room for two unfinished registrations the third connection is closed at once.

        Scenario: D21
        """
        root = self.root(pending_handshakes=2)
        self.network.start(root)
        two = [HalfWay(self.network, make_terms(0x10005 + place)) for place in range(2)]
        for each in two:
            each.dial(ROOT_ADDRESS)
        third = Stranger(self.network).dial(ROOT_ADDRESS)
        self.assertEqual([each.ended for each in two], [None, None])
        self.assertIsNotNone(third.ended)
        self.assertEqual(self.diaries[root].errors(), ["OVERLOADED"])
        two[0].leave()
        child = self.child()
        self.network.start(child)
        two[1].leave()
        self.assertEqual(self.ids(root), [CHILD])

    def test_silent_ones_give_way(self) -> None:
        """
        Any number of connections that say nothing do not keep a node from registering.

        Scenario: D21
        """
        root = self.root(pending_handshakes=4)
        self.network.start(root)
        silent = [Stranger(self.network).dial(ROOT_ADDRESS) for _ in range(20)]
        self.assertEqual([each.ended is None for each in silent], [False] * 16 + [True] * 4)
        self.assertEqual(len(self.network.process_of(root).channels), 4)
        begun = self.network.clock.seconds()
        self.network.start(self.child())
        self.assertLess(self.network.clock.seconds() - begun, 0.1)
        self.assertEqual(self.ids(root), [CHILD])
        for each in silent:
            each.leave()

    def test_registered_nodes_take_no_room(self) -> None:
        """
        A node with many registered neighbors takes more: only unfinished ones count.

        Scenario: D21
        """
        root = self.root(pending_handshakes=1)
        self.network.start(root)
        children = [self.child(CHILD + place) for place in range(3)]
        self.network.start(*children)
        self.network.settle(4)
        self.assertEqual(len(root.endpoints), 3)
        self.assertTrue(all(endpoint.available for endpoint in root.endpoints.values()))
