"""
One session after the other, and what is asked in them.

1. Nobody here concludes that a session must have ended: a server says so, when one is there again.
   Then everything that was bound to it is gone, and there is another session.
2. What a lost connection has left open is not asked again by itself. Whoever asked is told, and
   knows what has to be true now.
3. kazoo gives up for good when a server does not accept who we are, and when it meets something
   that it does not understand. Then, and when a session could not be resumed for a long time, there
   is a new client, after growing pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as OutOfTime
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel

from atbus.discovery.bounds import REGISTRY_RETRY_SECONDS_MAX
from atbus.discovery.waiting import Listeners
from atbus.discovery.zookeeper.bounds import CLOSE_SECONDS
from atbus.discovery.zookeeper.client import Client
from atbus.discovery.zookeeper.crossing import Crossing
from atbus.discovery.zookeeper.faults import ZooKeeperClosed, ZooKeeperUnreachable
from atbus.discovery.zookeeper.options import SessionOptions
from atbus.discovery.zookeeper.states import (
    Connected,
    Expired,
    Lost,
    SessionNews,
    Suspended,
)
from atbus.errors import LocalProtocolError
from atbus.routing.backoff import Backoff


class Session:
    """
    A place in one ZooKeeper.

    :param options: Which, and how it is treated.
    :param reactor: Is woken by kazoo's threads.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    """

    _log = Logger(namespace="atbus.discovery.zookeeper")

    def __init__(
        self,
        options: SessionOptions,
        reactor: Any,
        timers: IReactorTime,
        random: Callable[[], float],
    ) -> None:
        self.options = options
        self.timers = timers
        #: What has become of it last.
        self.state: SessionNews = Suspended("no server has answered yet")
        #: The id of the session that is there, as far as anybody has said; 0 for none.
        self.id = 0
        #: Whether it was closed.
        self.is_closed = False
        #: How many there were.
        self.begun = 0
        #: Told what becomes of the session.
        self.changed: Listeners[[SessionNews]] = Listeners()
        #: Told of each place that was watched and has changed.
        self.noticed: Listeners[[str]] = Listeners()
        self._random = random
        self._crossing = Crossing(reactor)
        self._client: Client | None = None
        self._backoff = Backoff(cap=REGISTRY_RETRY_SECONDS_MAX)
        self._has_complained = False
        # When another client takes over.
        self._renewal: IDelayedCall | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a server answers, as far as anybody has said."""
        return isinstance(self.state, Connected)

    @property
    def zxid(self) -> int:
        """The last transaction that a server has told of."""
        return 0 if self._client is None else self._client.zxid

    @property
    def client(self) -> Client:
        """
        Whom to ask.

        :raises ZooKeeperClosed: After `close`.
        :raises ZooKeeperUnreachable: There is no connection.
        """
        if self.is_closed:
            raise ZooKeeperClosed("ZooKeeper: the session was closed")
        if self._client is None or not self.is_connected:
            raise ZooKeeperUnreachable("ZooKeeper: no server answers")
        return self._client

    def start(self) -> None:
        """
        Begin to connect.

        :raises LocalProtocolError: It was started before.
        """
        if self._client is not None or self.is_closed:
            raise LocalProtocolError("the session was started already")
        self._begin()

    def close(self) -> Deferred[None]:
        """
        End it, with everything that was written in it; twice does no harm.

        :returns: Fires when it is over, or nobody has answered for a while; then it ends by itself
            after its time. Does not fail.
        """
        self.is_closed = True
        self._cancel_renewal()
        client, self._client = self._client, None
        if client is None:
            return succeed(None)
        self.state, self.id = Lost("it was closed"), 0
        stopping = client.stop().addTimeout(CLOSE_SECONDS, self.timers)
        return stopping.addErrback(self._not_stopped)

    def _not_stopped(self, failure: Any) -> None:
        failure.trap(OutOfTime)
        self._log.info("nobody answers; the session goes by itself")

    def _begin(self) -> None:
        self._renewal = None
        self._client = Client(self.options, self._crossing, self._told, self.noticed.tell)
        self._client.start()
        self._renew_after(self.options.resume_seconds)

    def _renew(self) -> None:
        """Let another client take over."""
        self._renewal = None
        client, self._client = self._client, None
        if client is not None:
            self._log.info("the session is given up: it could not be resumed")
            client.stop()
            self.id = 0
        self._begin()

    def _renew_after(self, seconds: float) -> None:
        self._cancel_renewal()
        self._renewal = self.timers.callLater(seconds, self._renew)

    def _cancel_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None

    def _complain(self, reason: str) -> None:
        """Say why no server answers; kazoo finds other words with each attempt."""
        level = LogLevel.debug if self._has_complained else LogLevel.info
        self._has_complained = True
        self._log.emit(level, "no server answers: {reason}", reason=reason)

    def _told(self, news: SessionNews) -> None:
        """Take what becomes of the session."""
        was_connected, self.state = self.is_connected, news
        match news:
            case Connected(session_id):
                self._cancel_renewal()
                self._backoff.reset()
                self._has_complained = False
                if session_id != self.id:
                    self.id = session_id
                    self.begun += 1
                    self._log.info("session {id:#x} is ours", id=session_id & 2**64 - 1)
            case Suspended(reason):
                self._complain(reason)
                if was_connected:
                    self._renew_after(self.options.resume_seconds)
            case Expired():
                self._log.warn("the session has expired")
                self.id = 0
            case Lost(reason):
                self._log.warn("the connection is lost: {reason}", reason=reason)
                self.id = 0
                client, self._client = self._client, None
                if client is not None:
                    client.stop()
                self._renew_after(self._backoff.next(self._random()))
        self.changed.tell(news)
