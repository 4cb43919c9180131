"""One process of a measurement, and what comes to it when."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.bench.party import Sender
from atbus.cli.bench.task import Wishes, tasks


class SenderTests(SynchronousTestCase):
    """Who asks, and waits for a number of answers at a time."""

    def test_answers_that_come_together(self) -> None:
        """However many answers come in one turn, no more is asked than was wished for."""
        wishes = Wishes(work="request", channel="unix", size=128, count=25, targets=1, window=10)
        clock = Clock()
        sender = Sender(tasks(wishes, "/tmp")[0], clock)
        asked: list[tuple[bytes, Deferred[bytes]]] = []

        def request(_target: int, payload: bytes, *_: object) -> Deferred[bytes]:
            asked.append((payload, Deferred()))
            return asked[-1][1]

        self.patch(sender.node, "request", request)
        reports: list[dict[str, Any]] = []
        sender._say = reports.append
        sender._go()
        turns = []
        while asked:
            turns.append(len(asked))
            answered = asked[:]
            asked.clear()
            for payload, answer in answered:
                answer.callback(payload)
            clock.advance(0)
        self.assertEqual(turns, [10, 10, 5])
        [report] = reports
        self.assertEqual((sum(report["sent"].values()), report["failed"]), (25, {}))
