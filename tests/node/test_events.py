"""What programs may do in the callbacks of their nodes."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from atbus.errors import AtbusError
from atbus.node.node import Node
from tests.node.bus import CHILD, ROOT, SIBLING, BusTests, Keeper

PEER = 0x20000
PEER_ADDRESS = "ipv4://10.0.0.2:1"
EVENTS = (
    "on_new_connection",
    "on_close_connection",
    "on_invalid_connection",
    "on_register",
    "on_endpoint_added",
    "on_endpoint_removed",
    "on_node_up",
    "on_node_down",
    "on_upstream_changed",
    "on_endpoint_ping",
    "on_endpoint_pong",
    "on_state_changed",
    "on_error",
)

Act = Callable[[Node], object]


class ObservationTests(BusTests):
    """Observing."""

    def test_nobody_need_observe(self) -> None:
        """
        A node whose events nobody wants, or nobody wants any more, does the same.

        Scenario: M8
        """
        root, child = self.root(), self.child()
        cancelled: list[str] = []
        for node in (root, child):
            for name in EVENTS:
                observation = getattr(node.events, name).observe(
                    lambda *_, name=name: cancelled.append(name)
                )
                observation.cancel()
                observation.cancel()
        self.network.start(root, child)
        self.network.settle()
        self.network.stop(root, child)
        self.assertEqual(cancelled, [])
        self.assertEqual(len(self.diaries[child].of("on_endpoint_added")), 1)

    def test_callbacks_that_raise(self) -> None:
        """
        Each is logged and counted, and changes nothing for the node and for other observers.

        Scenario: M5
        """
        root, child = self.root(), self.child()

        def fail(*_: object) -> None:
            raise ZeroDivisionError("in a callback")

        for node in (root, child):
            for name in EVENTS:
                getattr(node.events, name).observe(fail)
        self.network.start(root, child)
        self.network.settle(20)
        self.network.cut(root, child)
        self.network.settle(5)
        self.assertEqual(child.state, "running")
        self.network.stop(root, child)
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 20)

    def test_each_endpoint_is_added_and_removed_once(self) -> None:
        """
        Three children with several ranges come and go: as many additions, as many removals.

        Scenario: A25
        """
        root = self.root()
        children = [
            self.child(ROOT + 0x100 * place, subnets=[(0, 4), (ROOT + 0x100 * place + 0x80, 4)])
            for place in (1, 2, 3)
        ]
        self.network.start(root, *children)
        self.network.settle()
        self.network.stop(root)
        self.assertEqual(sorted(self.diaries[root].added()), [c.bus_id for c in children])
        self.assertEqual(
            sorted(self.diaries[root].removed()), [(c.bus_id, "STOPPED") for c in children]
        )


class ReentrancyTests(BusTests):
    """Programs that act in a callback."""

    def live(self, act: Act, event: str, actor: str) -> tuple[Node, Node]:
        """Let a root and a child live through everything, while one of them acts at each event."""
        root, child = self.root(), self.child(heartbeat_seconds=1.0)
        node = root if actor == "root" else child

        def acted(*_: object) -> None:
            act(node)

        getattr(node.events, event).observe(acted)
        begun = [root.start(), child.start()]
        for each in begun:
            each.addErrback(lambda failure: failure.trap(AtbusError))
        self.network.settle(5)
        self.network.cut(root, child)
        self.network.settle(5)
        for _ in range(5):
            self.network.stop(child, root)
            self.network.settle(1)
        return root, child

    def at_every_event(self, act: Act) -> None:
        """Act at every event of either node."""
        for actor in ("root", "child"):
            for event in EVENTS:
                self.begin(type(self.network)())
                try:
                    self.live(act, event, actor)
                    self.end()
                except Exception as error:
                    error.add_note(f"{actor} acts at {event}")
                    raise

    def test_stopping(self) -> None:
        """
        A program may stop its node in any callback.

        Scenario: M5
        """
        self.at_every_event(lambda node: node.stop())

    def test_disconnecting(self) -> None:
        """
        A program may leave its neighbors in any callback.

        Scenario: M5
        """

        def leave(node: Node) -> None:
            for bus_id in list(node.endpoints):
                node.disconnect(bus_id).addErrback(lambda failure: failure.trap(AtbusError))

        self.at_every_event(leave)

    def test_sending(self) -> None:
        """
        A program may send, also to itself and to nobody, in any callback.

        Scenario: M5
        """

        def send(node: Node) -> None:
            for target in (ROOT, CHILD, SIBLING):
                try:
                    node.send(target, b"from a callback")
                except AtbusError:
                    continue

        self.at_every_event(send)

    def test_connecting(self) -> None:
        """
        A program may dial in any callback, somebody or nobody.

        Scenario: M5
        """

        def dial(node: Node) -> None:
            for address in (PEER_ADDRESS, "ipv4://10.0.0.1:1"):
                node.connect(address).addErrback(lambda failure: failure.trap(AtbusError))

        self.at_every_event(dial)

    def test_starting(self) -> None:
        """
        A program may start its node in any callback, where that makes sense.

        Scenario: M5
        """

        started: list[Node] = []

        def start(node: Node) -> None:
            if node.state in ("created", "draining") or started.count(node) > 3:
                return
            started.append(node)
            node.start().addErrback(lambda failure: failure.trap(AtbusError))

        self.at_every_event(start)
        self.assertGreater(len(started), len(EVENTS))

    def test_stopping_and_waiting(self) -> None:
        """
        Stops asked for in many callbacks all end.

        Scenario: M5, M1
        """
        waiting: list[Deferred[None]] = []
        for event in EVENTS:
            self.begin(type(self.network)())
            self.live(lambda node: waiting.append(node.stop()), event, "child")
            self.end()
        self.assertTrue(all(each.called for each in waiting))
        self.assertGreater(len(waiting), len(EVENTS))

    def test_sending_to_whom_was_just_added(self) -> None:
        """
        Messages sent in the moment in which an endpoint appears arrive, in order.

        Scenario: M5
        """
        root, child = self.root(), self.child()
        keeper = Keeper()
        child.receiver = keeper
        root.events.on_endpoint_added.observe(
            lambda endpoint: [root.send(endpoint.bus_id, b"%d" % n) for n in range(5)]
        )
        self.network.start(root, child)
        self.network.settle()
        self.assertEqual(keeper.payloads, [b"%d" % n for n in range(5)])

    def test_leaving_whom_was_just_added(self) -> None:
        """
        A program that does not want an endpoint sends it away at once; both sides are told.

        Scenario: M5, A24
        """
        one = self.node(ROOT)
        two = self.node(PEER, listen=[PEER_ADDRESS])
        gone: list[Deferred[None]] = []
        two.events.on_endpoint_added.observe(
            lambda endpoint: gone.append(two.disconnect(endpoint.bus_id))
        )
        self.network.start(one, two)
        dialling = one.connect(PEER_ADDRESS)
        self.failure_of(dialling, AtbusError)
        self.network.settle()
        self.assertTrue(gone[0].called)
        self.assertEqual((self.ids(one), self.ids(two)), ([], []))
        self.assertEqual(self.diaries[two].added(), [ROOT])
        self.assertEqual(self.diaries[two].removed(), [(ROOT, "DISCONNECTED")])
