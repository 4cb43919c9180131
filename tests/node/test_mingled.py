"""A program that sends to many in turn, while its node is busy: messages join runs unasked."""

from __future__ import annotations

from random import Random

from atbus import limits
from atbus.errors import Undeliverable
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.wire.messages import MessageType
from tests.node.mail import NORTH, NORTH_ADDRESS, Letter, MailTests

_LEAVES = 8
_KINDS = (0, 1, True, -1, 2**31 - 1, -(2**31))


class MingledTests(MailTests):
    """A node that sends to its eight leaves, drawn at random, some messages in each turn."""

    def setUp(self) -> None:
        super().setUp()
        self.top = self.node(NORTH, listen=[NORTH_ADDRESS], subnets=[(0, 8)])
        self.network.start(self.top)
        self.leaves = [self.leaf(NORTH + place) for place in range(1, _LEAVES + 1)]
        self.sent: dict[Node, list[Letter]] = {leaf: [] for leaf in self.leaves}
        self.dice = Random(7)
        self.unasked = 0

    def send(self, size: int = 40) -> None:
        """Send one message to somebody."""
        leaf = self.dice.choice(self.leaves)
        number = len(self.sent[leaf])
        payload, kind = b"%d" % number + bytes(size), self.dice.choice(_KINDS)
        flow = self.top._parts.context.open_flows.get(leaf.bus_id)
        self.unasked += flow is not None and flow.mingles and flow.left_bytes >= len(payload) + 8
        sequence = self.top.send(leaf.bus_id, payload, kind)
        self.sent[leaf].append(Letter(NORTH, kind, sequence, payload))

    def turns(self, count: int, messages: int = 3, size: int = 40) -> None:
        """Send some messages in each of some turns that follow each other at once."""

        def turn(left: int) -> None:
            for _ in range(messages):
                self.send(size)
            if left > 1:
                self.network.clock.callLater(0, turn, left - 1)

        turn(count)

    def check(self) -> None:
        """Let everything arrive: each leaf has what it was sent, in order."""
        self.network.settle(1)
        for leaf in self.leaves:
            self.assertEqual(self.mail[leaf].letters, self.sent[leaf])

    def test_most_join_unasked(self) -> None:
        """Of what a busy node sends to many in turn, most messages ask for nothing."""
        self.turns(300)
        self.check()
        self.assertGreater(self.unasked, 600)
        self.assertEqual(self.top._parts.context.open_flows, {})
        written = sum(len(self.data_channel(self.top, leaf).sent) for leaf in self.leaves)
        self.assertLess(written, 200)
        self.assertEqual(self.top.statistics.sent_messages, 900)

    def test_an_idle_node_mingles_nothing(self) -> None:
        """Turns with time between them are written one by one."""
        for _ in range(100):
            self.send()
            self.network.settle(0.01)
        self.check()
        self.assertEqual(self.unasked, 0)

    def test_what_is_queued_is_counted(self) -> None:
        """In the middle of it the queue of a link is known to the byte."""
        self.turns(60)
        self.network.clock.advance(0)
        total = 0
        for leaf in self.leaves:
            link = self.top.endpoints[leaf.bus_id].data_link
            assert link is not None
            total += link.queued_bytes
        accepted = sum(len(each.payload) + 8 for sent in self.sent.values() for each in sent)
        arrived = sum(
            len(frame) for leaf in self.leaves for frame in self.data_channel(self.top, leaf).sent
        )
        self.assertLessEqual(total, accepted)
        self.assertGreaterEqual(total + arrived, accepted)
        self.check()
        for leaf in self.leaves:
            link = self.top.endpoints[leaf.bus_id].data_link
            assert link is not None
            self.assertEqual(link.queued_bytes, 0)

    def test_only_what_joins_is_counted(self) -> None:
        """While nobody sends twice in succession, what counts as queued is what was accepted."""
        turn = self.top._parts.context.turn
        self.turns(60)
        self.network.clock.advance(0)
        self.assertTrue(turn.is_gathering)
        for growth in list(turn.unsettled):
            growth.settle()
        before, accepted = turn.queued_bytes, 0
        for place in range(40):
            leaf = self.leaves[place % _LEAVES]
            payload = b"%d" % place
            sequence = self.top.send(leaf.bus_id, payload, place)
            self.sent[leaf].append(Letter(NORTH, place, sequence, payload))
            accepted += len(payload) + 8
            self.assertEqual(turn.queued_bytes - before, accepted)
        self.check()

    def test_two_flows_of_one_link(self) -> None:
        """Two in succession beside a mingled one: all is counted as it is, and a look waits on."""
        sender, one, other, third = self.leaves[:4]
        turn = sender._parts.context.turn
        before, accepted, place = turn.queued_bytes, 0, 0

        def send(to: Node) -> None:
            nonlocal accepted, place
            payload = b"%d" % place
            sequence = sender.send(to.bus_id, payload, place % 3)
            self.sent[to].append(Letter(sender.bus_id, place % 3, sequence, payload))
            accepted += len(payload) + 8
            place += 1

        def alternate(left: int) -> None:
            send(one if left % 2 else other)
            if left:
                self.network.clock.callLater(0, alternate, left - 1)

        alternate(100)
        self.network.clock.advance(0)
        self.assertTrue(turn.is_gathering)
        link = sender.endpoints[NORTH].data_link
        assert link is not None
        link.flush()
        for to in (one, third, one, other, other, other):
            send(to)
        self.network.clock.advance(limits.GATHER_LOOK_SECONDS)
        self.assertEqual(turn.queued_bytes - before, accepted)
        self.assertTrue(turn.is_gathering)
        self.check()

    def test_one_joins_in_between(self) -> None:
        """Who sends to one, to another and to the first again has not sent twice in succession."""
        one, other = self.leaves[0], self.leaves[1]
        self.turns(60)
        self.network.clock.advance(0)
        turn, flows = self.top._parts.context.turn, self.top._parts.context.open_flows
        self.assertTrue(turn.is_gathering)
        link = self.top.endpoints[one.bus_id].data_link
        assert link is not None
        link.flush()
        for leaf in (other, one, other, one, other, one):
            sequence = self.top.send(leaf.bus_id, b"x", 1)
            self.sent[leaf].append(Letter(NORTH, 1, sequence, b"x"))
        self.assertTrue(flows[one.bus_id].mingles)
        self.assertTrue(flows[other.bus_id].mingles)
        self.check()

    def test_others_in_between(self) -> None:
        """Two in succession, options and what is no bytes have their place in the order."""
        leaf = self.leaves[0]
        self.turns(30)

        def special(place: int) -> None:
            for payload in (b"a%d" % place, b"b%d" % place, b"c%d" % place):
                sequence = self.top.send(leaf.bus_id, payload, 5)
                self.sent[leaf].append(Letter(NORTH, 5, sequence, payload))
            hops = b"d%d" % place
            sequence = self.top.send(leaf.bus_id, hops, 6, hop_limit=3)
            self.sent[leaf].append(Letter(NORTH, 6, sequence, hops))
            changing = bytearray(b"e%d" % place)
            sequence = self.top.send(leaf.bus_id, changing, 7)  # type: ignore[arg-type]  # taken
            self.sent[leaf].append(Letter(NORTH, 7, sequence, bytes(changing)))
            changing[:] = b"late"
            for _ in range(9):
                self.send()

        for place in range(20):
            self.network.clock.callLater(0, special, place)
        self.turns(30)
        self.check()
        self.assertGreater(self.unasked, 20)

    def test_bounds(self) -> None:
        """What joins unasked is within the limits: of a run, of a queue, and of a message."""
        most = 60_000
        config = self.top.config
        reconfigure(
            self.top, config.replace(queued_bytes_hard=most, queued_bytes_soft=most // 2)
        )
        refused = 0

        def turn(left: int) -> None:
            nonlocal refused
            for _ in range(40):
                try:
                    self.send(400)
                except Undeliverable as refusal:
                    self.assertEqual(refusal.status.name, "BACKPRESSURE")
                    refused += 1
            for leaf in self.leaves:
                link = self.top.endpoints[leaf.bus_id].data_link
                assert link is not None
                self.assertLessEqual(link.queued_bytes, most)
            if left:
                self.network.clock.callLater(0, turn, left - 1)

        turn(40)
        self.check()
        lengths = [
            len(frame) for leaf in self.leaves for frame in self.data_channel(self.top, leaf).sent
        ]
        self.assertLessEqual(max(lengths), limits.FRAME_BYTES)

    def test_the_way_changes(self) -> None:
        """When the routes change in the middle nothing joins what took the former way."""
        parts = self.top._parts
        self.turns(40)
        for _ in range(10):
            self.network.clock.callLater(0, parts.traffic.changed)
            self.network.clock.callLater(0, parts.sender.paused, None)
            self.network.clock.callLater(0, parts.sender.paused, self.leaves[1].bus_id)
        self.turns(40)
        self.check()
        parts.traffic.changed()
        self.assertEqual(parts.context.open_flows, {})

    def test_a_link_that_is_lost(self) -> None:
        """Of what had joined when a link died, each message is heard of once, or has arrived."""
        leaf = self.leaves[0]
        self.turns(60)
        self.network.clock.advance(0)
        self.network.cut(self.top, leaf)
        self.network.settle(30)
        told = {
            fate.first_sequence + place: fate.status.name
            for fate in self.mail[self.top].fates
            if fate.target == leaf.bus_id
            for place in range(fate.count)
        }
        self.assertEqual(len(told), len(self.mail[self.top].statuses()))
        arrived = {letter.sequence for letter in self.mail[leaf].letters}
        self.assertEqual(sorted(told.keys() | arrived), [s.sequence for s in self.sent[leaf]])
        self.assertLessEqual({told[each] for each in told.keys() & arrived}, {"UNCERTAIN"})

    def test_short_messages_behind_long_ones(self) -> None:
        """A run of a flow that takes turns with others has no more messages than it may, either."""
        self.turns(200)
        self.network.clock.advance(0)
        turn = self.top._parts.context.turn
        self.assertTrue(turn.is_gathering)
        one, other = self.leaves[:2]
        most = limits.RUN_COUNT_MAX
        for place in range(most + 200):
            for leaf in (one, other):
                payload = bytes(2_000) if place < 2 else b"%d" % place
                sequence = self.top.send(leaf.bus_id, payload, place)
                self.sent[leaf].append(Letter(NORTH, place, sequence, payload))
        for leaf in (one, other):
            link = self.top.endpoints[leaf.bus_id].data_link
            assert link is not None
            link.settle()
        self.check()
        for leaf in (one, other):
            frames = self.frames(self.data_channel(self.top, leaf), MessageType.DATA)
            self.assertEqual(max(len(each.messages) for each in frames), most)
