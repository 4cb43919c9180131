"""Things that nobody thinks of until they are missing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.errors import Status
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.routing.relation import Relation
from atbus.testing.network import VirtualNetwork

ROOT, CHILD = 0x100, 0x101
UPSTREAM = "unix:///virtual/root"


@implementer(IMessageReceiver)
class Collector:
    """Keeps payloads."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message."""
        self.payloads.append(payload)


class SmallPromiseTests(SynchronousTestCase):
    """A root and a child."""

    def setUp(self) -> None:
        self.network = VirtualNetwork()
        self.root = self.network.node(
            id=ROOT, listen=[UPSTREAM], subnets=[(0, 8)], hostname="machine-one"
        )
        self.child = self.network.node(id=CHILD, upstream=UPSTREAM)

    def test_configured_host_identity_is_what_others_see(self) -> None:
        """The identity of the host can be configured, and its neighbors see just that.

        Scenario: G5
        """
        self.network.start(self.root, self.child)
        self.assertEqual(self.child.endpoints[ROOT].peer.request.host, "machine-one")
        self.assertNotEqual(self.root.endpoints[CHILD].peer.request.host, "machine-one")

    def test_one_event_per_endpoint(self) -> None:
        """An endpoint is added once and removed once, whatever the number of its connections.

        Scenario: A25
        """
        added: list[int] = []
        removed: list[int] = []
        self.root.events.on_endpoint_added.observe(lambda endpoint: added.append(endpoint.bus_id))
        self.root.events.on_endpoint_removed.observe(
            lambda endpoint, _: removed.append(endpoint.bus_id)
        )
        self.network.start(self.root, self.child)
        self.network.settle()
        self.network.stop(self.child)
        self.network.settle()
        self.assertEqual((added, removed), ([CHILD], [CHILD]))

    def test_a_node_belongs_to_itself(self) -> None:
        """A node stands to itself as itself, and its own id lies in its subnets.

        Scenario: A15
        """
        self.network.start(self.root)
        self.assertIs(self.root.relation_to(ROOT), Relation.SELF)
        self.assertIs(self.root.relation_to(ROOT + 1), Relation.TRANSITIVE_DOWNSTREAM)
        self.assertIs(self.root.relation_to(ROOT + 0x100), Relation.INVALID)

    def test_callbacks_may_be_taken_away(self) -> None:
        """Without receiver and callbacks, and with observations cancelled, nothing breaks.

        Scenario: M8
        """
        self.network.start(self.root, self.child)
        receiver = Collector()
        self.root.receiver = receiver
        heard: list[object] = []
        observation = self.root.events.on_endpoint_removed.observe(
            lambda endpoint, _: heard.append(endpoint)
        )
        self.child.send(ROOT, b"one")
        self.network.settle()
        self.root.receiver = None
        self.root.on_request(None)
        self.root.on_command(None)
        observation.cancel()
        observation.cancel()
        fates: list[Fate] = []
        self.child.events.on_forward_response.observe(fates.append)
        self.child.send(ROOT, b"two")
        self.network.settle()
        self.network.stop(self.child, self.root)
        self.assertEqual(receiver.payloads, [b"one"])
        self.assertEqual([fate.status for fate in fates], [Status.NO_RESPONDERS])
        self.assertEqual(heard, [])

    def test_upstream_traffic_leaves_at_once(self) -> None:
        """What goes through the upstream leaves in the same turn; what waits for a child waits.

        Scenario: CC7
        """
        self.network.start(self.root, self.child)
        self.network.settle()
        receiver = Collector()
        self.root.receiver = receiver
        before = self.network.clock.seconds()
        self.child.send(ROOT, b"up")
        self.network.clock.run_until(lambda: bool(receiver.payloads))
        self.assertAlmostEqual(
            self.network.clock.seconds() - before, self.network.delay_seconds, places=6
        )
        # The child's data connection goes; what is sent to it waits for the next one.
        downstream = Collector()
        self.child.receiver = downstream
        self.network.between(self.root, self.child)[1].abort("cut")
        self.network.settle(0.0015)
        self.root.send(CHILD, b"down")
        self.network.settle(0.0005)
        self.assertEqual(downstream.payloads, [])
        self.network.settle()
        self.assertEqual(downstream.payloads, [b"down"])
