"""What of kazoo is seen, and what is not."""

from __future__ import annotations

import logging
from typing import Any

from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from atbus.discovery.zookeeper import bounds, client
from atbus.discovery.zookeeper.client import Client, _check_all, _translated
from atbus.discovery.zookeeper.crossing import Crossing
from atbus.discovery.zookeeper.faults import (
    Cause,
    ZooKeeperClosed,
    ZooKeeperRefused,
    ZooKeeperUnreachable,
)
from atbus.discovery.zookeeper.options import SessionOptions
from atbus.discovery.zookeeper.states import SessionNews, Suspended


class Now:
    """A reactor that does at once what threads want."""

    def callFromThread(self, callable: Any, *args: Any) -> None:
        """Do it."""
        callable(*args)


class WordTests(SynchronousTestCase):
    """What kazoo says in its log."""

    def setUp(self) -> None:
        options = SessionOptions(servers=("a:1",), user="me", password="geheim")
        self.told: list[SessionNews] = []
        crossing = Crossing(Now())  # type: ignore[arg-type]
        self.client = Client(options, crossing, self.told.append, lambda _: None)
        self.logger: logging.Logger = self.client._kazoo.logger

    def test_requests_are_not_logged(self) -> None:
        """
        kazoo logs whole requests, passwords included, to whoever wants to debug: nobody does, and
        nobody can be made to from outside.
        """
        self.assertFalse(self.logger.isEnabledFor(logging.INFO))
        self.assertIsNone(self.logger.parent)
        self.assertIsNot(logging.getLogger(self.logger.name), self.logger)

    def test_complaints_are_told_once(self) -> None:
        """Why there is no connection is told when it is another reason, and can be printed."""
        for text in ("refused\n", "refused\n", "Transition to CONNECTING", "timed out"):
            self.logger.warning("%s", text)
        reasons = [news.reason for news in self.told if isinstance(news, Suspended)]
        self.assertEqual(len(reasons), 2)
        self.assertTrue(all(reason.isprintable() for reason in reasons))

    def test_waits_between_two_attempts(self) -> None:
        """kazoo is told how long to wait between two attempts, at first and at most."""
        retry = self.client._kazoo._conn_retry
        self.assertEqual(retry.delay, bounds.RECONNECT_SECONDS_MIN)
        self.assertEqual(retry.max_delay, bounds.RECONNECT_SECONDS_MAX)
        self.assertGreater(retry.backoff, 1)

    def test_a_client_that_was_stopped_refuses(self) -> None:
        """What is asked of it afterwards fails at once."""
        self.client.stop().addTimeout(1, Clock())
        failed = self.failureResultOf(self.client.look("/a"))
        failed.trap(ZooKeeperClosed)


class SilentServerTests(TestCase):
    """A server that lets one connect, and gives no answer."""

    timeout = 120

    async def test_it_is_not_waited_for(self) -> None:
        """It is left long before the session would be over, and asked again."""
        from twisted.internet import reactor  # noqa: TID251  # real sockets

        loop: Any = reactor
        self.patch(client, "REGISTRY_REQUEST_SECONDS", 0.1)
        asked: list[Protocol] = []
        again: Deferred[None] = Deferred()

        def accept() -> Protocol:
            asked.append(Protocol())
            if len(asked) == 3:
                again.callback(None)
            return asked[-1]

        factory: Any = Factory.forProtocol(accept)
        port = loop.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        server = f"127.0.0.1:{port.getHost().port}"
        options = SessionOptions(servers=(server,), session_seconds=600.0)
        asking = Client(options, Crossing(loop), lambda _: None, lambda _: None)
        asking.start()
        await again
        await asking.stop()


class FaultTests(SynchronousTestCase):
    """kazoo's errors."""

    def test_errors_are_translated(self) -> None:
        """Each refusal has its cause; where nobody was there nobody refused."""
        cases = {
            NoNodeError: Cause.NOTHING,
            NodeExistsError: Cause.TAKEN,
            BadVersionError: Cause.CHANGED,
            NoAuthError: Cause.DENIED,
            RuntimeInconsistency: Cause.OTHER,
        }
        for kind, cause in cases.items():
            refused = _translated("/a\n", kind())
            assert isinstance(refused, ZooKeeperRefused)
            self.assertIs(refused.cause, cause)
            self.assertTrue(str(refused).isprintable())
        for away in (ConnectionLoss, SessionExpiredError):
            self.assertIsInstance(_translated("/a", away()), ZooKeeperUnreachable)

    def test_a_transaction_fails_for_its_reason(self) -> None:
        """Of a transaction the part that was refused says why, not those that were undone."""
        self.assertRaises(
            BadVersionError,
            _check_all,
            [RolledBackError(), BadVersionError(), RuntimeInconsistency()],
        )
        self.assertRaises(RuntimeInconsistency, _check_all, [RuntimeInconsistency()])
        _check_all([True, "/a"])
