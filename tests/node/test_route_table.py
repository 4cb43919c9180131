"""What nodes know of each other by route tables."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.errors import Status
from atbus.node.node import Node
from atbus.routing.batch import Batch, kept_bytes, to_message
from atbus.routing.registry import Feeder
from atbus.routing.subscription import Stage
from atbus.routing.sync_terms import TableMode
from atbus.testing.conversation import make_terms
from atbus.testing.network import VirtualNetwork
from atbus.wire.messages import (
    Capability,
    MessageType,
    Mode,
    RegisterResponse,
    Role,
    RouteBatch,
    SubscribeRequest,
    SubscribeResponse,
)
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING
from tests.node.mail import MailTests
from tests.node.mesh import CROSS, EU1, EU2, US1, US2, MeshTests, address_of
from tests.node.stranger import HalfWay, Stranger
from tests.routing.route_talk import record

FULL = TableMode.FULL.value
OFF = TableMode.OFF.value
#: From the silence of a node to the moment when nobody lists it any more, at the latest.
DETECTION_SECONDS = (
    limits.HEARTBEAT_SECONDS * (limits.HEARTBEAT_TOLERANCE + 1) + limits.CHILD_GRACE_SECONDS
)

#: Seeds under which a question overtakes the answer to a registration.
EARLY = (8, 60, 65)


def known(node: Node) -> list[int]:
    """Give the ids of the other nodes that a node knows, in order."""
    return sorted(each.bus_id for each in node.records() if each.bus_id != node.bus_id)


class SubscribeTests(MailTests):
    """A root and its children."""

    def family(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start a root and two children."""
        root = self.root(**options)
        one, other = self.child(**options), self.child(SIBLING, **options)
        self.network.start(root, one, other)
        self.network.settle()
        return root, one, other

    def stage(self, node: Node, bus_id: int) -> Stage:
        """Say how far a node has been told by a neighbor."""
        machine = node._parts.route_table.machine
        assert machine is not None
        return machine.stage_of(bus_id)

    def test_everybody_knows_everybody(self) -> None:
        """
        Both sides of a registration ask, the one that dialled and the one that was dialled.

        Scenario: BB3
        """
        root, one, other = self.family(route_table=FULL)
        self.assertEqual(known(root), [CHILD, SIBLING])
        self.assertEqual(known(one), [ROOT, SIBLING])
        self.assertEqual(known(other), [ROOT, CHILD])
        self.assertIs(self.stage(one, ROOT), Stage.CURRENT)
        self.assertIs(self.stage(root, CHILD), Stage.CURRENT)

    def test_over_any_channel(self) -> None:
        """
        It is the same over a unix socket, and between peers.

        Scenario: BB3
        """
        root = self.root(listen=["unix:///run/root.sock"], route_table=FULL)
        child = self.child(upstream="unix:///run/root.sock", route_table=FULL)
        peer = self.node(0x20000, listen=["ipv4://10.0.0.2:1"], subnets=[(0, 16)])
        self.network.start(root, child, peer)
        self.network.result_of(root.connect("ipv4://10.0.0.2:1"))
        self.network.settle()
        self.assertEqual(known(peer), [ROOT, CHILD])
        self.assertEqual(known(child), [ROOT, 0x20000])

    def test_a_leaf_asks_for_nothing(self) -> None:
        """By itself a leaf knows its upstream; what is above it knows everybody."""
        root, one, _ = self.family()
        self.assertEqual((known(root), known(one)), ([CHILD, SIBLING], [ROOT]))
        self.assertIs(self.stage(one, ROOT), Stage.IDLE)

    def test_switched_off(self) -> None:
        """
        With the table switched off on either side nobody asks, and messages find their way.

        Scenario: BB23
        """
        for upper, lower in ((OFF, FULL), (FULL, OFF), (OFF, OFF)):
            root = self.root(route_table=upper)
            one = self.child(route_table=lower)
            other = self.child(SIBLING, route_table=lower)
            self.network.start(root, one, other)
            one.send(SIBLING, b"hello")
            self.network.settle()
            self.assertEqual(self.mail[other].payloads, [b"hello"])
            for node in (root, one, other):
                self.assertEqual(node.statistics.route_batches_sent, 0)
            self.end()
            self.setUp()

    def test_a_temporary_node(self) -> None:
        """
        A temporary node is listed nowhere; one that asks is refused.

        Scenario: BB24
        """
        root, _, _ = self.family(route_table=FULL)
        tool = self.child(0)
        self.network.start(tool)
        self.network.settle()
        self.assertEqual(known(root), [CHILD, SIBLING])
        stranger = Stranger(self.network, make_terms(0, mode=Mode.TEMPORARY)).dial(ROOT_ADDRESS)
        stranger.say(SubscribeRequest())
        self.network.settle(0.1)
        answers = [each for each in stranger.received if isinstance(each, SubscribeResponse)]
        self.assertEqual([each.status for each in answers], [Status.ACCESS_DENIED])
        stranger.leave()
        self.network.settle(0.1)

    def test_who_cannot_is_not_asked(self) -> None:
        """
        A neighbor without the capability gets nothing of the route table, and is listed.

        Scenario: BB2, BB23
        """
        root, one, _ = self.family(route_table=FULL)
        stranger = Stranger(self.network, make_terms(0x10005)).dial(ROOT_ADDRESS)
        self.network.settle(0.1)
        table = {MessageType.SUBSCRIBE_REQUEST, MessageType.ROUTE_BATCH}
        self.assertFalse(table & {each.message_type for each in stranger.received})
        self.assertFalse(root.endpoints[0x10005].peer.capabilities & Capability.ROUTE_TABLE)
        stranger.leave()
        self.network.settle()
        self.assertNotIn(0x10005, known(one))

    def test_data_before_control(self) -> None:
        """A child whose data connection registers first is asked when it can be."""
        self.network.start(self.root(route_table=FULL))
        can = int(Capability.ROUTE_TABLE)
        control = HalfWay(self.network, make_terms(CHILD, capabilities=can)).dial(ROOT_ADDRESS)
        terms = make_terms(CHILD, role=Role.DATA, capabilities=can, nonce=b"of the other one")
        data = Stranger(self.network, terms).dial(ROOT_ADDRESS)
        self.assertIsNotNone(data.peer)
        self.assertNotIn("SubscribeRequest", control.names)
        control.say(RegisterResponse(source=CHILD, status=Status.OK))
        self.assertIn("SubscribeRequest", control.names)
        for stranger in (data, control):
            stranger.leave()

    def test_a_clean_stop(self) -> None:
        """
        A node that stops is not known a moment later, to anybody.

        Scenario: BB34
        """
        root, one, other = self.family(route_table=FULL)
        self.network.stop(other)
        self.network.settle(0.2)
        self.assertEqual((known(root), known(one)), ([CHILD], [ROOT]))

    def test_a_silent_death(self) -> None:
        """
        A node whose host vanishes is known to nobody after three heartbeats and its grace.

        Scenario: BB28
        """
        _, one, other = self.family(route_table=FULL)
        self.power_off(other)
        self.network.settle(limits.HEARTBEAT_SECONDS)
        self.assertEqual(known(one), [ROOT, SIBLING])
        self.network.settle(DETECTION_SECONDS - limits.HEARTBEAT_SECONDS + 1)
        self.assertEqual(known(one), [ROOT])

    def test_started_again(self) -> None:
        """A node that was stopped and is started again is known again, also by its descendants."""
        root, one, other = self.family(route_table=FULL)
        self.network.stop(other)
        self.network.settle()
        self.network.start(other)
        self.network.settle()
        self.assertEqual(known(root), [CHILD, SIBLING])
        self.assertEqual((known(one), known(other)), ([ROOT, SIBLING], [ROOT, CHILD]))

    def test_what_was_lost_is_told_again(self) -> None:
        """Two sides that differ find out by the digests in their pings, and agree again."""
        root, one, _ = self.family(route_table=FULL)
        machine = one._parts.route_table.machine
        assert machine is not None
        machine._hearing.drop(machine._links[ROOT].feed, SIBLING)
        one._parts.topology.withdraw(Feeder.SYNC, [SIBLING])
        self.assertEqual(known(one), [ROOT])
        self.network.settle(3 * limits.HEARTBEAT_SECONDS)
        self.assertEqual(known(one), [ROOT, SIBLING])
        self.assertEqual(root.statistics.route_words_ignored, {})

    def test_who_tells_too_fast_is_named_and_read_later(self) -> None:
        """A neighbor that tells more than its rate is named once, counted, and read in the end."""
        root, one, _ = self.family(route_table=FULL)
        machine = root._parts.route_table.machine
        assert machine is not None
        intake = machine._links[CHILD].intake
        intake.burst, intake.rate = 1, 0.1
        self.diaries[root].clear()
        for _ in range(3):
            self.say(one, root, RouteBatch(source=CHILD), data=False)
        self.assertEqual(root.statistics.route_batches_delayed, 2)
        [(status, detail)] = self.diaries[root].of("on_error")
        self.assertIs(status, Status.OVERLOADED)
        self.assertIn(f"{CHILD:#x}", detail)
        self.network.settle(25)
        self.assertFalse(intake.waits)
        self.assertEqual(known(root), [CHILD, SIBLING])

    def test_who_tells_too_much_is_not_read_for_a_while(self) -> None:
        """While much of a neighbor waits its connection is held; all of it is read in the end."""
        root, one, _ = self.family(route_table=FULL)
        machine = root._parts.route_table.machine
        assert machine is not None
        intake = machine._links[CHILD].intake
        intake.burst, intake.rate = 1, 20
        intake.shelf.bytes_max = 60 * kept_bytes(record(CHILD))
        held = root.statistics.reading_held
        for seq in (900, 920, 940):
            words = tuple(record(CHILD, seq + each, ROOT) for each in range(20))
            self.say(one, root, to_message(Batch(words=words), CHILD), data=False)
        self.assertEqual(root.statistics.reading_held, held + 1)
        self.network.settle(5)
        self.assertFalse(intake.waits)
        self.assertFalse(intake.flooded)
        self.assertEqual(machine.known.best[CHILD].stamp.seq, 959)

    def test_labels_travel(self) -> None:
        """What a node says of itself is known far away, and so is a change of it."""
        root = self.root(route_table=FULL)
        one = self.child(route_table=FULL, labels={"role": "shop"})
        other = self.child(SIBLING, route_table=FULL)
        self.network.start(root, one, other)
        self.network.settle()
        news: list[str | None] = []
        other.watch_nodes(lambda each: news.append(each.record.label("role")), {"role": "shop"})
        self.assertEqual(news, ["shop"])
        self.network.result_of(one.listen("ipv4://10.0.0.9:1"))
        self.network.settle()
        record = next(each for each in other.records() if each.bus_id == CHILD)
        self.assertEqual(record.addresses, ("ipv4://10.0.0.9:1",))
        own = next(each for each in one.records() if each.bus_id == CHILD)
        self.assertEqual(own, record)


class TreeTests(MeshTests):
    """A tree whose ids fit into no subnets, and whose nodes were told nothing of each other."""

    def grown(self, *bus_ids: int, **options: Any) -> dict[int, Node]:
        """Start nodes that know their upstream's address only."""
        chosen: dict[str, Any] = {"direct_connections": False, **options}
        made = {bus_id: self.mesh_node(bus_id, [], **chosen) for bus_id in bus_ids}
        self.network.start(*made.values())
        self.network.settle()
        return made

    def test_messages_find_their_way(self) -> None:
        """A leaf reaches each other leaf, in its own region and in the other one."""
        leaves = (0x111, 0x211, 0x112, 0x121, 0x122)
        nodes = self.grown(CROSS, EU1, EU2, US1, US2, *leaves)
        for source in leaves:
            for target in leaves:
                if source != target:
                    nodes[source].send(target, b"%x" % source)
        self.network.settle()
        for target in leaves:
            payloads = sorted(self.mail[nodes[target]].payloads)
            self.assertEqual(payloads, sorted(b"%x" % each for each in leaves if each != target))
        self.assertEqual(known(nodes[EU1]), sorted({CROSS, EU2, US1, US2, *leaves}))
        hop = nodes[CROSS].next_hop(0x122)
        self.assertEqual(hop.id, US2)

    def test_proxies_of_one_region_need_nobody_above(self) -> None:
        """Two connected proxies know each other's leaves, and go on without an upstream."""
        nodes = self.grown(CROSS, EU1, EU2, 0x111, 0x112)
        self.network.result_of(nodes[EU1].connect(address_of(EU2)))
        self.network.settle()
        self.kill(nodes[CROSS])
        self.network.settle(5)
        nodes[0x111].send(0x112, b"still here")
        self.network.settle()
        self.assertEqual(self.mail[nodes[0x112]].payloads, [b"still here"])

    def test_a_leaf_moves(self) -> None:
        """A leaf that comes back below another proxy is found there."""
        nodes = self.grown(CROSS, EU1, US1, 0x111)
        self.network.stop(nodes[0x111])
        moved = self.mesh_node(0x111, [], upstream=address_of(US1), direct_connections=False)
        self.network.start(moved)
        self.network.settle()
        self.assertEqual(nodes[CROSS].next_hop(0x111).id, US1)
        nodes[EU1].send(0x111, b"there")
        self.network.settle()
        self.assertEqual(self.mail[moved].payloads, [b"there"])

    def test_one_id_twice(self) -> None:
        """
        Two processes with one id under different proxies: the older one is told, and its proxy
        tells it; messages go to the newer one.

        Scenario: BB17
        """
        nodes = self.grown(CROSS, EU1, US1, 0x111, route_table=FULL)
        newer = self.mesh_node(
            0x111, [], upstream=address_of(US1), direct_connections=False, listen=[]
        )
        self.network.start(newer)
        self.network.settle(3)
        errors = [status for status, _ in self.diaries[nodes[0x111]].of("on_error")]
        self.assertEqual(errors, [Status.ID_CONFLICT])
        self.assertEqual(nodes[CROSS].next_hop(0x111).id, US1)
        # So is, by name, who has told of the newer one where the older one is registered.
        [(status, detail)] = self.diaries[nodes[EU1]].of("on_error")
        self.assertEqual(status, Status.ID_CONFLICT)
        self.assertIn(f"0x111 is registered here, and {CROSS:#x} tells that process", detail)


class MoveTests(MeshTests):
    """A node that goes over to a better upstream while it is below another one."""

    def test_a_question_that_is_too_early(self) -> None:
        """
        The new upstream may ask before its last word on the data connection is there; it is told.
        """
        for seed in EARLY:
            self.begin(VirtualNetwork(0.001, seed, jitter_seconds=0.2))
            cross, first, second = (self.mesh_node(each, []) for each in (CROSS, EU1, EU2))
            upstreams = [address_of(EU1), address_of(EU2)]
            leaf = self.node(
                0x111, topology="records", upstreams=upstreams, upstream_return_seconds=1
            )
            self.network.start(cross, second, leaf)
            self.network.start(first)
            self.network.settle(6)
            self.assertEqual(leaf.next_hop(CROSS).id, EU1)
            self.assertEqual(known(cross), [EU1, EU2, 0x111], f"seed {seed}")
            self.end()
