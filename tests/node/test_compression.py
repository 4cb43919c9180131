"""Compression between nodes: when it is used, when it is not, and that nobody notices."""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from atbus import limits
from atbus.errors import ConfigurationError, Status
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.wire.compression import compression_extra
from atbus.wire.extras import pack_extras
from atbus.wire.head import peek
from atbus.wire.messages import CompressionAlgorithm, Flags, MessageType
from atbus.wire.runs import pack_run
from tests.node.bus import CHILD, ROOT_ADDRESS
from tests.node.mail import NORTH, NORTH_ADDRESS, ROOT, SOUTH, SOUTH_ADDRESS, MailTests

WORDS = b"the same words again and again, "
LONG = WORDS * 100
ONE, OTHER = NORTH + 1, SOUTH + 1
DEFLATE: dict[str, Any] = {"compression": ["deflate"]}


def change(node: Node, **options: Any) -> None:
    """Change the configuration of a node that runs."""
    reconfigure(node, node.config.replace(**options))


class CompressionTests(MailTests):
    """Buses whose nodes compress, or some of them."""

    def sizes(self, one: Node, other: Node) -> list[tuple[bool, int]]:
        """Say of each data frame between two nodes whether it is compressed, and its size."""
        frames = self.data_channel(one, other).sent
        kinds = (MessageType.DATA, MessageType.FRAGMENT)
        return [
            (bool(peek(frame)[2] & Flags.COMPRESSED), len(frame))
            for frame in frames
            if peek(frame)[1] in kinds
        ]

    def test_two_nodes(self) -> None:
        """
        From a kilobyte on what becomes smaller is sent so; what was sent is what arrives.

        Scenario: O17
        """
        root, child = self.pair(**DEFLATE)
        change(child, **DEFLATE)
        other = self.node(CHILD + 1, upstream=ROOT_ADDRESS, **DEFLATE)
        self.network.start(other)
        self.network.settle()
        payloads = [WORDS * 16, WORDS * 32, os.urandom(5000), LONG, b""]
        self.send_all(other, ROOT, payloads)
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, payloads)
        compressed = [is_compressed for is_compressed, _ in self.sizes(other, root)]
        self.assertEqual(compressed.count(True), 2)
        self.assertLess(min(size for known, size in self.sizes(other, root) if known), 200)
        self.assertEqual(other.statistics.sent_bytes, sum(map(len, payloads)))
        self.assertEqual(root.statistics.received_bytes, sum(map(len, payloads)))
        self.assertGreater(other.statistics.saved_bytes, 3500)
        self.assert_quiet(root, other)

    def test_nobody_who_has_not_said_so(self) -> None:
        """
        With one side that does not compress nothing is compressed.

        Scenario: O16
        """
        root, child = self.root(**DEFLATE), self.child()
        self.network.start(root, child)
        self.network.settle()
        root.send(CHILD, LONG)
        child.send(ROOT, LONG)
        self.network.settle()
        for one, two in ((root, child), (child, root)):
            self.assertEqual([known for known, _ in self.sizes(one, two)], [False])
            self.assertEqual(self.mail[one].payloads, [LONG])

    def bus(self, **of: dict[str, Any]) -> tuple[Node, Node, Node, Node, Node]:
        """Start a root, two proxies and a leaf below each, each with options of its own."""
        root = self.root(**of.get("root", {}))
        north = self.node(
            NORTH, listen=[NORTH_ADDRESS], upstream=ROOT_ADDRESS, subnets=[(0, 8)], **of["north"]
        )
        south = self.node(
            SOUTH, listen=[SOUTH_ADDRESS], upstream=ROOT_ADDRESS, subnets=[(0, 8)], **of["south"]
        )
        self.network.start(root, north, south)
        return root, north, south, self.leaf(ONE, **of["one"]), self.leaf(OTHER, **of["other"])

    def test_relays(self) -> None:
        """Relays pass on what is compressed as it is, and restore it for who cannot."""
        on: dict[str, Any] = DEFLATE
        for last in (on, {}):
            with self.subTest(last=last):
                root, north, south, one, other = self.bus(
                    root=on, north=on, south=on, one=on, other=last
                )
                fate = self.ended(one.deliver(OTHER, LONG))
                self.assertIs(fate.status, Status.OK)
                self.assertEqual(self.mail[other].payloads, [LONG])
                ways = ((one, north), (north, root), (root, south), (south, other))
                known = [all(known for known, _ in self.sizes(*way)) for way in ways]
                self.assertEqual(known, [True, True, True, bool(last)])
                self.assert_quiet(root, north, south, one, other)
            self.end()
            self.begin(type(self.network)())
            self.mail = {}

    def test_long_messages(self) -> None:
        """Of a long message each fragment is compressed for itself, whatever links take."""
        on: dict[str, Any] = DEFLATE
        root, north, south, one, other = self.bus(
            root=on,
            north=on,
            south={**on, "frame_bytes_max": 8192},
            one=on,
            other={"frame_bytes_max": 4096},
        )
        noise = os.urandom(70_000)
        payload = noise + WORDS * 10_000 + noise
        self.assertIs(self.ended(one.deliver(OTHER, payload)).status, Status.OK)
        self.assertIs(self.ended(one.deliver(OTHER, LONG)).status, Status.OK)
        self.assertEqual(self.mail[other].payloads, [payload, LONG])
        known = {known for known, _ in self.sizes(one, north)}
        self.assertEqual(known, {True, False})
        self.assertLess(one.statistics.sent_bytes - len(payload) - len(LONG), 1)
        self.assert_quiet(root, north, south, one, other)

    def test_a_short_piece(self) -> None:
        """The last fragment of a long message goes as it is if it is shorter than a kilobyte."""
        root, child = self.root(**DEFLATE), self.child(**DEFLATE)
        self.network.start(root, child)
        self.network.settle()
        payload = (WORDS * 3_000)[:65_636]
        child.send(ROOT, payload)
        self.network.settle()
        self.assertEqual([known for known, _ in self.sizes(child, root)], [True, False])
        self.assertEqual(self.mail[root].payloads, [payload])

    def test_requests_and_replies(self) -> None:
        """Questions and answers are compressed as messages are."""
        root = self.root(**DEFLATE)
        child = self.child(**DEFLATE)
        self.network.start(root, child)
        self.network.settle()
        root.on_request(lambda _source, payload: payload + LONG)
        self.assertEqual(self.ended(child.request(ROOT, LONG)), LONG + LONG)
        self.assertEqual([known for known, _ in self.sizes(root, child)], [True])
        self.assertEqual([known for known, _ in self.sizes(child, root)], [True])

    def test_order(self) -> None:
        """Long messages that are compressed and short ones that are not stay in order."""
        root, child = self.root(**DEFLATE), self.child(**DEFLATE)
        self.network.start(root, child)
        self.network.settle()
        payloads = [b"%d " % n + (LONG if n % 3 == 0 else b"") for n in range(60)]
        self.send_all(child, ROOT, payloads)
        self.network.settle(1)
        self.assertEqual(self.mail[root].payloads, payloads)


class HostileTests(MailTests):
    """Neighbors that send what nobody compressed."""

    def frame(self, size: int, data: bytes, algorithm: int = CompressionAlgorithm.DEFLATE) -> bytes:
        """Make a message to the root whose compressed payload says that it has a size."""
        extras = pack_extras((compression_extra(CompressionAlgorithm(algorithm)),))
        payload = struct.pack("<I", size) + data
        return pack_run(
            CHILD, ROOT, 1 << 40, 1, [0], [payload], flags=Flags.COMPRESSED, extras=extras
        )

    def met(self, **of_root: Any) -> tuple[Node, Node]:
        """Start a root and a child that says whatever the test wants."""
        root, child = self.root(**of_root), self.child(**DEFLATE)
        self.network.start(root, child)
        self.network.settle()
        self.pretend_sent(child, ROOT)
        return root, child

    def test_a_bomb(self) -> None:
        """A payload that would become large is refused, and the bus goes on."""
        root, child = self.met(**DEFLATE)
        press = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = press.compress(bytes(30_000_000)) + press.flush()
        for size in (30_000_000, 1000):
            self.say_raw(child, root, self.frame(size, bomb))
        self.assertEqual(self.mail[root].payloads, [])
        self.assertEqual(root.statistics.refused[Status.MALFORMED_FRAME], 2)
        child.send(ROOT, b"still here")
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"still here"])

    def test_the_alarm(self) -> None:
        """What is compressed more than data can be is delivered, counted, and logged seldom."""
        lines: list[str] = []

        @provider(ILogObserver)
        def note(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        root, child = self.met(**DEFLATE)
        press = zlib.compressobj(9, zlib.DEFLATED, -15)
        zeros = press.compress(bytes(1_000_000)) + press.flush()
        told = f"bytes of {CHILD:#x} were compressed to "
        for count in (1, 2):
            for _ in range(3):
                self.say_raw(child, root, self.frame(1_000_000, zeros))
            self.assertEqual(root.statistics.suspicious_ratios, 3 * count)
            self.assertEqual(len([line for line in lines if told in line]), count)
            self.network.settle(limits.LOG_INTERVAL_SECONDS)
        self.assertEqual([len(payload) for payload in self.mail[root].payloads], [1_000_000] * 6)

    def test_what_was_not_agreed(self) -> None:
        """A neighbor that compresses without having agreed on it is refused by name."""
        root, child = self.met()
        press = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = press.compress(LONG) + press.flush()
        self.say_raw(child, root, self.frame(len(LONG), data))
        self.assertEqual(self.mail[root].payloads, [])
        self.assertEqual(root.statistics.refused[Status.UNKNOWN_MANDATORY], 1)


class ReloadTests(MailTests):
    """Each test is named for the option that changes."""

    def test_compression(self) -> None:
        """
        The next handshake says what the configuration says now; those before stay as they are.

        Scenario: G10
        """
        root, child = self.pair()
        change(root, **DEFLATE)
        change(child, **DEFLATE)
        child.send(ROOT, LONG)
        self.network.settle()
        self.assertEqual(child.statistics.saved_bytes, 0)
        self.network.result_of(child.disconnect(ROOT))
        self.network.settle(60)
        child.send(ROOT, LONG)
        self.network.settle()
        self.assertGreater(child.statistics.saved_bytes, 0)
        self.assertEqual(self.mail[root].payloads, [LONG, LONG])

    def pair_on(self) -> tuple[Node, Node]:
        """Start a root and a child that compress."""
        root, child = self.root(**DEFLATE), self.child(**DEFLATE)
        self.network.start(root, child)
        self.network.settle()
        return root, child

    def test_compression_least_bytes(self) -> None:
        """The next message is measured by the new bound."""
        root, child = self.pair_on()
        change(child, compression_least_bytes=10_000)
        child.send(ROOT, LONG)
        self.network.settle()
        self.assertEqual(child.statistics.saved_bytes, 0)
        change(child, compression_least_bytes=100)
        child.send(ROOT, WORDS * 10)
        self.network.settle()
        self.assertGreater(child.statistics.saved_bytes, 0)
        self.assertEqual(self.mail[root].payloads, [LONG, WORDS * 10])

    def test_compression_except_kinds(self) -> None:
        """Kinds that are secret are not compressed from the next message on."""
        _, child = self.pair_on()
        change(child, compression_except_kinds=[7])
        child.send(ROOT, LONG, kind=7)
        self.network.settle()
        self.assertEqual(child.statistics.saved_bytes, 0)
        child.send(ROOT, LONG, kind=8)
        self.network.settle()
        self.assertGreater(child.statistics.saved_bytes, 0)


class ReadingTests(MailTests):
    """What is written in a configuration."""

    def test_faults(self) -> None:
        """Names that are none, and kinds that no message has, are faults at their place."""
        error: ConfigurationError = self.assertRaises(
            ConfigurationError,
            NodeConfig,
            compression=["deflate", "lz4", 5],
            compression_except_kinds=[1, 2**31, "x"],
            compression_least_bytes=1,
        )
        self.assertEqual(
            error.faults,
            [
                "compression[1]: must be one of zstd, deflate, not 'lz4'",
                "compression[2]: must be one of zstd, deflate, not 5",
                "compression_least_bytes: must be at least 64 bytes, not 1",
                "compression_except_kinds[1]: expected a kind, -2**31 to 2**31 - 1, got 2147483648",
                "compression_except_kinds[2]: expected a kind, -2**31 to 2**31 - 1, got 'x'",
            ],
        )
        for name in ("compression", "compression_except_kinds"):
            error = self.assertRaises(ConfigurationError, NodeConfig, **{name: "deflate"})
            self.assertIn("expected a list of", error.faults[0])
