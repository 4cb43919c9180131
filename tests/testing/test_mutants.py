"""Nodes with a defect: each kind of defect turns the verdict red, and is called by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from atbus.errors import Status
from atbus.node.node import Node
from atbus.testing.checker import Verdict, check_folder
from atbus.testing.node_record import NodeRecord
from tests.node.bus import SIBLING, BusTests, Keeper

COUNT = 30
# Which of the frames meets the defect.
VICTIM = 11

Forward = Callable[[Any, bytes, Any, Any], None]


class MutantTests(BusTests):
    """A root that passes on what one child sends to the other, one frame at a time."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def node(self, bus_id: int | str = 0x10000, **options: Any) -> Node:
        """Make a node that writes everything down."""
        node = super().node(bus_id, **options)
        NodeRecord(node, self.folder / f"{len(self.nodes)}.events")
        return node

    def verdict_about(self, damage: Callable[[Node, Node], None]) -> Verdict:
        """
        Let messages pass through a bus with a defect.

        :param damage: Called with the relay and the receiver, to make the defect.
        """
        root, one, two = self.root(), self.child(), self.child(SIBLING)
        self.network.start(root, one, two)
        two.receiver = Keeper()
        damage(root, two)
        for number in range(COUNT):
            one.send(SIBLING, b"%d" % number)
            self.network.settle(0.01)
        self.network.settle()
        self.network.stop(*self.nodes)
        return check_folder(self.folder)

    def damage_forwarding(self, root: Node, defect: Callable[[Forward, Any], None]) -> None:
        """Have the relay do something else with one frame than to pass it on."""
        traffic: Any = root._parts.traffic
        forward: Forward = traffic._forward
        seen: list[None] = []

        def damaged(*frame: Any) -> None:
            seen.append(None)
            if len(seen) == VICTIM:
                defect(forward, frame)
            else:
                forward(*frame)

        traffic._forward = damaged

    def test_without_a_defect(self) -> None:
        """A bus that works has a good verdict."""
        verdict = self.verdict_about(lambda root, two: None)
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual((verdict.sent, verdict.delivered), (COUNT, COUNT))

    def test_it_swallows_one(self) -> None:
        """A relay that says of a message that it has taken care of it, and did not."""

        def swallow(_: Forward, frame: Any) -> None:
            link, _, head, _ = frame
            link.discharge(head[9])

        verdict = self.verdict_about(lambda root, _: self.damage_forwarding(root, swallow))
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.lost, verdict.delivered), (1, COUNT - 1))

    def test_it_duplicates_one(self) -> None:
        """A receiver that hands a message to its program twice."""

        def damage(_: Node, two: Node) -> None:
            inbox: Any = two._parts.inbox
            run = inbox._run_plain
            seen: list[None] = []

            def twice(*what: Any) -> None:
                seen.append(None)
                run(*what)
                if len(seen) == VICTIM:
                    run(*what)

            inbox._run_plain = twice

        verdict = self.verdict_about(damage)
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.duplicated, verdict.lost), (1, 0))

    def test_it_reorders_two(self) -> None:
        """A relay that passes on a message behind the one that came after it."""

        def hold(forward: Forward, frame: Any) -> None:
            self.network.clock.callLater(0.015, forward, *frame)

        verdict = self.verdict_about(lambda root, _: self.damage_forwarding(root, hold))
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.reordered, verdict.lost, verdict.duplicated), (1, 0, 0))

    def test_it_corrupts_one(self) -> None:
        """A relay that changes a byte of a payload."""

        def corrupt(forward: Forward, frame: Any) -> None:
            link, data, head, origin = frame
            forward(link, data[:-1] + bytes([data[-1] ^ 1]), head, origin)

        verdict = self.verdict_about(lambda root, _: self.damage_forwarding(root, corrupt))
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.corrupted, verdict.lost), (1, 0))

    def test_it_lies_about_a_fate(self) -> None:
        """A relay that passes a message on and says that it could not."""

        def lie(root: Node) -> Callable[[Forward, Any], None]:
            def told(forward: Forward, frame: Any) -> None:
                forward(*frame)
                head = frame[2]
                respond = root._parts.traffic.respond
                respond(None, head[5], head[6], head[7], 1, head[8], Status.NO_ROUTE)

            return told

        verdict = self.verdict_about(lambda root, _: self.damage_forwarding(root, lie(root)))
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.contradictions, verdict.delivered), (1, COUNT))
        self.assertIn("received, but told NO_ROUTE", verdict.offenders["contradictions"][0])

    def test_it_says_that_it_delivered(self) -> None:
        """A receiver that answers for a message which its program was never given."""
        root, one, two = self.root(), self.child(), self.child(SIBLING)
        self.network.start(root, one, two)
        two.receiver = Keeper()
        traffic = two._parts.traffic
        answering: Any = two._parts.inbox.answering

        def lie(special: Any) -> None:
            traffic.respond(
                None, special.source, SIBLING, special.sequence, 1, special.epoch, Status.OK
            )

        answering.take = lie
        self.network.result_of(one.deliver(SIBLING, b"x"))
        self.network.stop(*self.nodes)
        verdict = check_folder(self.folder)
        self.assertFalse(verdict.ok)
        (text, *_) = verdict.offenders["contradictions"]
        self.assertIn("told that it was delivered, but not received", text)
