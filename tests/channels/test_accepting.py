"""A port that cannot accept, and what it writes about that."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.channels.accepting import SeldomObserver, say_seldom


class SeldomTests(SynchronousTestCase):
    """One line in ten seconds, and the number of those that were left out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[LogEvent] = []
        self.observer = SeldomObserver(
            self.clock, cast("ILogObserver", self.events.append)
        )

    def test_one_in_an_interval(self) -> None:
        """The first line passes at once; the first of the next interval tells of the others."""
        for _ in range(5):
            self.observer({"log_format": "closed {address}", "address": "x"})
        self.clock.advance(limits.LOG_INTERVAL_SECONDS)
        for _ in range(5):
            self.observer({"log_format": "closed {address}", "address": "y"})
        lines = [formatEvent(event) for event in self.events]
        self.assertEqual(lines, ["closed x", "closed y (4 lines before this were left out)"])

    def test_a_port_of_twisted(self) -> None:
        """What a real port writes about connections goes through it."""
        port: Any = tcp.Port(0, Factory(), reactor=self.clock)
        namespace = port._logger.namespace
        say_seldom(port, self.clock)
        self.assertEqual(port._logger.namespace, namespace)
        self.assertIsInstance(port._logger.observer, SeldomObserver)
        self.assertIsNot(port._logger, tcp.Port._logger)
