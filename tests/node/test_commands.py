"""Commands: a few words to a node, a few lines back, wherever it is."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests

Asked = list[tuple[int, tuple[bytes, ...]]]


class CommandTests(MailTests):
    """A root, two proxies and two leaves."""

    def setUp(self) -> None:
        super().setUp()
        self.top, self.north, self.south = self.proxies()
        self.leaf_north = self.leaf(NORTH + 1)
        self.leaf_south = self.leaf(SOUTH + 1)

    def executing(self, node: Node) -> Asked:
        """Have a node answer with what it was asked; the commands that it got."""
        asked: Asked = []

        def execute(source: int, arguments: tuple[bytes, ...]) -> list[bytes]:
            asked.append((source, arguments))
            return [b"done:", *arguments]

        node.on_command(execute)
        return asked

    def test_to_a_neighbor(self) -> None:
        """Arguments arrive as they are, also with NULs, with who asks; the lines come back.

        Scenario: L1
        """
        asked = self.executing(self.north)
        words = (b"set", b"a\x00b", b"")
        heard: Asked = []
        self.north.events.on_custom_command.observe(lambda *what: heard.append(what))
        lines = self.ended(self.leaf_north.command(NORTH, *words))
        self.assertEqual(lines, [b"done:", *words])
        self.assertEqual(asked, [(NORTH + 1, words)])
        self.assertEqual(heard, asked)

    def test_to_itself(self) -> None:
        """A node executes its own commands, and gets the answer.

        Scenario: L3
        """
        asked = self.executing(self.leaf_north)
        self.assertEqual(self.ended(self.leaf_north.command(NORTH + 1, b"x")), [b"done:", b"x"])
        self.assertEqual(asked, [(NORTH + 1, (b"x",))])

    def test_to_a_node_far_away(self) -> None:
        """It is executed where it is addressed to, and by nobody on the way.

        Scenario: L12
        """
        others = [self.executing(node) for node in (self.top, self.north, self.south)]
        asked = self.executing(self.leaf_south)
        lines = self.ended(self.leaf_north.command(SOUTH + 1, b"status", b"-v"))
        self.assertEqual(lines, [b"done:", b"status", b"-v"])
        self.assertEqual(asked, [(NORTH + 1, (b"status", b"-v"))])
        self.assertEqual(others, [[], [], []])

    def test_through_another_node(self) -> None:
        """A temporary node reaches every node; who it is registered with asks in its stead.

        Scenario: L2, L12
        """
        asked = self.executing(self.leaf_south)
        tool = self.node(0, upstream="ipv4://10.0.1.0:1")
        self.network.start(tool)
        self.assertEqual(self.ended(tool.command(SOUTH + 1, b"x")), [b"done:", b"x"])
        self.assertEqual(asked, [(NORTH, (b"x",))])
        self.assertIs(self.ended(tool.command(SOUTH + 7, b"x")), Status.NO_ROUTE)

    def test_limits(self) -> None:
        """Too long or too many arguments are refused before anything is sent.

        Scenario: L6
        """
        asked = self.executing(self.north)
        fits = bytes(limits.COMMAND_BYTES - 1)
        self.assertEqual(len(self.ended(self.leaf_north.command(NORTH, b"x", fits))), 3)
        for words in ([b"xx", fits], [b""] * (limits.COMMAND_ARGUMENTS_MAX + 1)):
            self.assertIs(
                self.ended(self.leaf_north.command(NORTH, *words)), Status.MESSAGE_TOO_LARGE
            )
        self.assertEqual(len(asked), 1)

    def test_long_answers(self) -> None:
        """An answer of many frames arrives whole and in order."""
        lines = [b"%06d " % number + bytes(200) for number in range(1000)]
        self.leaf_south.on_command(lambda _source, _words: lines)
        self.assertEqual(self.ended(self.leaf_north.command(SOUTH + 1, b"list")), lines)

    def test_nobody_there(self) -> None:
        """A command without a way, or without anybody to execute it, is refused at once."""
        self.assertIs(self.ended(self.leaf_north.command(SOUTH + 9, b"x")), Status.NO_ROUTE)
        self.assertIs(self.ended(self.leaf_north.command(NORTH, b"x")), Status.UNKNOWN_COMMAND)
        unknown = self.leaf_north.command(NORTH, b"atbus.no-such-thing")
        self.assertIs(self.ended(unknown), Status.UNKNOWN_COMMAND)

    def test_executors_that_fail(self) -> None:
        """An exception, a wrong answer and a failing Deferred are told as HANDLER_FAILED."""

        def fail(_source: int, _words: tuple[bytes, ...]) -> list[bytes]:
            raise ZeroDivisionError("no")

        for executor in (fail, lambda _source, _words: 7):
            self.north.on_command(executor)
            answer = self.leaf_north.command(NORTH, b"x")
            self.assertIs(self.ended(answer), Status.HANDLER_FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, TypeError)), 2)
        self.assertEqual(self.north.statistics.callback_failures, 2)

    def test_executors_that_take_their_time(self) -> None:
        """A Deferred's lines are the answer; one that never fires ends in a time-out."""
        later: Deferred[list[bytes]] = Deferred()
        self.north.on_command(lambda _source, _words: later)
        answer = self.leaf_north.command(NORTH, b"x", timeout=2)
        self.network.settle(1)
        later.callback([b"at last"])
        self.assertEqual(self.ended(answer), [b"at last"])
        never: Deferred[list[bytes]] = Deferred()
        self.north.on_command(lambda _source, _words: never)
        self.assertIs(self.ended(self.leaf_north.command(NORTH, b"x", timeout=2)), Status.TIMEOUT)
        never.callback([])

    def test_a_way_that_breaks(self) -> None:
        """A command whose way dies under it ends, and says that nobody knows."""
        self.south.on_command(lambda _source, _words: Deferred())
        never: Deferred[list[bytes]] = Deferred()
        self.leaf_south.on_command(lambda _source, _words: never)
        answer = self.leaf_north.command(SOUTH + 1, b"x", timeout=5)
        self.network.settle(0.0005)
        self.network.cut(self.leaf_north, self.north)
        self.assertIn(self.ended(answer), (Status.UNCERTAIN, Status.TIMEOUT))
        never.callback([])

    def test_forged_sources(self) -> None:
        """A neighbor cannot ask in the name of a node that is not below it."""
        asked = self.executing(self.leaf_south)
        self.leaf_north._parts.context.bus_id = SOUTH + 5
        answer = self.leaf_north.command(SOUTH + 1, b"x", timeout=1)
        self.assertIn(self.ended(answer), (Status.SOURCE_REFUSED, Status.TIMEOUT))
        self.leaf_north._parts.context.bus_id = NORTH + 1
        self.assertEqual(asked, [])

    def test_built_in_commands(self) -> None:
        """Every node tells about itself, near and far."""
        ask = self.leaf_north.command
        status = json.loads(self.ended(ask(SOUTH, b"atbus.status"))[0])
        self.assertEqual((status["id"], status["subnets"]), ("0x10200", ["0x10200/8"]))
        nodes = json.loads(self.ended(ask(SOUTH, b"atbus.nodes"))[0])
        self.assertEqual([row["id"] for row in nodes], ["0x10000", "0x10201"])
        links = json.loads(self.ended(ask(SOUTH, b"atbus.links"))[0])
        self.assertEqual([row["role"] for row in links], ["control", "data"] * 2)
        routes = json.loads(self.ended(ask(SOUTH, b"atbus.routes"))[0])
        self.assertEqual(routes[-1], {"subnet": "*", "via": "0x10000", "rule": "default route"})

    def test_trace(self) -> None:
        """The nodes on the way are found one after the other, the target last."""
        rows = json.loads(
            self.ended(self.leaf_north.command(NORTH + 1, b"atbus.trace", b"0x10201"))[0]
        )
        self.assertEqual(
            [(row["id"], row["status"]) for row in rows],
            [
                ("0x10100", "HOP_LIMIT"),
                ("0x10000", "HOP_LIMIT"),
                ("0x10200", "HOP_LIMIT"),
                ("0x10201", "OK"),
            ],
        )

    def test_a_node_that_stops(self) -> None:
        """Commands that wait when their node stops end as CLOSING; new ones are not accepted."""
        never: Deferred[list[bytes]] = Deferred()
        self.north.on_command(lambda _source, _words: never)
        answer = self.leaf_north.command(NORTH, b"x", timeout=60)
        self.network.settle()
        stopping = self.leaf_north.stop()
        error = self.failure_of(self.leaf_north.command(NORTH, b"y"), Undeliverable)
        self.assertIs(error.status, Status.CLOSING)
        never.callback([b"z"])
        self.assertIn(self.ended(answer), (Status.CLOSING, [b"z"]))
        self.network.result_of(stopping)
        self.assertEqual(ROOT, self.top.bus_id)
