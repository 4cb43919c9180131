"""
Who a client is.

A gateway knows users by name and password, one token that all share, users by their keys, or users
for whom an operator vouches; or it asks for nothing. It may let those who say nothing in as one of
the users.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from atbus.nats.nkeys import Kind, is_signed, read_base64, read_key
from atbus.nats.permissions import EVERYTHING, Permissions

#: What a client is given to sign is drawn of so many bytes, which are 15 letters: NATS's number.
NONCE_BYTES: Final = 11
#: A password that is the hash of one; `atbus.node.reading_nats` lets only whole ones pass.
_HASH: Final = re.compile(r"\$2[a-z]?\$\d\d\$")

if TYPE_CHECKING:
    from atbus.nats.connect_options import ConnectOptions


@attrs.frozen(kw_only=True)
class Limits:
    """
    What a client may have at most; None for what its gateway allows.

    :param subscriptions: How many subscriptions.
    :param payload_bytes: How long a payload, with its headers.
    :param connections: How many connections all those have for whom its issuer vouches.
    """

    subscriptions: int | None = None
    payload_bytes: int | None = None
    connections: int | None = None

    def allow_another(self, count: int) -> bool:
        """Tell whether who has so many subscriptions may have one more."""
        return self.subscriptions is None or count < self.subscriptions

    def within(self, other: Limits) -> Limits:
        """Give the limits that keep to those of another as well."""
        return Limits(
            subscriptions=least(self.subscriptions, other.subscriptions),
            payload_bytes=least(self.payload_bytes, other.payload_bytes),
            connections=least(self.connections, other.connections),
        )


def least(*limits: int | None) -> int | None:
    """Give the smallest of some limits; None where all are none."""
    return min((each for each in limits if each is not None), default=None)


@attrs.frozen(kw_only=True)
class Origin:
    """
    From where a client comes.

    :param host: Its address.
    :param kind: How it is connected: "nats" or "websocket".
    """

    host: str = ""
    kind: str = "nats"


NOWHERE: Final = Origin()


@attrs.frozen(kw_only=True)
class User:
    """
    Somebody who may connect.

    :param name: What ``/connz`` calls it; empty for anybody.
    :param password: None when it is known by something else; perhaps the hash of it.
    :param expires: When its rights end, on the session's clock; None for never.
    :param account: Whose subjects it uses; empty for those of the bus.
    :param issuer: Who vouches for it; empty for nobody.
    """

    name: str = ""
    password: str | None = attrs.field(default=None, repr=False)
    permissions: Permissions = EVERYTHING
    expires: float | None = None
    account: str = ""
    issuer: str = ""
    limits: Limits = Limits()


@attrs.frozen(kw_only=True)
class Unproven:
    """
    Who somebody would be whose password has to be compared with a hash first.

    :param user: He, with the hash.
    :param password: What was shown.
    """

    user: User
    password: str = attrs.field(repr=False)


class Revoked(ValueError):
    """A token was taken back by who had issued it."""


class Voucher(Protocol):
    """Knows users by the tokens that they show, see `atbus.nats.tokens.Chain`."""

    def admit(
        self, token: str, signature: str, nonce: str, wall_seconds: float, origin: Origin
    ) -> tuple[User, float | None]:
        """Find out who shows a token, and when it ends; a ValueError says why nobody does."""


@attrs.frozen(kw_only=True)
class Clock:
    """
    What time it is.

    :param seconds: The session's clock.
    :param wall_seconds: Since 1970.
    """

    seconds: Callable[[], float]
    wall_seconds: Callable[[], float]


@attrs.frozen(kw_only=True)
class Authentication:
    """
    Whom a gateway lets in.

    :param users: By name.
    :param keys: Users by the text of their public key.
    :param token: What everybody must show; None for nothing.
    :param nobody: The user that a client without credentials becomes; None for none.
    :param voucher: Knows users by tokens of their own.
    :param permissions: Of those who are no particular user.
    :param account: Likewise.
    """

    users: Mapping[str, User] = attrs.field(factory=dict)
    keys: Mapping[str, User] = attrs.field(factory=dict)
    token: str | None = attrs.field(default=None, repr=False)
    nobody: User | None = None
    voucher: Voucher | None = None
    permissions: Permissions = EVERYTHING
    account: str = ""

    @property
    def is_open(self) -> bool:
        """Whether anybody may come in."""
        return not (self.users or self.keys or self.voucher) and self.token is None

    @property
    def needs_login(self) -> bool:
        """Whether a client has to say who it is before anything else."""
        return not self.is_open and self.nobody is None

    @property
    def needs_nonce(self) -> bool:
        """Whether clients sign something."""
        return bool(self.keys) or self.voucher is not None

    def knows(self, options: ConnectOptions) -> bool:
        """
        Tell whether there is somebody of the name, or with the key, of a client.

        :param options: What it has said; who has shown something else is somebody.
        """
        if self.is_open or (self.voucher is not None and options.jwt):
            return True
        if options.nkey:
            return options.nkey in self.keys
        return not options.user or options.user in self.users

    def judge(
        self, options: ConnectOptions, nonce: str, clock: Clock, origin: Origin = NOWHERE
    ) -> User | Unproven | None:
        """
        Find out who a client is.

        :param options: What it has said.
        :param nonce: What it was asked to sign.
        :param origin: From where it comes.
        :returns: As whom it is let in; None for not at all.
        :raises ValueError: Likewise, by a token that it has shown; it says why.
        """
        if self.is_open:
            return User(name=options.user, permissions=self.permissions, account=self.account)
        if self.voucher is not None and options.jwt:
            user, ends = self.voucher.admit(
                options.jwt, options.sig, nonce, clock.wall_seconds(), origin
            )
            left = None if ends is None else ends - clock.wall_seconds()
            return attrs.evolve(user, expires=None if left is None else clock.seconds() + left)
        if options.nkey and options.nkey in self.keys:
            return self.keys[options.nkey] if _has_signed(options, nonce) else None
        if self.token is not None and options.auth_token:
            user = User(
                password=self.token, permissions=self.permissions, account=self.account
            )
            return _who_shows(options.auth_token, user)
        if options.user:
            found = _who_shows(options.password, self.users.get(options.user, User(password="")))
            return found if options.user in self.users else None
        # Who shows something wants to be somebody.
        return None if options.password or options.auth_token else self.nobody


def _has_signed(options: ConnectOptions, nonce: str) -> bool:
    try:
        key = read_key(options.nkey, Kind.USER)
        return is_signed(key, nonce.encode(), read_base64(options.sig))
    except ValueError:
        return False


def _who_shows(shown: str, user: User) -> User | Unproven | None:
    """Tell whether somebody is a user who shows a password."""
    if user.password is None:
        return None
    if _HASH.match(user.password):
        return Unproven(user=user, password=shown)
    return user if _equal(shown, user.password) else None


def _equal(one: str, other: str) -> bool:
    # Takes as long for a wrong beginning as for a wrong end.
    # JSON can hold half of a letter, which is in nothing of ours.
    return hmac.compare_digest(
        one.encode(errors="surrogatepass"), other.encode(errors="surrogatepass")
    )
