"""What a node writes down of its messages is what became of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.testing.checker import Verdict, check_folder
from atbus.testing.node_record import NodeRecord
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests, Keeper

NOBODY = 0x10009


class NodeRecordTests(BusTests):
    """Nodes that write down everything."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def node(self, bus_id: int | str = ROOT, **options: Any) -> Node:
        """Make a node that writes."""
        node = super().node(bus_id, **options)
        NodeRecord(node, self.folder / f"{len(self.nodes)}.events")
        return node

    def family(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start a root with two children."""
        root, one, two = self.root(**options), self.child(), self.child(SIBLING)
        self.network.start(root, one, two)
        self.network.settle()
        return root, one, two

    def judge(self, *killed: int) -> Verdict:
        """Stop what lives, and judge what everybody wrote."""
        self.network.stop(*(node for node in self.nodes if node not in self.dead))
        return check_folder(self.folder, killed)

    def events(self, number: int) -> list[dict[str, Any]]:
        """Read what one node wrote."""
        lines = (self.folder / f"{number}.events").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def test_everything_arrives(self) -> None:
        """Messages of every size and way, also to the node itself, are seen at both ends."""
        root, one, two = self.family()
        for node in (root, one, two):
            node.receiver = Keeper()
        for number in range(20):
            one.send(SIBLING, b"%d" % number, number)
            two.send(CHILD, b"-%d" % number)
        one.send(SIBLING, bytes(200_000))
        one.send(CHILD, b"to myself")
        self.network.result_of(one.deliver(SIBLING, b"asked for"))
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual((verdict.sent, verdict.delivered, verdict.unfinished), (43, 43, ()))

    def test_runs_are_runs(self) -> None:
        """A node that is watched still sends the messages of one turn in one frame."""
        root, child = self.pair()
        keeper = root.receiver = Keeper()
        before = child._parts.context.statistics.sent_messages
        child.send(ROOT, b"first")
        self.network.settle(0.1)
        (data,) = [c for e in child.endpoints.values() for c in e.data]
        assert data.link is not None
        for _ in range(50):
            child.send(ROOT, b"x")
        self.network.clock.advance(0)
        self.assertEqual(len(data.link.outgoing), 1)
        self.network.settle(0.1)
        self.assertEqual(len(keeper.payloads), 51)
        self.assertEqual(child.statistics.sent_messages - before, 51)
        self.assertTrue(self.judge().ok)

    def test_requests_and_replies(self) -> None:
        """A request and its reply are two messages, each with its fate."""
        _, one, two = self.family()
        two.on_request(lambda _, payload: payload.upper())
        self.network.result_of(one.request(SIBLING, b"a"))
        self.network.result_of(two.request(SIBLING, b"b"))
        self.failure_of(one.request(ROOT, b"c"), Undeliverable)
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual((verdict.sent, verdict.delivered), (5, 4))
        self.assertEqual(dict(verdict.refused), {"NO_RESPONDERS": 1})

    def test_a_reply_that_comes_too_late(self) -> None:
        """Nobody waits for it any more: it is written down as dropped."""
        root, child = self.pair()
        root.on_request(lambda _, payload: payload)
        self.network.delay_seconds = 0.5
        self.failure_of(child.request(ROOT, b"?", timeout=0.7), Undeliverable)
        self.network.settle(2)
        self.network.delay_seconds = 0.001
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual(dict(verdict.dropped), {"TIMEOUT": 1})

    def test_refusals(self) -> None:
        """A message that is not accepted, and one that a relay gives up, are told apart by name."""
        root, one, _ = self.family()
        self.assertRaises(Undeliverable, root.send, NOBODY, b"x")
        one.send(NOBODY, b"y")
        self.network.settle()
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual(dict(verdict.refused), {"NO_ROUTE": 2})
        self.assertEqual([e["event"] for e in self.events(1)].count("refuse"), 1)
        fates = [event for event in self.events(2) if event["event"] == "fate"]
        self.assertEqual([(e["status"], e["gave_up_at"]) for e in fates], [("NO_ROUTE", "0x10000")])

    def test_a_receiver_that_fails(self) -> None:
        """It was given the message; that it failed is the program's matter."""
        root, child = self.pair()

        class Failing:
            def message_received(self, *_: object) -> None:
                raise ZeroDivisionError

        root.receiver = Failing()  # type: ignore[assignment]  # interface by shape
        child.send(ROOT, b"1")
        fate = child.deliver(ROOT, b"2")
        self.assertIs(self.failure_of(fate, Undeliverable).status, Status.HANDLER_FAILED)
        self.flushLoggedErrors(ZeroDivisionError)
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual(verdict.delivered, 2)

    def test_a_link_that_dies(self) -> None:
        """What was on its way to a node that is killed is uncertain."""
        root, child = self.pair()
        root.receiver = Keeper()
        child.send(ROOT, b"arrives")
        self.network.settle()
        child.send(ROOT, b"does not")
        self.network.clock.advance(0)
        self.kill(root)
        self.network.settle()
        verdict = self.judge(ROOT)
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual((verdict.delivered, verdict.uncertain), (1, 1))
        self.assertEqual(len(verdict.unfinished), 1)

    def test_a_failure_that_cannot_be_told(self) -> None:
        """When the sender is gone for good, the relay writes down what ended there."""
        root, one, two = self.family()
        self.network.split(root, two)
        for _ in range(3):
            one.send(SIBLING, b"x")
        self.network.settle(0.1)
        self.kill(one)
        self.network.cut(root, two)
        self.network.heal(root, two)
        self.kill(two)
        self.network.settle(30)
        verdict = self.judge(CHILD, SIBLING)
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual(dict(verdict.dropped), {"UNCERTAIN": 3})

    def test_an_id_that_is_assigned(self) -> None:
        """A node that gets its id late writes under it from then on."""
        root, child = self.root(), self.child("auto")
        self.network.start(root, child)
        self.network.settle()
        root.receiver = Keeper()
        child.send(ROOT, b"x")
        self.network.settle()
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual([pair[0] for pair in verdict.pairs], [child.bus_id])

    def test_an_epoch_that_is_raised(self) -> None:
        """News about messages of before are news about the epoch in which they were sent."""
        root, other = self.root(), self.node(0x20000, listen=["ipv4://10.0.0.7:1"])
        child = self.child()
        self.network.start(root, other, child)
        self.network.settle()
        child.send(NOBODY, b"x")
        self.network.clock.advance(0)
        child._parts.context.epoch += 5
        child.send(NOBODY, b"y")
        self.network.settle()
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual(dict(verdict.refused), {"NO_ROUTE": 2})

    def test_once_more(self) -> None:
        """A node that is started again goes on in the same file."""
        root = self.root()
        for _ in range(2):
            self.network.start(root)
            root.receiver = Keeper()
            root.send(ROOT, b"x")
            self.network.stop(root)
        names = [event["event"] for event in self.events(1)]
        self.assertEqual(names, ["open", "up", "send", "receive", "down", "stop"] * 2)
        self.assertEqual(self.judge().unfinished, ())

    def test_never_up(self) -> None:
        """A node that stops before it was up says only that it has stopped."""
        child = self.child()
        child.start().addErrback(lambda _: None)
        self.network.settle()
        self.network.stop(child)
        self.assertEqual([event["event"] for event in self.events(1)], ["open", "stop"])

    def test_a_full_disk(self) -> None:
        """A file that cannot be written any more ends the record, and nothing else."""
        root, child = self.pair()
        keeper = root.receiver = Keeper()
        with patch.object(os, "write", side_effect=OSError(28, "No space left on device")):
            for _ in range(3):
                child.send(ROOT, b"x")
            self.network.settle()
        self.assertEqual(len(keeper.payloads), 3)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)
        self.assertEqual(len(self.judge().unfinished), 2)

    def test_nobody_looks_on(self) -> None:
        """A node that is not recorded takes the short way without a detour."""
        plain = self.network.node(id=CHILD, upstream=ROOT_ADDRESS, allow_insecure=True)
        self.network.start(self.root(), plain)
        self.network.settle()
        plain.send(ROOT, b"x")
        (data,) = [c for e in plain.endpoints.values() for c in e.data]
        self.assertIs(plain._parts.sender._flow(ROOT).link, data.link)
        self.network.stop(plain)
