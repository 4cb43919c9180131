"""
NATS's JSON Web Tokens: an operator vouches for accounts, an account for its users.

Nothing of a token is believed before its signature is verified by the key that it names, and that
key only when somebody who is believed has named it: the operator is, because it is configured.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import attrs

from atbus.nats.authentication import NOWHERE, Limits, Origin, Revoked, User
from atbus.nats.grants import (
    GRANT_KEYS,
    UNLIMITED,
    Gaps,
    Grant,
    known,
    read_flag,
    read_grant,
    read_integer,
    read_limit,
    read_limits,
    read_moment,
    read_rights,
    read_table,
    read_text,
    read_texts,
    says_something,
)
from atbus.nats.nkeys import Kind, is_signed, read_base64, read_key
from atbus.nats.permissions import EVERYTHING

#: Names of the algorithm: the older one signs only the second part of a token.
_OLD: Final = "ed25519"
_NEW: Final = "ed25519-nkey"

_ANY_KEY: Final = "*"

#: The newest version of tokens that is understood.
_VERSION: Final = 2

#: What stands in every token; and in the part about NATS.
_FACTS: Final = frozenset(
    {"jti", "iat", "iss", "sub", "name", "nbf", "exp", "aud", "type", "tags", "nats"}
)
_GENERIC: Final = frozenset({"type", "version", "tags"})
_USER: Final = GRANT_KEYS | _GENERIC | {"issuer_account"}
# What is understood here, and what neither gives nor takes rights to users of a gateway.
_ACCOUNT: Final = _GENERIC | {
    *("limits", "signing_keys", "revocations", "default_permissions", "authorization"),
    *("imports", "exports", "trace", "cluster_traffic", "description", "info_url"),
}
_OPERATOR: Final = _GENERIC | {
    *("signing_keys", "strict_signing_key_usage", "account_server_url"),
    *("operator_service_urls", "system_account", "assert_server_version"),
}
_ACCOUNT_LIMITS: Final = frozenset(
    {
        *("subs", "data", "payload", "conn", "disallow_bearer"),
        *("imports", "exports", "wildcards", "leaf", "tiered_limits"),
        *("mem_storage", "disk_storage", "streams", "consumer", "max_ack_pending"),
        *("mem_max_stream_bytes", "disk_max_stream_bytes", "max_bytes_required"),
    }
)


@attrs.frozen
class Claims:
    """
    What a token says, after its signature was found good.

    :param issuer: The key that signed it.
    :param subject: The key that it is about.
    :param facts: All of it.
    """

    issuer: str
    subject: str
    facts: Mapping[str, Any]

    @property
    def nats(self) -> Mapping[str, Any]:
        """The part that is about NATS."""
        part = self.facts.get("nats")
        return part if isinstance(part, dict) else {}

    @property
    def type(self) -> str:
        """What it is about: operator, account or user."""
        return str(self.nats.get("type") or self.facts.get("type") or "")

    def is_valid_at(self, wall_seconds: float) -> bool:
        """
        Tell whether it has begun to be valid and has not ended.

        :raises ValueError: It does not say so in numbers.
        """
        begins, ends = (read_moment(self.facts, name) for name in ("nbf", "exp"))
        return begins <= wall_seconds and (not ends or wall_seconds < ends)

    def expect(self, kind: str, names: Collection[str]) -> None:
        """
        Check that it is of one type, and says nothing that is not understood.

        :param names: What may be in the part about NATS.
        :raises ValueError: It is not so.
        """
        if self.type != kind:
            raise ValueError(f"a token about {self.type!r}, and not about {kind!r}")
        if read_integer(self.nats, "version", 1) > _VERSION:
            raise ValueError("a token of a newer version")
        known(self.facts, _FACTS, "the token")
        known(self.nats, names, "the token")
        for name in ("iat", "nbf", "exp"):
            read_moment(self.facts, name)


def read_token(text: str, issuer_kinds: Sequence[Kind]) -> Claims:
    """
    Read a token and verify its signature.

    :param text: Three parts with dots between them.
    :param issuer_kinds: Which kinds of keys may sign it.
    :returns: What it says. Whether its issuer may say so is the caller's to find out.
    :raises ValueError: It is no token, or not signed by who it says.
    """
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError("a token has three parts")
    try:
        head, facts = (json.loads(read_base64(part)) for part in parts[:2])
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(head, dict) or not isinstance(facts, dict):
        raise ValueError("the parts of a token are objects")  # noqa: TRY004 - one kind of fault
    algorithm = str(head.get("alg", "")).lower()
    if algorithm not in (_OLD, _NEW):
        raise ValueError(f"signed by {algorithm!r}")
    issuer, subject = str(facts.get("iss", "")), str(facts.get("sub", ""))
    signed = parts[1] if algorithm == _OLD else f"{parts[0]}.{parts[1]}"
    for kind in issuer_kinds:
        try:
            key = read_key(issuer, kind)
        except ValueError:
            continue
        if is_signed(key, signed.encode(), read_base64(parts[2])):
            return Claims(issuer, subject, facts)
        raise ValueError("the signature is not its issuer's")
    raise ValueError(f"{issuer!r} may not sign it")


class Account:
    """
    An account for which an operator vouches.

    :param claims: What its token says.
    :param own_key: Whether its own key may sign users, and not only further ones.
    :raises ValueError: Something in its token is not understood.
    """

    def __init__(self, claims: Claims, *, own_key: bool = True) -> None:
        claims.expect("account", _ACCOUNT)
        nats = claims.nats
        limits = read_table(nats, "limits")
        known(limits, _ACCOUNT_LIMITS, "the limits")
        known(read_table(nats, "default_permissions"), {"pub", "sub", "resp"}, "the permissions")
        self.claims = claims
        self.key = claims.subject
        self.limits = _account_limits(limits)
        self.permissions = read_rights(read_table(nats, "default_permissions"))
        self._forbids_bearers = read_flag(limits, "disallow_bearer")
        # Others are let in by a service of the account, which is not asked here.
        self._own_users = read_texts(read_table(nats, "authorization"), "auth_users")
        self._revoked = read_table(nats, "revocations")
        for key in self._revoked:
            read_integer(self._revoked, key, 0)
        #: The template of each key that may sign users; None for those without one.
        self._signers = _read_signers(nats, {self.key: None} if own_key else {})

    def vouch(self, user: Claims) -> Grant:
        """
        Find out what a user may do.

        :param user: What its token says; that it is signed by its issuer is known.
        :returns: It.
        :raises ValueError: The account does not vouch for it, or it is not understood.
        """
        user.expect("user", _USER)
        if user.issuer not in self._signers:
            raise ValueError(f"account {self.key} does not know the key that signed the token")
        if self._own_users and user.subject not in self._own_users:
            raise ValueError("the account has others decide, which is not understood here")
        self._check_revocation(user)
        template = self._signers[user.issuer]
        if template is None:
            grant = read_grant(user.nats, missing=0)
        elif says_something(user.nats):
            raise ValueError("its issuer has a template, so that the token may say nothing itself")
        else:
            grant = read_grant(template, missing=UNLIMITED, fill=self._gaps(user).fill)
        if grant.is_bearer and self._forbids_bearers:
            raise ValueError("the account wants everybody to show a key")
        return grant

    def _check_revocation(self, user: Claims) -> None:
        issued = read_moment(user.facts, "iat")
        for key in (user.subject, _ANY_KEY):
            if key in self._revoked and issued <= self._revoked[key]:
                raise Revoked("the account has taken the token back")

    def _gaps(self, user: Claims) -> Gaps:
        return Gaps(
            values={
                "name": read_text(user.facts, "name"),
                "subject": user.subject,
                "account-name": read_text(self.claims.facts, "name"),
                "account-subject": self.key,
            },
            tags={
                "tag": read_texts(user.nats, "tags"),
                "account-tag": read_texts(self.claims.nats, "tags"),
            },
        )


def _account_limits(table: Mapping[str, Any]) -> Limits:
    return attrs.evolve(read_limits(table, missing=0), connections=read_limit(table, "conn", 0))


def _read_signers(
    nats: Mapping[str, Any], signers: dict[str, Mapping[str, Any] | None]
) -> Mapping[str, Mapping[str, Any] | None]:
    keys = nats.get("signing_keys") or []
    if not isinstance(keys, list):
        raise ValueError("signing_keys is no list")  # noqa: TRY004 - one kind of fault
    for each in keys:
        key, template = (each, None) if isinstance(each, str) else _read_scope(each)
        read_key(key, Kind.ACCOUNT)
        if key in signers:
            raise ValueError(f"{key} stands twice among the keys that sign")
        signers[key] = template
    return signers


def _read_scope(scope: object) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(scope, dict) or scope.get("kind") != "user_scope":
        raise ValueError("a key that signs has a scope that is not understood")
    known(scope, {"kind", "key", "role", "description", "template"}, "the scope of a key")
    template = read_table(scope, "template")
    known(template, GRANT_KEYS, "a template")
    read_grant(template, missing=UNLIMITED)
    return read_text(scope, "key"), template


class Chain:
    """
    Whom an operator vouches for.

    :param operator: Its token, signed by itself.
    :param accounts: Tokens of accounts; each must be signed by the operator.
    :param separate: Whether each account has subjects of its own.
    :raises ValueError: One of them is not what it should be.
    """

    def __init__(self, operator: str, accounts: Sequence[str], *, separate: bool = False) -> None:
        claims = read_token(operator, (Kind.OPERATOR,))
        if claims.issuer != claims.subject:
            raise ValueError("the operator's token is signed by another")
        claims.expect("operator", _OPERATOR)
        is_strict = read_flag(claims.nats, "strict_signing_key_usage")
        trusted = set(read_texts(claims.nats, "signing_keys"))
        if not is_strict:
            trusted.add(claims.subject)
        self._separate = separate
        self._made_of = operator, tuple(accounts), separate
        self._accounts: dict[str, Account] = {}
        for text in accounts:
            account = read_token(text, (Kind.OPERATOR,))
            if account.issuer not in trusted:
                raise ValueError(f"account {account.subject} is signed by another operator")
            read_key(account.subject, Kind.ACCOUNT)
            try:
                self._accounts[account.subject] = Account(account, own_key=not is_strict)
            except ValueError as fault:
                raise ValueError(f"account {account.subject}: {fault}") from fault

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self._made_of == other._made_of

    def __hash__(self) -> int:
        return hash(self._made_of)

    def admit(
        self,
        token: str,
        signature: str,
        nonce: str,
        wall_seconds: float,
        origin: Origin = NOWHERE,
    ) -> tuple[User, float | None]:
        """
        Find out who shows a token.

        :param token: A user's.
        :param signature: Of the nonce, by the user's key.
        :param wall_seconds: Since 1970.
        :param origin: From where it is shown.
        :returns: The user, and when its rights end (since 1970, None for never).
        :raises ValueError: It is nobody whom we let in; it says why.
        """
        claims = read_token(token, (Kind.ACCOUNT,))
        key = read_key(claims.subject, Kind.USER)
        name = read_text(claims.facts, "name") or claims.subject
        account = self._accounts.get(read_text(claims.nats, "issuer_account") or claims.issuer)
        if account is None:
            raise ValueError("no account that is known here has signed the token")
        try:
            grant = account.vouch(claims)
            if not grant.is_bearer and not is_signed(key, nonce.encode(), read_base64(signature)):
                raise ValueError("who shows the token has not its key")
            if not all(each.is_valid_at(wall_seconds) for each in (claims, account.claims)):
                raise ValueError("the token, or its account's, has ended or not begun")
            grant.check(origin)
            times = [grant.ends_at(wall_seconds)]
        except ValueError as fault:
            kind = Revoked if isinstance(fault, Revoked) else ValueError
            raise kind(f"user {name!r}: {fault}") from fault
        times += [read_moment(each.facts, "exp") for each in (claims, account.claims)]
        user = User(
            name=name,
            permissions=grant.permissions or account.permissions or EVERYTHING,
            account=account.key if self._separate else "",
            issuer=account.key,
            limits=grant.limits.within(account.limits),
        )
        return user, min((each for each in times if each), default=None)
