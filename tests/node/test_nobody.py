"""What is said of a question that nobody gets, and of one whose answer takes its time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.node.subscription import Subscription
from tests.node.garden import (
    LEFT,
    LEFT_LEAF,
    OTHER_LEAF,
    RIGHT,
    RIGHT_LEAF,
    TOP,
    GardenTests,
)


class NobodyTests(GardenTests):
    """Who listens on a subject leaves while a question is on its way."""

    def setUp(self) -> None:
        super().setUp()
        nodes = self.plant(TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF, OTHER_LEAF)
        self.top, self.left, self.right, self.near, self.far, self.other = nodes

    def test_one_way_is_told_at_once(self) -> None:
        """However far the question has come on one way, its end says that nobody is there."""
        gone = self.far.subscribe("q", lambda _: b"")
        self.settle()
        for asker in (self.near, self.left, self.top, self.right, self.other):
            gone.unsubscribe()
            began = self.network.clock.seconds()
            error = self.failure_of(asker.request_subject("q"), Undeliverable)
            self.assertIs(error.status, Status.NO_RESPONDERS)
            self.assertLess(self.network.clock.seconds() - began, 1)
            gone = self.far.subscribe("q", lambda _: b"")
            self.settle()

    def leave(self, subject: str, *nodes: Node, queues: Sequence[str] = ()) -> None:
        """Let nodes listen on a subject, and leave when all know of it."""
        groups = queues or [""] * len(nodes)
        gone = [
            node.subscribe(subject, lambda _: b"", queue=queue)
            for node, queue in zip(nodes, groups, strict=True)
        ]
        self.settle()
        for each in gone:
            each.unsubscribe()

    def test_several_ways_are_counted(self) -> None:
        """A question is sent several ways at once: when each end has said so, nobody is there."""
        for asker in (self.top, self.left):
            self.leave("q", self.near, self.far)
            unheard: list[int] = []
            began = self.network.clock.seconds()
            asker.publish("q", b"", reply_to="box", unheard=partial(unheard.append, 1))
            asking: list[Deferred[Any]] = [asker.request_subject("q"), asker.request_many("q")]
            for answer in asking:
                error = self.failure_of(answer, Undeliverable)
                self.assertIs(error.status, Status.NO_RESPONDERS)
            self.assertLess(self.network.clock.seconds() - began, 1)
            self.assertEqual(unheard, [1])

    def test_groups_of_which_all_have_left(self) -> None:
        """All members of two groups have left: each branch hands its group back, and counts."""
        self.leave("q", self.near, self.far, queues=("one", "two"))
        began = self.network.clock.seconds()
        error = self.failure_of(self.top.request_subject("q"), Undeliverable)
        self.assertIs(error.status, Status.NO_RESPONDERS)
        self.assertLess(self.network.clock.seconds() - began, 1)

    def test_somebody_has_it(self) -> None:
        """One of several ways has ended in vain: who has the question on another may take long."""
        waiting: list[Deferred[bytes]] = []

        def take(_: Publication) -> Deferred[bytes]:
            waiting.append(Deferred())
            return waiting[-1]

        for holder, leaver in ((self.far, self.near), (self.near, self.far), (self.top, self.far)):
            held = holder.subscribe("q", take)
            self.leave("q", leaver)
            unheard: list[int] = []
            asking = self.top.request_subject("q")
            self.top.publish("q", b"", reply_to="box", unheard=partial(unheard.append, 1))
            self.settle(0.1)
            held.unsubscribe()
            self.settle(limits.REQUEST_SECONDS - 1)
            self.assertNoResult(asking)
            waiting[0].callback(b"late")
            self.assertEqual(self.network.result_of(asking).payload, b"late")
            self.settle(2)
            self.assertEqual(unheard, [])
            waiting.pop().callback(b"")
            waiting.clear()

    def test_one_that_says_it_twice(self) -> None:
        """The same node's word counts once, and what nobody asked is nothing."""
        for node in (self.left, self.right):
            node.subscribe("q", lambda _: None)
        self.settle()
        unheard: list[int] = []
        call = partial(unheard.append, 1)
        number = self.top.publish("q", b"", reply_to="box", unheard=call)
        counting = self.top._parts.subjects.publishing.counting
        for said, sayer in ((number, LEFT), (number, LEFT), (number + 1, RIGHT)):
            counting.said(said, sayer)
        self.assertEqual(unheard, [])
        counting.said(number, RIGHT)
        counting.said(number, RIGHT)
        self.assertEqual(unheard, [1])

    def test_ways_that_part_further_on(self) -> None:
        """A question parts where it did not begin: all ends are counted, wherever that is."""
        self.leave("q", self.near, self.far)
        unheard: list[int] = []
        began = self.network.clock.seconds()
        self.other.publish("q", b"", reply_to="box", unheard=partial(unheard.append, 1))
        asking: list[Deferred[Any]] = [
            self.other.request_subject("q"),
            self.other.request_many("q"),
        ]
        for answer in asking:
            error = self.failure_of(answer, Undeliverable)
            self.assertIs(error.status, Status.NO_RESPONDERS)
        self.assertLess(self.network.clock.seconds() - began, 1)
        self.assertEqual(unheard, [1])
        error = self.failureResultOf(self.other.request_subject("q"), Undeliverable).value
        self.assertIs(error.status, Status.NO_RESPONDERS)

    def test_whatever_comes_and_goes(self) -> None:
        """Where members come and go at random, nobody is missing who has got a question."""
        lots = Random(7)
        taken: set[bytes] = set()
        missed: set[bytes] = set()
        members: list[Subscription] = []

        def take(question: Publication) -> None:
            taken.add(question.payload)

        for number in range(600):
            if members and lots.random() < 0.6:
                members.pop(lots.randrange(len(members))).unsubscribe()
            else:
                queue = lots.choice(("", "one", "two"))
                members.append(lots.choice(self.nodes).subscribe("q", take, queue=queue))
            asked = b"%d" % number
            lots.choice(self.nodes).publish(
                "q", asked, reply_to="box", unheard=partial(missed.add, asked)
            )
            self.settle(lots.choice((0, 0.001, 0.01)))
        self.settle()
        self.assertEqual(taken & missed, set())
        self.assertGreater(len(missed), 20)
        self.assertGreater(len(taken), 200)

    def test_who_drains_still_answers(self) -> None:
        """
        Nobody is said to be missing who has the question and wants no more of them.

        All who listen have drained, and the whole bus knows that nobody wants the subject: whoever
        asked still waits, and gets the answer.
        """
        questions: list[Deferred[bytes]] = []

        def take(_: Publication) -> Deferred[bytes]:
            questions.append(Deferred())
            return questions[-1]

        subscriptions = [node.subscribe("q", take) for node in (self.near, self.far)]
        self.settle()
        asking = self.top.request_subject("q")
        self.settle(0.1)
        self.assertEqual(len(questions), 2)
        drained = [each.drain() for each in subscriptions]
        self.settle(1)
        error = self.failureResultOf(self.top.request_subject("q"), Undeliverable).value
        self.assertIs(error.status, Status.NO_RESPONDERS)
        self.assertNoResult(asking)
        questions[1].callback(b"late")
        self.assertEqual(self.network.result_of(asking).payload, b"late")
        questions[0].callback(b"later")
        for each in drained:
            self.successResultOf(each)
