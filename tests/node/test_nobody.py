"""What is said of a question that nobody gets, and of one whose answer takes its time."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.publication import Publication
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

    def test_several_ways_end_with_the_deadline(self) -> None:
        """
        That several branches have lost everybody in the moment of a question nobody says.

        The deadline of who asked ends it, whether the ways part where it begins or further on, and
        ``unheard`` is not called. Once the interest is gone, whoever asks next is told at once.
        """
        for asker in (self.top, self.left, self.other):
            gone = [node.subscribe("q", lambda _: b"") for node in (self.near, self.far)]
            gone.append(self.right.subscribe("q", lambda _: b""))
            self.settle()
            for each in gone:
                each.unsubscribe()
            unheard: list[int] = []
            began = self.network.clock.seconds()
            asker.publish("q", b"", reply_to="box", unheard=partial(unheard.append, 1))
            asking: list[Deferred[Any]] = [asker.request_subject("q"), asker.request_many("q")]
            for answer in asking:
                error = self.failure_of(answer, Undeliverable)
                self.assertIs(error.status, Status.TIMEOUT)
            waited = self.network.clock.seconds() - began
            self.assertAlmostEqual(waited, limits.REQUEST_SECONDS, delta=0.1)
            self.assertEqual(unheard, [])
            error = self.failureResultOf(asker.request_subject("q"), Undeliverable).value
            self.assertIs(error.status, Status.NO_RESPONDERS)

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
