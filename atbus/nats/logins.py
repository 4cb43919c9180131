"""
Who is let in at one gateway, and how many of them an account has there.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.channels.accepting import SeldomObserver
from atbus.nats.authentication import (
    NONCE_BYTES,
    Authentication,
    Clock,
    Origin,
    Revoked,
    Unproven,
    User,
)
from atbus.nats.faults import Fault
from atbus.nats.hashes import Hashes

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
    :param reactor: Has threads in which passwords are compared.
    """

    def __init__(
        self,
        authentication: Authentication,
        clock: Clock,
        timers: Any,
        log: Logger,
        reactor: Any,
    ) -> None:
        self._hashes = Hashes(reactor)
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

    def judge(self, client: Client, options: ConnectOptions) -> User | Unproven | Fault | None:
        """
        Find out who a client is.

        :param options: What it has said.
        :returns: As whom it is let in; otherwise what it is told, None for as always. Who is
            `Unproven` is told later.
        """
        try:
            user = self._find(client, options)
        except ValueError as fault:
            self._refuse(client, str(fault))
            return None
        if isinstance(user, Unproven):
            self._prove(client, options, user)
            return user
        return self.surplus(client, user) or user

    def _prove(self, client: Client, options: ConnectOptions, asked: Unproven) -> None:
        """Compare what a client that waits has shown, and tell it what comes of that."""
        asked_of, session = self._authentication, client.session

        def decide(is_right: bool) -> None:
            if not session.is_waiting or session.closed:
                return
            if self._authentication is asked_of:
                client.decided(asked.user if is_right else None)
                return
            # Others may be here by now.
            verdict = self.judge(client, options)
            if not isinstance(verdict, Unproven):
                client.decided(verdict)

        # It waits as soon as the session has got our answer.
        compared = self._hashes.compare(asked, lambda: not session.closed)
        compared.addCallback(decide).addErrback(self._failed, client)

    def _failed(self, failure: Failure, client: Client) -> None:
        self._log.failure("a password was not compared", failure)
        client.refuse(Fault.NOT_AUTHORIZED)

    def _find(self, client: Client, options: ConnectOptions) -> User | Unproven | None:
        """Find who a client is, and count it; a ValueError says why its token is not good."""
        self._count(client.number, "")
        origin = Origin(host=client.peer[0], kind=client.kind)
        nonce = self.nonce_of(client.number)
        user = self._authentication.judge(options, nonce, self._clock, origin)
        if isinstance(user, User):
            self._count(client.number, user.issuer)
        return user

    def surplus(self, client: Client, user: User | None) -> Fault | None:
        """
        Find out whether a client is one more than those may be for whom its account vouches.

        :param user: Who it is, counted already.
        :returns: What it is told then, and is not counted any more.
        """
        most = None if user is None else user.limits.connections
        issuer = self._issuers.get(client.number, "")
        if most is None or self._counts[issuer] <= most:
            return None
        self._count(client.number, "")
        self._refuse(client, f"account {issuer} may have {most} connections")
        return Fault.TOO_MANY_OF_ACCOUNT

    def renew(self, authentication: Authentication) -> None:
        """Let others in from now on."""
        self._authentication = authentication

    def judge_again(self, client: Client) -> User | Unproven | Fault:
        """
        Find out who a client is by now that was let in before; `surplus` comes behind that.

        :returns: As whom it may stay; otherwise what it is told. As at nats-server, who is not
            known any more, or of another account now, is told nothing. Who is `Unproven` stays as
            he was until that is known, and becomes then what he is.
        """
        options, before = client.session.options, client.session.user
        try:
            user = self._find(client, options)
        except ValueError as fault:
            self._refuse(client, str(fault))
            is_revoked = isinstance(fault, Revoked)
            return Fault.AUTHENTICATION_REVOKED if is_revoked else Fault.NOT_AUTHORIZED
        if isinstance(user, Unproven):
            if before is None or before.password != user.user.password:
                self._prove_again(client, user)
                return user
            # It has been compared with this hash.
            user = user.user
        return self._judge_found(client, user)

    def _prove_again(self, client: Client, asked: Unproven) -> None:
        """Compare what a client that was let in before has shown."""
        asked_of, session = self._authentication, client.session

        def become(is_right: bool) -> None:
            # If there was another change it was looked at once more.
            if self._authentication is asked_of and not session.closed:
                client.become(self._judge_found(client, asked.user if is_right else None))

        compared = self._hashes.compare(asked, lambda: not session.closed)
        compared.addCallback(become).addErrback(self._failed, client)

    def _judge_found(self, client: Client, user: User | None) -> User | Fault:
        options, before = client.session.options, client.session.user
        account = "" if before is None else before.account
        if user is not None and user.account == account:
            return user
        self._count(client.number, "")
        if user is None and self._authentication.knows(options):
            self._refuse(client, "its credentials are not good any more")
            return Fault.NOT_AUTHORIZED
        self._refuse(client, "its user is gone, or of another account")
        return Fault.USER_GONE

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
