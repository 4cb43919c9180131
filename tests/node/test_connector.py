"""Ways that come and go under messages: through an upstream, to a downstream, beside the tree."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.node.node import Node
from atbus.routing.direct import Stay
from atbus.routing.record import Record
from atbus.routing.registry import Feeder
from atbus.routing.relation import Relation
from tests.node.mesh import CROSS, EU1, EU2, MeshTests, address_of

ONE, OTHER = 0x111, 0x211


class ConnectorTests(MeshTests):
    """Nodes that know of each other what they are told here, for they tell each other nothing."""

    def mesh_node(self, bus_id: int, known: list[int], **options: Any) -> Node:
        """Make one node of the mesh."""
        return super().mesh_node(bus_id, known, **({"route_table": "off"} | options))


class ThroughTheUpstreamTests(ConnectorTests):
    """Two nodes below one proxy, which are not connected to each other."""

    def family(self) -> tuple[Node, Node, Node]:
        """Start a proxy and two nodes below it."""
        nodes = self.mesh(EU1, ONE, OTHER, direct_connections=False)
        return nodes[EU1], nodes[ONE], nodes[OTHER]

    def mesh_node(self, bus_id: int, known: list[int], **options: Any) -> Node:
        """Make one node of the family; the proxy is its root."""
        if bus_id == EU1:
            options["upstream"] = None
        return super().mesh_node(bus_id, known, **options)

    def test_both_directions(self) -> None:
        """
        Messages reach each of them through the proxy.

        Scenario: W2
        """
        proxy, one, other = self.family()
        one.send(OTHER, b"there")
        other.send(ONE, b"back")
        self.network.settle()
        self.assertEqual(self.mail[other].payloads, [b"there"])
        self.assertEqual(self.mail[one].payloads, [b"back"])
        self.assertEqual(proxy.statistics.forwarded_messages, 2)
        self.assertIs(one.relation_to(OTHER), Relation.SAME_UPSTREAM_PEER)
        self.assertEqual(one.next_hop(OTHER).id, EU1)

    def test_a_target_that_comes_late(self) -> None:
        """
        A node of which nothing is known yet is reached as soon as it has registered; before, the
        message is answered.

        Scenario: W1
        """
        nodes = self.mesh(EU1, ONE, direct_connections=False)
        one = nodes[ONE]
        early = one.send(OTHER, b"early")
        self.network.settle()
        self.assertEqual(self.mail[one].news, [(OTHER, early, 1, "NO_ROUTE")])
        late = self.mesh_node(OTHER, [])
        self.network.start(late)
        self.network.settle()
        one.send(OTHER, b"late")
        self.network.settle()
        self.assertEqual(self.mail[late].payloads, [b"late"])

    def test_the_upstream_loses_its_data_connection(self) -> None:
        """
        While the way to the upstream is made again messages wait, and arrive in order.

        Scenario: W4, Z15
        """
        proxy, one, other = self.family()
        one.send(OTHER, b"0")
        self.network.settle()
        self.network.unreachable.add(proxy.addresses[0])
        self.data_channel(one, proxy).abort("cut")
        self.network.settle(0.1)
        self.send_all(one, OTHER, [b"1", b"2"])
        self.network.settle(1)
        self.assertEqual(len(one.endpoints[EU1].pending), 2)
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        one.send(OTHER, b"3")
        self.network.settle()
        self.assertEqual(self.mail[other].payloads, [b"0", b"1", b"2", b"3"])
        self.assert_quiet(proxy, one, other)

    def test_it_stays_lost_and_the_target_is_forgotten(self) -> None:
        """
        When the way does not come back each message that waited is answered, and after a while the
        upstream is given up, also when nobody knows of the target any more.

        Scenario: W5, W6, Z6
        """
        proxy, one, _ = self.family()
        self.network.unreachable.add(proxy.addresses[0])
        self.data_channel(one, proxy).abort("cut")
        self.network.settle(0.1)
        sequences = self.send_all(one, OTHER, [b"1", b"2"])
        one._parts.topology.replace(Feeder.STATIC, [])
        self.network.settle(limits.PENDING_SECONDS + 1)
        self.assertEqual(self.mail[one].news, [(OTHER, each, 1, "TIMEOUT") for each in sequences])
        self.assertIn(EU1, one.endpoints)
        self.network.settle(limits.DATA_CONNECTION_SECONDS)
        self.assertNotIn(EU1, one.endpoints)
        self.assertEqual(self.refused(one, OTHER), "NO_ROUTE")
        self.network.unreachable.clear()
        self.network.settle(limits.RECONNECT_SECONDS_MAX)

    def test_a_target_that_is_forgotten_while_it_is_there(self) -> None:
        """
        When nobody knows of the target any more, its messages go on through the upstream.

        Scenario: W7
        """
        _, one, other = self.family()
        one.send(OTHER, b"1")
        one._parts.topology.replace(Feeder.STATIC, [])
        one.send(OTHER, b"2")
        self.network.settle()
        self.assertEqual(self.mail[other].payloads, [b"1", b"2"])


class DownwardsTests(ConnectorTests):
    """A proxy and what is below it."""

    def pair_of(self) -> tuple[Node, Node]:
        """Start a proxy and a node below it that could be dialled."""
        nodes = self.mesh(CROSS, EU1, direct_connections=True, policy=[])
        return nodes[CROSS], nodes[EU1]

    def half_open(self) -> tuple[Node, Node]:
        """Take the data connection away from a node below a proxy."""
        above, below = self.pair_of()
        self.network.unreachable.add(above.addresses[0])
        self.data_channel(below, above).abort("cut")
        self.network.settle(0.1)
        return above, below

    def test_both_directions(self) -> None:
        """
        A node and its upstream talk directly, whoever begins.

        Scenario: Y2
        """
        above, below = self.pair_of()
        above.send(EU1, b"down")
        below.send(CROSS, b"up")
        self.network.settle()
        self.assertEqual(self.mail[below].payloads, [b"down"])
        self.assertEqual(self.mail[above].payloads, [b"up"])

    def test_messages_wait(self) -> None:
        """
        While the node below makes its connection again messages to it wait, in order.

        Scenario: Y3
        """
        above, below = self.half_open()
        self.send_all(above, EU1, [b"1", b"2"])
        self.network.settle(1)
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        above.send(EU1, b"3")
        self.network.settle()
        self.assertEqual(self.mail[below].payloads, [b"1", b"2", b"3"])

    def test_it_does_not_come_back(self) -> None:
        """
        What waited for it is answered, and the node below is given up, known or not.

        Scenario: Y4
        """
        above, _ = self.half_open()
        sequence = above.send(EU1, b"1")
        above._parts.topology.replace(Feeder.STATIC, [])
        self.network.settle(limits.PENDING_SECONDS + 1)
        self.assertEqual(self.mail[above].news, [(EU1, sequence, 1, "TIMEOUT")])
        self.network.settle(limits.DATA_CONNECTION_SECONDS)
        self.assertNotIn(EU1, above.endpoints)
        self.assertEqual(above._parts.registrar.count_waiting(), 0)
        self.network.unreachable.clear()
        self.network.settle(limits.RECONNECT_SECONDS_MAX)

    def test_nobody_dials_downwards(self) -> None:
        """
        What is below a node registers with it, and is never dialled by it: while it is away
        messages to it are refused.

        Scenario: Y5
        """
        above, below = self.pair_of()
        self.network.result_of(below.stop())
        self.network.settle()
        self.network.dials.clear()
        for _ in range(3):
            self.assertEqual(self.refused(above, EU1), "NO_ROUTE")
            self.network.settle(20)
        self.assertEqual(self.network.dials, [])
        self.assertIsInstance(above._parts.directs.choice(EU1), Stay)


class RecordChangeTests(ConnectorTests):
    """Records that are withdrawn and come back, under connections that are in use."""

    def connected(self) -> dict[int, Node]:
        """Start two proxies that are connected, each with a node below it."""
        nodes = self.mesh(CROSS, EU1, EU2, ONE, 0x112)
        nodes[ONE].send(0x112, b"0")
        self.network.settle()
        self.assertIn(EU2, nodes[EU1].endpoints)
        return nodes

    def test_lost_and_restored(self) -> None:
        """
        A record that is withdrawn and comes back costs no message and no connection.

        Scenario: Z5
        """
        nodes = self.connected()
        topology = nodes[EU1]._parts.topology
        records = nodes[EU1].config.records
        topology.replace(Feeder.STATIC, [])
        nodes[ONE].send(0x112, b"1")
        self.network.settle()
        topology.replace(Feeder.STATIC, records)
        nodes[ONE].send(0x112, b"2")
        self.network.settle()
        self.assertEqual(self.mail[nodes[0x112]].payloads, [b"0", b"1", b"2"])
        self.assertIn(EU2, nodes[EU1].endpoints)

    def test_lost_while_it_is_there(self) -> None:
        """
        A record that is withdrawn for good takes no connection away: that a node is registered is
        worth more than what a registry has forgotten. When it leaves it is not looked for.

        Scenario: Z7
        """
        nodes = self.connected()
        nodes[EU1]._parts.topology.replace(Feeder.STATIC, [])
        self.network.settle(600)
        self.assertIn(EU2, nodes[EU1].endpoints)
        nodes[ONE].send(0x112, b"1")
        self.network.settle()
        self.assertEqual(self.mail[nodes[0x112]].payloads, [b"0", b"1"])
        self.network.result_of(nodes[0x112].stop())
        self.network.dials.clear()
        self.network.result_of(nodes[EU2].stop())
        self.network.settle(60)
        self.assertNotIn(EU2, nodes[EU1].endpoints)
        self.assertIsNone(nodes[EU1]._parts.topology.registry.get(EU2))
        self.assertNotIn(address_of(EU2), [str(each) for each in self.network.dials])

    def test_the_same_again(self) -> None:
        """
        A record that says what is known already changes nothing.

        Scenario: Z8
        """
        nodes = self.connected()
        topology, traffic = nodes[EU1]._parts.topology, nodes[EU1]._parts.traffic
        before = topology.registry.version, traffic.generation
        topology.replace(Feeder.STATIC, nodes[EU1].config.records)
        self.assertEqual((topology.registry.version, traffic.generation), before)

    def test_deleted_and_put_again(self) -> None:
        """
        A peer that is gone and whose record is withdrawn is not dialled; when there is a record
        again it is, and messages arrive before and after.

        Scenario: Z10
        """
        nodes = self.connected()
        topology = nodes[EU1]._parts.topology
        records = nodes[EU1].config.records
        topology.replace(Feeder.STATIC, [])
        self.network.cut(nodes[EU1], nodes[EU2])
        self.network.settle(0.5)
        self.network.dials.clear()
        nodes[ONE].send(0x112, b"1")
        self.network.settle(20)
        self.assertEqual(self.network.dials, [])
        topology.replace(Feeder.STATIC, records)
        nodes[ONE].send(0x112, b"2")
        self.network.settle(20)
        nodes[ONE].send(0x112, b"3")
        self.network.settle()
        self.assertEqual([str(each) for each in self.network.dials][:1], [address_of(EU2)])
        self.assertIn(EU2, nodes[EU1].endpoints)
        self.assertEqual(self.mail[nodes[0x112]].payloads, [b"0", b"1", b"2", b"3"])

    def test_those_behind_a_proxy(self) -> None:
        """
        When a connected proxy is gone, so is the direct way to all that is below it; it does not
        matter which of them goes first.

        Scenario: Z17, Z18
        """
        nodes = self.connected()
        self.assertEqual(nodes[EU1].next_hop(0x112).id, EU2)
        self.network.result_of(nodes[0x112].stop())
        self.network.settle()
        self.assertEqual(nodes[EU1].next_hop(0x112).id, EU2)
        self.network.result_of(nodes[EU2].stop())
        self.network.settle(0.01)
        self.assertEqual(nodes[EU1].next_hop(0x112).id, CROSS)
        sequence = nodes[ONE].send(0x112, b"x")
        self.network.settle()
        self.assertEqual(self.mail[nodes[ONE]].news, [(0x112, sequence, 1, "NO_ROUTE")])

    def test_a_record_of_nobody_in_particular(self) -> None:
        """Records of nodes without addresses are known, and nobody is dialled for them."""
        nodes = self.connected()
        nodes[EU1]._parts.topology.claim(Feeder.ETCD, [Record(bus_id=0x777, upstream_id=CROSS)])
        choice = nodes[EU1]._parts.directs.choice(0x777)
        assert isinstance(choice, Stay)
        self.assertTrue(choice.reason)
