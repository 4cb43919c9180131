"""
Who is let in at one gateway, and how many of them an account has there.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from atbus.channels.accepting import SeldomObserver
from atbus.nats.authentication import NONCE_BYTES, Authentication, Clock, Origin, User
from atbus.nats.faults import Fault

if TYPE_CHECKING:
    from atbus.nats.client import Client
    from atbus.nats.connect_options import ConnectOptions

#: Letters of the log for why somebody is not let in, who may have chosen a part of them.
_REASON_LETTERS: Final = 300


class Logins:
    """
    The door of one gateway.

    :param authentication: Whom it lets in.
    :param clock: What time it is.
    :param timers: Tell how much is said in the log.
    :param log: Where it is told why somebody with a token is not let in.
    """

    def __init__(
        self, authentication: Authentication, clock: Clock, timers: Any, log: Logger
    ) -> None:
        self._authentication = authentication
        self._clock = clock
        self._log = Logger(
            namespace=log.namespace, observer=SeldomObserver(timers, log.observer)
        )
        self._nonces: dict[int, str] = {}
        # Who vouches for whom; and for how many.
        self._issuers: dict[int, str] = {}
        self._counts: Counter[str] = Counter()

    def draw_nonce(self, number: int) -> None:
        """Draw what a client is to sign, if anybody signs here."""
        if self._authentication.needs_nonce:
            nonce = urlsafe_b64encode(secrets.token_bytes(NONCE_BYTES)).decode().rstrip("=")
            self._nonces[number] = nonce

    def nonce_of(self, number: int) -> str:
        """Give what a client is to sign; empty for nothing."""
        return self._nonces.get(number, "")

    def judge(self, client: Client, options: ConnectOptions) -> User | Fault | None:
        """
        Find out who a client is.

        :param options: What it has said.
        :returns: As whom it is let in; otherwise what it is told, None for as always.
        """
        origin = Origin(host=client.peer[0], kind=client.kind)
        try:
            user = self._authentication.judge(
                options, self.nonce_of(client.number), self._clock, origin
            )
        except ValueError as fault:
            self._refuse(client, str(fault))
            return None
        issuer = "" if user is None else user.issuer
        self._count(client.number, issuer)
        if user is None:
            return None
        most = user.limits.connections
        if most is not None and self._counts[issuer] > most:
            self._count(client.number, "")
            self._refuse(client, f"account {issuer} may have {most} connections")
            return Fault.TOO_MANY_OF_ACCOUNT
        return user

    def _refuse(self, client: Client, why: str) -> None:
        self._log.warn(
            "client {number} of {host} is not let in: {why}",
            number=client.number,
            host=client.peer[0],
            why=why[:_REASON_LETTERS],
        )

    def _count(self, number: int, issuer: str) -> None:
        before = self._issuers.pop(number, "")
        if before:
            self._counts[before] -= 1
            if not self._counts[before]:
                del self._counts[before]
        if issuer:
            self._issuers[number] = issuer
            self._counts[issuer] += 1

    def gone(self, number: int) -> None:
        """Forget a client."""
        self._nonces.pop(number, None)
        self._count(number, "")
