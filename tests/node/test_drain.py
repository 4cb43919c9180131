"""A proxy that drains, those below it, and those who come meanwhile."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.errors import AtbusError, LocalProtocolError, Status
from atbus.node.endpoint import Gate
from atbus.node.node import Node
from atbus.routing.drain import Drained
from atbus.testing.channel import VirtualChannel
from atbus.testing.network import VirtualNetwork
from atbus.wire.messages import MessageType
from tests.node.mail import MailTests

TOP, NORTH, SOUTH, EAST = 0x1, 0x11, 0x12, 0x13
ONE, TWO = 0x101, 0x102


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.0.{bus_id >> 8}.{bus_id & 255}:1"


class DrainBus(MailTests):
    """
    Two proxies under a third, and leaves that know both::

        TOP 1 --+-- NORTH 11 -- ONE 101, TWO 102
                `-- SOUTH 12
    """

    def proxy(self, bus_id: int, **options: Any) -> Node:
        """Make a proxy."""
        upstream = None if bus_id == TOP else address_of(TOP)
        chosen = {"listen": [address_of(bus_id)], "upstream": upstream, "proxy": True}
        return self.node(bus_id, topology="records", **chosen, **options)

    def leaf_of(self, bus_id: int, *upstreams: int, **options: Any) -> Node:
        """Start a leaf that knows some proxies."""
        addresses = [address_of(each) for each in upstreams or (NORTH, SOUTH)]
        chosen: dict[str, Any] = {"topology": "records", "direct_connections": False, **options}
        node = self.node(bus_id, upstreams=addresses, **chosen)
        self.network.start(node)
        self.network.settle(0.2)
        return node

    def region(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start the proxies."""
        proxies = tuple(self.proxy(each, **options) for each in (TOP, NORTH, SOUTH))
        self.network.start(*proxies)
        top, north, south = proxies
        return top, north, south

    def drained(self, node: Node) -> Drained:
        """Drain a node and wait until it is done."""
        return self.network.result_of(node.drain())


class MovingTargetTests(DrainBus):
    """A target that is found elsewhere while messages for it wait."""

    def test_what_waits_goes_first(self) -> None:
        """
        Messages behind a gate take the new way of their target before those that come later.

        A proxy is about to be connected to another one directly; meanwhile the node below that one
        moves to a third.
        """
        top, north, east = (self.proxy(each, route_table="full") for each in (TOP, NORTH, EAST))
        self.network.start(top, north, east)
        leaf = self.leaf_of(ONE, SOUTH, NORTH, upstream_return_seconds=0.2)
        self.network.settle(0.5)
        self.assertEqual(self.ids(leaf), [NORTH])
        self.network.start(self.proxy(SOUTH))
        # The gate waits for the answer to a FLUSH that is stuck.
        stuck = self.data_channel(top, north)
        stuck.stall()
        east.connect(address_of(NORTH))
        self.network.settle(0.05)
        east.send(ONE, b"1")
        self.assertEqual(len(east.endpoints[NORTH].pending), 1)
        for _ in range(50):
            if east.next_hop(ONE).id != NORTH:
                break
            self.network.settle(0.01)
        self.assertEqual(east.endpoints[NORTH].gate.value, "flushing")
        east.send(ONE, b"2")
        self.network.settle(0.2)
        self.assertEqual(self.mail[leaf].payloads, [b"1", b"2"])
        stuck.resume()
        self.network.settle(3)
        self.assertEqual(self.mail[leaf].payloads, [b"1", b"2"])


class DrainTests(DrainBus):
    """Those below move, and nobody new comes."""

    def test_everybody_moves(self) -> None:
        """Those below are below the other proxy, and neither of them was without one."""
        _, north, south = self.region()
        one, two = self.leaf_of(ONE), self.leaf_of(TWO)
        result = self.drained(north)
        self.assertEqual((result.moved, result.stayed), ((ONE, TWO), ()))
        self.assertEqual((self.ids(north), self.ids(south)), ([TOP], [TOP, ONE, TWO]))
        for leaf in (one, two):
            told = self.diaries[leaf].of("on_upstream_changed")
            self.assertEqual(told, [(NORTH,), (SOUTH,)])
            self.assertEqual(leaf.state, "running")
        self.assertEqual(self.diaries[north].of("on_drained"), [(result,)])
        self.assertIs(self.network.result_of(north.drain()), result)

    def test_it_says_so(self) -> None:
        """Everybody who knows the node knows that it is draining."""
        top, north, _ = self.region()
        self.assertFalse(north.draining)
        self.drained(north)
        self.network.settle(1)
        self.assertTrue(north.draining)
        (record,) = [each for each in top.records() if each.bus_id == NORTH]
        self.assertTrue(record.is_draining and record.is_proxy)

    def test_nobody_new(self) -> None:
        """Who wants to register is refused by name, and is not ended by that: it goes elsewhere."""
        _, north, south = self.region()
        self.drained(north)
        leaf = self.leaf_of(ONE)
        self.assertEqual(self.diaries[leaf].registrations()[0], (NORTH, "CONTROL", "CLOSING"))
        self.assertIn(ONE, south.endpoints)
        refusing = self.refusal_of(south.connect(address_of(NORTH)))
        self.assertIs(refusing, Status.CLOSING)

    def test_it_goes_on_forwarding(self) -> None:
        """Who has nowhere to go is served as before, and is told of in the result."""
        _, north, _ = self.region()
        one, two = self.leaf_of(ONE, NORTH), self.leaf_of(TWO, NORTH)
        result = self.drained(north)
        stayed = ((ONE, Status.NO_ROUTE), (TWO, Status.NO_ROUTE))
        self.assertEqual((result.moved, result.stayed), ((), stayed))
        self.assertLess(result.seconds, 1)
        one.send(TWO, b"still")
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"still"])

    def test_the_other_one_is_away(self) -> None:
        """A leaf that finds nobody else says so, goes on looking, and moves when it can."""
        _, north, south = self.region()
        leaf = self.leaf_of(ONE)
        self.network.stop(south)
        result = self.drained(north)
        self.assertEqual(result.stayed, ((ONE, Status.CONNECT_FAILED),))
        self.network.start(south)
        self.network.settle(60)
        self.assertEqual(self.ids(leaf), [SOUTH])

    def test_somebody_who_does_not_answer(self) -> None:
        """A leaf that stands still is waited for as long as was said, and no longer."""
        _, north, _ = self.region(drain_seconds=5.0)
        leaf = self.leaf_of(ONE)
        self.network.freeze(leaf)
        result = self.drained(north)
        self.assertEqual(result.stayed, ((ONE, Status.TIMEOUT),))
        self.assertTrue(5.0 <= result.seconds < 5.1, result.seconds)

    def test_a_node_that_stops_drains_first(self) -> None:
        """A proxy that is stopped is left by those below before it leaves."""
        _, north, _ = self.region()
        leaf = self.leaf_of(ONE)
        self.network.stop(north)
        told = self.diaries[leaf].of("on_upstream_changed")
        self.assertEqual(told, [(NORTH,), (SOUTH,)])

    def test_its_next_life(self) -> None:
        """A proxy that was drained, stopped and started takes nodes in again."""
        _, north, _ = self.region()
        self.drained(north)
        self.network.stop(north)
        self.network.start(north)
        self.assertFalse(north.draining)
        self.assertEqual(self.ids(self.leaf_of(ONE)), [NORTH])

    def test_only_while_it_is_up(self) -> None:
        """A node that was not started has nothing to drain."""
        self.assertRaises(LocalProtocolError, self.proxy(TOP).drain)


class MoveTests(DrainBus):
    """What is on its way while a leaf moves."""

    def test_what_is_behind_a_stuck_link(self) -> None:
        """Messages that still are on the old way arrive before those that take the new one."""
        _, north, _ = self.region()
        one, two = self.leaf_of(ONE), self.leaf_of(TWO)
        one.send(TWO, b"1")
        self.network.settle()
        stuck = self.data_channel(north, two)
        stuck.stall()
        one.send(TWO, b"2")
        north.drain()
        self.network.settle(0.5)
        self.assertIn(SOUTH, one.endpoints)
        one.send(TWO, b"3")
        self.network.settle(0.2)
        self.assertEqual(self.mail[two].payloads, [b"1"])
        stuck.resume()
        self.network.settle(3)
        self.assertEqual(self.mail[two].payloads, [b"1", b"2", b"3"])
        self.assertEqual(one.statistics.order_given_up, 0)

    def test_the_news_of_the_new_place_are_slow(self) -> None:
        """Nobody is refused when the proxy that was left tells of the move before the new one."""
        top, north, south = self.region()
        one = self.leaf_of(ONE)
        self.network.result_of(south.connect(address_of(NORTH)))
        # What the new proxy says arrives at the old one, and not yet above both.
        for channel in self.network.between(south, top):
            channel.stall()
        north.drain()
        for number in range(12):
            top.send(ONE, b"%d" % number)
            self.network.settle(0.05)
        for channel in self.network.between(south, top):
            channel.resume()
        self.network.settle(3)
        self.assertEqual(self.ids(one), [SOUTH])
        self.assertEqual(self.mail[one].payloads, [b"%d" % number for number in range(12)])
        self.assertEqual([f for f in self.mail[top].fates if f.status is not Status.OK], [])

    def moved_while_stuck(self, north: Node, one: Node, two: Node) -> VirtualChannel:
        """Let NORTH drain while what one leaf has sent to the other is stuck on its last hop."""
        one.send(TWO, b"1")
        self.network.settle()
        stuck = self.data_channel(north, two)
        stuck.stall()
        one.send(TWO, b"2")
        north.drain()
        self.network.settle(0.3)
        return stuck

    def test_an_order_that_is_given_up(self) -> None:
        """When the old way is stuck for more than a second the new one opens, and this is told."""
        _, north, _ = self.region()
        one, two = self.leaf_of(ONE), self.leaf_of(TWO)
        stuck = self.moved_while_stuck(north, one, two)
        self.network.settle(0.2)
        one.send(TWO, b"3")
        self.network.settle(limits.FLUSH_SECONDS + 0.1)
        self.assertEqual(self.mail[two].payloads, [b"1", b"3"])
        self.assertTrue(one.statistics.order_given_up)
        stuck.resume()
        self.network.settle(3)
        self.assertEqual(self.mail[two].payloads, [b"1", b"3", b"2"])

    def test_fragments_are_held_all_or_none(self) -> None:
        """A message that is longer than there is room for is refused whole while others wait."""
        _, north, _ = self.region()
        one, two = self.leaf_of(ONE, queued_bytes_node=400_000), self.leaf_of(TWO)
        stuck = self.moved_while_stuck(north, one, two)
        one.send(TWO, b"3")
        ways = one._parts.context.ways
        before = ways.held_bytes
        self.assertGreater(before, 0)
        self.assertEqual(self.refused(one, TWO, bytes(360_000)), "BACKPRESSURE")
        self.assertEqual(ways.held_bytes, before)
        one.send(TWO, bytes(200_000))
        one.send(TWO, b"5")
        stuck.resume()
        self.network.settle(2)
        self.assertEqual([len(p) for p in self.mail[two].payloads], [1, 1, 1, 200_000, 1])
        self.assertEqual(self.mail[one].fates, [])

    def test_a_flush_that_nobody_carries(self) -> None:
        """A flush that a relay drops keeps nobody waiting: nothing is on its way any more."""
        top, north, _ = self.region()
        one = self.leaf_of(ONE, NORTH)
        stuck = self.data_channel(north, top)
        stuck.stall()
        one.send(TWO, b"too early")
        self.network.settle(0.05)
        two = self.leaf_of(TWO, NORTH)
        one.send(TWO, b"in time")
        self.network.settle(0.05)
        self.assertEqual(self.mail[two].payloads, [])
        stuck.resume()
        self.network.settle(0.3)
        self.assertEqual(self.mail[two].payloads, [b"in time"])
        self.assertEqual(north.statistics.order_given_up, 0)
        self.assertEqual(self.mail[one].statuses(), ["LOOP"])

    def test_a_flow_at_rest_needs_no_flush(self) -> None:
        """When all has arrived that went the old way, the new one is taken without asking."""
        _, north, _ = self.region()
        one, two = self.leaf_of(ONE), self.leaf_of(TWO)
        one.send(TWO, b"1")
        self.network.settle(1)
        self.drained(north)
        one.send(TWO, b"2")
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"1", b"2"])
        written = self.frames(self.data_channel(one, self.nodes[2]), MessageType.FLUSH)
        self.assertEqual(written, [])


class DeadEndTests(DrainBus):
    """A neighbor that has registered when the node stops, without data yet."""

    def waiting(self, *, south_dials: bool) -> tuple[Node, Node, Node, Node]:
        """
        Have NORTH and SOUTH meet, and a message wait at NORTH for the data connection.

        :returns: TOP, NORTH, SOUTH, and the leaf of NORTH that has sent it.
        """
        self.begin(VirtualNetwork(delay_seconds=0.02))
        top, north, south = self.region()
        leaf = self.leaf_of(ONE, NORTH)
        self.network.settle(1)
        dialler, place = (south, NORTH) if south_dials else (north, SOUTH)
        dialling = dialler.connect(address_of(place))
        dialling.addErrback(lambda why: why.trap(AtbusError))
        while SOUTH not in north.endpoints:
            self.network.settle(0.005)
        self.assertIs(north.endpoints[SOUTH].gate, Gate.CLOSED)
        leaf.send(SOUTH, b"before")
        self.network.settle(0.025)
        self.assertEqual(len(north.endpoints[SOUTH].pending), 1)
        return top, north, south, leaf

    def test_what_waits_for_it_takes_another_way(self) -> None:
        """
        Nobody listens any more, so it cannot open: what is for it goes by way of the upstream.
        """
        top, north, south, leaf = self.waiting(south_dials=True)
        stopping = north.stop()
        leaf.send(SOUTH, b"behind")
        self.network.result_of(stopping)
        self.network.settle(1)
        self.assertEqual(self.mail[south].payloads, [b"before", b"behind"])
        self.assertEqual(self.mail[leaf].fates, [])
        self.assertEqual(top.statistics.uncertain_messages, 0)

    def test_what_is_being_opened_goes_on(self) -> None:
        """
        A data connection that the stopping node has just dialled is registered, and used.

        It was refused, and what waited for it was so for seconds.
        """
        _, north, south, leaf = self.waiting(south_dials=False)
        # The leaf does not hear that it is to move.
        self.control_channel(north, leaf).stall()
        stopping = north.stop()
        self.network.settle(0.3)
        self.assertEqual(self.mail[south].payloads, [b"before"])
        self.network.result_of(stopping)
        self.assertEqual(self.mail[leaf].fates, [])

    def test_what_is_for_us_to_dial_may_still_open(self) -> None:
        """While those below have not moved, a stopping node dials what it has lost."""
        top, north, _ = self.region()
        leaf = self.leaf_of(ONE, NORTH)
        self.network.unreachable.add(top.addresses[0])
        self.data_channel(north, top).abort("a test")
        self.network.settle(0.1)
        self.assertIs(north.endpoints[TOP].gate, Gate.CLOSED)
        # The leaf does not hear that it is to move.
        self.control_channel(north, leaf).stall()
        stopping = north.stop()
        leaf.send(TOP, b"up")
        self.network.settle(0.2)
        self.assertEqual(self.mail[top].payloads, [])
        self.network.unreachable.clear()
        self.network.result_of(stopping)
        self.assertEqual(self.mail[top].payloads, [b"up"])


class UnverifiedTests(DrainBus):
    """A neighbor that brings something before it is known that it may."""

    def test_a_record_that_is_late(self) -> None:
        """A message waits for the record of its source, which travels on another connection."""
        top, north, south = self.region()
        leaf = self.leaf_of(ONE, NORTH)
        self.network.settle(1)
        stuck = self.control_channel(south, top)
        stuck.stall()
        other = self.leaf_of(TWO, SOUTH)
        other.send(ONE, b"early")
        self.network.settle(0.1)
        self.assertEqual(self.mail[leaf].payloads, [])
        stuck.resume()
        self.network.settle(0.2)
        self.assertEqual(self.mail[leaf].payloads, [b"early"])
        self.assertEqual(self.mail[other].fates, [])
        self.assertEqual(north.statistics.refused[Status.SOURCE_REFUSED], 0)

    def test_a_record_that_does_not_come(self) -> None:
        """After a fifth of a second the message is refused, by name."""
        top, _, south = self.region()
        self.leaf_of(ONE, NORTH)
        self.control_channel(south, top).stall()
        other = self.leaf_of(TWO, SOUTH)
        other.send(ONE, b"early")
        self.network.settle(limits.UNVERIFIED_SECONDS + 0.1)
        self.assertEqual(top.statistics.refused[Status.SOURCE_REFUSED], 1)
