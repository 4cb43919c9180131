"""Attacks by nodes that are registered, and by whoever has taken one over."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import attrs
import zstandard
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import MalformedFrame, Status, SubjectError
from atbus.handshake.effects import AskAdmission
from atbus.node.connection import Connection
from atbus.node.judging import Judge
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.rights import Rights, RightsRule, Who
from atbus.routing import bounds
from atbus.routing.sync_terms import Contested, Delayed, Ignored
from atbus.subjects.cost import cost_of
from atbus.subjects.pattern import matches, parse_pattern, parse_subject
from atbus.wire.compression import compression_extra, restore
from atbus.wire.extras import pack_extras
from atbus.wire.messages import (
    CompressionAlgorithm,
    Data,
    Flags,
    Interest,
    InterestEntry,
    Role,
    StreamOpen,
)
from atbus.wire.runs import pack_run
from tests.node.bus import CHILD
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests
from tests.routing.route_talk import DOWN, PEER, Talk, dead, record

ONE, OTHER = NORTH + 1, SOUTH + 1


class ForgeryTests(MailTests):
    """Somebody speaks for others, or of others."""

    def test_security_spoofed_source(self) -> None:
        """A neighbor is believed about its own range; what it says for others is refused."""
        root, north, _ = self.proxies()
        other = self.leaf(OTHER)
        for source in (SOUTH, OTHER, ROOT, 0x777777):
            forged = Data(source=source, destination=OTHER, sequence=5, messages=((0, b"forged"),))
            self.say(north, root, forged)
        self.network.settle(1)
        self.assertEqual(self.mail[other].payloads, [])
        refused = root.statistics.refused
        self.assertEqual(refused[Status.SOURCE_REFUSED] + refused[Status.SOURCE_UNVERIFIED], 4)

    def test_security_route_poisoning(self) -> None:
        """What a neighbor tells of nodes that are not below it is not believed, and counted."""
        for position in (DOWN, PEER):
            talk = Talk()
            talk.neighbor(2, position, record(7, seq=99, upstream_id=99))
            talk.neighbor(3, DOWN, record(12, upstream_id=3))
            talk.say(2, dead(12, 99))
            self.assertEqual(talk.ids, [2, 3, 12])
            self.assertIn(Ignored(2, Status.SOURCE_REFUSED, 1), talk.other)
            # That somebody else is a node that is registered here may be so, and is told.
            talk.say(2, record(3, 1, upstream_id=2, epoch=9))
            self.assertIn(Contested(3, 2, "3.9"), talk.other)

    def test_security_routing_loops(self) -> None:
        """A frame ends when its hops are used up, and never goes back to where it came from."""
        root, north, _ = self.proxies()
        self.leaf(OTHER)
        spent = Data(source=ONE, destination=OTHER, hop_limit=1, messages=((0, b"x"),))
        self.say(north, root, spent)
        self.assertEqual(root.statistics.refused[Status.HOP_LIMIT], 1)
        back = Data(source=ONE, destination=NORTH + 9, messages=((0, b"x"),))
        self.say(north, root, back)
        refused = root.statistics.refused
        self.assertEqual(refused[Status.LOOP] + refused[Status.NO_ROUTE], 1)

    def test_security_announcement_storms(self) -> None:
        """However often a neighbor asks for the table, it is told it once in a second."""
        talk = Talk()
        talk.neighbor(2, PEER)
        talk.forget_sent()
        for _ in range(50):
            talk.subscribe(2)
            talk.wait(0.1)
        told = len(talk.batches(2))
        self.assertIn(told, range(1, round(5 / limits.SNAPSHOT_SECONDS) + 3))

    def test_security_announcement_floods(self) -> None:
        """Who tells of changes without end is read at a rate, and others hear little of it."""
        talk = Talk()
        talk.neighbor(2, DOWN)
        talk.neighbor(3, PEER)
        talk.forget_sent()
        talk.learned.clear()
        for seq in range(1, 1_001):
            talk.say(2, *[record(each, seq, upstream_id=2) for each in range(100, 200)])
            talk.wait(0.001)
        read_max = bounds.ROUTE_WORDS_BURST + bounds.ROUTE_WORDS_PER_SECOND
        self.assertIn(len(talk.learned), range(1, read_max + 100))
        self.assertIn(Delayed(2, is_first=True), talk.other)
        self.assertIn(Ignored, {type(each) for each in talk.other})
        told = len(talk.take(3))
        self.assertIn(told, range(1, 100 * (limits.ROUTE_CHANGES_AT_ONCE + 1)))
        talk.say(3, record(3, 2))
        self.assertEqual(talk.machine.known.best[3].stamp.seq, 2)


def deflated(size: int) -> bytes:
    """Compress zeros by DEFLATE."""
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    return press.compress(bytes(size)) + press.flush()


def zstd_bomb(content: bytes, tells_size: bool) -> bytes:
    """Compress by Zstandard, so that whoever reads it needs to look back no further than he may."""
    parameters = zstandard.ZstdCompressionParameters(
        window_log=16, write_content_size=tells_size, compression_level=1
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(content)


def squeezed(
    data: bytes, announced: int, how: CompressionAlgorithm = CompressionAlgorithm.DEFLATE
) -> bytes:
    """Make a frame from the child to the root that says how many bytes its payload becomes."""
    head: dict[str, Any] = {
        "flags": Flags.COMPRESSED,
        "extras": pack_extras((compression_extra(how),)),
    }
    return pack_run(CHILD, ROOT, 1 << 40, 1, [0], [struct.pack("<I", announced) + data], **head)


class CostTests(MailTests):
    """Somebody makes a node spend what it does not have."""

    def test_security_compression_bombs(self) -> None:
        """
        A frame that would become large costs no more than one that is large; one that may be as
        large as it becomes, and is hardly made of data, is counted.
        """
        zeros = bytes(60_000_000)
        bombs = {
            CompressionAlgorithm.DEFLATE: (deflated(len(zeros)),),
            CompressionAlgorithm.ZSTD: (zstd_bomb(zeros, True), zstd_bomb(zeros, False)),
        }
        frames = [
            squeezed(bomb, size, how)
            for how, those in bombs.items()
            for bomb in those
            for size in (len(zeros), 5000)
        ]
        for frame in frames:
            tracemalloc.start()
            self.assertRaises(MalformedFrame, restore, frame, tuple(CompressionAlgorithm))
            self.assertLess(tracemalloc.get_traced_memory()[1], 1_000_000)
            tracemalloc.stop()
        root, child = self.pair(compression=["deflate"])
        self.pretend_sent(child, ROOT)
        for size, alarms in ((1_000, 0), (1_000_000, 1)):
            self.say_raw(child, root, squeezed(deflated(size), size))
            self.assertEqual(root.statistics.suspicious_ratios, alarms)

    def test_security_slow_consumer(self) -> None:
        """Who reads nothing has a bounded queue, is named, and is cut off after a while."""
        root, child = self.pair(queued_bytes_soft=50_000, queued_bytes_hard=100_000)
        self.data_channel(root, child).stall()
        accepted = 0
        while self.takes(root, bytes(1000)):
            accepted += 1000
        self.assertLess(accepted, 110_000)
        self.network.settle(limits.WRITE_DEADLINE_SECONDS + limits.SLOW_SECONDS + 5)
        self.assertIn("SLOW_CONSUMER", [status.name for status in root.statistics.closed])
        # It may only have been stopped. Who does that again and again is kept out.
        self.assertIn(ROOT, child.endpoints)
        self.data_channel(root, child).stall()
        self.assertTrue(self.takes(root, b"once more"))
        self.network.settle(limits.WRITE_DEADLINE_SECONDS + 2)
        self.assertNotIn(CHILD, root.endpoints)
        self.network.settle(bounds.SLOW_OUT_SECONDS - 5)
        self.assertEqual(self.diaries[child].of("on_node_down"), [])
        self.assertGreater(root.statistics.closed[Status.SLOW_READER], 0)
        self.assertGreater(child.statistics.closed[Status.SLOW_READER], 0)
        self.assertNotIn(CHILD, root.endpoints)
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 5)
        self.assertIn(CHILD, root.endpoints)
        self.assertTrue(self.takes(root, b"welcome"))

    def takes(self, node: Node, payload: bytes) -> bool:
        """Send a message to the child; tell whether it was accepted."""
        try:
            node.send(CHILD, payload)
        except Exception as error:  # noqa: BLE001  # whatever the refusal is
            self.assertIn("BACKPRESSURE", str(error))
            return False
        return True

    def test_security_deep_subscriptions(self) -> None:
        """A subject has so many tokens, and no number of wildcards makes matching recursive."""
        self.assertRaises(SubjectError, parse_pattern, ".".join("a" * 17))
        self.assertRaises(SubjectError, parse_pattern, "a" * 256)
        pattern = parse_pattern(".".join("*" * 16))
        self.assertTrue(matches(pattern, parse_subject(".".join("a" * 16))))
        said = tuple(InterestEntry(subject=f"s{n}", queue="", weight=1) for n in range(10, 60))
        root, child = self.pair(interest_bytes=10 * cost_of("s10"))
        for _ in range(2):
            self.say(child, root, Interest(source=CHILD, entries=said), data=False)
            self.network.settle(0.1)
        self.assertEqual(len(root._parts.subjects.talk.wanted_by(CHILD)), 10)
        self.assertEqual(root.statistics.interest_ignored, 80)
        named = [each for each in self.diaries[root].errors() if each == "BUFFER_LIMIT"]
        self.assertEqual((len(named), self.ids(root)), (1, [CHILD]))

    def test_security_gateway_injection(self) -> None:
        """A published subject has no wildcard, no blank and no line in it."""
        for text in ("a.*", "a.>", "a b", "a\r\nPUB b 0", "a\x00b", "", "a..b"):
            self.assertRaises(SubjectError, parse_subject, text)


class RightTests(MailTests):
    """Somebody does what he has no right to."""

    def test_security_stream_endpoints(self) -> None:
        """
        To open a stream is a right, which a relay judges by who asks, as proven; and where one is
        to be opened that may be, no node takes any.
        """
        root, north, _ = self.proxies()
        other = self.leaf(OTHER)
        rules = [{"action": "deny", "ids": ["0x10100/8"], "streams": ["*"]}]
        reconfigure(root, root.config.replace(rights=rules))
        opening = StreamOpen(source=ONE, destination=OTHER, epoch=1, stream_id=1, service="ssh")
        self.say(north, root, opening, data=False)
        self.assertEqual(root.statistics.refused[Status.NO_RIGHT], 1)
        self.assertEqual(other.statistics.refused[Status.UNKNOWN_MANDATORY], 0)
        reconfigure(root, root.config.replace(rights=[]))
        self.say(north, root, opening, data=False)
        self.network.settle(1)
        self.assertEqual(root.statistics.refused[Status.NO_RIGHT], 1)
        self.assertEqual(other.statistics.refused, {Status.UNKNOWN_MANDATORY: 1})
        self.assertEqual(other.statistics.responses_sent, 1)

    def test_security_rights(self) -> None:
        """What is denied is denied, whatever is allowed, and by an id that was proven."""
        root, child = self.pair()
        rules: list[dict[str, Any]] = [
            {"action": "allow", "send": ["*"]},
            {"action": "deny", "ids": ["0x10001"], "send": ["0x10000"]},
        ]
        reconfigure(root, root.config.replace(rights=rules))
        self.assertIs(self.ended(child.deliver(ROOT, b"x")), Status.NO_RIGHT)
        self.assertEqual(self.mail[root].payloads, [])

    def test_security_denied(self) -> None:
        """Who is written on the list of denied ids is cut off and stays out."""
        root, _ = self.pair()
        reconfigure(root, root.config.replace(denied=["0x10001"]))
        self.network.settle(0.1)
        self.assertEqual(self.ids(root), [])
        self.network.settle(60)
        self.assertEqual(self.ids(root), [])


    def test_security_denied_meanwhile(self) -> None:
        """Another connection of who is denied at that moment, and not gone yet, is refused."""
        root, child = self.root(), self.child()
        self.network.start(root)
        judge = root._parts.registrar.judge
        answers: list[Status] = []

        def judged(connection: Connection, question: AskAdmission) -> None:
            if question.hello.role is Role.DATA and not answers:
                reconfigure(root, root.config.replace(denied=["0x10001"]))
                self.assertEqual(self.ids(root), [CHILD])
                root.events.on_register.observe(lambda *told: answers.append(told[2]))
            Judge.judge(judge, connection, question)

        self.patch(judge, "judge", judged)
        child.start().addErrback(lambda _: None)
        self.network.settle(60)
        self.assertEqual(set(answers), {Status.NOT_ADMITTED})
        self.assertEqual(self.ids(root), [])


class NamelessTests(SynchronousTestCase):
    """Somebody has a certificate that is wider than what he should do."""

    def test_security_wide_certificates(self) -> None:
        """A temporary node is allowed what all of its range is, and denied what a part of it is."""
        rule = RightsRule(allows=True, ids=(Subnet(0x1200, 8),), commands=("*",))
        wide = Who(Subnet(0x1200, 16), temporary=True)
        self.assertIsNotNone(Rights([rule]).refuses_command(wide, "atbus.stop"))
        narrow = Who(Subnet(0x1234, 4), temporary=True)
        self.assertIsNone(Rights([rule]).refuses_command(narrow, "atbus.stop"))
        denied = attrs.evolve(rule, allows=False)
        everybody = RightsRule(allows=True, commands=("*",))
        self.assertIsNotNone(Rights([everybody, denied]).refuses_command(wide, "atbus.stop"))
