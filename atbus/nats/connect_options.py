"""
The options of a CONNECT.

Names are read as Go reads them, in any case; a value of the wrong type makes the whole of it
unreadable. What a second CONNECT does not mention stays as it was.
"""

from __future__ import annotations

import json
from typing import Any, Final

import attrs


@attrs.frozen(kw_only=True)
class ConnectOptions:
    """
    What a client has told of itself.

    :param verbose: Whether each operation is answered ``+OK``.
    :param pedantic: Whether subjects to publish on are checked.
    :param echo: Whether it gets what it publishes itself.
    :param protocol: 1 when it understands an INFO at any time.
    :param headers: Whether it understands HMSG.
    :param no_responders: Whether it is to be told that nobody got its request.
    :param lang: Its language; only clients name one.
    """

    verbose: bool = True
    pedantic: bool = True
    echo: bool = True
    tls_required: bool = False
    headers: bool = False
    no_responders: bool = False
    new_account: bool = False
    protocol: int = 0
    name: str = ""
    lang: str = ""
    version: str = ""
    account: str = ""
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    auth_token: str = attrs.field(default="", repr=False)
    jwt: str = attrs.field(default="", repr=False)
    nkey: str = ""
    sig: str = attrs.field(default="", repr=False)


# By its name in the text, which for one of them is no name in Python.
_FIELDS: Final = {
    "pass" if field.name == "password" else field.name: field
    for field in attrs.fields(ConnectOptions)
}
_TYPES: Final = {"bool": bool, "int": int, "str": str}
_INTEGER_BITS: Final = 63


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def read_connect(text: bytes, before: ConnectOptions) -> ConnectOptions:
    """
    Read the options of a CONNECT.

    :param text: An object in JSON.
    :param before: What was known before.
    :returns: What is known now.
    :raises ValueError: It is not readable.
    """
    try:
        # As Go reads it: what is no UTF-8 stands for a letter, which is none outside of a text.
        document = json.loads(text.decode(errors="replace"), parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if document is None:
        return before
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004 - whatever is wrong is wrong likewise
    return read_options(document, before)


def read_options(document: dict[str, Any], before: ConnectOptions) -> ConnectOptions:
    """
    Read what stands in a CONNECT.

    :param before: What was known before.
    :returns: What is known now.
    :raises ValueError: A value is of the wrong type.
    """
    changes: dict[str, Any] = {}
    for key, value in document.items():
        field = _FIELDS.get(key.lower())
        if field is None or value is None:
            continue
        if type(value) is not _TYPES[str(field.type)]:
            raise ValueError(f"{key} is of the wrong type")
        if type(value) is int and not -1 << _INTEGER_BITS <= value < 1 << _INTEGER_BITS:
            raise ValueError(f"{key} is too large")
        changes[field.name] = value
    return attrs.evolve(before, **changes)
