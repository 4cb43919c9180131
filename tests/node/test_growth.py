"""Messages that join a run: what is counted, what leaves, and in which order."""

from __future__ import annotations

from atbus import limits
from atbus.errors import LocalProtocolError, Undeliverable
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.wire.messages import Data, MessageType
from tests.node.mail import NORTH, NORTH_ADDRESS, ROOT, SOUTH, MailTests
from tests.node.test_path_change import TWO, PathTests


class GrowthTests(MailTests):
    """A program that has much to say in one turn."""

    def runs(self, one: Node, other: Node) -> list[Data]:
        """Give the runs that were written from one node to another."""
        return self.frames(self.data_channel(one, other), MessageType.DATA)

    def letters(self, node: Node) -> list[tuple[int, int, bytes]]:
        """Give kind, sequence and payload of what a node received, in order."""
        return [(each.kind, each.sequence, each.payload) for each in self.mail[node].letters]

    def queued(self, one: Node, other: Node) -> int:
        """Tell how many bytes one node has queued for another."""
        link = one.endpoints[other.bus_id].data_link
        assert link is not None
        return link.queued_bytes

    def test_one_frame_for_all(self) -> None:
        """What one turn brings for a target leaves as one run, with consecutive sequences."""
        root, child = self.pair()
        sequences = self.send_all(child, ROOT, [b"%d" % place for place in range(500)])
        self.network.settle()
        runs = self.runs(child, root)
        self.assertEqual([len(each.messages) for each in runs], [500])
        expected = [(0, sequences[place], b"%d" % place) for place in range(500)]
        self.assertEqual(self.letters(root), expected)

    def test_kinds_may_change(self) -> None:
        """Messages keep their kinds, whether or not the next one has the same."""
        root, child = self.pair()
        kinds = [0, 0, 0, 7, 7, -1, 0, 2**31 - 1, 2**31 - 1, True, 1, 1, 1, -(2**31)]
        for place, kind in enumerate(kinds):
            child.send(ROOT, b"x", kind)
            if place < 3:
                self.assertRaises(LocalProtocolError, child.send, ROOT, b"x", 0.0)
        for wrong in (0.0, None, "0", 2**31):
            self.assertRaises(LocalProtocolError, child.send, ROOT, b"x", wrong)
        child.send(ROOT, b"x")
        self.network.settle()
        self.assertEqual([kind for kind, _, _ in self.letters(root)], [*kinds, 0])
        self.assertEqual(len(self.runs(child, root)), 1)

    def test_what_is_no_payload(self) -> None:
        """In the middle of a run too a payload is bytes, or is copied into some."""
        root, child = self.pair()
        changing = bytearray(b"then")
        self.send_all(child, ROOT, [b"a", b"b", b"c"])
        child.send(ROOT, changing)  # type: ignore[arg-type]  # taken, as documented
        changing[:] = b"late"
        for wrong in ("text", None, 3, [b"x"]):
            self.assertRaises(LocalProtocolError, child.send, ROOT, wrong)
        child.send(ROOT, b"d")
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"a", b"b", b"c", b"then", b"d"])

    def test_a_special_one_in_the_middle(self) -> None:
        """A message with options has its place in the order, and a run has no hole there."""
        root, child = self.pair()
        sequences = self.send_all(child, ROOT, [b"a", b"b", b"c"])
        sequences.append(child.send(ROOT, b"d", hop_limit=3))
        sequences += self.send_all(child, ROOT, [b"e", b"f", b"g"])
        self.network.settle()
        self.assertEqual(sequences, list(range(sequences[0], sequences[0] + 7)))
        expected = [(0, each, b"abcdefg"[at : at + 1]) for at, each in enumerate(sequences)]
        self.assertEqual(self.letters(root), expected)

    def test_what_is_queued_is_counted(self) -> None:
        """After each message it can be told what is queued, though nobody counted it then."""
        root, child = self.pair()
        total = 0
        for size in (10, 20, 0, 300, 5, 5, 5, 70_000, 1):
            child.send(ROOT, bytes(size))
            total += size
            self.assertGreaterEqual(self.queued(child, root), total)
            self.assertLess(self.queued(child, root), total + 1000)
        self.network.settle()
        self.assertEqual(self.queued(child, root), 0)
        self.assertEqual(child.statistics.sent_bytes, total)
        self.assertEqual(child.statistics.sent_messages, 9)

    def test_no_more_than_there_is_room_for(self) -> None:
        """However a program sends in one turn, the queue ends at its limit, to the message."""
        most = 100_000
        root, child = self.pair(queued_bytes_hard=most, queued_bytes_soft=most // 2)
        accepted = 0
        with self.assertRaises(Undeliverable) as refused:
            while True:
                child.send(ROOT, bytes(100))
                accepted += 1
        self.assertEqual(refused.exception.status.name, "BACKPRESSURE")
        self.assertLessEqual(accepted * 108, most)
        self.assertGreater((accepted + 1) * 108, most - limits.FRAME_HEAD_BYTES * 4)
        self.network.settle()
        self.assertEqual(len(self.mail[root].letters), accepted)

    def test_little_room_between_two_looks(self) -> None:
        """A node that shares its budget among very many still lets most messages join unasked."""
        _, child = self.pair(queued_bytes_node=512 * 1024)
        flows = child._parts.context.open_flows
        joined = 0
        for _ in range(400):
            flow = flows.get(ROOT)
            joined += flow is not None and flow.left_bytes >= 108
            child.send(ROOT, bytes(100))
        self.assertGreater(joined, 380)

    def test_a_burst_among_very_many(self) -> None:
        """
        A burst of a node with a thousand neighbors costs no more than one of a node with few: from
        the third message on they join without a question. What was held ahead is given back.
        """
        root, child = self.pair()
        budget = child._parts.context.budget
        budget.count(2_000)
        link = child.endpoints[ROOT].data[0].link
        assert link is not None
        link.measure()
        looks: list[int] = []
        has_room = link.has_room

        def looked(size_bytes: int) -> bool:
            looks.append(size_bytes)
            return has_room(size_bytes)

        link.has_room = looked  # type: ignore[method-assign]
        flows = child._parts.context.open_flows
        joined = 0
        for _ in range(200):
            flow = flows.get(ROOT)
            joined += flow is not None and flow.left_bytes >= 136
            child.send(ROOT, bytes(128))
        self.assertEqual((looks, joined), ([], 198))
        self.assertEqual(budget.used_bytes, 65_536)
        self.network.settle()
        self.assertEqual((len(self.mail[root].letters), budget.used_bytes), (200, 0))

    def test_room_for_many_targets(self) -> None:
        """What one flow might still send takes no room from another that sends now."""
        most = 400_000
        north = self.node(NORTH, listen=[NORTH_ADDRESS], subnets=[(0, 8)])
        self.network.start(north)
        leaves = [self.leaf(NORTH + place) for place in range(1, 21)]
        sender = self.leaf(NORTH + 99, queued_bytes_hard=most, queued_bytes_soft=most // 2)
        accepted = 0
        with self.assertRaises(Undeliverable):
            while True:
                for leaf in leaves:
                    for _ in range(3):
                        sender.send(leaf.bus_id, bytes(100))
                        accepted += 1
        self.assertGreater(accepted * 108, most * 0.95)
        self.network.settle(5)
        self.assertEqual(sum(len(self.mail[leaf].letters) for leaf in leaves), accepted)

    def test_the_longest_runs(self) -> None:
        """A run ends at its bounds, of count and of bytes, and the next one goes on."""
        root, child = self.pair()
        for size, count in ((0, 10_000), (1000, 200)):
            before = len(self.mail[root].letters)
            self.send_all(child, ROOT, [bytes(size)] * count)
            self.network.settle()
            self.assertEqual(len(self.mail[root].letters), before + count)
        runs = self.runs(child, root)
        self.assertEqual(max(len(each.messages) for each in runs), limits.RUN_COUNT_MAX)
        lengths = [len(frame) for frame in self.data_channel(child, root).sent]
        self.assertLessEqual(max(lengths), limits.FRAME_BYTES)
        self.assertGreater(max(lengths), limits.FRAME_BYTES - 2000)

    def test_long_messages_join_unasked(self) -> None:
        """Of a run of long messages as well only the first two are asked for."""
        root, child = self.pair()
        flows = child._parts.context.open_flows
        joined = 0
        for _ in range(15):
            flow = flows.get(ROOT)
            joined += flow is not None and flow.left_bytes >= 4_008
            child.send(ROOT, bytes(4_000))
        self.assertEqual(joined, 13)
        self.network.settle()
        self.assertEqual([len(each.messages) for each in self.runs(child, root)], [15])

    def test_short_messages_behind_long_ones(self) -> None:
        """Though long ones were expected, no run has more messages than it may."""
        root, child = self.pair()
        most, payloads = limits.RUN_COUNT_MAX, [bytes(2_000)] * 3
        payloads += [b"%d" % number for number in range(2 * most + 7)]
        sequences = self.send_all(child, ROOT, payloads)
        sequences.append(child.send(ROOT, b"last", 7))
        self.assertEqual(sequences, list(range(sequences[0], sequences[0] + len(sequences))))
        sent_bytes = sum(map(len, payloads)) + 4
        self.assertEqual(self.queued(child, root), sent_bytes + 8 * len(sequences))
        self.network.settle()
        self.assertEqual(
            [len(each.messages) for each in self.runs(child, root)], [most, most, 11]
        )
        expected = [(0, *each) for each in zip(sequences, payloads, strict=False)]
        self.assertEqual(self.letters(root), [*expected, (7, sequences[-1], b"last")])
        self.assertEqual(child.statistics.sent_bytes, sent_bytes)
        self.assertEqual(self.queued(child, root), 0)

    def test_stopped_in_the_middle(self) -> None:
        """What was accepted before a stop arrives; after it nothing joins."""
        root, child = self.pair()
        self.send_all(child, ROOT, [b"a", b"b", b"c"])
        stopped = child.stop()
        self.assertEqual(self.refused(child, ROOT), "CLOSING")
        self.network.settle(5)
        self.assertTrue(stopped.called)
        self.assertEqual(self.mail[root].payloads, [b"a", b"b", b"c"])

    def test_limits_changed_in_the_middle(self) -> None:
        """A configuration that is read again holds for the next message."""
        root, child = self.pair()
        self.send_all(child, ROOT, [bytes(50)] * 5)
        reconfigure(child, child.config.replace(message_bytes_max=20))
        self.assertEqual(self.refused(child, ROOT, bytes(21)), "MESSAGE_TOO_LARGE")
        self.send_all(child, ROOT, [bytes(20)] * 5)
        self.network.settle()
        sizes = [len(payload) for payload in self.mail[root].payloads]
        self.assertEqual(sizes, [50] * 5 + [20] * 5)

    def test_each_message_of_a_lost_link_has_a_fate(self) -> None:
        """A run that was queued when its link died is told of, each of its messages once."""
        root, child = self.pair()
        sequences = self.send_all(child, ROOT, [b"x"] * 50)
        self.network.cut(child, root)
        self.network.settle(30)
        told = {
            fate.first_sequence + place
            for fate in self.mail[child].fates
            for place in range(fate.count)
        }
        arrived = {letter.sequence for letter in self.mail[root].letters}
        self.assertEqual(sorted(told | arrived), sequences)
        self.assertEqual(told & arrived, set())


class ChangeTests(PathTests):
    """What happens to a run that could still grow when something changes in the same turn."""

    def sequences(self, node: Node) -> dict[bytes, int]:
        """Give the sequence under which each payload was received."""
        return {each.payload: each.sequence for each in self.mail[node].letters}

    def test_another_way_in_between(self) -> None:
        """A message that goes another way takes its sequence with it: the run has no hole."""
        _, one, two = self.connected()
        payloads = [b"a", b"b", b"c", b"d", b"e", b"f"]
        sent = self.send_all(one, TWO, payloads[:3])
        sent.append(one.send(TWO, payloads[3], exclude=[TWO]))
        sent += self.send_all(one, TWO, payloads[4:])
        self.network.settle()
        self.assertEqual(self.sequences(two), dict(zip(payloads, sent, strict=True)))
        self.assertEqual(self.mail[one].fates, [])

    def test_the_link_changes(self) -> None:
        """Messages behind a change of the way join nothing that is queued for the former one."""
        north, one, two = self.connected()
        payloads = [b"a", b"b", b"c", b"d", b"e", b"f"]
        sent = self.send_all(one, TWO, payloads[:3])
        parts = one._parts
        flow = parts.sender._flow(TWO)
        self.assertIs(parts.context.open_flows[TWO], flow)
        parts.traffic.changed()
        self.assertEqual(parts.context.open_flows, {})
        former, flow.generation = flow.on, parts.traffic.generation
        assert former is not None
        parts.sender._compile(flow, one.endpoints[NORTH])
        sent += self.send_all(one, TWO, payloads[3:])
        self.assertIs(flow.on, one.endpoints[NORTH].data_link)
        self.network.settle()
        self.assertEqual(self.sequences(two), dict(zip(payloads, sent, strict=True)))
        self.assertEqual(north.statistics.forwarded_messages, 3)

    def test_a_pause(self) -> None:
        """When a target asks for a pause the next message is not sent at once."""
        _, one, _ = self.connected()
        self.send_all(one, TWO, [b"a", b"b", b"c"])
        one._parts.sender.paused(TWO)
        self.assertNotIn(TWO, one._parts.context.open_flows)
        one._parts.sender.paused(None)
        self.assertEqual(one._parts.context.open_flows, {})

    def test_a_flow_that_is_forgotten(self) -> None:
        """A target that was forgotten among many others has no sequence twice."""
        self.patch(limits, "FLOWS_MAX", 2)
        north, one, two = self.connected()
        sent = self.send_all(one, TWO, [b"a", b"b", b"c"])
        for other in (NORTH, SOUTH):
            one.send(other, b"x")
        sent += self.send_all(one, TWO, [b"d", b"e"])
        self.network.settle()
        sent += self.send_all(one, TWO, [b"f", b"g"])
        self.network.settle()
        self.assertEqual(sorted(set(sent)), sent)
        payloads = [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]
        self.assertEqual(self.sequences(two), dict(zip(payloads, sent, strict=True)))
        self.assertEqual(self.mail[north].payloads, [b"x"])
