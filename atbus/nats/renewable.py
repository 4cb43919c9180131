"""
A session for which other terms and rights may hold while it lasts, because its gateway was told so.
"""

from __future__ import annotations

import attrs

from atbus.nats.authentication import User
from atbus.nats.effects import Connected, Detach, Effect, Subscription, Terms, Write
from atbus.nats.faults import Fault, error_line
from atbus.nats.rights import Rights
from atbus.nats.session import Session
from atbus.nats.unpublished import violation


class RenewableSession(Session):
    """One client, as told in `Session`."""

    @property
    def is_strange(self) -> bool:
        """Whether it has still to say who it is."""
        return self._awaits_login

    def renew(self, terms: Terms, now: float) -> None:
        """
        Let other terms hold from now on.

        Who was let in without a login is judged by his rights, and not by these.

        :param terms: They; when the first PING comes stays as it was drawn.
        :param now: Seconds.
        """
        first = self._terms.first_ping_seconds
        self._terms = attrs.evolve(terms, first_ping_seconds=first)
        self._next_ping = min(self._next_ping, now + terms.ping_seconds)
        self._grammar.line_bytes_max = terms.line_bytes_max
        self._take_limits(self.user or User())
        if self._awaits_login and not terms.needs_login:
            self._awaits_login, self._login_until = False, None
            self._grammar.awaits_connect = False

    def become_now(self, user: User) -> list[Effect]:
        """
        Give the client the rights that its user has by now.

        It keeps the subscriptions that it may keep. Nothing is different where its rights are not.

        :param user: Who it is.
        :returns: What is to be done; it is told of each subscription that ends.
        """
        effects: list[Effect] = []
        self.user = user
        if user.permissions != self.rights.permissions:
            self.rights = Rights(user.permissions)
            for subscription in list(self.subscriptions.values()):
                if not user.permissions.may_subscribe(subscription.pattern, subscription.queue):
                    self._take_away(subscription, effects)
        self._take_limits(user)
        effects.append(Connected())
        most = user.limits.subscriptions
        if most is not None and len(self.subscriptions) > most:
            self._close(Fault.TOO_MANY_SUBSCRIPTIONS, effects)
        return effects

    def _take_away(self, subscription: Subscription, effects: list[Effect]) -> None:
        del self.subscriptions[subscription.sid]
        text = violation(subscription.raw_pattern, subscription.queue.encode())
        sid = subscription.sid.decode(errors="replace")
        effects += [Write(error_line(f'{text} (sid "{sid}")')), Detach(subscription)]
