"""What a node's log tells people, and how often."""

from __future__ import annotations

import errno
from typing import Any, cast

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    formatEvent,
    globalLogPublisher,
)

from atbus import limits
from atbus.address import parse_address
from atbus.busid import BusId
from atbus.channels.tls_fault import TlsFault
from atbus.errors import MalformedFrame, Status
from atbus.node.footprint import holdings
from atbus.node.journal import Journal
from atbus.node.node import Node
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests

QUIET = limits.LOG_INTERVAL_SECONDS


class JournalTests(BusTests):
    """The log of one node."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        self.open: list[Journal] = []

    def tearDown(self) -> None:
        for journal in self.open:
            journal.close()
        super().tearDown()

    def journal(self, node: Node) -> Journal:
        observer = cast("ILogObserver", self.events.append)
        log = Logger(namespace="test", observer=observer)
        journal = Journal(node, self.network.process_of(node), log)
        self.open.append(journal)
        return journal

    @property
    def lines(self) -> list[str]:
        """What was written since it was looked at last."""
        events, self.events[:] = list(self.events), []
        return [formatEvent(event) for event in events]

    def test_a_log_that_cannot_be_written(self) -> None:
        """On a full disk the node goes on, and counts the lines that are lost."""
        root = self.root()
        kept: list[LogEvent] = []

        def full(event: LogEvent) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        publisher = LogPublisher(cast("ILogObserver", full), cast("ILogObserver", kept.append))
        log = Logger(namespace="test", observer=publisher)
        journal = Journal(root, self.network.process_of(root), log)
        self.network.start(root)
        self.assertEqual(root.statistics.log_lines_lost, 2)
        self.assertEqual(root.state, "running")
        journal.close()
        self.network.stop(root)
        self.assertEqual(root.statistics.log_lines_lost, 2)
        lines = [formatEvent(event) for event in kept if event["log_level"] is LogLevel.info]
        self.assertEqual(lines, ["0x10000 is starting", "0x10000 is running"])

    def test_too_little_memory(self) -> None:
        """What the bounds add up to is told at the start, where the control group has less."""
        root = self.root()
        journal = self.journal(root)
        most_bytes = sum(each.most_bytes for each in holdings(root.config))
        for memory_bytes in (None, most_bytes):
            journal.started(memory_bytes)
            self.assertEqual(len(self.lines), 1)
        journal.started(most_bytes - 1)
        _, line = self.lines
        self.assertEqual(
            line,
            f"0x10000 may hold {most_bytes} bytes for others where all of them want it to, and its "
            f"control group has {most_bytes - 1}: see atbus config memory",
        )

    def test_the_life_of_a_node(self) -> None:
        """A line for each state, each neighbor that comes or goes, and the upstream."""
        root, child = self.root(), self.child(name="child")
        self.network.start(root)
        self.journal(child)
        self.network.start(child)
        self.network.settle()
        self.assertEqual(
            self.lines,
            [
                "0x10001 (child) is starting",
                "0x10001 (child) knows 0x10000 as upstream",
                "0x10001 (child) is running",
                "0x10001 (child) is registered with its upstream 0x10000",
            ],
        )
        self.network.stop(root)
        self.network.settle(0.2)
        self.assertEqual(
            self.lines[:2],
            [
                "0x10001 (child) has lost its upstream and looks for one",
                "0x10001 (child) has lost 0x10000: GOODBYE",
            ],
        )
        self.network.stop(child)
        self.assertEqual(
            self.lines[-2:],
            [
                "0x10001 (child) is stopping: passes on what it has, takes nothing new",
                "0x10001 (child) has stopped",
            ],
        )

    def test_who_and_where(self) -> None:
        """One line says what the node listens on, with the ports it got, and its upstream."""
        root = self.node(1, listen=["ipv4://10.0.0.1:0", "unix:///a"])
        self.network.start(root)
        journal = self.journal(root)
        journal.started(None)
        first = root.addresses[0]
        self.assertNotEqual(first.port, 0)
        self.assertEqual(self.lines, [f"0x1 listens on {first}, unix:///a; upstream none"])
        child = self.node(2, upstreams=["unix:///a", "unix:///b"])
        self.journal(child).started(None)
        wanted = "0x2 listens on nothing; upstream unix:///a or unix:///b"
        self.assertEqual(self.lines, [wanted])

    def test_a_node_without_an_id(self) -> None:
        """A node that has no id yet is called just that."""
        node = self.node("auto", upstream=ROOT_ADDRESS)
        self.journal(node).write("x", "waits")
        self.assertEqual(self.lines, ["a node without id waits"])

    def test_errors_are_held_down(self) -> None:
        """
        An upstream that is away for a long time fills no log: one line, then one each 10 s.

        How many attempts each of them stands for is said.
        """
        child = self.child(retry_seconds_max=0.5)
        self.journal(child)
        child.start().addErrback(lambda _: None)
        self.network.settle(QUIET - 0.1)
        errors = [line for line in self.lines if "CONNECT_FAILED" in line]
        self.assertEqual(len(errors), 1)
        self.network.settle(QUIET)
        attempts = len(self.network.dials)
        (line,) = self.lines
        self.assertRegex(line, r"CONNECT_FAILED: .* \(\d+ times more in 10 s\)$")
        self.assertLess(int(line.rpartition("(")[2].split()[0]), attempts)
        self.network.stop(child)
        more = [line for line in self.lines if "more in 10 s" in line]
        self.assertEqual(more, [])

    def test_each_peer_has_its_own_line(self) -> None:
        """What one peer does often hides nothing that another one does."""
        journal = self.journal(self.root())
        for _ in range(3):
            journal.write_seldom("slow", "0x1", "waits for 0x1")
            journal.write_seldom("slow", "0x2", "waits for 0x2")
            journal.write_seldom("lost", "0x1", "misses 0x1")
        wanted = ["0x10000 waits for 0x1", "0x10000 waits for 0x2", "0x10000 misses 0x1"]
        self.assertEqual(self.lines, wanted)
        self.network.settle(QUIET)
        self.assertEqual(
            self.lines,
            [f"{line} (2 times more in 10 s)" for line in wanted],
        )
        self.network.settle(QUIET)
        journal.write_seldom("slow", "0x1", "waits for 0x1")
        self.assertEqual(self.lines, ["0x10000 waits for 0x1"])

    def test_what_is_wrong_with_shared_memory(self) -> None:
        """Who breaks the rules of lanes has one line, in other words each time or not."""
        root = self.root(listen=[ROOT_ADDRESS, "mem://root"])
        child = self.child(listen=["mem://auto"])
        self.network.start(root, child)
        self.network.settle()
        watch: list[LogEvent] = []
        observer = cast("ILogObserver", watch.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.journal(root)
        ring = root.endpoints[BusId(CHILD)].rings[0]
        for number in range(20):
            ring.breach(MalformedFrame(f"a record of {number} bytes"))
        told = [each for each in watch if each["log_level"] >= LogLevel.warn]
        self.assertEqual(([formatEvent(each) for each in told], len(self.lines)), ([], 1))

    def test_what_was_left_out_is_told_at_the_end(self) -> None:
        """A node that stops leaves no count behind."""
        journal = self.journal(self.root())
        for _ in range(2):
            journal.write_seldom("slow", "0x1", "waits for 0x1")
        self.assertEqual(len(self.lines), 1)
        journal.close()
        self.assertEqual(self.lines, ["0x10000 waits for 0x1 (once more in 10 s)"])
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_memory_is_bounded(self) -> None:
        """However many peers fail, it is not more than so many that are told apart."""
        self.patch(limits, "LOG_SUBJECTS_MAX", 3)
        journal = self.journal(self.root())
        for number in range(10):
            journal.write_seldom("slow", str(number), f"waits for {number}")
        self.assertEqual(len(self.lines), 4)
        self.network.settle(QUIET)
        self.assertEqual(self.lines, ["0x10000 waits for 9 (6 times more in 10 s)"])

    def test_a_source_has_one_line(self) -> None:
        """
        However often somebody comes, from whatever port, and whatever he says, there is one line
        for each event, and it names him and where he has come; another host has its own.
        """
        double = self.network.node(id=ROOT)
        self.journal(double)
        events, address = double.events, parse_address("ipv4://192.0.2.9:7")
        for port in range(1, 1_001):
            for host in ("ipv4://192.0.2.1", "ipv6://[2001:db8::1]"):
                ends = f"from {host}:{port} at {address}"
                events.on_error(Status.MALFORMED_FRAME, f"<Connection {ends} control>: x{port}")
                events.on_error(Status.OVERLOADED, f"nobody may begin {ends}: too many")
                events.on_tls_refused(address, f"tls+{host}:{port}", TlsFault.NOT_TLS, f"{port}")
        lines = self.lines
        self.assertEqual(len(lines), 6)
        for host in ("ipv4://192.0.2.1", "ipv6://[2001:db8::1]"):
            self.assertEqual(len([line for line in lines if f"{host}:1 at {address}" in line]), 3)
        self.network.settle(QUIET)
        self.assertEqual([line for line in self.lines if "(999 times more" not in line], [])

    def test_the_events_that_are_told(self) -> None:
        """What a person should look at is a warning, and nothing can break a line."""
        root, child = self.pair()
        (endpoint,) = root.endpoints.values()
        # Another node, so that nobody counts these events as the root's.
        double = self.network.node(id=ROOT)
        self.journal(double)
        events = double.events
        events.on_slow_endpoint(endpoint, 3_000_000)
        events.on_lag(0.5, "message_received")
        events.on_error(Status.OUT_OF_TURN, "one\ntwo")
        connection: Any = endpoint.control
        events.on_invalid_connection(connection, Status.HANDSHAKE_TIMEOUT)
        events.on_invalid_connection(connection, Status.STOPPED)
        came = f"from {connection.channel.peer} at {ROOT_ADDRESS}"
        self.assertEqual({event["log_level"] for event in self.events}, {LogLevel.warn})
        names = [event["event"] for event in self.events]
        self.assertEqual(names, ["slow_endpoint", "lag", "error", "invalid_connection"])
        self.assertEqual(
            self.lines,
            [
                "0x10000 has 3000000 bytes queued for slow 0x10001",
                "0x10000 was held up for 0.50 s by message_received",
                "0x10000 OUT_OF_TURN: one\\ntwo",
                f"0x10000 ends a connection {came}: HANDSHAKE_TIMEOUT",
            ],
        )
        self.journal(root)
        self.kill(child)
        self.network.settle(0.1)
        self.assertEqual(self.events[-1]["log_level"], LogLevel.warn)
        self.assertIn(f"has lost {CHILD:#x}: LINK_LOST", self.lines[-1])

    def test_secrets_are_not_told(self) -> None:
        """No token comes into the log, whichever way a registration goes."""
        root = self.root(access_tokens=["swordfish"])
        self.journal(root).started(None)
        self.network.start(root)
        for token in ("swordfish", "catfish"):
            child = self.child(access_tokens=[token])
            self.journal(child).started(None)
            child.start().addErrback(lambda _: None)
            self.network.settle()
        written = "\n".join(map(repr, self.events))
        self.assertIn("ACCESS_DENIED", written)
        self.assertNotIn("fish", written)
