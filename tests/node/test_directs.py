"""Direct connections that nodes make as messages ask for them, and what keeps them from it."""

from __future__ import annotations

from typing import Any

import attrs

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.routing import bounds
from atbus.routing.record import Record
from atbus.routing.registry import Feeder
from atbus.routing.relation import Relation
from tests.node.mesh import (
    CROSS,
    EU1,
    EU2,
    EU_LEAF,
    EU_OTHER,
    US1,
    US2,
    MeshTests,
    address_of,
)

US_LEAF = 0x121


class CrossRegionTests(MeshTests):
    """Two regions of two proxies each under a cross-region proxy, and leaves below them."""

    def regions(self, **options: Any) -> dict[int, Node]:
        """Start all of it."""
        return self.mesh(CROSS, EU1, EU2, US1, US2, EU_LEAF, EU_OTHER, US_LEAF, **options)

    def test_within_a_region(self) -> None:
        """
        The first message between two proxies of a region goes through the cross-region proxy; then
        they are connected without having been told to, and the rest goes directly, in order.

        Scenario: CC1, CC10, X7
        """
        nodes = self.regions()
        cross, eu1 = nodes[CROSS], nodes[EU1]
        self.assertEqual(sorted(eu1.endpoints), [CROSS, EU_LEAF])
        sender, receiver = nodes[EU_LEAF], nodes[EU_OTHER]
        payloads = [b"%d" % number for number in range(60)]
        for place, payload in enumerate(payloads):
            sender.send(EU_OTHER, payload)
            self.network.settle(0.001 if place < 50 else 0.1)
        self.network.settle()
        self.assertEqual(self.mail[receiver].payloads, payloads)
        self.assertEqual(sorted(eu1.endpoints), [CROSS, EU2, EU_LEAF])
        self.assertEqual(sorted(nodes[EU2].endpoints), [CROSS, EU1, EU_OTHER])
        passed = cross.statistics.forwarded_messages
        self.assertLess(passed, 50)
        sender.send(EU_OTHER, b"direct")
        receiver.send(EU_LEAF, b"back")
        self.network.settle()
        self.assertEqual(cross.statistics.forwarded_messages, passed)
        self.assertEqual(self.mail[sender].payloads, [b"back"])
        hop = eu1.next_hop(EU_OTHER)
        self.assertEqual((hop.id, hop.relation), (EU2, Relation.OTHER_UPSTREAM_PEER))
        self.assertEqual(str(hop.address), address_of(EU2))
        self.assertIn("below neighbor 0x12", hop.rule)

    def test_a_node_that_stops(self) -> None:
        """What it passes on makes it dial nobody: who registered then was not told that it left."""
        nodes = self.regions()
        eu1, sender, receiver = nodes[EU1], nodes[EU_LEAF], nodes[EU_OTHER]
        # The leaf does not hear that it is to move.
        self.control_channel(eu1, sender).stall()
        stopping = eu1.stop()
        dialled = len(self.network.dials)
        for number in range(20):
            sender.send(EU_OTHER, b"%d" % number)
            self.network.settle(0.01)
        self.assertEqual(self.network.dials[dialled:], [])
        self.assertEqual(len(self.mail[receiver].payloads), 20)
        self.network.result_of(stopping)
        self.network.settle()
        self.assertEqual(self.mail[sender].fates, [])

    def test_across_regions(self) -> None:
        """
        Proxies of two regions never connect: all that goes across takes the cross-region proxy.

        Scenario: CC1, X8
        """
        nodes = self.regions()
        for number in range(20):
            nodes[EU_LEAF].send(US_LEAF, b"%d" % number)
            nodes[US_LEAF].send(EU_LEAF, b"%d" % number)
            self.network.settle(1)
        self.assertEqual(len(self.mail[nodes[US_LEAF]].payloads), 20)
        self.assertEqual(len(self.mail[nodes[EU_LEAF]].payloads), 20)
        self.assertEqual(nodes[CROSS].statistics.forwarded_messages, 40)
        for bus_id in (EU1, EU2, US1, US2):
            self.assertEqual([each for each in nodes[bus_id].endpoints if each < 0x100], [CROSS])

    def test_a_connection_that_serves_nobody(self) -> None:
        """
        Proxies that were connected for those below them part when nobody is below them any more,
        after a while, in case somebody comes back; they never part from their upstream.

        Scenario: Z19
        """
        nodes = self.regions(records=[])
        self.network.settle(1)
        eu1, eu2 = nodes[EU1], nodes[EU2]
        nodes[EU_LEAF].send(EU_OTHER, b"1")
        self.network.settle(2)
        self.assertIn(EU2, eu1.endpoints)
        self.network.stop(nodes[EU_OTHER])
        self.network.settle(2 * bounds.PASSIVE_SECONDS)
        # It still serves the leaf below this end.
        self.assertIn(EU2, eu1.endpoints)
        self.network.stop(nodes[EU_LEAF])
        self.network.settle(bounds.PASSIVE_SECONDS - 2)
        self.assertIn(EU2, eu1.endpoints)
        self.network.settle(10)
        self.assertEqual((self.ids(eu1), self.ids(eu2)), ([CROSS], [CROSS]))
        self.assertIs(self.diaries[eu1].of("on_endpoint_removed")[-1][1], Status.DISCONNECTED)
        # Who has something to say to the other proxy itself is not kept from it.
        eu1.send(EU2, b"2")
        self.network.settle(2 * bounds.PASSIVE_SECONDS)
        self.assertEqual(self.mail[eu2].payloads, [b"2"])
        self.assertIn(EU2, eu1.endpoints)

    def test_the_other_side_has_a_policy_too(self) -> None:
        """
        A connection that one side allows and the other does not is refused by the other side, and
        both know why.

        Scenario: X10
        """
        nodes = self.mesh(CROSS, EU1, EU2, policy=[])
        told: list[tuple[Status, str]] = []
        nodes[EU1].events.on_error.observe(lambda *values: told.append(values))
        heard: list[tuple[Status, str]] = []
        strict = self.mesh_node(US1, [], policy=[{"name": "home", "action": "deny"}])
        strict.events.on_error.observe(lambda *values: heard.append(values))
        self.network.start(strict)
        nodes[EU1]._parts.topology.claim(
            Feeder.ETCD, [Record(bus_id=US1, upstream_id=CROSS, addresses=(address_of(US1),))]
        )
        nodes[EU1].send(US1, b"x")
        self.network.settle()
        self.assertNotIn(US1, nodes[EU1].endpoints)
        self.assertEqual(self.mail[strict].payloads, [b"x"])
        for news in (told, heard):
            self.assertEqual([status for status, _ in news], [Status.POLICY_DENIED])
            self.assertIn("policy[0] (home) denies it", news[0][1])

    def test_asked_for_on_purpose(self) -> None:
        """
        The policy is asked also when a program wants a connection.

        Scenario: CC5
        """
        nodes = self.mesh(CROSS, EU1, US1)
        refused = self.refusal_of(nodes[EU1].connect(address_of(US1)))
        self.assertIs(refused, Status.POLICY_DENIED)
        self.assertNotIn(US1, nodes[EU1].endpoints)

    def test_a_link_between_proxies_breaks(self) -> None:
        """When two connected proxies lose each other, what goes between their trees takes the
        cross-region proxy, and they find each other again."""
        nodes = self.regions()
        sender, receiver = nodes[EU_LEAF], nodes[EU_OTHER]
        sender.send(EU_OTHER, b"1")
        self.network.settle()
        self.assertIn(EU2, nodes[EU1].endpoints)
        self.network.cut(nodes[EU1], nodes[EU2])
        self.network.settle(0.01)
        self.assertNotIn(EU2, nodes[EU1].endpoints)
        sender.send(EU_OTHER, b"2")
        self.network.settle()
        self.assertEqual(self.mail[receiver].payloads, [b"1", b"2"])
        self.assertIn(EU2, nodes[EU1].endpoints)


class WithoutUpstreamTests(MeshTests):
    """Nodes that know where others listen, and have no other way to them."""

    def test_messages_wait_for_the_connection(self) -> None:
        """
        What has no way yet waits while its target is dialled, and arrives in order.

        Scenario: X1, X4
        """
        one, two = self.lone_pair()
        self.network.start(two)
        self.send_all(one, self.TWO, [b"1", b"2", b"3"])
        self.assertEqual(one._parts.directs.waiting, 3)
        self.network.settle()
        one.send(self.TWO, b"4")
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"1", b"2", b"3", b"4"])
        self.assertEqual({letter.source for letter in self.mail[two].letters}, {self.ONE})
        self.assertEqual(one._parts.directs.waiting, 0)
        self.assert_quiet(one, two)

    def test_a_target_that_comes_late(self) -> None:
        """
        A target that is not there yet is dialled again, after 2 seconds, then 4; what has not
        waited too long arrives.

        Scenario: X5
        """
        one, two = self.lone_pair()
        one.send(self.TWO, b"1")
        self.network.settle(1)
        self.assertEqual(len(self.network.dials), 1)
        self.network.settle(2)
        self.assertEqual(len(self.network.dials), 2)
        self.network.start(two)
        self.network.settle(3)
        self.assertEqual(self.mail[two].payloads, [])
        self.network.settle(1.5)
        self.assertEqual(self.mail[two].payloads, [b"1"])

    def test_a_target_that_never_comes(self) -> None:
        """
        After some attempts the target is given up; each message was answered when its time was
        over, and nothing is left of it.

        Scenario: X5, X6, Z12
        """
        one, _ = self.lone_pair()
        sequences = self.send_all(one, self.TWO, [b"1", b"2"])
        self.network.settle(limits.PENDING_SECONDS + 1)
        self.assertEqual(
            self.mail[one].news, [(self.TWO, each, 1, "TIMEOUT") for each in sequences]
        )
        self.network.settle(120)
        self.assertEqual(len(self.network.dials), limits.DIRECT_ATTEMPTS_MAX)
        self.assertEqual(one._parts.directs._wanted, {})
        self.assert_quiet(one)

    def test_a_target_that_is_elsewhere_now(self) -> None:
        """
        However far off the next attempt is, a target whose record tells another place is dialled
        there at once, and what waited arrives.

        Scenario: Z13
        """
        one, two = self.lone_pair()
        self.network.start(two)
        topology = one._parts.topology
        gone = Record(bus_id=self.TWO, addresses=("ipv4://10.0.0.9:9",))
        topology.replace(Feeder.STATIC, [gone])
        one.send(self.TWO, b"0")
        self.network.settle(limits.PENDING_SECONDS)
        one.send(self.TWO, b"1")
        self.network.settle(0.1)
        self.assertGreater(one._parts.directs._wanted[self.TWO].due, one._parts.context.now + 5)
        topology.replace(Feeder.STATIC, [attrs.evolve(gone, addresses=(address_of(self.TWO),))])
        self.network.settle(0.1)
        self.assertEqual(self.mail[two].payloads, [b"1"])
        self.assert_quiet(one, two)

    def test_the_next_attempt_stays_where_it_is(self) -> None:
        """
        A record that changes and says the same place makes nobody dial sooner, nor later.

        Scenario: Z14
        """
        one, _ = self.lone_pair()
        topology = one._parts.topology
        gone = Record(bus_id=self.TWO, addresses=("ipv4://10.0.0.9:9",))
        topology.replace(Feeder.STATIC, [gone])
        one.send(self.TWO, b"1")
        self.network.settle(1)
        due = one._parts.directs._wanted[self.TWO].due
        for zone in "ab":
            relabelled = attrs.evolve(gone, labels={"zone": zone})
            topology.replace(Feeder.STATIC, [relabelled])
            self.network.settle(0.1)
        self.assertEqual(one._parts.directs._wanted[self.TWO].due, due)
        self.assertEqual(len(self.network.dials), 1)
        self.network.settle(1.5)
        self.assertEqual(len(self.network.dials), 2)

    def test_a_target_that_moves_while_it_is_dialled(self) -> None:
        """A record that changes while its node is being dialled is followed when that failed."""
        one, two = self.lone_pair()
        self.network.start(two)
        topology = one._parts.topology
        gone = Record(bus_id=self.TWO, addresses=("ipv4://10.0.0.9:9",))
        topology.replace(Feeder.STATIC, [gone])
        one.send(self.TWO, b"1")
        self.network.clock.advance(0)
        self.assertTrue(one._parts.directs._wanted[self.TWO].dialling)
        topology.replace(Feeder.STATIC, [attrs.evolve(gone, addresses=(address_of(self.TWO),))])
        self.network.settle(0.5)
        self.assertEqual(self.mail[two].payloads, [b"1"])

    def half_known(self) -> tuple[Node, Node, Record]:
        """Start two nodes one of which knows that the other is there, and not where."""
        one, two = self.lone_pair()
        self.network.start(two)
        record = one._parts.topology.registry.get(self.TWO)
        assert record is not None
        one._parts.topology.replace(Feeder.STATIC, [])
        one._parts.directs.is_expected = (
            lambda bus_id: bus_id == self.TWO and bus_id not in one._parts.topology.registry
        )
        return one, two, record

    def test_a_record_that_comes_late(self) -> None:
        """Messages to a node that is expected wait for its record, and arrive in order."""
        one, two, record = self.half_known()
        self.send_all(one, self.TWO, [b"1", b"2"])
        self.network.settle(limits.PENDING_SECONDS - 1)
        self.assertEqual((self.mail[one].news, self.network.dials), ([], []))
        one._parts.topology.replace(Feeder.STATIC, [record])
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"1", b"2"])
        self.assert_quiet(one, two)

    def test_a_look_round_in_the_middle_of_a_turn(self) -> None:
        """
        On a machine that is held up what is due by the clock comes before the end of a turn: what
        has just begun to wait goes on waiting, for a dial as for a record that has just come.
        """
        one, two = self.lone_pair()
        self.network.start(two)
        one.send(self.TWO, b"1")
        one._parts.directs.sweep()
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"1"])
        self.assert_quiet(one, two)

    def test_a_look_round_when_a_record_has_come(self) -> None:
        """The same for a node that was expected, and whose record has come in this turn."""
        one, two, record = self.half_known()
        one.send(self.TWO, b"1")
        self.network.settle(1)
        one._parts.topology.replace(Feeder.STATIC, [record])
        one._parts.directs.sweep()
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"1"])
        self.assert_quiet(one, two)

    def test_a_record_that_never_comes(self) -> None:
        """Messages to a node that is expected in vain are answered, and nothing is left of it."""
        one, _, _ = self.half_known()
        sequences = self.send_all(one, self.TWO, [b"1", b"2"])
        self.network.settle(limits.PENDING_SECONDS + 1)
        self.assertEqual(
            self.mail[one].news, [(self.TWO, each, 1, "TIMEOUT") for each in sequences]
        )
        self.network.settle(60)
        self.assertEqual((one._parts.directs._wanted, self.network.dials), ({}, []))

    def test_a_node_that_is_expected_no_more(self) -> None:
        """When what was known of a node has gone as well, its messages are answered soon."""
        one, _, _ = self.half_known()
        sequence = one.send(self.TWO, b"1")
        self.network.settle(1)
        one._parts.directs.is_expected = lambda _: False
        self.network.settle(limits.PENDING_SECONDS - 2)
        self.assertEqual(self.mail[one].news, [(self.TWO, sequence, 1, "NOT_CONNECTED")])

    def test_the_proxy_above_a_target_never_comes(self) -> None:
        """
        A target that has moved below a proxy that is never there gets nothing; the sender is told.

        Scenario: Z4
        """
        one, two = self.lone_pair()
        self.network.start(two)
        moved = Record(bus_id=self.TWO, upstream_id=0x40)
        proxy = Record(bus_id=0x40, addresses=("ipv4://10.0.0.9:9",))
        one._parts.topology.replace(Feeder.STATIC, [moved, proxy])
        sequence = one.send(self.TWO, b"1")
        self.network.settle(limits.PENDING_SECONDS + 1)
        self.assertEqual({str(each) for each in self.network.dials}, {"ipv4://10.0.0.9:9"})
        self.assertEqual(self.mail[one].news, [(self.TWO, sequence, 1, "TIMEOUT")])
        self.assertEqual(self.mail[two].payloads, [])

    def test_a_target_that_is_forgotten_while_it_is_dialled(self) -> None:
        """
        A target of which nothing is known any more is dialled no more, and given up after the same
        number of attempts; what waited is answered. As long as anything waits it is kept.

        Scenario: Z11, V9
        """
        one, _ = self.lone_pair()
        sequence = one.send(self.TWO, b"1")
        self.network.settle(1)
        self.assertEqual(len(self.network.dials), 1)
        one._parts.topology.replace(Feeder.STATIC, [])
        self.network.settle(limits.PENDING_SECONDS)
        self.assertEqual(self.mail[one].news, [(self.TWO, sequence, 1, "TIMEOUT")])
        self.assertEqual(list(one._parts.directs._wanted), [self.TWO])
        self.network.settle(120)
        self.assertEqual(len(self.network.dials), 1)
        self.assertEqual(one._parts.directs._wanted, {})
        self.assert_quiet(one)

    def test_bounded(self) -> None:
        """What waits for a target is bounded, and so is the number of targets."""
        self.patch(limits, "PROSPECTS_MAX", 1)
        one, _ = self.lone_pair(pending_count_max=2)
        one._parts.topology.claim(
            Feeder.ETCD, [Record(bus_id=0x40, addresses=("ipv4://10.0.0.9:9",))]
        )
        self.send_all(one, self.TWO, [b"1", b"2"])
        self.assertEqual(self.refused(one, self.TWO), "BACKPRESSURE")
        self.assertEqual(self.refused(one, 0x40), "NO_ROUTE")

    def test_a_stop_answers_what_waits(self) -> None:
        """What waits when the node stops is answered."""
        one, _ = self.lone_pair()
        one.send(self.TWO, b"1")
        self.network.result_of(one.stop())
        self.assertEqual(self.mail[one].statuses(), ["CLOSING"])

    def test_nobody_may_be_dialled(self) -> None:
        """
        Without an upstream a message is refused at once: when direct connections are switched off
        by name of the route, when the policy forbids them by name of the rule.

        Scenario: X10, W3
        """
        deny = [{"name": "closed", "action": "deny"}]
        for options, status, why in (
            ({"direct_connections": False}, Status.NO_ROUTE, "no upstream"),
            ({"policy": deny}, Status.POLICY_DENIED, "policy[0] (closed) denies it"),
            ({"pending_policy": "fail"}, Status.NOT_CONNECTED, "being dialled"),
        ):
            one, _ = self.lone_pair(**options)
            error = self.assertRaises(Undeliverable, one.send, self.TWO, b"x")
            self.assertEqual((error.status, error.target), (status, self.TWO))
            self.assertIn(why, error.detail)
            self.assertEqual(self.refused(one, 0x199), "NO_ROUTE")

    def test_bounded_targets(self) -> None:
        """Beyond the bound no further target is looked at."""
        self.patch(limits, "DIRECT_TARGETS_MAX", 1)
        one, _ = self.lone_pair()
        one.send(self.TWO, b"1")
        self.assertEqual(self.refused(one, 0x199), "NO_ROUTE")
        self.assertEqual(list(one._parts.directs._wanted), [self.TWO])


class RelayTests(MeshTests):
    """Two proxies without a proxy above them, which know each other as a registry tells them."""

    def test_the_first_message_of_somebody_else(self) -> None:
        """What a proxy has no way for waits while the other proxy is dialled, and keeps order."""
        nodes = self.two_proxies()
        self.assertNotIn(EU2, nodes[EU1].endpoints)
        payloads = [b"%d" % number for number in range(30)]
        self.send_all(nodes[EU_LEAF], EU_OTHER, payloads[:10])
        for payload in payloads[10:]:
            nodes[EU_LEAF].send(EU_OTHER, payload)
            self.network.settle(0.0005)
        self.network.settle()
        self.assertEqual(self.mail[nodes[EU_OTHER]].payloads, payloads)
        self.assertEqual(self.mail[nodes[EU_LEAF]].fates, [])
        self.assertIn(EU2, nodes[EU1].endpoints)
        self.assert_quiet(*nodes.values())

    def test_who_waits_for_nobody(self) -> None:
        """When the other proxy does not answer, each message is answered in the end, once."""
        nodes = self.two_proxies(pending_seconds=2.0)
        nodes[EU2].stop()
        self.network.settle()
        sequence = nodes[EU_LEAF].send(EU_OTHER, b"x")
        waiting = nodes[EU_LEAF].deliver(EU_OTHER, b"y")
        self.network.settle(0.01)
        self.assertEqual(self.mail[nodes[EU_LEAF]].fates, [])
        self.assertIn(self.ended(waiting), (Status.TIMEOUT, Status.NOT_CONNECTED))
        self.network.settle(10)
        told = [(fate.first_sequence, fate.count) for fate in self.mail[nodes[EU_LEAF]].fates]
        self.assertEqual(told, [(sequence, 1), (sequence + 1, 1)])
        self.assert_quiet(nodes[EU1], nodes[EU_LEAF])

    def test_no_more_than_may_wait(self) -> None:
        """What there is no room for is answered at once."""
        nodes = self.two_proxies(pending_count_max=3)
        nodes[EU2].stop()
        self.network.settle()
        for _ in range(5):
            nodes[EU_LEAF].send(EU_OTHER, b"x")
            self.network.settle(0.01)
        self.assertEqual(self.mail[nodes[EU_LEAF]].statuses(), ["BUFFER_LIMIT", "BUFFER_LIMIT"])

    def test_where_nothing_waits(self) -> None:
        """Nodes that shall answer at once what has no way do so for others as well."""
        nodes = self.two_proxies(pending_policy="fail")
        nodes[EU_LEAF].send(EU_OTHER, b"x")
        self.network.settle(0.01)
        self.assertEqual(self.mail[nodes[EU_LEAF]].statuses(), ["NO_ROUTE"])
