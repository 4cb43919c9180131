"""A configuration that changes while its node runs: each option that may, does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from atbus.errors import ConfigurationError, Status, Undeliverable
from atbus.node.config import RELOADABLE, NodeConfig
from atbus.node.node import Node
from atbus.node.reload import Reload, reconfigure
from atbus.routing.record import Record
from atbus.routing.registry import Feeder
from tests.interop import test_named_nodes, test_registry_reload
from tests.nats import test_renewal
from tests.node import test_compression, test_permits, test_sources
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests, Keeper
from tests.node.mail import Receiving
from tests.node.stranger import Stranger
from tests.processes import test_lanes


class ReloadCase(BusTests):
    """A root, and what may be done to it."""

    def change(self, node: Node, **options: Any) -> Reload:
        """Give a node a configuration with other options."""
        return reconfigure(node, node.config.replace(**options))

    def refusal(self, sender: Node, target: int, payload: bytes = b"") -> Status:
        """Send what is not accepted."""
        error: Undeliverable = self.assertRaises(Undeliverable, sender.send, target, payload)
        return error.status

    def family(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start a root and two children that can be dialled."""
        root = self.root(**options)
        one = self.child(listen=["ipv4://10.0.0.3:1"])
        two = self.child(SIBLING, listen=["ipv4://10.0.0.4:1"])
        self.network.start(root, one, two)
        self.network.settle()
        two.receiver = Keeper()
        return root, one, two


class DifferenceTests(ReloadCase):
    """What is told of a change."""

    def test_nothing_new(self) -> None:
        """The same configuration changes nothing, also when it was read anew."""
        root = self.root(hops=4)
        again = NodeConfig(**root.config.given())
        self.assertEqual(reconfigure(root, again), Reload(frozenset(), frozenset()))

    def test_what_needs_a_new_node(self) -> None:
        """An option that is not reloadable keeps its value, and is named; the others change."""
        root = self.root()
        told = self.change(root, id=5, name="x", hops=4, access_tokens=["t"])
        self.assertEqual(told.applied, {"hops", "access_tokens"})
        self.assertGreaterEqual(told.waiting, {"id", "name"})
        config = root.config
        self.assertEqual((config.id, config.name), (ROOT, ""))
        self.assertEqual((config.hops, config.access_tokens), (4, (b"t",)))

    def test_values_that_do_not_go_together(self) -> None:
        """New values that are wrong beside the old ones that stay are refused, all of them."""
        node = self.node("auto", upstream="ipv4://10.0.0.9:1")
        before = node.config
        wanted = NodeConfig(id=ROOT, accept_subnets=[(0, 16)], hops=4)
        error = self.assertRaises(ConfigurationError, reconfigure, node, wanted)
        self.assertIn("accept_subnets", error.faults[0])
        self.assertIs(node.config, before)

    def test_each_option_has_its_test(self) -> None:
        """An option that becomes reloadable must be shown to be."""
        # What is about shared memory needs real memory, and is among the tests of processes; what
        # others may do, compression, and what is found, have tests of their own.
        found = (test_sources, test_named_nodes, test_registry_reload)
        others = (test_compression, test_lanes, test_permits, test_renewal, *found)
        names = {*dir(EffectTests), *(name for each in others for name in dir(each.ReloadTests))}
        tested = {name.removeprefix("test_") for name in names if name.startswith("test_")}
        self.assertEqual({name for name in RELOADABLE if name not in tested}, set())


class EffectTests(ReloadCase):
    """Each test is named for the option that changes."""

    def test_accept_subnets(self) -> None:
        """Who may register is judged by the new ranges; who is registered stays."""
        root, _ = self.pair()
        self.change(root, accept_subnets=[(SIBLING, 0)])
        self.network.start(self.child(SIBLING))
        third = self.child(CHILD + 5)
        self.assertIs(self.refusal_of(third.start()), Status.NOT_ADMITTED)
        self.assertEqual(self.ids(root), [CHILD, SIBLING])

    def test_reserved_subnets(self) -> None:
        """Automatic nodes that come now get no id out of them; those that have one keep it."""
        root = self.root(subnets=[(0, 1)])
        first = self.child("auto")
        self.network.start(root, first)
        self.change(root, subnets=[(0, 1)], reserved_subnets=[(first.bus_id, 0)])
        self.network.stop(first)
        self.assertIs(self.refusal_of(self.child("auto").start()), Status.NO_FREE_ID)

    def test_access_tokens(self) -> None:
        """New registrations need a token of the new list; those that are there stay."""
        root = self.root(access_tokens=["old"])
        self.network.start(root, self.child(access_tokens=["old"]))
        self.change(root, access_tokens=["new"])
        self.network.start(self.child(SIBLING, access_tokens=["new"]))
        late = self.child(CHILD + 5, access_tokens=["old"])
        self.assertIs(self.refusal_of(late.start()), Status.ACCESS_DENIED)
        self.assertEqual(self.ids(root), [CHILD, SIBLING])

    def test_direct_notice(self) -> None:
        """Children that talk to each other are told so from now on."""
        root, one, two = self.family(direct_notice=False)
        one.send(SIBLING, b"1")
        self.network.settle()
        self.assertEqual(self.ids(one), [ROOT])
        self.change(root, direct_notice=True)
        one.send(SIBLING, b"2")
        self.network.settle()
        self.assertEqual(self.ids(one), [ROOT, SIBLING])
        self.assertEqual(self.ids(two), [ROOT, CHILD])

    def test_accept_notices(self) -> None:
        """A child that does not want to be told any more is not."""
        _, one, _ = self.family()
        self.change(one, accept_notices=False)
        one.send(SIBLING, b"1")
        self.network.settle()
        self.assertEqual(self.ids(one), [ROOT])

    def test_records(self) -> None:
        """What is known of others is what the new list says; who is registered stays known."""
        root = self.root(records=[{"id": 0x50}, {"id": 0x51}])
        self.network.start(root, self.child())
        self.network.settle()
        self.change(root, records=[{"id": 0x51, "upstream": 0x52}, {"id": 0x53}])
        known = {record.bus_id: record.upstream_id for record in root.records()}
        self.assertEqual(known, {0x51: 0x52, 0x53: 0, ROOT: 0, CHILD: ROOT})

    def test_policy(self) -> None:
        """
        The new rules count for connections that are made from now on; those that are there stay.

        Scenario: CC5
        """
        root = self.root(subnets=[])
        one = self.node(CHILD, listen=["ipv4://10.0.0.5:1"], labels={"region": "us"})
        two = self.node(SIBLING, labels={"region": "us"})
        self.network.start(root, one, two)
        self.network.result_of(one.connect(ROOT_ADDRESS))
        self.change(root, policy=[{"action": "deny", "labels": {"region": "us"}}])
        self.network.settle(30)
        self.assertEqual(self.ids(root), [CHILD])
        self.assertIs(self.refusal_of(two.connect(ROOT_ADDRESS)), Status.POLICY_DENIED)

    def test_direct_connections(self) -> None:
        """Nodes that messages go to are connected to from now on."""
        _, one, two = self.family(direct_notice=False)
        address = str(two.addresses[0])
        one._parts.topology.claim(
            Feeder.ETCD, [Record(bus_id=SIBLING, upstream_id=ROOT, addresses=(address,))]
        )
        one.send(SIBLING, b"1")
        self.network.settle()
        self.assertEqual(self.ids(one), [ROOT])
        self.change(one, direct_connections=True)
        one.send(SIBLING, b"2")
        self.network.settle()
        self.assertEqual(self.ids(one), [ROOT, SIBLING])

    def test_pending_policy(self) -> None:
        """Messages without a connection are refused from now on, instead of waiting."""
        root, child = self.root(), self.child()
        self.network.start(root)
        child.start().addErrback(lambda _: None)
        self.network.clock.run_until(lambda: CHILD in root.endpoints)
        self.network.unreachable.add(root.addresses[0])
        root.send(CHILD, b"waits")
        self.change(root, pending_policy="fail")
        self.assertIs(self.refusal(root, CHILD), Status.NOT_CONNECTED)
        self.assertEqual(len(root.endpoints[CHILD].pending), 1)
        self.network.unreachable.clear()
        self.network.settle(5)

    def test_queue_policy(self) -> None:
        """From now on other members of a group are preferred."""
        root, child = self.pair()
        here = root.subscribe("a", lambda _: None, queue="g")
        child.subscribe("a", lambda _: None, queue="g")
        self.network.settle()
        self.change(root, queue_policy="local")
        for _ in range(30):
            root.publish("a", b"")
        self.assertEqual(here.taken, 30)

    def test_upstream_return_seconds(self) -> None:
        """A child that is to go back to a better upstream does, from now on, or no longer."""
        for seconds, home in ((30, ROOT), (None, 0x1FF00)):
            other = self.node(0x1FF00, listen=["ipv4://10.0.0.9:1"], subnets=[(0, 16)])
            first = None if seconds else 30
            child = self.node(
                CHILD,
                upstreams=[ROOT_ADDRESS, "ipv4://10.0.0.9:1"],
                upstream_return_seconds=first,
            )
            self.network.start(other, child)
            root = self.root()
            self.network.start(root)
            self.change(child, upstream_return_seconds=seconds)
            self.network.settle(40)
            self.assertEqual(self.ids(child), [home])
            self.network.stop(child, root, other)

    def test_linger_seconds(self) -> None:
        """Channels that close from now on wait as long as the new value says."""
        root = self.root()
        options = root._parts.channel_options
        self.change(root, linger_seconds=7)
        self.assertEqual(options.linger_seconds, 7)

    def test_drain_seconds(self) -> None:
        """A stop takes no longer than the new value says."""
        root, child = self.pair()
        root.on_request(lambda _, __: Deferred())
        child.request(ROOT, b"?").addErrback(lambda _: None)
        self.network.settle()
        self.change(root, drain_seconds=1)
        stopped = root.stop()
        self.network.settle(0.9)
        self.assertFalse(stopped.called)
        self.network.result_of(stopped, 2.5)

    def test_message_bytes_max(self) -> None:
        """Longer messages are sent and taken, or shorter ones only, in both directions."""
        root, child = self.pair(message_bytes_max=1000)
        keeper = root.receiver = Keeper()
        child.receiver = keeper
        self.assertIs(self.refusal(child, ROOT, bytes(1001)), Status.MESSAGE_TOO_LARGE)
        for node in (root, child):
            self.change(node, message_bytes_max=100_000_0)
        child.send(ROOT, bytes(300_000))
        root.send(CHILD, bytes(300_000))
        self.network.settle()
        self.assertEqual([len(payload) for payload in keeper.payloads], [300_000] * 2)
        self.change(root, message_bytes_max=500)
        self.assertIs(self.refusal(root, CHILD, bytes(501)), Status.MESSAGE_TOO_LARGE)
        fate = child.deliver(ROOT, bytes(200_000))
        self.assertIs(self.failure_of(fate, Undeliverable).status, Status.MESSAGE_TOO_LARGE)

    def test_hops(self) -> None:
        """Messages may pass as many nodes as the new value says."""
        _, one, _ = self.family(direct_notice=False)
        self.change(one, hops=1)
        fate = one.deliver(SIBLING, b"far")
        self.assertIs(self.failure_of(fate, Undeliverable).status, Status.HOP_LIMIT)

    def test_endpoints_max(self) -> None:
        """No more nodes register than the new value allows."""
        root, _ = self.pair()
        self.change(root, endpoints_max=1)
        second = self.child(SIBLING)
        second.start().addErrback(lambda _: None)
        self.network.settle()
        self.assertIn("OVERLOADED", self.diaries[second].errors())
        self.change(root, endpoints_max=2)
        self.network.settle(60)
        self.assertEqual(self.ids(root), [CHILD, SIBLING])

    def test_handshake_seconds(self) -> None:
        """A connection that does not register is ended after the new time."""
        root = self.root()
        self.network.start(root)
        self.change(root, handshake_seconds=1)
        silent = Stranger(self.network).dial(str(root.addresses[0]))
        self.network.settle(0.8)
        self.assertIsNone(silent.ended)
        self.network.settle(0.8)
        self.assertIsNotNone(silent.ended)

    def test_pending_handshakes(self) -> None:
        """No more connections than the new value says are unfinished at once."""
        root = self.root()
        self.network.start(root)
        self.change(root, pending_handshakes=1)
        strangers = [Stranger(self.network).dial(str(root.addresses[0])) for _ in range(2)]
        self.network.settle(0.1)
        self.assertEqual(sum(each.ended is None for each in strangers), 1)

    def test_queued_bytes_hard(self) -> None:
        """A link that is there already holds as much as the new value says."""
        root, child = self.pair()
        root.receiver = Keeper()
        for bytes_max in (50_000, 500_000):
            self.change(child, queued_bytes_soft=1, queued_bytes_hard=bytes_max)
            channels = self.network.between(child, root)
            for channel in channels:
                channel.stall()
            sent = 0
            while sent < 600_000:
                try:
                    child.send(ROOT, bytes(10_000))
                except Undeliverable as error:
                    self.assertIs(error.status, Status.BACKPRESSURE)
                    break
                sent += 10_000
                self.network.settle(0.001)
            self.assertTrue(bytes_max - 20_000 <= sent <= bytes_max, (sent, bytes_max))
            for channel in channels:
                channel.resume()
            self.network.settle()

    def test_queued_bytes_node(self) -> None:
        """What waits for all nodes together is bounded by the new value."""
        root, child = self.pair()
        self.change(child, queued_bytes_node=100_000)
        for channel in self.network.between(child, root):
            channel.stall()
        for _ in range(4):
            child.send(ROOT, bytes(10_000))
            self.network.settle(0.001)
        error = self.assertRaises(Undeliverable, child.send, ROOT, bytes(10_000))
        self.assertIs(error.status, Status.BACKPRESSURE)

    def test_queued_bytes_node_in_parts(self) -> None:
        """Half as much is kept of messages, and of publications, that come in fragments."""
        root, _ = self.pair()
        self.change(root, queued_bytes_node=16_777_216)
        for room in (root._parts.inbox._reassembly, root._parts.subjects.spreading._reassembly):
            self.assertEqual((room.bytes_max, room.source_bytes_max), (8_388_608, 2_097_152))
        self.change(root, message_bytes_max=20_000_000)
        for room in (root._parts.inbox._reassembly, root._parts.subjects.spreading._reassembly):
            self.assertEqual((room.bytes_max, room.source_bytes_max), (20_000_000,) * 2)

    def test_interest_bytes(self) -> None:
        """What neighbors want is kept as far as the new value allows; what is there stays."""
        root, child = self.pair()
        child.subscribe("a", lambda _publication: None)
        self.network.settle(0.1)
        self.change(root, interest_bytes=1)
        child.subscribe("b", lambda _publication: None)
        self.network.settle(0.1)
        known = root._parts.subjects.talk.wanted_by(child.bus_id)
        self.assertEqual([each.pattern for each in known], ["a"])

    def test_window_count(self) -> None:
        """Senders are asked to pause when more messages than the new value says are open."""
        self.pause_after(3, window_count=2)

    def test_window_bytes(self) -> None:
        """The same with more bytes than the new value says."""
        self.pause_after(3, window_bytes=25)

    def pause_after(self, count: int, **options: Any) -> None:
        """Let a program deal with nothing, and see which message finds the sender paused."""
        root, child = self.pair()
        open_ends: list[Deferred[None]] = []

        def take(*_: object) -> Deferred[None]:
            open_ends.append(Deferred())
            return open_ends[-1]

        root.receiver = Receiving(take)
        self.change(root, **options)
        for _ in range(count + 1):
            child.send(ROOT, bytes(10))
            self.network.settle(0.01)
        error = self.assertRaises(Undeliverable, child.send, ROOT, bytes(10))
        self.assertIs(error.status, Status.BACKPRESSURE)
        for each in open_ends:
            each.callback(None)
        self.network.settle(0.1)
        child.send(ROOT, bytes(10))
        self.network.settle(0.1)
        open_ends[-1].callback(None)
        self.assertEqual(len(open_ends), count + 2)

    def test_queued_bytes_soft(self) -> None:
        """An endpoint is called slow from the new value on."""
        root, _ = self.pair()
        self.change(root, queued_bytes_soft=1000)
        for channel in self.network.between(root, self.nodes[1]):
            channel.stall()
        root.send(CHILD, bytes(5000))
        self.network.settle(0.1)
        root.send(CHILD, bytes(5000))
        self.network.settle(0.1)
        self.assertEqual(len(self.diaries[root].of("on_slow_endpoint")), 1)

    def silence(self, root: Node, child: Node) -> float:
        """Freeze the child, and see how long the root takes to notice, seconds."""
        self.network.freeze(child)
        begun = self.network.clock.seconds()
        self.network.clock.run_until(lambda: not root.endpoints, 200)
        took = self.network.clock.seconds() - begun
        self.network.thaw(child)
        return took

    def test_profile(self) -> None:
        """Endpoints that are there are pinged by the new profile at once."""
        root, child = self.pair()
        self.change(root, profile="fast")
        self.assertLess(self.silence(root, child), 7)

    def test_heartbeat_seconds(self) -> None:
        """Endpoints that are there are pinged by the new interval at once."""
        root, child = self.pair()
        self.change(root, heartbeat_seconds=0.5)
        self.assertLess(self.silence(root, child), 3)

    def test_heartbeat_tolerance(self) -> None:
        """More silence is forgiven from now on."""
        root, child = self.pair(profile="fast")
        self.change(root, heartbeat_tolerance=20)
        took = self.silence(root, child)
        self.assertTrue(18 < took < 30, took)

    def attempts(self, child: Node, seconds: float) -> int:
        """Count how often a child dials in some time."""
        before = len(self.network.dials)
        self.network.settle(seconds)
        return len(self.network.dials) - before

    def lonely(self, **options: Any) -> Node:
        """Start a child whose upstream is not there."""
        child = self.child(**options)
        child.start().addErrback(lambda _: None)
        return child

    def test_retry_seconds_max(self) -> None:
        """The waits for an upstream that is away become no longer than the new value says."""
        child = self.lonely()
        self.network.settle(300)
        self.assertLess(self.attempts(child, 30), 15)
        self.change(child, retry_seconds_max=0.3)
        self.network.settle(30)
        self.assertGreater(self.attempts(child, 30), 100)

    def test_retry_initial_seconds(self) -> None:
        """The waits begin anew with the new value."""
        child = self.lonely(retry_initial_seconds=0.1, retry_seconds_max=0.1)
        self.network.settle(5)
        self.change(child, retry_initial_seconds=60, retry_seconds_max=60, retry_factor=1)
        self.network.settle(0.2)
        self.assertLess(self.attempts(child, 60), 15)

    def test_retry_factor(self) -> None:
        """The waits grow as the new value says."""
        child = self.lonely(retry_factor=100)
        self.network.settle(120)
        self.change(child, retry_factor=1)
        self.network.settle(40)
        self.assertGreater(self.attempts(child, 30), 100)

    def waiting(self) -> tuple[Node, Node]:
        """Start a pair whose data connection is gone, so that messages wait."""
        root, child = self.pair()
        self.network.split(child, root)
        (data,) = [c for e in child.endpoints.values() for c in e.data]
        data.abort(Status.LINK_LOST, "for the test")
        self.network.settle(0.01)
        return root, child

    def test_pending_count_max(self) -> None:
        """As many messages wait for an endpoint that is there as the new value says."""
        root, child = self.waiting()
        self.change(child, pending_count_max=2)
        for _ in range(2):
            child.send(ROOT, b"x")
        self.assertIs(self.refusal(child, ROOT), Status.BACKPRESSURE)
        self.network.heal(child, root)

    def test_pending_bytes_max(self) -> None:
        """As many bytes wait for an endpoint that is there as the new value says."""
        root, child = self.waiting()
        self.change(child, pending_bytes_max=1000)
        child.send(ROOT, bytes(900))
        self.assertIs(self.refusal(child, ROOT, bytes(200)), Status.BACKPRESSURE)
        self.network.heal(child, root)

    def test_pending_seconds(self) -> None:
        """Messages that begin to wait now are given up after the new time."""
        root, child = self.waiting()
        self.change(child, pending_seconds=0.5)
        child.send(ROOT, b"x")
        self.network.settle(1)
        ((fate,),) = self.diaries[child].of("on_forward_response")
        self.assertIs(fate.status, Status.TIMEOUT)
        self.network.heal(child, root)
