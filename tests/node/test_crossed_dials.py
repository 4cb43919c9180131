"""Two nodes dial each other at the same time."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred

from atbus.errors import AtbusError, Status
from atbus.handshake.terms import Rejected
from atbus.node.endpoint import Endpoint
from atbus.node.events import Fate
from atbus.node.node import Node
from atbus.routing.table import Position
from atbus.testing.conversation import make_terms
from atbus.testing.network import VirtualNetwork
from tests.node.bus import CHILD, ROOT, BusTests, Keeper
from tests.node.stranger import HalfWay, Stranger

SMALL, LARGE = 0x100, 0x20000
SMALL_ADDRESS, LARGE_ADDRESS = "ipv4://10.0.0.1:1", "ipv4://10.0.0.2:1"
TOP, TOP_ADDRESS = 0x1, "ipv4://10.0.0.3:1"


class CrossedTests(BusTests):
    """Both dial; one stream stays."""

    def test_who_stops_during_a_second_dial(self) -> None:
        """
        It does not give up a stream that may have taken the place of the first one by then.

        The other side took it for the only one, and ended the data stream with it.
        """
        for steps in range(12):
            with self.subTest(steps):
                self.begin(VirtualNetwork(delay_seconds=0.02, bytes_per_second=1_000_000))
                small, large = self.node(SMALL), self.node(LARGE, listen=[LARGE_ADDRESS])
                self.network.start(small, large)
                keeper = large.receiver = Keeper()
                fates: list[Fate] = []
                small.events.on_forward_response.observe(fates.append)
                self.network.result_of(small.connect(LARGE_ADDRESS))
                self.network.settle()
                small.connect(LARGE_ADDRESS).addErrback(lambda why: why.trap(AtbusError))
                self.network.settle(0.01 * steps)
                for _ in range(4):
                    small.send(LARGE, bytes(100_000))
                self.network.settle(0.001)
                self.network.result_of(small.stop())
                self.network.settle()
                self.assertEqual([len(each) for each in keeper.payloads], [100_000] * 4)
                self.assertEqual(fates, [])
                self.end()

    def cross(self, network: VirtualNetwork, gap: float) -> None:
        """Have two peers dial each other, the larger id so many seconds later; look at both."""
        self.begin(network)
        small = self.node(SMALL, listen=[SMALL_ADDRESS])
        large = self.node(LARGE, listen=[LARGE_ADDRESS])
        network.start(small, large)
        dials: list[Deferred[Endpoint]] = []
        first, second = (small, large) if gap >= 0 else (large, small)
        dials.append(first.connect(LARGE_ADDRESS if first is small else SMALL_ADDRESS))
        network.settle(abs(gap))
        dials.append(second.connect(LARGE_ADDRESS if second is small else SMALL_ADDRESS))
        keepers = [Keeper(), Keeper()]
        for node, keeper in zip((small, large), keepers, strict=True):
            node.receiver = keeper
        sent = self.talk(small, large)
        met = [network.result_of(dial) for dial in dials]
        network.settle(45)
        self.assertEqual({endpoint.bus_id for endpoint in met}, {SMALL, LARGE})
        for near, far in ((small, large), (large, small)):
            self.assertEqual(self.diaries[near].added(), [far.bus_id])
            self.assertEqual(self.diaries[near].removed(), [])
            self.assertEqual(self.diaries[near].errors(), [])
            endpoint = near.endpoints[far.bus_id]
            assert endpoint.control is not None
            self.assertTrue(endpoint.available)
            self.assertIs(endpoint.control.dialled, near is small)
            self.assertEqual([c for c in endpoint.connections if c.closed is not None], [])
            # The data stream of the dial that was given up may stay beside the other one.
            self.assertIn(len(endpoint.data), (1, 2))
        self.assertEqual(
            len(network.between(small, large)), len(small.endpoints[LARGE].connections)
        )
        self.assertEqual([keeper.payloads for keeper in keepers], [sent[1], sent[0]])
        self.end()

    def talk(self, small: Node, large: Node) -> tuple[list[bytes], list[bytes]]:
        """Send in both directions from the moment on when the other side is known."""
        sent: tuple[list[bytes], list[bytes]] = ([], [])
        for step in range(100):
            for node, target, mine in ((small, LARGE, sent[0]), (large, SMALL, sent[1])):
                if target in node.endpoints:
                    payload = b"%x %d" % (node.bus_id, step)
                    node.send(target, payload)
                    mine.append(payload)
            self.network.settle(0.0005)
        return sent

    def test_at_the_same_moment(self) -> None:
        """
        The stream of the smaller id stays control; nobody sees more than one endpoint.

        Scenario: H24
        """
        self.cross(VirtualNetwork(), 0.0)

    def test_one_after_the_other(self) -> None:
        """
        Whoever is first, and by however little or much, they converge on the same stream.

        Scenario: H24
        """
        for step in range(-40, 41):
            self.cross(VirtualNetwork(), step * 0.00025)

    def test_in_any_order_of_events(self) -> None:
        """
        Delays that differ from frame to frame bring every order of events; the outcome is one.

        Scenario: H24
        """
        for seed in range(200):
            lots = Random(seed)
            jitter = lots.choice((0.001, 0.003, 0.01))
            network = VirtualNetwork(delay_seconds=0.0005, seed=seed, jitter_seconds=jitter)
            try:
                self.cross(network, lots.uniform(-0.006, 0.006))
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise

    def test_parent_and_child_dial_each_other(self) -> None:
        """
        A parent that dials its child while the child dials its upstream: one endpoint on each side.

        Scenario: H24
        """
        for seed in range(100):
            lots = Random(seed)
            self.begin(VirtualNetwork(delay_seconds=0.0005, seed=seed, jitter_seconds=0.003))
            root = self.root(listen=[SMALL_ADDRESS])
            child = self.child(CHILD, upstream=SMALL_ADDRESS, listen=[LARGE_ADDRESS])
            self.network.start(root)
            started = child.start()
            self.network.settle(lots.uniform(0, 0.02))
            dialling = root.connect(LARGE_ADDRESS)
            outcomes: list[object] = []
            dialling.addBoth(outcomes.append)
            self.network.result_of(started)
            self.network.settle(45)
            self.assertEqual(len(outcomes), 1, seed)
            self.assertEqual((self.ids(root), self.ids(child)), ([CHILD], [ROOT]), seed)
            self.assertEqual(child.state, "running", seed)
            self.assertIs(child.endpoints[ROOT].position, Position.UPSTREAM, seed)
            self.assertIs(root.endpoints[CHILD].position, Position.DOWNSTREAM, seed)
            self.assertEqual(self.diaries[child].removed(), [], seed)
            self.end()

    def test_a_parent_may_dial_its_child(self) -> None:
        """
        A child that knows its upstream takes its dial; the stream of the smaller id stays.

        Scenario: H24
        """
        root = self.root()
        child = self.child(CHILD, listen=[LARGE_ADDRESS])
        self.network.start(root, child)
        self.network.settle()
        endpoint = self.network.result_of(root.connect(LARGE_ADDRESS))
        self.network.settle(45)
        self.assertIs(endpoint, root.endpoints[CHILD])
        assert endpoint.control is not None
        self.assertTrue(endpoint.control.dialled)
        for node in (root, child):
            self.assertEqual(self.diaries[node].removed(), [])
            self.assertEqual(self.diaries[node].errors(), [])
        # The child still looks after its upstream when this stream is lost.
        self.network.cut(root, child)
        self.network.settle(2)
        self.assertEqual(child.state, "running")
        self.assertIs(child.endpoints[ROOT].position, Position.UPSTREAM)

    def test_who_is_above_and_who_below_stay_so(self) -> None:
        """
        By records, too: who dials its upstream or downstream once more is given what it has.

        Scenario: H24
        """
        for above, below in ((SMALL, LARGE), (LARGE, SMALL)):
            self.begin(VirtualNetwork())
            root, child = self.family(above, below)
            self.network.start(root, child)
            self.network.settle(1)
            for node, other, address in (
                (child, above, SMALL_ADDRESS),
                (root, below, LARGE_ADDRESS),
            ):
                before = node.endpoints[other].connections
                met = self.network.result_of(node.connect(address))
                self.assertIs(met, node.endpoints[other])
                self.network.settle(45)
                self.assertEqual(met.connections, before)
            self.assert_family(root, child)
            self.end()

    def test_an_upstream_that_is_below_somebody(self) -> None:
        """
        The same where the upstream has one itself: nothing is lost on the way down meanwhile.

        Scenario: H24
        """
        for above, below in ((SMALL, LARGE), (LARGE, SMALL)):
            self.begin(VirtualNetwork(delay_seconds=0.01))
            top = self.node(TOP, listen=[TOP_ADDRESS], topology="records")
            root, child = self.family(above, below, upstream=TOP_ADDRESS)
            self.network.start(top, root, child)
            self.network.settle(1)
            keeper = child.receiver = Keeper()
            dialling = root.connect(LARGE_ADDRESS)
            for number in range(50):
                top.send(below, b"%d" % number)
                self.network.settle(0.005)
            met = self.network.result_of(dialling)
            self.assertIs(met, root.endpoints[below])
            self.network.settle(45)
            self.assertEqual(keeper.payloads, [b"%d" % number for number in range(50)])
            self.assertIs(child.endpoints[above].position, Position.UPSTREAM)
            for node in (top, root, child):
                self.assertEqual(self.diaries[node].errors(), [])
                self.assertEqual(self.diaries[node].removed(), [])
            self.end()

    def test_parent_and_child_dial_each_other_by_records(self) -> None:
        """
        Whoever dials first, and in whatever order things arrive: who says that it is below, is.

        Scenario: H24
        """
        for seed in range(60):
            lots = Random(seed)
            self.begin(VirtualNetwork(delay_seconds=0.0005, seed=seed, jitter_seconds=0.003))
            ids = (SMALL, LARGE) if seed % 2 else (LARGE, SMALL)
            root, child = self.family(*ids)
            self.network.start(root)
            started = child.start()
            dials: list[Deferred[Endpoint]] = []
            for node, address in ((root, LARGE_ADDRESS), (child, SMALL_ADDRESS)):
                if lots.random() < 0.7:
                    self.network.settle(lots.uniform(0, 0.015))
                    dials.append(node.connect(address))
            try:
                self.network.result_of(started)
                for dial in dials:
                    self.network.result_of(dial)
                self.network.settle(45)
                self.assert_family(root, child)
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise
            self.end()

    def family(
        self, above: int, below: int, upstream: str | None = None
    ) -> tuple[Node, Node]:
        """Make a node and one below it, by records."""
        root = self.node(
            above, listen=[SMALL_ADDRESS], upstream=upstream, topology="records"
        )
        child = self.node(
            below,
            listen=[LARGE_ADDRESS],
            upstream=SMALL_ADDRESS,
            topology="records",
            route_table="full",
        )
        return root, child

    def assert_family(self, root: Node, child: Node) -> None:
        """Assert that both think the same of each other, and have since they met."""
        below, above = root.endpoints[child.bus_id], child.endpoints[root.bus_id]
        self.assertIs(above.position, Position.UPSTREAM)
        self.assertIs(below.position, Position.DOWNSTREAM)
        self.assertTrue(above.available and below.available)
        self.assertEqual(self.ids(root) + self.ids(child), [child.bus_id, root.bus_id])
        for node in (root, child):
            self.assertEqual(self.diaries[node].errors(), [])
            self.assertEqual(self.diaries[node].removed(), [])

    def test_the_other_dial_comes_to_nothing(self) -> None:
        """
        Who gave its own dial up for another one that never ends hears of it at the deadline.

        Scenario: H24
        """
        large = self.node(LARGE, listen=[LARGE_ADDRESS])
        self.network.start(large)
        listening = Stranger(self.network, make_terms(SMALL)).listen(SMALL_ADDRESS)

        HalfWay(self.network, make_terms(SMALL)).dial(LARGE_ADDRESS)
        dialling = large.connect(SMALL_ADDRESS)
        begun = self.network.clock.seconds()
        self.assertEqual(self.refusal_of(dialling), Status.CROSSED_DIAL)
        self.assertLessEqual(
            self.network.clock.seconds() - begun, large.config.handshake_seconds + 0.1
        )
        assert listening.refused is not None
        self.assertEqual(listening.refused.status, Status.CROSSED_DIAL)
        self.network.settle(1)
        self.assertEqual(large.endpoints, {})
        self.network.result_of(listening.listener.stop())

    def test_the_stream_that_stays_comes_to_nothing(self) -> None:
        """
        The other side gave its dial up for ours, and then goes: what was added is removed, once.

        Scenario: H24
        """
        small = self.node(SMALL, listen=[SMALL_ADDRESS])
        self.network.start(small)
        listening = HalfWay(self.network, make_terms(LARGE)).listen(LARGE_ADDRESS)
        dialling = small.connect(LARGE_ADDRESS)
        self.network.settle(0.1)
        verdict = Rejected(status=Status.CROSSED_DIAL, detail="yours stays")
        Stranger(self.network, make_terms(LARGE), verdict).dial(SMALL_ADDRESS)
        self.assertEqual(self.diaries[small].added(), [LARGE])
        self.assertEqual(self.ids(small), [LARGE])
        # Somebody who only says that it is the other node changes nothing.
        liar = Stranger(self.network, make_terms(LARGE, tokens=(b"none",))).dial(SMALL_ADDRESS)
        assert liar.refused is not None
        self.assertEqual(liar.refused.status, Status.ACCESS_DENIED)
        self.assertEqual(self.ids(small), [LARGE])
        listening.leave()
        self.assertEqual(self.diaries[small].removed(), [(LARGE, "LINK_LOST")])
        self.failure_of(dialling, AtbusError)
        self.network.result_of(listening.listener.stop())
