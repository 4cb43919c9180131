"""
What reads the facts in tokens of NATS, for `atbus.testing.text_readers`.

Whoever has signed a token is believed as to who he is, and not to write it well.
"""

from __future__ import annotations

import json
from typing import Final

from atbus.nats.authentication import Origin
from atbus.nats.grants import Grant
from atbus.nats.nkeys import Kind, write_key
from atbus.nats.tokens import Account, Claims

_ACCOUNT: Final = write_key(Kind.ACCOUNT, bytes(32))
_SIGNER: Final = write_key(Kind.ACCOUNT, bytes([1] * 32))
_USER: Final = write_key(Kind.USER, bytes(32))
_NOW: Final = 1_700_000_000.0

_RIGHTS: Final = (
    b'"pub":{"allow":["{{name()}}.>","a.{{tag(x)}}"]},"sub":{"allow":["b.>"],"deny":["b.c q"]},'
    b'"resp":{"max":1,"ttl":1000},"src":["10.0.0.0/8"],"subs":-1,"data":-1,"payload":5,'
    b'"times":[{"start":"00:00:00","end":"23:59:59"}],"times_location":"UTC",'
    b'"bearer_token":false,"allowed_connection_types":["STANDARD"]'
)
ACCOUNT_FACTS: Final = (
    b'{"iat":1,"exp":2000000000,"name":"shop","nats":{"type":"account","version":2,'
    b'"tags":["x:y"],"limits":{"subs":-1,"payload":9,"conn":-1,"disallow_bearer":true},'
    b'"default_permissions":{"pub":{"allow":["a"]}},"revocations":{"*":1},'
    b'"authorization":{"auth_users":[]},"signing_keys":[{"kind":"user_scope","key":"%b",'
    b'"template":{%b}}]}}' % (_SIGNER.encode(), _RIGHTS)
)
USER_FACTS: Final = (
    b'{"iat":5,"name":"anna","nats":{"type":"user","version":2,%b}}' % _RIGHTS,
    b'{"iat":5,"nbf":1,"exp":2000000000,"name":"anna","nats":{"type":"user","tags":["x:y"]}}',
)


def _claims(data: bytes, issuer: str, subject: str) -> Claims:
    try:
        facts = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(facts, dict):
        raise ValueError("no object")  # noqa: TRY004 - one kind of fault
    return Claims(issuer, subject, facts)


def read_account(data: bytes) -> Account:
    """
    Read an account's token.

    :param data: The facts in it.
    :raises ValueError: It is not understood.
    """
    account = Account(_claims(data, "", _ACCOUNT))
    account.claims.is_valid_at(_NOW)
    return account


def read_user(data: bytes) -> list[Grant]:
    """
    Read a user's token, once as signed by its account and once by a key with a template.

    :param data: The facts in it.
    :raises ValueError: It is understood in neither way.
    """
    account = read_account(ACCOUNT_FACTS)
    grants, faults = [], []
    for issuer in (_ACCOUNT, _SIGNER):
        try:
            claims = _claims(data, issuer, _USER)
            grant = account.vouch(claims)
            claims.is_valid_at(_NOW)
            grant.check(Origin(host="10.0.0.1"))
            grant.ends_at(_NOW)
            grants.append(grant)
        except ValueError as fault:
            faults.append(str(fault))
    if not grants:
        raise ValueError("; ".join(faults))
    return grants
