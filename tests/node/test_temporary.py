"""Temporary nodes: they come, run commands, and go; nobody can address them."""

from __future__ import annotations

import json
from typing import Any

from atbus import limits
from atbus.errors import (
    ConnectFailed,
    LocalProtocolError,
    RegistrationRefused,
    Status,
    Undeliverable,
)
from atbus.node.node import Node
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests


class TemporaryTests(BusTests):
    """A root with a child, and a tool that connects to the root."""

    def tool(self, **options: Any) -> Node:
        """Make a temporary node."""
        return self.child(0, **options)

    def met(self) -> tuple[Node, Node, Node]:
        """Start a root, a child and a tool."""
        root, child = self.pair()
        tool = self.tool()
        self.network.start(tool)
        return root, child, tool

    def test_it_becomes_no_endpoint(self) -> None:
        """
        The root is told of a registration and of no endpoint; for the tool the root is one.

        Scenario: H27
        """
        root, _, tool = self.met()
        self.network.settle(3)
        self.assertEqual(self.ids(root), [CHILD])
        self.assertEqual(self.diaries[root].added(), [CHILD])
        self.assertIn((0, "CONTROL", "OK"), self.diaries[root].registrations())
        self.assertEqual(self.diaries[tool].added(), [ROOT])
        self.assertTrue(tool.endpoints[ROOT].available)
        self.assertEqual(tool.state, "running")

    def test_it_is_not_pinged(self) -> None:
        """
        Neither side pings, and neither misses an answer.

        Scenario: H27
        """
        root, _, tool = self.met()
        self.diaries[root].clear()
        self.network.settle(5 * limits.HEARTBEAT_SECONDS)
        self.assertEqual(self.diaries[tool].of("on_endpoint_ping"), [])
        pinged = {endpoint.bus_id for endpoint, _ in self.diaries[root].of("on_endpoint_ping")}
        self.assertEqual(pinged, {CHILD})
        self.assertEqual(tool.state, "running")

    def test_it_has_one_connection(self) -> None:
        """
        No data connection is made for it, and none is missed.

        Scenario: H27
        """
        root, _, tool = self.met()
        self.network.settle(2 * limits.DATA_CONNECTION_SECONDS)
        self.assertEqual(len(self.network.between(tool, root)), 1)
        self.assertEqual(self.diaries[tool].removed(), [])

    def test_commands(self) -> None:
        """
        The node that executes a command sees the id 0, and the answer arrives.

        Scenario: L2
        """
        root, _, tool = self.met()
        asked: list[tuple[int, tuple[bytes, ...]]] = []

        def execute(source: int, arguments: tuple[bytes, ...]) -> list[bytes]:
            asked.append((source, arguments))
            return [b"done", b"\0"]

        root.on_command(execute)
        for target in (0, ROOT):
            lines = self.network.result_of(tool.command(target, b"do", b"\0this"))
            self.assertEqual(lines, [b"done", b"\0"])
        self.assertEqual(asked, [(0, (b"do", b"\0this"))] * 2)

    def test_commands_for_others(self) -> None:
        """
        The node it is connected to asks others in its stead.

        Scenario: L2
        """
        _, child, tool = self.met()
        child.on_command(lambda source, arguments: [b"%x" % source, *arguments])
        lines = self.network.result_of(tool.command(CHILD, b"do"))
        self.assertEqual(lines, [b"%x" % ROOT, b"do"])

    def test_what_every_node_can_be_asked(self) -> None:
        """A tool learns from any node whom it knows; itself is not among them."""
        _, _, tool = self.met()
        lines = self.network.result_of(tool.command(0, b"atbus.nodes"))
        answer = json.loads(lines[0])
        self.assertIn(f"{CHILD:x}", json.dumps(answer))

    def test_a_wrong_token(self) -> None:
        """
        A tool without the right token is refused as any other node is.

        Scenario: L4
        """
        root = self.root(access_tokens=["right"])
        self.network.start(root)
        tool = self.tool(access_tokens=["wrong"])
        self.assertEqual(self.refusal_of(tool.start()), Status.ACCESS_DENIED)
        self.assertEqual(tool.state, "stopped")

    def test_it_takes_nobody_in(self) -> None:
        """A temporary node has no id under which others could register."""
        self.met()
        tool = self.tool()
        self.network.start(tool)
        self.network.result_of(tool.listen("ipv4://10.0.0.8:1"))
        peer = self.node(0x50000)
        self.network.start(peer)
        self.failure_of(peer.connect("ipv4://10.0.0.8:1"), RegistrationRefused)
        self.assertEqual(peer.endpoints, {})

    def test_it_cannot_be_reached(self) -> None:
        """Nobody can send to it, and it sends no messages."""
        root, _, tool = self.met()
        self.assertRaises(LocalProtocolError, root.send, 0, b"?")
        for target in (ROOT, CHILD):
            self.assertRaises(Undeliverable, tool.send, target, b"?")

    def test_many_at_once(self) -> None:
        """Tools do not get in each other's way; they all have id 0."""
        root, _ = self.pair()
        tools = [self.tool() for _ in range(10)]
        self.network.start(*tools)
        root.on_command(lambda source, arguments: [arguments[1]])
        waiting = [tool.command(0, b"n", b"%d" % place) for place, tool in enumerate(tools)]
        answers = [self.network.result_of(each) for each in waiting]
        self.assertEqual(answers, [[b"%d" % place] for place in range(10)])

    def test_it_leaves(self) -> None:
        """Nothing is left of a tool that has gone, by its own will or not."""
        root, _, tool = self.met()
        self.network.stop(tool)
        other = self.tool()
        self.network.start(other)
        self.kill(other)
        self.network.settle(0.1)
        self.assertEqual(self.diaries[root].removed(), [])
        self.assertEqual(len(self.network.process_of(root).channels), 2)
        self.assertEqual(self.ids(root), [CHILD])

    def test_a_place_that_was_left_is_free(self) -> None:
        """Where few may be registered at a time, any number of tools may come one by one."""
        root = self.root(endpoints_max=2)
        self.network.start(root, self.child())
        for _ in range(5):
            tool = self.tool()
            self.network.start(tool)
            self.network.stop(tool)
            self.network.settle(0.1)

    def test_its_node_stops(self) -> None:
        """A tool hears that the node it is connected to has left, and looks for it again."""
        root, _, tool = self.met()
        self.network.stop(root)
        self.network.settle(0.1)
        self.assertEqual(tool.state, "lost_upstream")
        self.network.start(root)
        self.network.settle(10)
        self.assertEqual(tool.state, "running")

    def test_a_command_under_way_when_the_node_dies(self) -> None:
        """Whoever waits for lines is told, soon, that they will not come."""
        root, _, tool = self.met()
        waiting = tool.command(0, b"atbus.ping", timeout=30)
        self.kill(root)
        begun = self.network.clock.seconds()
        self.failure_of(waiting, Undeliverable)
        self.assertLess(self.network.clock.seconds() - begun, 5)

    def test_nobody_there(self) -> None:
        """A tool without a bus gives up when its time is over."""
        tool = self.tool(require_upstream_within_seconds=3)
        self.assertEqual(self.refusal_of(tool.start()), Status.TIMEOUT)
        self.assertEqual(set(self.diaries[tool].errors()), {"CONNECT_FAILED", "TIMEOUT"})
        self.failure_of(tool.connect(ROOT_ADDRESS), ConnectFailed)

    def test_connecting_without_upstream(self) -> None:
        """A temporary node may also be started alone and connected by hand."""
        root, _ = self.pair()
        tool = self.node(0)
        self.network.start(tool)
        endpoint = self.network.result_of(tool.connect(ROOT_ADDRESS))
        self.assertEqual(endpoint.bus_id, ROOT)
        lines = self.network.result_of(tool.command(ROOT, b"atbus.ping"))
        self.assertEqual(len(lines), 1)
        self.network.result_of(tool.disconnect(ROOT))
        self.assertEqual(tool.endpoints, {})
        self.assertEqual(root.state, "running")
