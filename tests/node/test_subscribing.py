"""Publishing and subscribing at one node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from atbus.errors import LocalProtocolError, Status, SubjectError, Undeliverable
from atbus.node.publication import Publication, PublicationRun
from atbus.node.subscription import Subscription
from tests.node.bus import ROOT, BusTests


class SubscribingTests(BusTests):
    """A node that is alone, and its subscribers."""

    def setUp(self) -> None:
        super().setUp()
        self.hub = self.root()
        self.network.start(self.hub)
        self.got: list[tuple[str, bytes]] = []

    def note(self, publication: Publication) -> None:
        """Note what a subscriber got."""
        self.got.append((publication.subject, publication.payload))

    def test_a_subscriber_gets_what_matches(self) -> None:
        """Outside callbacks a subscriber has it when publish returns."""
        self.hub.subscribe("orders.*.new", self.note)
        self.hub.publish("orders.eu.new", b"1")
        self.hub.publish("orders.eu.old", b"2")
        self.assertEqual(self.got, [("orders.eu.new", b"1")])

    def test_all_that_is_known_of_a_publication(self) -> None:
        """A subscriber sees subject, payload, headers, reply subject, kind, source and number."""
        found: list[Publication] = []
        self.hub.subscribe(">", found.append)
        mark = object()
        number = self.hub.publish("a", b"x", 7, reply_to="b", headers={"Trace": "1"}, origin=mark)
        (publication,) = found
        self.assertEqual((publication.subject, publication.payload), ("a", b"x"))
        self.assertEqual((publication.reply_to, publication.kind), ("b", 7))
        self.assertEqual((publication.source, publication.sequence), (ROOT, number))
        self.assertEqual(publication.headers, (("Trace", "1"),))
        self.assertEqual(publication.header("trace"), "1")
        self.assertIs(publication.header("other"), None)
        self.assertIs(publication.origin, mark)

    def test_many_at_once(self) -> None:
        """Each subscriber gets in order what was published at once, as if one by one."""
        self.hub.subscribe("a", self.note)
        self.hub.subscribe("*", self.note).unsubscribe(after=2)
        first = self.hub.publish_many("a", [b"1", b"2", b"3"])
        self.assertEqual(self.got, [("a", each) for each in (b"1", b"2", b"3", b"1", b"2")])
        self.assertEqual(self.hub.publish("a", b"4"), first + 3)
        self.assertEqual(self.hub.publish_many("a", []), first + 4)
        self.assertEqual(self.hub.statistics.published_messages, 4)
        self.assertEqual(self.hub.statistics.publications_delivered, 6)

    def test_many_at_once_or_none(self) -> None:
        """When one of them cannot be published, none is."""
        self.hub.subscribe("a", self.note)
        too_long = bytes(self.hub.config.message_bytes_max + 1)
        error = self.assertRaises(Undeliverable, self.hub.publish_many, "a", [b"1", too_long])
        self.assertIs(error.status, Status.MESSAGE_TOO_LARGE)
        texts: Any = [b"1", "2"]
        self.assertRaises(LocalProtocolError, self.hub.publish_many, "a", texts)
        self.assertRaises(SubjectError, self.hub.publish_many, "a.*", [b"1"])
        self.assertEqual(self.got, [])

    def test_who_takes_many_at_once(self) -> None:
        """Who can do something with publications that came together gets them together."""
        runs: list[PublicationRun] = []
        subscription = self.hub.subscribe("a", self.note, run_callback=runs.append)
        self.hub.publish("a", b"1")
        self.hub.publish_many("a", [b"2", b"3"])
        self.assertEqual(([b"1"], [b"2", b"3"]), ([self.got[0][1]], runs[0].payloads))
        self.assertEqual(subscription.taken, 3)
        subscription.unsubscribe(after=4)
        self.hub.publish_many("a", [b"4", b"5"])
        self.assertEqual(([each for _, each in self.got], len(runs)), ([b"1", b"4"], 1))

    def test_who_fails_on_many_at_once(self) -> None:
        """A failure is logged and counted, and the others get theirs."""

        def fail(_: object) -> None:
            raise RuntimeError("planned")

        self.hub.subscribe("a", fail, run_callback=fail)
        self.hub.subscribe("a", self.note)
        self.hub.publish_many("a", [b"1", b"2"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual([each for _, each in self.got], [b"1", b"2"])
        self.assertEqual(self.hub.statistics.callback_failures, 1)

    def test_every_plain_subscriber_gets_it(self) -> None:
        """Two subscriptions with one pattern, and one with another, each get it."""
        for pattern in ("a.b", "a.b", "a.>"):
            self.hub.subscribe(pattern, self.note)
        self.hub.publish("a.b", b"x")
        self.assertEqual(self.got, [("a.b", b"x")] * 3)

    def test_one_member_of_a_group_gets_it(self) -> None:
        """
        Members of a group share, also when their patterns differ; groups do not know of each other.
        """
        took: Counter[str] = Counter()

        def member(name: str) -> Callable[[Publication], None]:
            return lambda _: took.update([name])

        self.hub.subscribe("w.*", member("one"), queue="g")
        self.hub.subscribe("w.x", member("two"), queue="g")
        self.hub.subscribe("w.x", member("other"), queue="h")
        for _ in range(100):
            self.hub.publish("w.x", b"")
        self.assertEqual((took["one"] + took["two"], took["other"]), (100, 100))
        self.assertTrue(20 < took["one"] < 80, took)

    def test_a_member_that_does_not_want_it_is_passed_over(self) -> None:
        """A member of a group that accepts nothing is never the one."""
        self.hub.subscribe("a", self.note, queue="g", accepts=lambda _: False)
        self.hub.subscribe("a", self.note, queue="g", accepts=lambda p: p.payload != b"no")
        for payload in (b"yes", b"no"):
            for _ in range(10):
                self.hub.publish("a", payload)
        self.assertEqual(self.got, [("a", b"yes")] * 10)

    def test_unsubscribed(self) -> None:
        """Nothing comes after the end; to end it twice does no harm."""
        subscription = self.hub.subscribe("a", self.note)
        self.hub.publish("a", b"1")
        subscription.unsubscribe()
        subscription.unsubscribe()
        self.hub.publish("a", b"2")
        self.assertEqual(self.got, [("a", b"1")])
        self.assertTrue(subscription.closed)

    def test_unsubscribed_after_some(self) -> None:
        """The count is of all since the begin; what was reached already ends it at once."""
        subscription = self.hub.subscribe("a", self.note)
        self.hub.publish("a", b"1")
        subscription.unsubscribe(after=2)
        for payload in (b"2", b"3"):
            self.hub.publish("a", payload)
        self.assertEqual(self.got, [("a", b"1"), ("a", b"2")])
        late = self.hub.subscribe("a", self.note)
        self.hub.publish("a", b"4")
        late.unsubscribe(after=1)
        self.assertTrue(late.closed)

    def test_ended_by_a_callback(self) -> None:
        """Who is unsubscribed by the callback before his gets nothing any more."""

        def end(_: Publication) -> None:
            second.unsubscribe()

        self.hub.subscribe("a", end)
        second = self.hub.subscribe("a", self.note)
        self.hub.publish("a", b"1")
        self.assertEqual(self.got, [])

    def test_callbacks_are_never_nested(self) -> None:
        """What a callback publishes comes when it has returned, in order."""
        story: list[str] = []

        def take(publication: Publication) -> None:
            text = publication.payload.decode()
            story.append(f"begin {text}")
            if len(text) < 2:
                self.hub.publish("a", publication.payload + b"1")
                self.hub.publish("a", publication.payload + b"2")
            story.append(f"end {text}")

        self.hub.subscribe("a", take)
        self.hub.publish("a", b"x")
        order = ["x", "x1", "x2"]
        self.assertEqual(story, [f"{edge} {text}" for text in order for edge in ("begin", "end")])

    def test_two_that_answer_each_other(self) -> None:
        """Callbacks that publish very often leave the reactor its turns."""
        self.hub.subscribe("a", self.pass_on("b"))
        subscription = self.hub.subscribe("b", self.pass_on("a"))
        subscription.unsubscribe(after=2_000)
        self.hub.publish("a", b"")
        self.assertTrue(0 < subscription.taken < 1_000, subscription.taken)
        self.network.settle(0.01)
        self.assertEqual(subscription.taken, 2_000)

    def pass_on(self, subject: str) -> Callable[[Publication], None]:
        """Publish on another subject what comes."""

        def take(publication: Publication) -> None:
            self.hub.publish(subject, publication.payload)

        return take

    def test_a_callback_that_fails(self) -> None:
        """It is logged and counted, and the others get theirs."""

        async def later(_: Publication) -> None:
            raise ZeroDivisionError

        def now(_: Publication) -> None:
            raise ZeroDivisionError

        for callback in (now, later, self.note):
            self.hub.subscribe("a", callback)
        self.hub.publish("a", b"x")
        self.assertEqual(self.got, [("a", b"x")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.hub.statistics.callback_failures, 2)

    def test_what_cannot_be_published(self) -> None:
        """Each mistake has its error, and nothing was published."""
        self.hub.subscribe(">", self.note)
        for subject in ("", "a..b", "a.*", "a b", "x" * 256):
            self.assertRaises(SubjectError, self.hub.publish, subject, b"")
        self.assertRaises(SubjectError, self.hub.publish, "a", b"", reply_to="b..c")
        wrong: Any = "text"
        self.assertRaises(LocalProtocolError, self.hub.publish, "a", wrong)
        self.assertRaises(LocalProtocolError, self.hub.publish, "a", b"", 2**31)
        much = b"x" * (self.hub.config.message_bytes_max + 1)
        error = self.assertRaises(Undeliverable, self.hub.publish, "a", much)
        self.assertIs(error.status, Status.MESSAGE_TOO_LARGE)
        self.assertEqual(self.got, [])

    def test_wildcards_that_mean_themselves(self) -> None:
        """As NATS clients may publish them; who is not one is told of the mistake, again."""
        self.hub.subscribe("a.*", self.note)
        self.hub.publish("a.*", b"", literal=True)
        self.hub.publish("a.>", b"", literal=True)
        self.assertEqual([subject for subject, _ in self.got], ["a.*", "a.>"])
        self.assertRaises(SubjectError, self.hub.publish, "a.*", b"")

    def test_patterns_that_are_none(self) -> None:
        """A mistake in a pattern or in a queue's name is told where it is made."""
        for pattern, queue in [("a.>.b", ""), ("", ""), ("a", "a b")]:
            self.assertRaises(SubjectError, self.hub.subscribe, pattern, self.note, queue=queue)

    def test_before_the_start_and_after_the_end(self) -> None:
        """One may subscribe before a node is up; with its end all subscriptions end."""
        node = self.node(0x30000)
        subscription = node.subscribe("a", self.note)
        error = self.assertRaises(Undeliverable, node.publish, "a", b"0")
        self.assertIs(error.status, Status.NOT_STARTED)
        self.network.start(node)
        node.publish("a", b"1")
        self.assertEqual(self.got, [("a", b"1")])
        self.network.result_of(node.stop())
        self.assertTrue(subscription.closed)
        error = self.assertRaises(Undeliverable, node.publish, "a", b"2")
        self.assertIs(error.status, Status.NOT_STARTED)


class FetchingTests(BusTests):
    """Subscribers that fetch, and those that are slow."""

    def setUp(self) -> None:
        super().setUp()
        self.hub = self.root()
        self.network.start(self.hub)

    def fetch(self, subscription: Subscription, found: list[bytes]) -> Deferred[None]:
        """Fetch everything."""

        async def fetch() -> None:
            async with subscription:
                async for publication in subscription:
                    found.append(publication.payload)
                    if publication.payload == b"end":
                        return

        return Deferred.fromCoroutine(fetch())

    def test_an_iterator(self) -> None:
        """What has come is fetched in order, and what comes later as it comes."""
        found: list[bytes] = []
        subscription = self.hub.subscribe("a")
        self.hub.publish("a", b"1")
        done = self.fetch(subscription, found)
        self.hub.publish("a", b"2")
        self.assertEqual(found, [b"1", b"2"])
        self.hub.publish("a", b"end")
        self.successResultOf(done)
        self.assertTrue(subscription.closed, "the block has ended")

    def test_the_node_stops(self) -> None:
        """An iterator ends with its node."""
        done = self.fetch(self.hub.subscribe("a"), [])
        self.assertNoResult(done)
        self.network.result_of(self.hub.stop())
        self.successResultOf(done)

    def test_drained(self) -> None:
        """A drain ends when the last of what came before it has been fetched."""
        subscription = self.hub.subscribe("a")
        self.hub.publish("a", b"1")
        drained = subscription.drain()
        self.hub.publish("a", b"2")
        self.assertNoResult(drained)
        found: list[bytes] = []
        self.successResultOf(self.fetch(subscription, found))
        self.assertEqual(found, [b"1"])
        self.successResultOf(drained)
        self.successResultOf(subscription.drain())

    def test_only_one_fetches(self) -> None:
        """Two that fetch from one subscription, or one from a callback's, is a mistake."""
        subscription = self.hub.subscribe("a")
        done = self.fetch(subscription, [])
        self.failureResultOf(self.fetch(subscription, []), LocalProtocolError)
        self.successResultOf(done)
        other = self.hub.subscribe("a", lambda _: None)
        self.failureResultOf(self.fetch(other, []), LocalProtocolError)

    def test_a_slow_one_misses_and_is_named(self) -> None:
        """
        Who has fallen behind misses what comes, is named once, and then gets again what comes.

        The others get everything.
        """
        taken: list[bytes] = []
        self.hub.subscribe("a", lambda p: taken.append(p.payload))
        slow = self.hub.subscribe("a", waiting_count_max=2, name="sloth")
        for number in range(5):
            self.hub.publish("a", b"%d" % number)
        self.assertEqual(len(taken), 5)
        self.assertEqual((slow.taken, slow.dropped, slow.waiting_count), (2, 3, 2))
        named = self.diaries[self.hub].of("on_slow_consumer")
        self.assertEqual(named, [(slow,)])
        self.assertIn("sloth", repr(slow))
        dropped = self.hub.statistics.publications_dropped
        self.assertEqual(dropped, {Status.SLOW_CONSUMER: 3})
        found: list[bytes] = []
        done = self.fetch(slow, found)
        self.hub.publish("a", b"end")
        self.successResultOf(done)
        self.assertEqual(found, [b"0", b"1", b"end"])

    def test_bytes_count_as_well(self) -> None:
        """A few long ones are as much as many short ones."""
        slow = self.hub.subscribe("a", waiting_bytes_max=100)
        for _ in range(3):
            self.hub.publish("a", b"x" * 60)
        self.assertEqual((slow.taken, slow.dropped), (2, 1))

    def test_callbacks_that_take_their_time(self) -> None:
        """A publication is open until the callback's Deferred has fired."""
        open_ones: list[Deferred[None]] = []

        def take(_: Publication) -> Deferred[None]:
            waiting: Deferred[None] = Deferred()
            open_ones.append(waiting)
            return waiting

        slow = self.hub.subscribe("a", take, waiting_count_max=2)
        for _ in range(3):
            self.hub.publish("a", b"")
        self.assertEqual((slow.waiting_count, slow.dropped), (2, 1))
        drained = slow.drain()
        for waiting in open_ones:
            self.assertNoResult(drained)
            waiting.callback(None)
        self.successResultOf(drained)

    def test_a_group_leaves_its_slow_member_alone(self) -> None:
        """Of a group somebody gets it who is not behind, as long as there is one."""
        slow = self.hub.subscribe("a", queue="g", waiting_count_max=1)
        quick = self.hub.subscribe("a", lambda _: None, queue="g")
        for _ in range(50):
            self.hub.publish("a", b"")
        self.assertEqual((slow.taken, slow.dropped, quick.taken), (1, 0, 49))


class AskingTests(BusTests):
    """Questions on subjects, at one node."""

    def setUp(self) -> None:
        super().setUp()
        self.hub = self.root()
        self.network.start(self.hub)

    def test_an_answer(self) -> None:
        """Bytes that a callback returns are the answer; so are those of its Deferred."""
        self.hub.subscribe("now", lambda question: question.payload + b"!")

        async def later(question: Publication) -> bytes:
            return question.payload + b"?"

        self.hub.subscribe("later", later)
        for subject, wanted in (("now", b"a!"), ("later", b"a?")):
            answer = self.successResultOf(self.hub.request_subject(subject, b"a"))
            self.assertEqual(answer.payload, wanted)
        self.assertEqual(len(self.hub._parts.subjects.inquiries), 0)

    def test_an_answer_that_is_published(self) -> None:
        """Any publication to the reply subject is the answer; the second one is too late."""
        questions: list[Publication] = []
        self.hub.subscribe("q", questions.append)
        asking = self.hub.request_subject("q", headers={"A": "b"})
        (question,) = questions
        self.assertEqual(question.headers, (("A", "b"),))
        for payload in (b"1", b"2"):
            self.hub.publish(question.reply_to, payload)
        self.assertEqual(self.successResultOf(asking).payload, b"1")

    def test_nobody_is_there(self) -> None:
        """It is told at once."""
        for asking in (
            self.hub.request_subject("nobody"),
            self.hub.request_many("nobody"),
        ):
            error = self.failureResultOf(asking, Undeliverable).value
            self.assertIs(error.status, Status.NO_RESPONDERS)

    def test_nobody_answers(self) -> None:
        """The time is over."""
        self.hub.subscribe("q", lambda _: None)
        asking = self.hub.request_subject("q", timeout=2)
        self.network.settle(1.9)
        self.assertNoResult(asking)
        self.network.settle(0.2)
        self.assertIs(self.failureResultOf(asking, Undeliverable).value.status, Status.TIMEOUT)

    def test_nobody_waits_any_more(self) -> None:
        """An answer to a question that was given up goes nowhere, and a stop ends all questions."""
        questions: list[Publication] = []
        self.hub.subscribe("q", questions.append)
        given_up = self.hub.request_subject("q")
        given_up.addErrback(lambda _: None)
        given_up.cancel()
        asking = self.hub.request_subject("q")
        self.hub.publish(questions[0].reply_to, b"late")
        self.assertNoResult(asking)
        self.network.result_of(self.hub.stop())
        self.assertIs(self.failureResultOf(asking, Undeliverable).value.status, Status.CLOSING)

    def test_too_many_questions(self) -> None:
        """A question too many is refused before it is published; open ones are not touched."""
        asked: list[Publication] = []
        self.hub.subscribe("q", asked.append)
        self.hub._parts.subjects.inquiries._open.count_max = 2
        waiting = [self.hub.request_subject("q"), self.hub.request_subject("q")]
        refused = self.failureResultOf(self.hub.request_subject("q"), Undeliverable).value
        self.assertIs(refused.status, Status.BUFFER_LIMIT)
        self.assertEqual(len(asked), 2)
        for question in asked:
            self.hub.publish(question.reply_to, b"yes")
        self.assertEqual([self.successResultOf(each).payload for each in waiting], [b"yes"] * 2)

    def test_what_a_nats_server_says(self) -> None:
        """An empty answer with status 503 says that nobody is there."""

        def refuse(question: Publication) -> None:
            self.hub.publish(question.reply_to, b"", headers=b"NATS/1.0 503\r\n\r\n")

        self.hub.subscribe("q", refuse)
        asking = self.hub.request_subject("q")
        error = self.failureResultOf(asking, Undeliverable).value
        self.assertIs(error.status, Status.NO_RESPONDERS)

    def test_many_answers(self) -> None:
        """All come that come before it is quiet, in order."""
        for payload in (b"0", b"1", b"2"):
            self.hub.subscribe("q", partial(_say, payload))
        asking = self.hub.request_many("q", quiet=0.5)
        self.assertNoResult(asking)
        self.network.settle(0.6)
        answers = self.successResultOf(asking)
        self.assertEqual([each.payload for each in answers], [b"0", b"1", b"2"])

    def test_enough_answers(self) -> None:
        """It ends with the last one that is wanted."""
        for _ in range(3):
            self.hub.subscribe("q", lambda _: b"")
        answers = self.successResultOf(self.hub.request_many("q", count_max=2))
        self.assertEqual(len(answers), 2)

    def test_late_answers(self) -> None:
        """What is there when the time is over is what came."""
        questions: list[Publication] = []
        self.hub.subscribe("q", questions.append)
        asking = self.hub.request_many("q", timeout=1, quiet=60)
        self.hub.publish(questions[0].reply_to, b"1")
        self.network.settle(1.1)
        self.assertEqual(len(self.successResultOf(asking)), 1)


def _say(payload: bytes, _: Publication) -> bytes:
    return payload
