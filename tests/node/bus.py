"""Tests of whole nodes on a virtual network; after each of them nothing may be left over."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.errors import RegistrationRefused, Status
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.network import VirtualNetwork
from tests.node.diary import Diary

ROOT, CHILD, SIBLING = 0x10000, 0x10001, 0x10002
ROOT_ADDRESS = "ipv4://10.0.0.1:1"

E = TypeVar("E", bound=BaseException)


@implementer(IMessageReceiver)
class Keeper:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, bytes]] = []

    @property
    def payloads(self) -> list[bytes]:
        """The payloads, in order."""
        return [payload for _, _, payload in self.messages]

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Keep one message."""
        self.messages.append((source, kind, payload))


class BusTests(SynchronousTestCase):
    """
    A network, its nodes and their diaries.

    When a test is over all its nodes are stopped. Then there is no timer, no channel, no listener
    left, no error was logged, and each node has told events that fit together.
    """

    def setUp(self) -> None:
        self.begin(VirtualNetwork())

    def tearDown(self) -> None:
        self.end()

    def begin(self, network: VirtualNetwork) -> None:
        """Begin a story, on a network of its own."""
        self.network = network
        self.nodes: list[Node] = []
        self.dead: set[Node] = set()
        self.diaries: dict[Node, Diary] = {}

    def end(self) -> None:
        """Stop every node, and look what is left."""
        living = [node for node in self.nodes if node not in self.dead]
        for node in living:
            self.network.thaw(node)
        for stopping in [node.stop() for node in living]:
            self.network.result_of(stopping)
        self.assertEqual([n.state for n in living if n.state not in ("created", "stopped")], [])
        # What is still on its way when all have stopped gets there.
        self.network.settle(0.1 + self.network.delay_seconds)
        self.assertEqual(self.network.clock.getDelayedCalls(), [], "timers are left")
        self.assertEqual(self.network.channels, set(), "channels are left")
        self.assertEqual(self.network.listeners, {}, "listeners are left")
        for node in self.nodes:
            self.assertEqual(self.diaries[node].faults(ended=node not in self.dead), [])

    def node(self, bus_id: int | str = ROOT, **options: Any) -> Node:
        """Make a node; all its events are written down."""
        node = self.network.node(id=bus_id, **{"allow_insecure": True, **options})
        self.nodes.append(node)
        self.diaries[node] = Diary(node)
        return node

    def root(self, **options: Any) -> Node:
        """Make a node with room for children, that listens."""
        return self.node(**{"listen": [ROOT_ADDRESS], "subnets": [(0, 16)], **options})

    def child(self, bus_id: int | str = CHILD, **options: Any) -> Node:
        """Make a node below the root."""
        return self.node(bus_id, **{"upstream": ROOT_ADDRESS, **options})

    def pair(self, **options: Any) -> tuple[Node, Node]:
        """Start a root and a child, and wait until data can flow."""
        root, child = self.root(**options), self.child(**options)
        self.network.start(root, child)
        self.network.settle()
        return root, child

    def kill(self, node: Node) -> None:
        """End a node's process; it will tell no more."""
        self.network.kill(node)
        self.dead.add(node)

    def power_off(self, node: Node) -> None:
        """End a node's host; nobody tells the others."""
        self.network.power_off(node)
        self.dead.add(node)

    def refusal_of(self, waiting: Deferred[Any]) -> Status:
        """Wait for a registration to be refused, and say why it was."""
        return self.failure_of(waiting, RegistrationRefused).status

    def failure_of(self, waiting: Deferred[Any], kind: type[E]) -> E:
        """Wait for a failure of a kind."""
        results: list[object] = []
        waiting.addBoth(results.append)
        self.network.clock.run_until(lambda: bool(results), 90)
        self.assertEqual(len(results), 1, "it did not end")
        failure = results[0]
        assert isinstance(failure, Failure), failure
        assert isinstance(failure.value, kind), failure
        return failure.value

    def ids(self, node: Node) -> list[int]:
        """Give the ids of a node's endpoints, in order."""
        return sorted(node.endpoints)
