"""A node's life: starting, being up, and what may be asked of it when."""

from __future__ import annotations

import operator

from twisted.internet.defer import Deferred

from atbus.errors import (
    ConnectFailed,
    ListenFailed,
    LocalProtocolError,
    RegistrationRefused,
    Status,
    Undeliverable,
)
from atbus.node.connection import Connection
from atbus.node.endpoint import Endpoint
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests

PEER_ADDRESS = "ipv4://10.0.0.2:1"


class BeforeTests(BusTests):
    """A node that was made and not started."""

    def test_it_does_nothing(self) -> None:
        """
        Messages, commands, dials and listeners are refused by name; stopping it is no work.

        Scenario: G1, A20
        """
        node = self.node()
        self.assertEqual(node.state, "created")
        error = self.assertRaises(Undeliverable, node.send, CHILD, b"?")
        self.assertEqual(error.status, Status.NOT_STARTED)
        for waiting in (node.deliver(CHILD, b"?"), node.request(CHILD, b"?")):
            self.assertEqual(self.failure_of(waiting, Undeliverable).status, Status.NOT_STARTED)
        asked = node.command(CHILD, b"?")
        self.assertEqual(self.failure_of(asked, Undeliverable).status, Status.NOT_STARTED)
        self.failure_of(node.connect(PEER_ADDRESS), ConnectFailed)
        self.failure_of(node.listen(PEER_ADDRESS), ListenFailed)
        self.failure_of(node.disconnect(CHILD), Undeliverable)
        self.assertTrue(node.stop().called)
        self.assertEqual(self.diaries[node].entries, [])

    def test_it_knows_nobody(self) -> None:
        """
        There is no way to anybody, not even to itself.

        Scenario: G1, G4
        """
        node = self.node()
        self.assertEqual(node.endpoints, {})
        self.assertRaises(Undeliverable, node.next_hop, CHILD)
        self.assertRaises(Undeliverable, node.next_hop, ROOT)
        self.assertEqual(node.addresses, ())


    def test_what_belongs_to_it(self) -> None:
        """
        Endpoints and connections are of a node and of nothing else: without one none is made, and
        nobody adds one to those that it tells.

        Scenario: G3
        """
        self.assertRaises(TypeError, Endpoint)
        self.assertRaises(TypeError, Connection)
        node = self.node()
        self.assertRaises(TypeError, operator.setitem, node.endpoints, CHILD, node)
        self.assertEqual(node.endpoints, {})


class StartTests(BusTests):
    """Coming up."""

    def test_a_root_is_up_as_soon_as_it_listens(self) -> None:
        """
        It is running inside start, and says so once.

        Scenario: G2
        """
        root = self.root()
        self.assertTrue(root.start().called)
        self.assertEqual(root.state, "running")
        self.assertEqual(self.diaries[root].story("node_up"), ["node_up"])

    def test_starting_twice_is_harmless(self) -> None:
        """
        A second start of a node that is up, or on its way, adds nothing.

        Scenario: G2
        """
        root = self.root()
        child = self.child()
        first, second = child.start(), child.start()
        self.assertFalse(second.called)
        self.network.start(root)
        self.network.result_of(first)
        self.network.result_of(second)
        self.assertTrue(child.start().called)
        self.assertTrue(root.start().called)
        self.network.settle()
        for node in (root, child):
            self.assertEqual(self.diaries[node].story("node_up"), ["node_up"])
        self.assertEqual(len(self.diaries[root].added()), 1)

    def test_an_address_that_is_taken_ends_the_start(self) -> None:
        """The node says which address it was, frees those that it had, and is stopped."""
        self.network.start(self.root())
        second = self.node(CHILD, listen=[PEER_ADDRESS, ROOT_ADDRESS])
        error = self.failure_of(second.start(), ListenFailed)
        self.assertIn(ROOT_ADDRESS, str(error))
        self.assertEqual(second.state, "stopped")
        self.assertEqual(self.diaries[second].story("node_up", "node_down"), [])
        self.assertEqual([str(address) for address in self.network.listeners], [ROOT_ADDRESS])

    def test_a_node_that_could_not_start_can_try_again(self) -> None:
        """When the address is free the same node starts."""
        first = self.root()
        self.network.start(first)
        second = self.root()
        self.failure_of(second.start(), ListenFailed)
        self.network.stop(first)
        self.network.start(second)
        self.assertEqual(second.state, "running")

    def test_waiting_for_a_name_to_be_looked_up(self) -> None:
        """A node is up when it listens, however long that takes."""
        self.network.listen_seconds = 3.0
        root = self.root()
        started = root.start()
        self.network.settle(2.9)
        self.assertFalse(started.called)
        self.assertEqual(root.state, "starting")
        self.network.settle(0.2)
        self.assertTrue(started.called)

    def test_stopped_while_it_looks_a_name_up(self) -> None:
        """The listener that comes too late is closed; whoever waits for the start is told."""
        self.network.listen_seconds = 3.0
        root = self.root()
        started = root.start()
        self.network.stop(root)
        self.network.settle(5)
        self.assertEqual(self.refusal_of(started), Status.STOPPED)
        self.assertEqual(self.network.listeners, {})
        self.assertEqual(root.state, "stopped")

    def test_stopped_before_it_was_up(self) -> None:
        """
        Who waits for a child without an upstream is told when it is stopped; it was never down.

        Scenario: M4
        """
        child = self.child()
        started = child.start()
        self.network.settle(3)
        self.network.stop(child)
        self.assertEqual(self.refusal_of(started), Status.STOPPED)
        self.assertEqual(self.diaries[child].story("node_up", "node_down"), [])
        self.assertEqual(self.diaries[child].states(), ["starting", "draining", "stopped"])

    def test_more_listeners(self) -> None:
        """An address that is added while the node is up is told to the neighbors."""
        root, child = self.pair()
        address = self.network.result_of(root.listen("ipv4://10.0.0.1:0"))
        self.network.settle()
        neighbor = child._parts.context.table.get(child.endpoints[ROOT].bus_id)
        assert neighbor is not None
        self.assertIn(address, neighbor.listens)
        self.assertEqual(len(root.addresses), 2)

    def test_listening_twice_on_one_address(self) -> None:
        """The second listener is refused, the node goes on."""
        root = self.root()
        self.network.start(root)
        self.failure_of(root.listen(ROOT_ADDRESS), ListenFailed)
        self.assertEqual(root.state, "running")


class AgainTests(BusTests):
    """Stopping and starting again."""

    def test_a_stopped_node_starts_again(self) -> None:
        """
        The same node object, on the same address, takes its child in again.

        Scenario: M3
        """
        root, child = self.pair()
        for _ in range(3):
            self.network.stop(root)
            self.assertEqual(root.state, "stopped")
            self.network.settle()
            self.network.start(root)
            self.network.settle(40)
            self.assertEqual(child.state, "running")
            self.assertEqual(self.ids(root), [CHILD])
        self.assertEqual(len(self.diaries[root].of("on_node_up")), 4)
        self.assertEqual(len(self.diaries[root].of("on_node_down")), 3)
        self.assertEqual(len(self.diaries[child].of("on_node_up")), 1)

    def test_messages_flow_after_a_restart(self) -> None:
        """
        Both directions work, and a new life counts its messages from where nobody has been.

        Scenario: M3
        """
        root, child = self.pair()
        before = root.send(CHILD, b"before")
        self.network.settle()
        self.network.stop(root)
        self.network.start(root)
        self.network.settle(40)
        for near, far in ((root, child), (child, root)):
            far.on_request(lambda source, payload: payload)
            self.assertEqual(self.network.result_of(near.request(far.bus_id, b"again")), b"again")
        self.assertGreater(root.send(CHILD, b"after"), before)

    def test_starting_while_it_stops(self) -> None:
        """
        A node that is stopping cannot be started; when it has stopped it can.

        Scenario: M3, G2
        """
        root, _ = self.pair()
        stopping = root.stop()
        self.assertRaises(LocalProtocolError, root.start)
        self.network.result_of(stopping)
        started = root.start()
        self.network.result_of(started)
        self.assertEqual(root.state, "running")

    def test_starting_while_it_stops_before_it_was_up(self) -> None:
        """
        The same of a child that has not found its upstream.

        Scenario: M3, G2
        """
        child = self.child()
        first = child.start()
        self.network.settle(1)
        stopping = child.stop()
        self.assertRaises(LocalProtocolError, child.start)
        self.network.result_of(stopping)
        self.refusal_of(first)
        second = child.start()
        root = self.root()
        self.network.start(root)
        self.network.result_of(second)

    def test_after_the_end(self) -> None:
        """
        A node that has stopped is as one that was never started.

        Scenario: G1, M3
        """
        root, child = self.pair()
        self.network.stop(child)
        error = self.assertRaises(Undeliverable, child.send, ROOT, b"?")
        self.assertEqual(error.status, Status.NOT_STARTED)
        asked = child.command(ROOT, b"atbus.ping")
        self.assertEqual(self.failure_of(asked, Undeliverable).status, Status.NOT_STARTED)
        self.failure_of(child.connect(ROOT_ADDRESS), ConnectFailed)
        self.failure_of(child.listen(PEER_ADDRESS), ListenFailed)
        self.assertEqual((child.endpoints, child.addresses), ({}, ()))
        self.assertEqual(root.state, "running")

    def test_starting_from_the_callback_of_the_end(self) -> None:
        """
        A program may start its node again as soon as it hears that it is down.

        Scenario: M3, M5
        """
        root = self.root()
        again: list[Deferred[None]] = []
        observation = root.events.on_node_down.observe(lambda _: again.append(root.start()))
        self.network.start(root)
        self.network.stop(root)
        observation.cancel()
        self.network.result_of(again[0])
        self.assertEqual(root.state, "running")
        self.assertEqual(
            self.diaries[root].states(),
            ["starting", "running", "draining", "stopped", "starting", "running"],
        )

    def test_everybody_is_told_in_order(self) -> None:
        """
        When one observer starts the node again, the next one still hears of the end first.

        Scenario: M5
        """
        root = self.root()
        told: list[str] = []
        again: list[Deferred[None]] = []

        def first(state: str) -> None:
            if state == "stopped" and not again:
                again.append(root.start())

        root.events.on_state_changed.observe(first)
        root.events.on_state_changed.observe(told.append)
        self.network.start(root)
        self.network.stop(root)
        self.network.result_of(again[0])
        self.assertEqual(
            told, ["starting", "running", "draining", "stopped", "starting", "running"]
        )


class PatienceTests(BusTests):
    """A child that has to find its upstream within a time."""

    def test_no_upstream_in_time(self) -> None:
        """It gives up then, says why, and ends; it had never been up."""
        child = self.child(require_upstream_within_seconds=10)
        started = child.start()
        self.network.settle(9.9)
        self.assertFalse(started.called)
        self.network.settle(0.2)
        error = self.failure_of(started, RegistrationRefused)
        self.assertEqual(error.status, Status.TIMEOUT)
        self.assertEqual(child.state, "stopped")
        self.assertEqual(self.diaries[child].story("node_up", "node_down"), [])
        self.assertEqual(self.diaries[child].errors()[-1], "TIMEOUT")

    def test_stopped_before_the_time_is_over(self) -> None:
        """Nobody loses patience with a node that has been stopped."""
        child = self.child(require_upstream_within_seconds=10)
        started = child.start()
        self.network.settle(5)
        self.network.stop(child)
        self.assertEqual(self.refusal_of(started), Status.STOPPED)
        self.network.settle(10)
        self.assertNotIn("TIMEOUT", self.diaries[child].errors())

    def test_an_upstream_in_time(self) -> None:
        """Once it was up the time does not matter any more, also when the upstream is lost."""
        child = self.child(require_upstream_within_seconds=10)
        started = child.start()
        self.network.settle(5)
        root = self.root()
        self.network.start(root)
        self.network.result_of(started, 5)
        self.network.stop(root)
        self.network.settle(60)
        self.assertEqual(child.state, "lost_upstream")
