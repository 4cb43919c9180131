"""
What can go wrong with etcd, and whose fault it is.

There are three kinds: nobody answered (another server is tried), the server refused (another one
would as well), and the answer cannot be read. `read_fault` tells from the HTTP status and the body
of a refusal what it is about.
"""

from __future__ import annotations

import enum
import json
from typing import Any, Final

import attrs

from atbus import limits
from atbus.errors import DiscoveryError, printable


class Cause(enum.Enum):
    """Why a server refused, as far as it makes a difference to what is done next."""

    #: The token is missing, too old, or of another state of the users: get another one.
    TOKEN = "token"  # noqa: S105 - the name of a cause
    #: User or password are wrong, or the user may not do this.
    DENIED = "denied"
    #: The lease has ended.
    LEASE = "lease"
    #: The history that was asked for is gone.
    COMPACTED = "compacted"
    #: The server is cut off from the others, or has too much to do.
    UNAVAILABLE = "unavailable"
    #: This etcd is too old to have the paths that we use.
    VERSION = "version"
    #: Anything else.
    OTHER = "other"


@attrs.define(slots=False, eq=False)
class EtcdUnreachable(DiscoveryError):
    """No server answered, or none in time."""


@attrs.define(slots=False, eq=False)
class EtcdClosed(DiscoveryError):
    """We have closed the cluster."""


@attrs.define(slots=False, eq=False)
class EtcdUnreadable(DiscoveryError):
    """A server answered what is not an answer, or too much of it."""


@attrs.define(slots=False, eq=False)
class EtcdRefused(DiscoveryError):
    """
    A server understood, and refused.

    :param detail: The server, and what it said.
    :param cause: What it is about.
    :param http_status: The status of the answer; 200 for a refusal in the midst of a stream.
    :param code: The gRPC code in it; 2 (unknown) when there was none.
    """

    cause: Cause = Cause.OTHER
    http_status: int = 200
    code: int = 2


# https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_UNKNOWN: Final = 2
_PERMISSION_DENIED: Final = 7
_OUT_OF_RANGE: Final = 11
_UNAVAILABLE: Final = 14
_UNAUTHENTICATED: Final = 16

_HTTP_UNAUTHORIZED: Final = 401
_HTTP_UNAVAILABLE: Final = 503

#: What etcd says when a token would help, with codes that it also uses for other things.
_TOKEN_WORDS: Final = (
    "user name is empty",
    "invalid auth token",
    "revision of auth store is old",
)


def read_fault(http_status: int, body: bytes) -> tuple[Cause, int, str]:
    """
    Read a refusal.

    :param http_status: The status of the answer.
    :param body: Its body; need not be what it should be.
    :returns: What it is about, its gRPC code, and its words.
    """
    code, words = _UNKNOWN, ""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        code, words = _code_and_words(document)
    if not words:
        words = body[: limits.LOGGED_INPUT_BYTES].decode("utf-8", "replace")
    return cause_of(code, words, http_status), code, printable(words[: limits.DETAIL_BYTES])


def cause_of(code: int, words: str, http_status: int = 200) -> Cause:
    """
    Say what a refusal is about.

    :param code: Its gRPC code.
    :param words: Its words.
    :param http_status: The status of the answer; 200 when it came in a stream.
    :returns: The cause.
    """
    if http_status == _HTTP_UNAUTHORIZED or code == _UNAUTHENTICATED:
        return Cause.TOKEN
    if any(text in words for text in _TOKEN_WORDS):
        return Cause.TOKEN
    if code == _PERMISSION_DENIED or "authentication failed" in words:
        return Cause.DENIED
    if "lease not found" in words:
        return Cause.LEASE
    if code == _OUT_OF_RANGE and "compacted" in words:
        return Cause.COMPACTED
    if code == _UNAVAILABLE or http_status == _HTTP_UNAVAILABLE:
        return Cause.UNAVAILABLE
    return Cause.OTHER


def _code_and_words(document: dict[str, Any]) -> tuple[int, str]:
    """Find them in any of the forms that gateways of several ages have."""
    inner = document.get("error")
    if isinstance(inner, dict):
        # In a stream: {"error": {"grpc_code": 1, "http_code": 408, "message": "..."}}.
        document = inner
        inner = None
    code = document.get("code", document.get("grpc_code", _UNKNOWN))
    words = document.get("message") or inner
    return (
        code if isinstance(code, int) and not isinstance(code, bool) else _UNKNOWN,
        words if isinstance(words, str) else "",
    )
