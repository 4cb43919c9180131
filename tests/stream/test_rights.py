"""Who may open streams to which services, and who says no."""

from __future__ import annotations

from typing import Any

from atbus.errors import Status
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.node.stream_port import refuses_frame
from atbus.rights import Rights, RightsRule
from atbus.wire import codec
from atbus.wire.head import peek
from atbus.wire.messages import StreamOpen
from tests.node.mail import NORTH
from tests.stream.case import ONE, OTHER, Diaries, StreamTests


def deny(*services: str, ids: str = "0x10101") -> list[dict[str, Any]]:
    """Make rules that deny some services to some nodes."""
    return [{"name": "guests", "action": "deny", "ids": [ids], "streams": list(services)}]


class RightTests(StreamTests):
    """Two leaves, three hops from each other; one has rules."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.leaves()
        self.served = Diaries()
        for service in ("web", "ssh"):
            self.serve(self.other, self.served, service)
        self.north = next(node for node in self.nodes if node.bus_id == NORTH)

    def change(self, node: Node, rights: list[dict[str, Any]]) -> None:
        """Give a node other rights while it runs."""
        reconfigure(node, node.config.replace(rights=rights))

    def refused_by(self, node: Node) -> None:
        """Give a node the rule: it refuses one service, says why, and counts; not another one."""
        self.change(node, deny("ssh"))
        error = self.refusal(self.opening(self.one, OTHER, Diaries(), "ssh"))
        self.assertIs(error.status, Status.NO_RIGHT)
        self.assertIn("rights[0] (guests) denies streams to 0x10101", str(error))
        self.assertEqual(self.served.made, [])
        self.open(self.one, OTHER)
        self.assertEqual(self.one.statistics.streams_refused, {Status.NO_RIGHT: 1})
        self.assertEqual(self.one.statistics.streams_opened, 1)

    def test_the_first_hop(self) -> None:
        """The node on the way next to the one that asks stops what it may not have."""
        self.refused_by(self.north)
        self.assertEqual(self.north.statistics.refused, {Status.NO_RIGHT: 1})
        self.assertEqual(self.other.statistics.refused, {})

    def test_the_destination(self) -> None:
        """The node that has the service refuses it itself."""
        self.refused_by(self.other)
        self.assertEqual(self.other.statistics.refused, {Status.NO_RIGHT: 1})

    def test_the_node_itself(self) -> None:
        """A node that forbids itself a service does not even ask for it."""
        self.refused_by(self.one)
        self.assertEqual(self.north.statistics.forwarded_frames, 2)

    def test_only_what_is_allowed(self) -> None:
        """As soon as one rule allows a service to anybody, others need a rule too."""
        self.change(self.other, [{"action": "allow", "ids": ["0x10101"], "streams": ["w*"]}])
        self.open(self.one, OTHER)
        error = self.refusal(self.opening(self.one, OTHER, Diaries(), "ssh"))
        self.assertIn("no rule of rights allows streams to 0x10101", str(error))

    def test_messages_are_another_right(self) -> None:
        """Who may send nothing may have streams all the same, and the other way round."""
        self.change(self.north, [{"action": "deny", "ids": ["0x10101"], "send": ["*"]}])
        client = self.open(self.one, OTHER)
        client.transport.write(b"x")
        self.network.settle(1)
        self.assertEqual(self.served.made[0].data, b"x")
        self.assertIs(self.ended(self.one.deliver(OTHER, b"y")), Status.NO_RIGHT)

    def test_an_opening_that_cannot_be_read(self) -> None:
        """A node on the way leaves it to the destination, unless nobody may open any stream."""
        opening = StreamOpen(source=ONE, destination=OTHER, stream_id=1, service="ssh")
        frame = codec.encode(opening)[:-1]
        for services, is_refused in ((("ssh",), False), (("*",), True)):
            rule = RightsRule(allows=False, streams=services)
            refusal = refuses_frame(Rights([rule]), frame, peek(frame))
            self.assertIs(refusal is not None, is_refused)

    def test_new_rights_count_at_once(self) -> None:
        """A stream that may not be opened any more ends, at both ends, with the reason."""
        client, second = self.open(self.one, OTHER), self.open(self.one, OTHER, "ssh")
        self.network.settle(1)
        self.change(self.other, deny("ssh"))
        self.network.settle(1)
        self.assertEqual((client.end, second.end), ("", "NO_RIGHT"))
        self.assertEqual([server.end for server in self.served.made], ["", "NO_RIGHT"])

    def test_denied_ids(self) -> None:
        """Nothing passes of who is denied on the way, and both ends learn that it ends."""
        client = self.open(self.one, OTHER)
        self.network.settle(1)
        root = next(node for node in self.nodes if node.bus_id == 0x10000)
        reconfigure(root, root.config.replace(denied=["0x10101"]))
        client.transport.write(b"x")
        self.network.settle(200)
        self.assertEqual(client.end, "NO_RIGHT")
        self.assertNotIn(self.served.made[0].end, ("", "ConnectionDone"))
        self.assertEqual(self.served.made[0].data, b"")
