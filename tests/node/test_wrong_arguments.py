"""What a program gives a node by mistake is refused where it is given, and harms nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import succeed

from atbus.errors import LocalProtocolError, SubjectError, Undeliverable
from tests.node.bus import CHILD, ROOT
from tests.node.mail import MailTests


def _answer(value: object, _publication: object) -> object:
    """Answer with a value that is chosen beforehand."""
    return value


class WrongArgumentTests(MailTests):
    """Two nodes, of which one belongs to somebody who makes mistakes."""

    def setUp(self) -> None:
        super().setUp()
        self.hub, self.mine = self.pair()

    def refuses(self, call: Callable[..., object], *words: object, **more: object) -> None:
        """Call with what is wrong: the sentence names it, and it is no accident."""
        with self.assertRaises(LocalProtocolError) as refused:
            call(*words, **more)
        said = str(refused.exception)
        self.assertTrue(any(repr(each) in said for each in (*words, *more.values())), said)

    def test_targets_that_are_no_ids(self) -> None:
        """A number with a fraction finds what belongs to its equal, and would fit into no frame."""
        child: Any = self.mine
        for wrong in (float(ROOT), "0x10000", None, -1, 2**64):
            with self.subTest(wrong):
                for call in (child.send, child.deliver, child.request, child.command):
                    self.refuses(call, wrong, b"x")
                for call in (child.writable, child.disconnect):
                    self.refuses(call, wrong)
        child.send(ROOT, b"1")
        self.refuses(child.send, ROOT + 0.5, b"x")
        child.send(float(ROOT), b"2")  # Joins what is on its way to its equal.
        self.network.settle()
        self.assertEqual(self.mail[self.hub].payloads, [b"1", b"2"])

    def test_times_that_are_none(self) -> None:
        """Nothing is asked when nobody could say how long to wait for it."""
        child: Any = self.mine
        for wrong in (None, "5", float("nan"), float("inf")):
            with self.subTest(wrong):
                for call in (child.deliver, child.request, child.command):
                    self.refuses(call, ROOT, b"x", timeout=wrong)
                for call in (child.request_subject, child.request_many):
                    self.refuses(call, "a", timeout=wrong)
                self.refuses(child.request_many, "a", quiet=wrong)
        self.network.settle()
        self.assertEqual(self.mail[self.hub].payloads, [])

    def test_kinds_and_hops(self) -> None:
        """A number in quotes is none."""
        child: Any = self.mine
        self.refuses(child.send, ROOT, b"x", "1")
        self.refuses(child.publish, "a", b"x", "1")
        self.refuses(child.send, ROOT, b"x", hop_limit="1")

    def test_subjects_that_are_no_texts(self) -> None:
        """They are refused as other wrong subjects are; the interest of the node stays readable."""
        child: Any = self.mine
        for wrong in (None, b"a", 5):
            with self.subTest(wrong):
                calls = (
                    partial(child.publish, wrong, b"x"),
                    partial(child.publish, "a", b"x", reply_to=wrong or b"none"),
                    partial(child.subscribe, wrong),
                    partial(child.subscribe, "a", queue=wrong),
                    partial(child.request_subject, wrong),
                )
                for call in calls:
                    with self.assertRaises(SubjectError) as refused:
                        call()
                    self.assertIn("a text, not ", str(refused.exception))
        found: list[bytes] = []
        child.subscribe("a", lambda publication: found.append(publication.payload))
        self.network.settle()
        self.assertFalse(len(child._parts.subjects.inquiries))
        self.hub.publish("a", b"1")
        self.network.settle()
        self.assertEqual(found, [b"1"])

    def test_headers_that_are_none(self) -> None:
        """Names and values are texts, in pairs."""
        child: Any = self.mine
        for wrong in ({"A": 5}, {5: "A"}, "A: b", [("A",)], [("A", None)], [5]):
            with self.subTest(wrong), self.assertRaises(LocalProtocolError):
                child.publish("a", b"x", headers=wrong)

    def test_what_cannot_be_called(self) -> None:
        """It is refused when it is given, not when somebody far away waits for it."""
        child: Any = self.mine
        self.refuses(lambda wrong: child.subscribe("a", wrong), 5)
        self.refuses(child.on_request, 5)
        self.refuses(child.on_command, 5)
        self.refuses(lambda wrong: setattr(child, "receiver", wrong), 5)
        child.on_request(None)
        child.on_command(None)
        child.receiver = None
        self.assertIs(child.receiver, None)

    def test_answers_that_are_no_bytes(self) -> None:
        """A subscriber that answers with a text is told so; nobody else is."""
        for number, wrong in enumerate(("noon", bytearray(b"noon"), 12, succeed("noon")), 1):
            subscription = self.hub.subscribe("time", partial(_answer, wrong))
            self.network.settle()
            asking = self.mine.request_subject("time", timeout=1)
            asking.addErrback(lambda failure: failure.trap(Undeliverable))
            self.mine.publish("time", b"nobody asks")
            self.network.settle()
            (failure,) = self.flushLoggedErrors(TypeError)
            self.assertIn("an answer must be bytes", failure.getErrorMessage())
            self.assertEqual(self.hub.statistics.callback_failures, number)
            subscription.unsubscribe()

    def test_what_a_node_is_called(self) -> None:
        """A node in a log or at a prompt says who it is, and how it is."""
        self.assertEqual(repr(self.mine), f"<Node {CHILD:#x} running>")
        self.assertEqual(repr(self.node(0x77, name="lobby")), "<Node 0x77 (lobby) created>")

    def test_a_question_in_vain(self) -> None:
        """What nobody answered is named, and no node is that it was not for."""
        asking = self.mine.request_subject("nobody.here")
        self.network.settle()
        error = self.failureResultOf(asking, Undeliverable).value
        sentence = f"message at {CHILD:#x}: NO_RESPONDERS: asked on nobody.here"
        self.assertEqual(str(error), sentence)
