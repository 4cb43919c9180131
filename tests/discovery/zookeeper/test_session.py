"""A session as it is without any server."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.zookeeper import bounds
from atbus.discovery.zookeeper.options import SessionOptions
from atbus.discovery.zookeeper.session import Session


class Deaf:
    """A reactor that hears nothing from threads."""

    def callFromThread(self, callable: Any, *args: Any) -> None:
        """Do nothing."""


class CloseTests(SynchronousTestCase):
    """Closing it."""

    def test_threads_that_do_not_end(self) -> None:
        """Nobody waits long for kazoo to find out that no server answers."""
        clock = Clock()
        session = Session(SessionOptions(servers=("127.0.0.1:1",)), Deaf(), clock, lambda: 0.5)
        session.start()
        closing = session.close()
        clock.advance(bounds.CLOSE_SECONDS * 0.99)
        self.assertNoResult(closing)
        clock.advance(bounds.CLOSE_SECONDS * 0.02)
        self.assertIsNone(self.successResultOf(closing))
