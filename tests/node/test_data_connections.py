"""The data connection of an endpoint: who makes it, and what happens without it."""

from __future__ import annotations

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.handshake.terms import Rejected
from atbus.node.node import Node
from atbus.testing.conversation import make_terms
from atbus.testing.network import VirtualChannel
from atbus.wire.messages import Pong
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests, Keeper
from tests.node.stranger import Stranger

PEER = 0x20000
PEER_ADDRESS = "ipv4://10.0.0.2:1"


class DialTests(BusTests):
    """Who dials."""

    def test_who_dialled_control_dials_data(self) -> None:
        """
        Whatever the ids, and though both sides listen: the data stream follows the control stream.

        Scenario: H24
        """
        for bus_id in (PEER, 0x100):
            one = self.node(ROOT, listen=[ROOT_ADDRESS])
            two = self.node(bus_id, listen=[PEER_ADDRESS])
            self.network.start(one, two)
            self.network.result_of(one.connect(PEER_ADDRESS))
            self.network.settle(5)
            self.assertEqual(
                self.diaries[one].story("new_connection"),
                ["new_connection to control", "new_connection to data"],
            )
            self.assertEqual(
                self.diaries[two].story("new_connection"),
                ["new_connection from control", "new_connection from data"],
            )
            self.network.stop(one, two)

    def test_the_data_stream_goes_to_the_same_address(self) -> None:
        """
        Control and data are dialled at one address.

        Scenario: H24
        """
        self.pair()
        self.assertEqual([str(each) for each in self.network.dials], [ROOT_ADDRESS] * 2)

    def test_a_listener_that_cannot_dial_back_need_not(self) -> None:
        """
        A node without any listener, whatever its id, is available on both sides: nobody waits.

        Scenario: H26
        """
        one = self.node(0x900000)
        two = self.node(PEER, listen=["unix:///run/two"])
        self.network.start(one, two)
        self.network.result_of(one.connect("unix:///run/two"))
        self.network.settle(60)
        self.assertTrue(one.endpoints[PEER].available)
        self.assertTrue(two.endpoints[0x900000].available)


class LossTests(BusTests):
    """An endpoint that loses its data connection."""

    def data_channel(self, one: Node, other: Node) -> VirtualChannel:
        """Give the channel of the data connection, as *one* sees it."""
        connection = one.endpoints[other.bus_id].data[0]
        assert isinstance(connection.channel, VirtualChannel)
        return connection.channel

    def test_a_lost_data_connection_is_made_again(self) -> None:
        """
        Control stays, so the endpoint stays; a new data connection comes at once.

        Scenario: J6
        """
        root, child = self.pair()
        self.data_channel(child, root).abort("lost")
        self.network.settle(0.5)
        for near, far in ((root, child), (child, root)):
            self.assertTrue(near.endpoints[far.bus_id].available)
            self.assertEqual(self.diaries[near].removed(), [])
        self.assertEqual(child.state, "running")
        root.on_request(lambda source, payload: payload)
        self.assertEqual(self.network.result_of(child.request(ROOT, b"again")), b"again")

    def test_messages_wait_for_the_new_data_connection(self) -> None:
        """
        What is sent in between arrives over the new connection, in order.

        Scenario: J6
        """
        root, child = self.pair()
        keeper = Keeper()
        root.receiver = keeper
        self.data_channel(child, root).abort("lost")
        self.network.settle(0.0005)
        for place in range(10):
            child.send(ROOT, b"%d" % place)
        self.network.settle(0.5)
        self.assertEqual(keeper.payloads, [b"%d" % place for place in range(10)])

    def test_a_failed_dial_is_reported_and_repeated(self) -> None:
        """
        While the upstream takes no connections, the child says so and goes on trying.

        Scenario: J6
        """
        root, child = self.pair()
        address = root.addresses[0]
        self.network.unreachable.add(address)
        self.data_channel(child, root).abort("lost")
        self.network.settle(10)
        self.assertGreaterEqual(self.diaries[child].errors().count("CONNECT_FAILED"), 3)
        self.assertFalse(child.endpoints[ROOT].available)
        self.network.unreachable.discard(address)
        self.network.settle(limits.DATA_REDIAL_SECONDS + 0.5)
        self.assertTrue(child.endpoints[ROOT].available)
        self.assertTrue(root.endpoints[CHILD].available)

    def test_losing_one_of_two_changes_nothing(self) -> None:
        """
        With a second data connection the loss of the first is not even noticed by messages.

        Scenario: J6
        """
        root, child = self.pair()
        endpoint = child.endpoints[ROOT]
        child._parts.dialer.connect_data(endpoint, root.addresses[0])
        self.network.settle()
        self.assertEqual(len(endpoint.data), 2)
        self.data_channel(child, root).abort("lost")
        self.network.settle(0.001)
        root.on_request(lambda source, payload: payload)
        self.assertEqual(self.network.result_of(child.request(ROOT, b"still")), b"still")
        self.assertEqual(len(self.network.dials), 3)

    def test_a_data_connection_that_takes_leave(self) -> None:
        """Its farewell is not the endpoint's: another one takes its place."""
        root, child = self.pair()
        child.endpoints[ROOT].data[0].say_goodbye(Status.DISCONNECTED)
        self.network.settle(0.5)
        for near, far in ((root, child), (child, root)):
            self.assertTrue(near.endpoints[far.bus_id].available)
            self.assertEqual(self.diaries[near].removed(), [])
            far.on_request(lambda source, payload: payload)
            self.assertEqual(self.network.result_of(near.request(far.bus_id, b"?")), b"?")

    def test_losing_control_loses_the_endpoint(self) -> None:
        """The endpoint goes with its control connection, once, and its data connections too."""
        root, child = self.pair()
        control = child.endpoints[ROOT].control
        assert control is not None
        assert isinstance(control.channel, VirtualChannel)
        control.channel.abort("lost")
        self.network.settle(0.01)
        self.assertEqual(self.diaries[child].removed(), [(ROOT, "LINK_LOST")])
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "LINK_LOST")])
        self.assertEqual(self.network.between(root, child), [])


class MissingTests(BusTests):
    """A data connection that never comes."""

    def test_dialler_gives_the_endpoint_up(self) -> None:
        """
        When its data dials get nowhere the endpoint goes, for that reason, on both sides.

        Scenario: H25
        """
        one = self.node(ROOT)
        two = self.node(PEER, listen=[PEER_ADDRESS])
        self.network.start(one, two)
        waiting = one.connect(PEER_ADDRESS)
        # The control stream is there; nothing more gets through.
        self.network.clock.run_until(lambda: PEER in one.endpoints)
        self.network.unreachable.add(two.addresses[0])
        self.network.settle(limits.DATA_CONNECTION_SECONDS - 2)
        self.assertEqual(self.ids(one), [PEER])
        self.assertEqual(self.ids(two), [ROOT])
        self.network.settle(5)
        self.assertEqual(self.diaries[one].removed(), [(PEER, "NO_DATA_CONNECTION")])
        self.assertEqual(self.diaries[two].removed(), [(ROOT, "NO_DATA_CONNECTION")])
        self.assertTrue(waiting.called)
        waiting.addErrback(lambda failure: self.assertIn("NO_DATA_CONNECTION", str(failure.value)))
        self.network.unreachable.clear()

    def test_listener_gives_the_endpoint_up(self) -> None:
        """
        A peer that should dial data and never does is removed, and told why.

        Scenario: H25, H26
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        self.network.settle(limits.DATA_CONNECTION_SECONDS - 15)
        self.answer_pings(stranger)
        self.network.settle(14)
        self.assertEqual(self.ids(root), [CHILD])
        self.network.settle(4)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "NO_DATA_CONNECTION")])
        self.assertIn("Goodbye", stranger.names)
        self.assertIsNotNone(stranger.ended)

    def test_messages_are_answered_when_it_is_given_up(self) -> None:
        """Who sent to an endpoint without data hears what became of the messages."""
        root = self.root()
        self.network.start(root)
        Stranger(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        waiting = root.deliver(CHILD, b"?", timeout=60)
        error = self.failure_of(waiting, Undeliverable)
        self.assertEqual(error.status, Status.TIMEOUT)
        self.assertLess(self.network.clock.seconds(), 10)

    def test_refused_data_connections_are_tried_again(self) -> None:
        """A listener that refuses the data role is asked again; the refusals are told."""
        verdict = Rejected(status=Status.OVERLOADED, detail="later")
        stranger = Stranger(self.network, make_terms(PEER)).listen(PEER_ADDRESS)
        node = self.node(ROOT)
        self.network.start(node)
        waiting = node.connect(PEER_ADDRESS)
        self.network.clock.run_until(lambda: PEER in node.endpoints)
        self.network.result_of(stranger.listener.stop())
        refusing = Stranger(self.network, make_terms(PEER), verdict).listen(PEER_ADDRESS)
        self.network.settle(0.5)
        self.assertIn((PEER, "DATA", "OVERLOADED"), self.diaries[node].registrations())
        self.network.result_of(refusing.listener.stop())
        dials = len(self.network.dials)
        self.network.settle(2 * limits.DATA_REDIAL_SECONDS)
        self.assertGreater(len(self.network.dials), dials)
        stranger.leave()
        waiting.addErrback(lambda _: None)

    def answer_pings(self, stranger: Stranger) -> None:
        """Send anything: any frame counts as life."""
        stranger.say(Pong(source=CHILD, sequence=1))
