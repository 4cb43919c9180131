"""
Header blocks, as in NATS messages (wire protocol, 3.2).

A block is the line ``NATS/1.0``, perhaps with a status, then lines ``name: value``, then an empty
line; each ends with CR LF. Names keep their case and may come more than once. A block that a client
wrote is passed on as it is; it is read only by who asks for its headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from atbus.errors import LocalProtocolError

#: What headers may be given as: a mapping, or pairs where a name comes more than once.
Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_FIRST_LINE: Final = b"NATS/1.0"
_LINE_END: Final = b"\r\n"


def pack_headers(headers: Headers, status: str = "") -> bytes:
    """
    Write a header block.

    :param headers: Names and values.
    :param status: What follows on the first line, such as ``503``.
    :returns: The block; empty when there is nothing to say.
    :raises LocalProtocolError: A name or a value is no text, or has letters that would end it.
    """
    if not isinstance(headers, Iterable):
        raise LocalProtocolError(f"{headers!r:.60} is no headers: names and values are")
    pairs = list(headers.items() if isinstance(headers, Mapping) else map(_pair, headers))
    if not pairs and not status:
        return b""
    lines = [f"NATS/1.0 {status}".rstrip()]
    for name, value in pairs:
        if not (isinstance(name, str) and isinstance(value, str)):
            raise LocalProtocolError(f"{name!r}: {value!r} is no header, both are texts")
        if not name or not set(name).isdisjoint(": \t\r\n") or not set(value).isdisjoint("\r\n"):
            raise LocalProtocolError(f"{name!r}: {value!r} is no header")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


def _pair(pair: object) -> tuple[str, str]:
    """
    Take one of the pairs that a program gave as headers.

    :raises LocalProtocolError: It is none, as a letter of a text is.
    """
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise LocalProtocolError(f"{pair!r:.60} is no header: a name and a value are one")
    name, value = pair
    return name, value


def read_headers(block: bytes) -> tuple[tuple[str, str], ...]:
    """
    Read the headers of a block.

    :param block: Perhaps a stranger's; lines that are no headers are skipped.
    :returns: Names and values, in order.
    """
    pairs: list[tuple[str, str]] = []
    for line in block.split(_LINE_END)[1:]:
        name, colon, value = line.partition(b":")
        if colon and name:
            pairs.append((name.decode(errors="replace"), value.strip().decode(errors="replace")))
    return tuple(pairs)


def read_status(block: bytes) -> str:
    """
    Read what follows on the first line.

    :returns: Such as ``503``, or ``503 No Responders``; empty for none.
    """
    first = block.partition(_LINE_END)[0]
    if not first.startswith(_FIRST_LINE):
        return ""
    return first[len(_FIRST_LINE) :].strip().decode(errors="replace")
