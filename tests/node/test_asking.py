"""Deliveries that are confirmed and requests that are answered: every one of them ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.events import Fate
from atbus.node.node import Node
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests, Receiving


class DeliverTests(MailTests):
    """`deliver`."""

    def test_the_answer_waits_for_the_receiver(self) -> None:
        """A receiver that returns a Deferred or a coroutine is waited for before the answer."""
        root, child = self.pair()
        later: Deferred[None] = Deferred()

        awaited: Deferred[None] = Deferred()

        async def coroutine() -> None:
            await awaited

        root.receiver = Receiving(lambda _, payload: later if payload == b"d" else coroutine())
        answers: list[Fate] = []
        for payload in (b"d", b"c"):
            child.deliver(ROOT, payload).addCallback(answers.append)
        self.network.settle(1)
        self.assertEqual(answers, [])
        later.callback(None)
        awaited.callback(None)
        self.network.settle(1)
        self.assertEqual([fate.status for fate in answers], [Status.OK, Status.OK])

    def test_receivers_that_fail(self) -> None:
        """A receiver's failure, at once or later, is answered by name; others are not touched."""
        root, child = self.pair()

        async def coroutine() -> None:
            raise KeyError("later")

        def result(source: int, payload: bytes) -> Any:
            if payload == b"now":
                raise ValueError("now")
            return coroutine() if payload == b"later" else None

        root.receiver = Receiving(result)
        waiting = [child.deliver(ROOT, payload) for payload in (b"now", b"fine", b"later")]
        ends = [self.ended(each) for each in waiting]
        self.assertEqual(ends[0], Status.HANDLER_FAILED)
        self.assertIs(ends[1].status, Status.OK)
        self.assertEqual(ends[2], Status.HANDLER_FAILED)
        self.assertEqual(len(self.flushLoggedErrors(ValueError, KeyError)), 2)
        self.assertEqual(root.statistics.callback_failures, 2)

    def test_a_failure_that_nobody_asked_for(self) -> None:
        """Without being asked a receiver's failure is logged and counted, and not answered."""
        root, child = self.pair()

        def fail(source: int, payload: bytes) -> None:
            raise ValueError(payload)

        root.receiver = Receiving(fail)
        child.send(ROOT, b"x")
        self.network.settle()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.mail[child].fates, [])

    def test_timeout(self) -> None:
        """A delivery that nobody confirms ends when its time is over; the late word is told."""
        root, child = self.pair()
        later: Deferred[None] = Deferred()
        root.receiver = Receiving(lambda source, payload: later)
        began = self.network.clock.seconds()
        self.assertIs(self.ended(child.deliver(ROOT, b"x", timeout=1.5)), Status.TIMEOUT)
        self.assertAlmostEqual(self.network.clock.seconds() - began, 1.5, delta=0.01)
        later.callback(None)
        self.network.settle()
        self.assertEqual(self.mail[child].statuses(), ["OK"])
        self.assert_quiet(root, child)

    def test_nobody_waits_for_ever(self) -> None:
        """Who does not say how long he waits waits as long as is usual, and no longer."""
        root, child = self.pair()
        never: Deferred[None] = Deferred()
        root.receiver = Receiving(lambda source, payload: never)
        root.on_request(lambda source, payload: Deferred())
        root.on_command(lambda source, arguments: Deferred())
        for ask, seconds in (
            (lambda: child.deliver(ROOT, b"x"), limits.DELIVER_SECONDS),
            (lambda: child.request(ROOT, b"x"), limits.REQUEST_SECONDS),
            (lambda: child.command(ROOT, b"x"), limits.REQUEST_SECONDS),
        ):
            asking: Deferred[Any] = ask()
            self.network.settle(seconds - 0.1)
            self.assertNoResult(asking)
            self.network.settle(0.2)
            self.assertIs(self.ended(asking), Status.TIMEOUT)
        never.callback(None)
        self.network.settle()

    def test_cancel(self) -> None:
        """Who cancels waits no more; the message is on its way all the same."""
        root, child = self.pair()
        waiting = child.deliver(ROOT, b"x")
        results: list[Any] = []
        waiting.addBoth(results.append)
        waiting.cancel()
        self.assertIsInstance(results[0].value, CancelledError)
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"x"])
        self.assertEqual(len(results), 1)
        self.assert_quiet(root, child)

    def test_refused_at_once(self) -> None:
        """What `send` would refuse is a failed Deferred, not an exception."""
        root, child = self.pair()
        del root
        self.assertIs(self.ended(child.deliver(ROOT, bytes(2_000_000))), Status.MESSAGE_TOO_LARGE)
        self.assertIs(self.ended(child.request(ROOT, bytes(2_000_000))), Status.MESSAGE_TOO_LARGE)

    def test_too_many_questions(self) -> None:
        """A question too many is refused before it is sent; open ones are not touched."""
        root, child = self.pair()
        later: Deferred[None] = Deferred()
        root.receiver = Receiving(lambda source, payload: later)
        child._parts.fates._fates.count_max = 2
        waiting = [child.deliver(ROOT, b"%d" % number) for number in range(2)]
        self.assertIs(self.ended(child.deliver(ROOT, b"2"), 0), Status.BUFFER_LIMIT)
        self.assertIs(self.ended(child.request(ROOT, b"2"), 0), Status.BUFFER_LIMIT)
        self.network.settle()
        self.assertEqual(root.statistics.received_messages, 2)
        later.callback(None)
        self.assertEqual([self.ended(each).status for each in waiting], [Status.OK, Status.OK])

    def test_given_up_far_away(self) -> None:
        """A relay that gives a message up ends the wait for it at once, with its name."""
        self.proxies()
        leaf = self.leaf(NORTH + 1)
        for ask in (leaf.deliver, leaf.request):
            results: list[Any] = []
            ask(SOUTH + 9, b"x").addErrback(results.append)
            self.network.settle(0.2)
            error = results[0].value
            assert isinstance(error, Undeliverable)
            self.assertEqual((error.status, error.gave_up_at), (Status.NO_ROUTE, SOUTH))
            self.assertEqual(error.target, SOUTH + 9)


class RequestTests(MailTests):
    """`request`."""

    def test_kinds_of_responders(self) -> None:
        """Bytes, a Deferred and a coroutine of bytes are replies; who asks is told to whom."""
        self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        later: Deferred[bytes] = Deferred()
        awaited: Deferred[bytes] = Deferred()
        asked: list[tuple[int, bytes]] = []

        async def coroutine(payload: bytes) -> bytes:
            return await awaited + payload

        def respond(source: int, payload: bytes) -> Any:
            asked.append((source, payload))
            if payload == b"deferred":
                return later
            return coroutine(payload) if payload == b"coroutine" else payload.upper()

        two.on_request(respond)
        questions = [b"now", b"deferred", b"coroutine", b""]
        waiting = [one.request(SOUTH + 1, question) for question in questions]
        self.network.settle(1)
        later.callback(b"later")
        awaited.callback(b"later")
        self.assertEqual(
            [self.ended(each) for each in waiting], [b"NOW", b"later", b"latercoroutine", b""]
        )
        self.assertEqual(asked, [(NORTH + 1, question) for question in questions])
        self.assert_quiet(*self.nodes)

    def test_nobody_responds(self) -> None:
        """A node that answers no requests says so at once."""
        root, child = self.pair()
        self.assertIs(self.ended(child.request(ROOT, b"x"), 1), Status.NO_RESPONDERS)
        root.on_request(lambda source, payload: b"y")
        self.assertEqual(self.ended(child.request(ROOT, b"x"), 1), b"y")
        root.on_request(None)
        self.assertIs(self.ended(child.request(ROOT, b"x"), 1), Status.NO_RESPONDERS)

    def test_responders_that_fail(self) -> None:
        """A responder that raises, fails later, or returns something else is a failure."""
        root, child = self.pair()
        failing: Deferred[bytes] = Deferred()
        results: dict[bytes, Any] = {b"deferred": failing, b"text": "text", b"none": None}

        def respond(source: int, payload: bytes) -> Any:
            if payload == b"raise":
                raise ValueError("no")
            return results[payload]

        root.on_request(respond)
        for question in (b"raise", b"text", b"none", b"deferred"):
            waiting = child.request(ROOT, question)
            self.network.settle(0.1)
            if question == b"deferred":
                failing.errback(Failure(KeyError("later")))
            self.assertIs(self.ended(waiting), Status.HANDLER_FAILED, question)
        self.assertEqual(len(self.flushLoggedErrors(ValueError, TypeError, KeyError)), 4)

    def test_a_reply_that_is_not_accepted(self) -> None:
        """When the reply cannot be sent, who asks is told so at once, and why."""
        root, child = self.pair()
        root.on_request(lambda source, payload: bytes(2_000_000))
        with self.assertRaises(Undeliverable) as caught:
            self.network.result_of(child.request(ROOT, b"x"), 1)
        self.assertIs(caught.exception.status, Status.HANDLER_FAILED)
        self.assertIn("MESSAGE_TOO_LARGE", caught.exception.detail)
        self.assertEqual(root.statistics.callback_failures, 0)

    def test_late_replies_are_counted(self) -> None:
        """A reply that comes when nobody waits any more is counted, and nothing else."""
        root, child = self.pair()
        later: Deferred[bytes] = Deferred()
        root.on_request(lambda source, payload: later)
        self.assertIs(self.ended(child.request(ROOT, b"x", timeout=1)), Status.TIMEOUT)
        later.callback(b"late")
        self.network.settle()
        self.assertEqual(child.statistics.late_frames, 1)
        self.assertEqual(self.mail[child].letters, [])
        self.assertEqual(self.mail[child].fates, [])
        self.assert_quiet(root, child)

    def test_an_answered_question_is_not_uncertain(self) -> None:
        """What has been replied to has had its word, even if nobody acknowledged it before."""
        _, north, _ = self.proxies()
        one, two, three = (self.leaf(NORTH + number) for number in (1, 2, 3))
        two.on_request(lambda source, payload: payload)
        self.network.freeze(three)
        stuck = one.send(NORTH + 3, b"holds back the acknowledgement of what follows")
        self.assertEqual(self.ended(one.request(NORTH + 2, b"x")), b"x")
        self.network.cut(one, north)
        self.network.settle(0.5)
        self.assertEqual(self.mail[one].news, [(NORTH + 3, stuck, 1, "UNCERTAIN")])
        self.network.thaw(three)
        self.network.settle(2)

    def test_many_at_once(self) -> None:
        """Replies find their questions, in whatever order they come."""
        root, child = self.pair()
        held: list[tuple[bytes, Deferred[bytes]]] = []

        def respond(source: int, payload: bytes) -> Deferred[bytes]:
            held.append((payload, Deferred()))
            return held[-1][1]

        root.on_request(respond)
        waiting = [child.request(ROOT, b"%d" % number) for number in range(50)]
        self.network.settle(0.1)
        for payload, reply in reversed(held):
            reply.callback(b"to " + payload)
        replies = [self.ended(each) for each in waiting]
        self.assertEqual(replies, [b"to %d" % number for number in range(50)])


class StopTests(MailTests):
    """Questions and stops."""

    def open_questions(self, node: Node) -> list[Deferred[Any]]:
        """Ask the root something that takes its time."""
        root = self.nodes[0]
        self.taken: Deferred[None] = Deferred()
        self.replied: Deferred[bytes] = Deferred()
        root.receiver = Receiving(lambda source, payload: self.taken)
        root.on_request(lambda source, payload: self.replied)
        asked: list[Deferred[Any]] = [node.deliver(ROOT, b"x"), node.request(ROOT, b"x")]
        self.network.settle(0.1)
        return asked

    def answer(self) -> None:
        """Let the answers come."""
        self.taken.callback(None)
        self.replied.callback(b"answer")

    def test_who_asks_stops(self) -> None:
        """A node that stops ends what it still waits for."""
        _, child = self.pair()
        asked = self.open_questions(child)
        self.network.result_of(child.stop())
        self.assertEqual([self.ended(each, 0) for each in asked], [Status.CLOSING] * 2)
        self.answer()
        self.network.settle()

    def test_who_is_asked_stops(self) -> None:
        """A node that stops answers first what it has been asked."""
        root, child = self.pair()
        asked = self.open_questions(child)
        stopping = root.stop()
        self.network.settle(0.5)
        self.assertEqual(root.state, "draining")
        self.answer()
        ends = [self.ended(each) for each in asked]
        self.assertIs(ends[0].status, Status.OK)
        self.assertEqual(ends[1], b"answer")
        self.network.result_of(stopping, 5)
