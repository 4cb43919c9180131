"""
The options of a CONNECT.

Names are read as Go reads them, in any case; a value of the wrong type makes the whole of it
unreadable, also where the same name stands once more behind it. What a second CONNECT does not
mention stays as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
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

    def remembered(self) -> ConnectOptions:
        """
        Give what is told of a client after its end; thousands are remembered.

        :returns: Without what it has proven itself with, and what it wanted.
        """
        return ConnectOptions(name=self.name, lang=self.lang, version=self.version)


# By its name in the text, which for one of them is no name in Python.
_FIELDS: Final = {
    "pass" if field.name == "password" else field.name: field
    for field in attrs.fields(ConnectOptions)
}
_TYPES: Final = {"bool": bool, "int": int, "str": str}
_INTEGER_BITS: Final = 63
#: What servers let other servers say here, and nobody else reads.
_RIGHTS: Final = ("import", "export")
_LISTS: Final = ("allow", "deny")
#: Half of a pair, which is no letter.
_LONE: Final = re.compile("[\ud800-\udfff]")


class _Object(tuple[tuple[str, Any], ...]):
    """An object in JSON: its names and values in order, some perhaps twice."""

    __slots__ = ()


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def read_object(text: bytes) -> _Object | None:
    """
    Read an object in JSON as Go reads it.

    :returns: Its names and values in order; None where it is ``null``.
    :raises ValueError: It is not readable.
    """
    try:
        # What is no UTF-8 stands for a letter, which is none outside of a text.
        document = json.loads(
            text.decode(errors="replace"), parse_constant=_refuse, object_pairs_hook=_Object
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if document is not None and not isinstance(document, _Object):
        raise ValueError("not an object")
    return document


def read_connect(text: bytes, before: ConnectOptions) -> ConnectOptions:
    """
    Read the options of a CONNECT.

    :param text: An object in JSON.
    :param before: What was known before.
    :returns: What is known now.
    :raises ValueError: It is not readable.
    """
    document = read_object(text)
    if document is None:
        return before
    for name, value in document:
        if fold(name) in _RIGHTS:
            check_rights(value)
    return read_options(document, before)


def fold(name: str) -> str:
    """Give a name as one that is the same to Go, in small letters."""
    # Go takes the long s for an s; the sign for Kelvin is a k to both.
    return name.lower().replace("\u017f", "s")


def check_rights(value: Any) -> None:
    """
    Look at what is not used: lists of subjects.

    :raises ValueError: It is of the wrong type.
    """
    if value is None:
        return
    if not isinstance(value, _Object):
        raise ValueError("import and export are objects")  # noqa: TRY004 - as above
    for name, listed in value:
        if fold(name) in _LISTS and listed is not None:
            is_good = type(listed) is list and all(type(x) in (str, type(None)) for x in listed)
            if not is_good:
                raise ValueError(f"{name} is of the wrong type")


def read_options(named: Iterable[tuple[str, Any]], before: ConnectOptions) -> ConnectOptions:
    """
    Read what stands in a CONNECT.

    :param named: Names and values, in order.
    :param before: What was known before.
    :returns: What is known now.
    :raises ValueError: A value is of the wrong type.
    """
    changes: dict[str, Any] = {}
    for key, value in named:
        field = _FIELDS.get(fold(key))
        if field is None or value is None:
            continue
        if type(value) is not _TYPES[str(field.type)]:
            raise ValueError(f"{key} is of the wrong type")
        if type(value) is int and not -1 << _INTEGER_BITS <= value < 1 << _INTEGER_BITS:
            raise ValueError(f"{key} is too large")
        changes[field.name] = _LONE.sub("\ufffd", value) if type(value) is str else value
    return attrs.evolve(before, **changes)
