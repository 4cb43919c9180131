"""Records of nodes: what a node knows of itself, of its neighbors and of others, and who hears."""

from __future__ import annotations

from typing import Any

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.node.topology import NodeNews
from atbus.routing.choice import rendezvous
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder, NodeChanged, NodeDown, NodeUp
from atbus.routing.relation import Relation
from atbus.wire.messages import NodeFlag
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS
from tests.node.mail import MailTests
from tests.node.mesh import CROSS, EU1, EU2, US1, MeshTests, address_of, table_of


class OwnRecordTests(MailTests):
    """What a node says of itself."""

    def own(self, node: Node) -> Record:
        """Give a node's own record."""
        (record,) = [each for each in node.records() if each.bus_id == node.bus_id]
        return record

    def test_content(self) -> None:
        """A node's record has its labels, subnets, addresses, flags, host and process."""
        root = self.root(labels={"region": "eu"}, proxy=True)
        self.network.start(root)
        own = self.own(root)
        self.assertEqual(own.labels, (("region", "eu"),))
        self.assertEqual([str(each) for each in own.subnets], ["0x10000/16"])
        self.assertEqual(own.addresses, (ROOT_ADDRESS,))
        self.assertTrue(own.is_proxy)
        self.assertTrue(own.host)
        self.assertTrue(own.process)
        self.assertEqual(own.stamp.epoch, root.epoch)
        self.assertEqual(own.upstream_id, 0)

    def test_stamps(self) -> None:
        """Each change of the record, and each registration with an upstream, makes a new stamp."""
        root, child = self.pair()
        registered = self.own(child)
        self.assertEqual(registered.upstream_id, ROOT)
        self.network.result_of(child.listen("ipv4://10.0.0.7:1"))
        listening = self.own(child)
        self.assertEqual(listening.addresses, ("ipv4://10.0.0.7:1",))
        self.assertGreater(listening.stamp, registered.stamp)
        self.network.cut(child, root)
        self.network.settle()
        lost_or_back = self.own(child)
        self.assertGreaterEqual(lost_or_back.stamp.seq, listening.stamp.seq + 2)
        self.assertEqual(self.own(child), lost_or_back)

    def test_an_assigned_id(self) -> None:
        """A node that gets its id from its upstream has its record under that id."""
        root, child = self.root(), self.child("auto")
        self.network.start(root, child)
        self.assertEqual(self.own(child).upstream_id, ROOT)
        self.assertEqual({each.bus_id for each in child.records()}, {ROOT, child.bus_id})


class LiveRecordTests(MailTests):
    """Who is registered is known."""

    def test_registered_nodes(self) -> None:
        """Neighbors are known with what they say of themselves, as long as they are registered."""
        root, child = self.pair(labels={"a": "b"})
        (known,) = [each for each in root.records() if each.bus_id == CHILD]
        self.assertEqual((known.upstream_id, known.labels), (ROOT, (("a", "b"),)))
        self.assertFalse(known.node_flags & NodeFlag.BELOW)
        self.assertEqual([each.bus_id for each in child.records()], [ROOT, CHILD])
        self.network.result_of(child.stop())
        self.network.settle()
        self.assertEqual([each.bus_id for each in root.records()], [ROOT])

    def test_new_addresses(self) -> None:
        """Where a neighbor listens now is in its record."""
        root, child = self.pair()
        self.network.result_of(child.listen("ipv4://10.0.0.7:1"))
        self.network.settle()
        (known,) = [each for each in root.records() if each.bus_id == CHILD]
        self.assertEqual(known.addresses, ("ipv4://10.0.0.7:1",))


class WatchTests(MailTests):
    """Programs that want to know which nodes there are."""

    def watched(self, node: Node, **options: Any) -> list[NodeNews]:
        """Watch from now on."""
        news: list[NodeNews] = []
        node.watch_nodes(news.append, **options)
        return news

    def test_up_changed_down(self) -> None:
        """A watcher hears of those that are there, of those that come, change and go; not of its
        own node."""
        root, child = self.pair()
        news = self.watched(root)
        self.assertEqual([type(each) for each in news], [NodeUp])
        self.network.result_of(child.listen("ipv4://10.0.0.7:1"))
        self.network.settle()
        self.network.result_of(child.stop())
        self.network.settle()
        first, *between, last = [type(each) for each in news]
        self.assertEqual((first, set(between), last), (NodeUp, {NodeChanged}, NodeDown))
        self.assertEqual({each.record.bus_id for each in news}, {CHILD})
        up = news[0]
        assert isinstance(up, NodeUp)
        self.assertIs(up.feeder, Feeder.LIVE)

    def test_where(self) -> None:
        """A watcher hears only of nodes with the labels it looks for; one that gets them comes up,
        one that loses them goes down."""
        root = self.root()
        self.network.start(root)
        topology = root._parts.topology
        eu, odd = (
            self.watched(root, where={"region": "eu"}),
            self.watched(root, where=lambda record: bool(record.bus_id % 2)),
        )
        either = self.watched(root, where={"region": ["eu", "us"]})
        for seq, region in enumerate(("us", "eu", "eu", "us"), 1):
            record = Record(
                bus_id=0x50, stamp=Stamp(1, seq), labels={"region": region, "n": str(seq // 2)}
            )
            topology.claim(Feeder.ETCD, [record])
        topology.withdraw(Feeder.ETCD, [0x50])
        self.assertEqual([type(each) for each in eu], [NodeUp, NodeChanged, NodeDown])
        self.assertEqual(
            [type(each) for each in either],
            [NodeUp, NodeChanged, NodeChanged, NodeChanged, NodeDown],
        )
        self.assertEqual(odd, [])

    def test_cancelled(self) -> None:
        """A watch that was cancelled hears nothing, also in the middle of the news."""
        root = self.root()
        self.network.start(root)
        heard: list[NodeNews] = []

        def once(news: NodeNews) -> None:
            heard.append(news)
            watch.cancel()

        watch = root.watch_nodes(once)
        records = [Record(bus_id=bus_id) for bus_id in (0x50, 0x51)]
        root._parts.topology.claim(Feeder.ETCD, records)
        self.assertEqual([each.record.bus_id for each in heard], [0x50])
        watch.cancel()

    def test_a_watcher_that_fails(self) -> None:
        """A callback that raises is logged and counted; others hear the news all the same."""
        root = self.root()
        self.network.start(root)
        root.watch_nodes(lambda news: 1 // 0)
        news = self.watched(root)
        root._parts.topology.claim(Feeder.ETCD, [Record(bus_id=0x50)])
        self.assertEqual(len(news), 1)
        self.assertEqual(root.statistics.callback_failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_record_that_cannot_count(self) -> None:
        """A record whose place is refused is told by name."""
        root = self.root()
        self.network.start(root)
        told: list[tuple[Status, str]] = []
        root.events.on_error.observe(lambda *values: told.append(values))
        topology = root._parts.topology
        topology.claim(Feeder.ETCD, [Record(bus_id=0x50, upstream_id=0x51)])
        topology.claim(Feeder.ETCD, [Record(bus_id=0x51, upstream_id=0x50)])
        ((status, detail),) = told
        self.assertIs(status, Status.LOOP)
        self.assertIn("etcd record of 0x51", detail)


class ByRecordsTests(MeshTests):
    """A tree without subnets: each node hangs below whom it registers with."""

    def test_ids_of_any_kind_register(self) -> None:
        """
        Nodes whose ids and ranges do not fit into those of their upstream register below it.

        Scenario: H13
        """
        root = self.root(topology="records")
        child = self.node(0x99990001, upstream=ROOT_ADDRESS, topology="records", subnets=[(0, 8)])
        self.network.start(root, child)
        self.network.settle()
        self.assertIs(root.relation_to(child.bus_id), Relation.IMMEDIATE_DOWNSTREAM)
        self.assertIs(child.relation_to(ROOT), Relation.IMMEDIATE_UPSTREAM)
        root.send(child.bus_id, b"down")
        child.send(ROOT, b"up")
        self.network.settle()
        self.assertEqual(self.mail[child].payloads, [b"down"])
        self.assertEqual(self.mail[root].payloads, [b"up"])

    def test_a_peer_is_no_downstream(self) -> None:
        """Who connects without saying that we are its upstream is a peer, whatever its id."""
        root = self.root(topology="records", subnets=[])
        other = self.node(CHILD, topology="records", listen=["ipv4://10.0.0.5:1"])
        self.network.start(root, other)
        self.network.result_of(other.connect(ROOT_ADDRESS))
        self.assertIs(root.relation_to(CHILD), Relation.OTHER_UPSTREAM_PEER)

    def test_a_chain(self) -> None:
        """
        In a chain of three each node finds the other two through the one in the middle.

        Scenario: K6, K7
        """
        leaf = 0x111
        nodes = self.mesh(CROSS, EU1, leaf)
        top, bottom = nodes[CROSS], nodes[leaf]
        hop = top.next_hop(leaf)
        self.assertEqual((hop.id, hop.relation), (EU1, Relation.TRANSITIVE_DOWNSTREAM))
        self.assertIn("child 0x11 on the way down", hop.rule)
        hop = bottom.next_hop(CROSS)
        self.assertEqual((hop.id, hop.relation), (EU1, Relation.TRANSITIVE_UPSTREAM))
        top.send(leaf, b"down")
        bottom.send(CROSS, b"up")
        self.network.settle()
        self.assertEqual(self.mail[bottom].payloads, [b"down"])
        self.assertEqual(self.mail[top].payloads, [b"up"])

    def test_before_anything_is_known(self) -> None:
        """
        A node that nobody has told of is related to nobody, and nothing is sent to it.

        Scenario: K6
        """
        nodes = self.mesh(CROSS, EU1)
        top = nodes[CROSS]
        self.assertIs(top.relation_to(0x111), Relation.INVALID)
        self.assertEqual(self.refused(top, 0x111), "NO_ROUTE")
        error = self.assertRaises(Undeliverable, top.next_hop, 0x111)
        self.assertIn("no upstream", error.detail)
        top._parts.topology.claim(Feeder.ETCD, [Record(bus_id=0x111, upstream_id=EU1)])
        self.assertIs(top.relation_to(0x111), Relation.TRANSITIVE_DOWNSTREAM)
        self.assertEqual(top.next_hop(0x111).id, EU1)

    def test_one_record_moves_the_way(self) -> None:
        """When a node's record names another upstream, messages to what is below it take the new
        way, also on flows that were in use."""
        leaf = 0x111
        nodes = self.mesh(CROSS, EU1, EU2, leaf)
        top = nodes[CROSS]
        top.send(leaf, b"1")
        self.assertEqual(top.next_hop(leaf).id, EU1)
        top._parts.topology.claim(
            Feeder.SYNC, [Record(bus_id=leaf, upstream_id=EU2, stamp=Stamp(9, 9))]
        )
        self.assertEqual(top.next_hop(leaf).id, EU2)
        self.network.settle()
        top.send(leaf, b"2")
        self.network.settle()
        # The other proxy has heard nothing of a move: it knows the leaf below its sibling.
        self.assertEqual(nodes[EU2].statistics.refused[Status.LOOP], 1)

    def test_records_of_the_configuration(self) -> None:
        """What the configuration knows of others is known from the start."""
        nodes = self.mesh(CROSS, EU1, US1)
        known = {each.bus_id: each for each in nodes[EU1].records()}
        self.assertEqual(set(known), {CROSS, EU1, US1})
        self.assertEqual(known[US1].addresses, (address_of(US1),))


class ChosenUpstreamTests(MeshTests):
    """Nodes that choose their upstream by labels."""

    PROXIES = (EU1, EU2, 0x13)

    def chooser(self, bus_id: int | str, **options: Any) -> Node:
        """Make a node that hangs below one of the proxies of its region."""
        chosen: dict[str, Any] = {
            "topology": "records",
            "upstream_labels": {"region": "eu"},
            "records": [table_of(proxy) for proxy in (*self.PROXIES, US1)],
        }
        return self.node(bus_id, **(chosen | options))

    def start_proxies(self, *bus_ids: int) -> dict[int, Node]:
        """Start proxies that nobody is above of."""
        made = {
            bus_id: self.node(bus_id, listen=[address_of(bus_id)], topology="records")
            for bus_id in bus_ids
        }
        self.network.start(*made.values())
        return made

    def test_spread(self) -> None:
        """
        Nodes that look for a proxy with the same labels spread over all that have them; when one
        dies, those below it are below the others at once, and nobody else moves.

        Scenario: Z1, Z3
        """
        proxies = self.start_proxies(*self.PROXIES, US1)
        nodes = [self.chooser(0x500 + place) for place in range(30)]
        self.network.start(*nodes)
        homes = {node: self.ids(node)[0] for node in nodes}
        for node in nodes:
            self.assertEqual(homes[node], rendezvous(node.bus_id, self.PROXIES)[0])
        self.assertEqual(set(homes.values()), set(self.PROXIES))
        self.kill(proxies[EU1])
        self.network.settle(1)
        for node in nodes:
            (home,) = self.ids(node)
            expected = [each for each in rendezvous(node.bus_id, self.PROXIES) if each != EU1]
            self.assertEqual(home, expected[0] if homes[node] == EU1 else homes[node])

    def test_nobody_known_yet(self) -> None:
        """
        A node that knows of no such proxy waits until it does; an address is a way to begin.

        Scenario: Z3
        """
        self.start_proxies(EU1, US1)
        node = self.chooser(0x500, records=[])
        started = node.start()
        self.network.settle(30)
        self.assertFalse(started.called)
        node._parts.topology.claim(
            Feeder.ETCD, [Record(bus_id=EU1, labels={"region": "eu"}, addresses=(address_of(EU1),))]
        )
        self.network.result_of(started)
        self.assertEqual(self.ids(node), [EU1])
        seeded = self.chooser(0x501, records=[], upstreams=[address_of(US1)])
        self.network.start(seeded)
        self.assertEqual(self.ids(seeded), [US1])

    def test_one_place_by_record_and_by_address(self) -> None:
        """
        Who is below a proxy that it has found by a record does not move to the address of the same
        proxy, when that is all that is left: here the proxy says nothing of its labels itself.
        """
        self.start_proxies(EU1)
        node = self.chooser(
            0x500,
            records=[table_of(EU1)],
            upstreams=[address_of(EU1)],
            upstream_return_seconds=1,
        )
        self.network.start(node)
        self.network.settle()
        [candidate] = node._parts.topology.upstream_candidates()
        self.assertEqual(candidate.expected_id, 0)
        dials = len(self.network.dials)
        self.network.settle(10)
        self.assertEqual((self.ids(node), len(self.network.dials)), ([EU1], dials))
