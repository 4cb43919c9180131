"""What `send` accepts and refuses, and how messages leave."""

from __future__ import annotations

import enum
from typing import Any

from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.node.node import Node
from atbus.wire.messages import Data, MessageType
from tests.node.bus import CHILD, SIBLING
from tests.node.mail import NORTH, ROOT, MailTests


class Kind(enum.IntEnum):
    """Kinds as programs have them."""

    HELLO = 7


class AcceptanceTests(MailTests):
    """What a program may send."""

    def test_a_node_that_was_not_started(self) -> None:
        """
        A node that has not been started, or has stopped, refuses by name.

        Scenario: G1
        """
        node = self.node()
        self.assertEqual(self.refused(node, CHILD), "NOT_STARTED")
        self.assertIs(self.ended(node.deliver(CHILD, b"x")), Status.NOT_STARTED)
        self.assertIs(self.ended(node.request(CHILD, b"x")), Status.NOT_STARTED)
        self.assertIs(self.ended(node.command(CHILD, b"x")), Status.NOT_STARTED)
        self.network.start(node)
        self.network.stop(node)
        self.assertEqual(self.refused(node, CHILD), "NOT_STARTED")

    def test_the_longest_message(self) -> None:
        """
        A message of exactly the limit arrives; with one byte more it is refused.

        Scenario: K1
        """
        for limit in (4_096, 200_000):
            with self.subTest(limit):
                root, child = self.pair(message_bytes_max=limit)
                payload = bytes(range(256)) * (limit // 256) + bytes(limit % 256)
                child.send(ROOT, payload)
                self.assertEqual(self.refused(child, ROOT, payload + b"+"), "MESSAGE_TOO_LARGE")
                self.network.settle()
                self.assertEqual(self.mail[root].payloads, [payload])
                self.network.stop(child, root)

    def test_a_message_longer_than_the_destination_takes(self) -> None:
        """A message that is longer than its destination accepts is answered by name, once."""
        root, child = self.root(message_bytes_max=1000), self.child()
        self.network.start(root, child)
        short, long = child.send(ROOT, bytes(1000)), child.send(ROOT, bytes(1001))
        longest = child.send(ROOT, bytes(300_000))
        after = child.send(ROOT, b"after")
        self.network.settle()
        self.assertEqual([letter.sequence for letter in self.mail[root].letters], [short, after])
        too_large = [(ROOT, each, 1, "MESSAGE_TOO_LARGE") for each in (long, longest)]
        self.assertEqual(self.mail[child].news, too_large)

    def test_sequences(self) -> None:
        """
        Every message gets a sequence: never 0, one more each time, and what the receiver sees.

        Scenario: K2
        """
        root, child = self.pair()
        sequences = self.send_all(child, ROOT, [b"%d" % n for n in range(20)])
        self.assertNotEqual(sequences[0], 0)
        self.assertEqual(sequences, list(range(sequences[0], sequences[0] + 20)))
        self.network.settle()
        received = [letter.sequence for letter in self.mail[root].letters]
        self.assertEqual(received, sequences)

    def test_a_refused_message_has_no_sequence(self) -> None:
        """The sequences of a flow have no gaps, whatever was refused between."""
        _, child = self.pair()
        first = child.send(ROOT, b"1")
        self.refused(child, ROOT, bytes(2_000_000))
        with self.assertRaises(LocalProtocolError):
            child.send(ROOT, b"2", 2**31)
        self.assertEqual(child.send(ROOT, b"2"), first + 1)
        self.assertEqual(self.ended(child.deliver(ROOT, b"3")).first_sequence, first + 2)

    def test_messages_of_many_sizes(self) -> None:
        """
        Messages of all sizes arrive in order and byte by byte, also when many follow each other.

        Scenario: D2, D3
        """
        root, child = self.pair()
        sizes = [13, 28, 100, 56 * 1024 + 3]
        sizes += [20 * 1024 + number * 67 for number in range(153)]
        noise = bytes(place * 7 + place // 256 & 255 for place in range(40 * 1024 + 60_000))
        payloads = [noise[place * 31 : place * 31 + size] for place, size in enumerate(sizes)]
        for place, payload in enumerate(payloads):
            child.send(ROOT, payload)
            if place % 10 == 0:
                self.network.settle(0.001)
        self.network.settle()
        self.assertEqual([len(payload) for payload in self.mail[root].payloads], sizes)
        self.assertEqual(self.mail[root].payloads, payloads)

    def test_bytes_are_left_alone(self) -> None:
        """
        Messages arrive in both directions byte by byte as they were sent, NUL included.

        Scenario: K3, H1
        """
        root, child = self.pair()
        payload = b"\0hello\0world\0" + bytes(range(256))
        child.send(ROOT, payload)
        root.send(CHILD, payload[::-1])
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [payload])
        self.assertEqual(self.mail[child].payloads, [payload[::-1]])
        self.network.settle(10)
        self.assertIsNotNone(root.endpoints[CHILD].last_pong_at)
        self.assertIsNotNone(child.endpoints[ROOT].last_pong_at)

    def test_kinds(self) -> None:
        """
        Any signed 32-bit number is a kind and arrives unchanged, one from an enum as well.

        Scenario: K23
        """
        root, child = self.pair()
        kinds = [0, 1, -1, 2**31 - 1, -(2**31), 12345678, Kind.HELLO]
        for kind in kinds:
            child.send(ROOT, b"x", kind)
        self.network.settle()
        self.assertEqual([letter.kind for letter in self.mail[root].letters], kinds)

    def test_what_is_no_kind(self) -> None:
        """What does not fit into 32 bits, or is no whole number, is refused at once."""
        _, child = self.pair()
        child.send(ROOT, b"known by now")
        for kind in (2**31, -(2**31) - 1, 1.5, "1", None):
            with self.subTest(kind), self.assertRaises(LocalProtocolError):
                child.send(ROOT, b"x", kind)  # type: ignore[arg-type]  # what the test is about

    def test_empty_payloads(self) -> None:
        """
        A message may be empty, alone or among others.

        Scenario: K24, D14
        """
        root, child = self.pair()
        self.send_all(child, ROOT, [b"", b"x", b"", b""])
        self.network.settle()
        child.send(ROOT, b"")
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"", b"x", b"", b"", b""])

    def test_types_of_payloads(self) -> None:
        """Anything that holds bytes is a payload; what changes afterwards has been sent before."""
        root, child = self.pair()
        changing = bytearray(b"array")
        for payload in (b"bytes", changing, memoryview(b"a view")[2:]):
            child.send(ROOT, payload)  # type: ignore[arg-type]  # allowed, and not advertised
        changing[:] = b"other"
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"bytes", b"array", b"view"])
        for other in ("text", None, 5, [b"x"]):
            with self.subTest(other), self.assertRaises(LocalProtocolError):
                child.send(ROOT, other)  # type: ignore[arg-type]  # what the test is about

    def test_what_is_no_target(self) -> None:
        """0 and what does not fit into 64 bits is nobody's id."""
        _, child = self.pair()
        for target in (0, -1, 2**64):
            with self.subTest(target), self.assertRaises(LocalProtocolError):
                child.send(target, b"x")

    def test_what_is_no_hop_limit(self) -> None:
        """A message may pass 1 to 255 nodes."""
        root, child = self.pair()
        for hops in (0, -1, 256):
            with self.subTest(hops), self.assertRaises(LocalProtocolError):
                child.send(ROOT, b"x", hop_limit=hops)
        child.send(ROOT, b"1", hop_limit=1)
        child.send(ROOT, b"255", hop_limit=255)
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"1", b"255"])

    def test_a_temporary_node_has_no_messages(self) -> None:
        """A node without an id issues commands; messages are refused, for nobody could answer."""
        root = self.root()
        temporary = self.node(0, upstream="ipv4://10.0.0.1:1")
        self.network.start(root, temporary)
        self.assertEqual(self.refused(temporary, ROOT), "NOT_REGISTERED")
        self.assertIs(self.ended(temporary.deliver(ROOT, b"x")), Status.NOT_REGISTERED)
        self.assertIs(self.ended(temporary.request(ROOT, b"x")), Status.NOT_REGISTERED)


class RouteTests(MailTests):
    """Targets that a message cannot be sent to."""

    def test_nobody_there(self) -> None:
        """
        A root knows at once that nobody has an id, inside its range and outside.

        Scenario: K10
        """
        root = self.root()
        self.network.start(root)
        for target in (CHILD, 0x20000):
            self.assertEqual(self.refused(root, target), "NO_ROUTE")
            self.assertIs(self.ended(root.deliver(target, b"x")), Status.NO_ROUTE)

    def test_a_lost_upstream(self) -> None:
        """
        What could only be reached through an upstream that is gone is refused at once.

        Scenario: I8
        """
        root, child = self.pair()
        self.kill(root)
        self.network.settle(0.1)
        self.assertEqual(self.refused(child, ROOT), "NO_ROUTE")
        self.assertEqual(self.refused(child, SIBLING), "NO_ROUTE")

    def test_neighbors_that_must_not_be_used(self) -> None:
        """
        Excluded neighbors and the upstream are not used when that was said.

        Scenario: K27, K28
        """
        root, north, _ = self.proxies()
        leaf = self.leaf(NORTH + 1)
        self.assertEqual(self.refused(north, ROOT, no_upstream=True, exclude=[ROOT]), "NO_ROUTE")
        self.assertEqual(self.refused(north, ROOT, exclude=[ROOT]), "NO_ROUTE")
        self.assertEqual(self.refused(north, 0x10201, exclude=[ROOT]), "NO_ROUTE")
        self.assertEqual(self.refused(north, 0x10201, no_upstream=True), "NO_ROUTE")
        self.assertEqual(self.refused(north, NORTH + 1, exclude=[NORTH + 1]), "NO_ROUTE")
        north.send(NORTH + 1, b"down", exclude=[ROOT], no_upstream=True)
        north.send(ROOT, b"up")
        north.send(NORTH, b"self", exclude=[NORTH], no_upstream=True)
        self.network.settle()
        self.assertEqual(self.mail[leaf].payloads, [b"down"])
        self.assertEqual(self.mail[root].payloads, [b"up"])
        self.assertEqual(self.mail[north].payloads, [b"self"])

    def test_the_next_hop_to_what_is_no_id(self) -> None:
        """Asking for the way to something that cannot be an id gets an answer, too."""
        root = self.root()
        self.network.start(root)
        for target in (0, -1, 2**64):
            with self.subTest(target), self.assertRaises(Undeliverable):
                root.next_hop(target)

    def test_the_next_hop(self) -> None:
        """
        The next hop of a message can be asked for: node, connection, address and relation.

        Scenario: CC6
        """
        _, north, _ = self.proxies()
        self.leaf(NORTH + 1)
        hop = north.next_hop(0x10201)
        self.assertEqual((hop.id, str(hop.address)), (ROOT, "ipv4://10.0.0.1:1"))
        self.assertIs(hop.endpoint, north.endpoints[ROOT])
        self.assertIs(hop.connection, north.endpoints[ROOT].data[0])
        self.assertEqual(north.next_hop(NORTH + 1).id, NORTH + 1)

    def test_a_link_that_has_ended_is_not_kept(self) -> None:
        """A flow goes on counting; the link that it took, which is some kilobytes, goes."""
        root, child = self.pair()
        root.send(CHILD, b"1")
        self.network.settle()
        flow = root._parts.sender._flows[CHILD]
        self.assertIsNotNone(flow.link)
        self.kill(child)
        self.network.settle(1)
        self.assertIsNone(flow.link)
        self.assertIs(root._parts.sender._flows[CHILD], flow)


class RunTests(MailTests):
    """How messages are written."""

    def count_sends(self, channel: Any) -> list[int]:
        """Count the frames of each call of a channel's ``send`` from now on."""
        calls: list[int] = []
        send = channel.send

        def counted(frames: Any) -> None:
            calls.append(len(frames))
            send(frames)

        channel.send = counted
        return calls

    def runs_to(self, node: Node, other: Node) -> list[Data]:
        """Give the runs on the way from one node to another."""
        return self.frames(self.data_channel(node, other), MessageType.DATA)

    def test_one_write_for_a_turn(self) -> None:
        """All messages of a turn to one next hop are written at once, each flow as one run."""
        _, north, _ = self.proxies()
        leaf = self.leaf(NORTH + 1)
        calls = self.count_sends(self.data_channel(leaf, north))
        targets = [NORTH, ROOT, 0x10200]
        for number in range(30):
            leaf.send(targets[number % 3], b"%d" % number, number % 5)
        self.network.settle(0)
        self.assertEqual(calls, [3])
        runs = self.runs_to(leaf, north)
        self.assertEqual([run.destination for run in runs], targets)
        for place, run in enumerate(runs):
            expected = [(n % 5, b"%d" % n) for n in range(place, 30, 3)]
            self.assertEqual(list(run.messages), expected)

    def test_sequences_go_on_from_run_to_run(self) -> None:
        """The runs of a flow follow each other without a gap, turn after turn."""
        root, child = self.pair()
        for size in (1, 3, 1, 5):
            self.send_all(child, ROOT, [b"x"] * size)
            self.network.settle(0.01)
        expected = self.runs_to(child, root)[0].sequence
        for run in self.runs_to(child, root):
            self.assertEqual(run.sequence, expected)
            expected += len(run.messages)
        self.assertEqual([len(run.messages) for run in self.runs_to(child, root)], [1, 3, 1, 5])

    def test_special_messages_keep_their_place(self) -> None:
        """A message that asks for an answer, or is traced, is not overtaken by later ones."""
        root, child = self.pair()
        child.send(ROOT, b"1")
        child.send(ROOT, b"2")
        waiting = child.deliver(ROOT, b"3")
        child.send(ROOT, b"4")
        child.send(ROOT, b"5", trace=True)
        child.send(ROOT, b"6")
        child.send(ROOT, bytes(100_000))
        child.send(ROOT, b"8")
        self.ended(waiting)
        self.network.settle()
        sizes = [len(p) if len(p) > 1 else int(p) for p in self.mail[root].payloads]
        self.assertEqual(sizes, [1, 2, 3, 4, 5, 6, 100_000, 8])
        first = self.mail[root].letters[0].sequence
        sequences = [letter.sequence - first for letter in self.mail[root].letters]
        self.assertEqual(sequences, list(range(8)))

    def test_a_run_goes_on_with_the_next_grant(self) -> None:
        """Where many links share the budget a burst is still one run, not one for each grant."""
        root, child = self.pair()
        budget = child._parts.context.budget
        budget.count(100_000)
        self.send_all(child, ROOT, [b"x"])
        self.network.settle(0.01)
        self.send_all(child, ROOT, [b"x" * 100] * 50)
        self.assertLess(budget.grant_bytes, 100)
        self.network.settle(0.01)
        self.assertEqual([len(run.messages) for run in self.runs_to(child, root)], [1, 50])

    def test_a_run_is_no_longer_than_a_frame(self) -> None:
        """A burst is cut into frames that the next hop takes, without losing a message."""
        root, child = self.pair(frame_bytes_max=4_096)
        payloads = [b"%04d" % number * 60 for number in range(100)]
        self.send_all(child, ROOT, payloads)
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, payloads)
        frames = self.data_channel(child, root).sent
        self.assertTrue(max(map(len, frames)) <= 4_096)

    def test_what_joins_a_run(self) -> None:
        """
        Messages join the last run as long as all fit its frame; one byte more begins another run.

        The first message begins a run, and an empty one counts as little as it is. Ours refuses
        nothing here: what does not fit the run has one of its own.

        Scenario: C12, C14
        """
        root, child = self.pair()
        link = child.endpoints[ROOT].data[0].link
        assert link is not None
        room = link.run_bytes_max - 4 * 8
        for more, runs in ((0, [4]), (1, [3, 1])):
            known = len(self.runs_to(child, root))
            self.send_all(child, ROOT, [bytes(10_000), b"", bytes(10_000)])
            child.send(ROOT, bytes(room - 20_000 + more))
            self.network.settle()
            new = self.runs_to(child, root)[known:]
            self.assertEqual([len(run.messages) for run in new], runs)
        self.assertEqual(len(self.mail[root].payloads), 8)

    def test_counters(self) -> None:
        """What was sent, received and refused is counted in messages and payload bytes."""
        root, child = self.pair()
        self.send_all(child, ROOT, [b"abc", b"", bytes(100_000)])
        self.refused(child, ROOT, bytes(2_000_000))
        child.send(CHILD, b"self")
        self.network.settle()
        sent, received = child.statistics, root.statistics
        self.assertEqual((sent.sent_messages, sent.sent_bytes), (4, 100_007))
        self.assertEqual((sent.received_messages, sent.received_bytes), (1, 4))
        self.assertEqual(dict(sent.refused), {Status.MESSAGE_TOO_LARGE: 1})
        self.assertEqual((received.received_messages, received.received_bytes), (3, 100_003))
