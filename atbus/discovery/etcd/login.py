"""
In whose name etcd is asked: a token for a user and a password.

A token is obtained before the first request, replaced when it is old, and obtained again when a
server does not take it any more: because it was idle, because somebody changed the users, because
the server was started again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.faults import Cause, EtcdRefused
from atbus.discovery.etcd.packer import Document
from atbus.discovery.waiting import Joined


class Login:
    """
    The token of one user.

    :param user: The user; empty for nobody.
    :param password: The password.
    :param post: Asks a server, given its URL, path and request.
    :param timers: The clock.
    :param token_seconds: When a token is replaced.
    """

    def __init__(
        self,
        user: str,
        password: str,
        post: Callable[[str, str, Document], Awaitable[dict[str, Any]]],
        timers: IReactorTime,
        *,
        token_seconds: float = bounds.ETCD_TOKEN_SECONDS,
    ) -> None:
        #: How many tokens were obtained.
        self.count = 0
        #: Refusals of user and password in a row.
        self.refusals = 0
        self._user = user
        self._password = password
        self._post = post
        self._timers = timers
        self._token_seconds = token_seconds
        self._token = ""
        self._old_at = 0.0
        self._obtaining: Joined[str] = Joined()

    @property
    def is_wanted(self) -> bool:
        """Whether there is a user at all."""
        return bool(self._user)

    @property
    def is_refused(self) -> bool:
        """Whether user and password were refused so often that they must be wrong."""
        return self.refusals >= bounds.ETCD_LOGINS_MAX

    async def token(self, url: str) -> str:
        """
        Give the token, and obtain it before if need be.

        :param url: The server to ask for it.
        :returns: It; empty when there is no user, and when the server does not care for users.
        :raises DiscoveryError: It could not be obtained.
        """
        if not self._user:
            return ""
        if self._timers.seconds() < self._old_at:
            return self._token
        obtained: Deferred[str] = self._obtaining.join(lambda: self._obtain(url))
        return await obtained

    def forget(self, token: str) -> None:
        """
        Obtain another token before the next request.

        :param token: The one that was not taken; nothing happens when there is another already.
        """
        if token == self._token:
            self._token = ""
            self._old_at = 0.0

    async def _obtain(self, url: str) -> str:
        request = {"name": self._user, "password": self._password}
        try:
            answer = await self._post(url, "/v3/auth/authenticate", request)
        except EtcdRefused as refused:
            if "authentication is not enabled" in refused.detail:
                return self._obtained("")
            if refused.cause is Cause.DENIED:
                self.refusals += 1
            raise
        return self._obtained(packer.read_text(answer, "token"))

    def _obtained(self, token: str) -> str:
        self.count += bool(token)
        self.refusals = 0
        self._token = token
        self._old_at = self._timers.seconds() + self._token_seconds
        return token
