"""
NATS's JSON Web Tokens: an operator vouches for accounts, an account for its users.

Nothing of a token is believed before its signature is verified by the key that it names, and that
key only when somebody who is believed has named it: the operator is, because it is configured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from atbus.nats.authentication import User
from atbus.nats.nkeys import Kind, is_signed, read_base64, read_key
from atbus.nats.permissions import Permissions, read_lists

#: Names of the algorithm: the older one signs only the second part of a token.
_OLD: Final = "ed25519"
_NEW: Final = "ed25519-nkey"

_ANY_KEY: Final = "*"


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
        """Tell whether it has begun to be valid and has not ended."""
        begins, ends = self.facts.get("nbf") or 0, self.facts.get("exp") or 0
        numbers = all(type(each) in (int, float) for each in (begins, ends))
        return numbers and begins <= wall_seconds and (not ends or wall_seconds < ends)


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
        trusted = {claims.subject, *_signing_keys(claims)}
        self._separate = separate
        self._accounts: dict[str, Claims] = {}
        for text in accounts:
            account = read_token(text, (Kind.OPERATOR,))
            if account.issuer not in trusted:
                raise ValueError(f"account {account.subject} is signed by another operator")
            read_key(account.subject, Kind.ACCOUNT)
            self._accounts[account.subject] = account

    def admit(
        self, token: str, signature: str, nonce: str, wall_seconds: float
    ) -> tuple[User, float | None] | None:
        """
        Find out who shows a token.

        :param token: A user's.
        :param signature: Of the nonce, by the user's key.
        :param wall_seconds: Since 1970.
        :returns: The user, and when its token ends (since 1970, None for never); None for nobody.
        """
        try:
            claims = read_token(token, (Kind.ACCOUNT,))
            key = read_key(claims.subject, Kind.USER)
            signed = is_signed(key, nonce.encode(), read_base64(signature))
            rights = _permissions(claims.nats)
        except ValueError:
            return None
        account = self._accounts.get(str(claims.nats.get("issuer_account") or claims.issuer))
        if account is None or not _vouches(account, claims):
            return None
        if not (signed or claims.nats.get("bearer_token") is True):
            return None
        if not claims.is_valid_at(wall_seconds) or not account.is_valid_at(wall_seconds):
            return None
        ends = [float(each.facts["exp"]) for each in (claims, account) if each.facts.get("exp")]
        name = str(claims.facts.get("name") or claims.subject)
        own = account.subject if self._separate else ""
        return User(name=name, permissions=rights, account=own), min(ends, default=None)


def _signing_keys(claims: Claims) -> list[str]:
    keys = claims.nats.get("signing_keys") or []
    return [str(key.get("key", "")) if isinstance(key, dict) else str(key) for key in keys]


def _vouches(account: Claims, user: Claims) -> bool:
    """Tell whether an account has signed a user's token, and has not taken that back."""
    if user.issuer != account.subject and user.issuer not in _signing_keys(account):
        return False
    revoked = account.nats.get("revocations")
    if not isinstance(revoked, dict):
        return True
    issued = user.facts.get("iat") or 0
    return not any(issued <= revoked[key] for key in (user.subject, _ANY_KEY) if key in revoked)


def _permissions(nats: Mapping[str, Any]) -> Permissions:
    response = _table(nats, "resp")
    return Permissions(
        publish=read_lists(nats.get("pub")),
        subscribe=read_lists(nats.get("sub")),
        responses=int(response.get("max", 0)),
        # Written in nanoseconds, as Go's durations are.
        responses_seconds=int(response.get("ttl", 0)) / 1e9,
    )


def _table(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = facts.get(name) or {}
    if not isinstance(table, dict):
        raise ValueError(f"{name} is no object")  # noqa: TRY004 - one kind of fault
    return table
