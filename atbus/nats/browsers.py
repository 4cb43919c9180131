"""
Keep browsers out that ask for somebody else than who sits before them.

A page of any site can have the browser of its reader ask whatever that one's machine reaches, so a
door on loopback is open to the whole web. Two things tell such questions from others:

1. Browsers say by which site's page they were made to ask (``Sec-Fetch-Site``).
2. Nobody calls this machine's loopback by another name than ``localhost`` or its address. A name
   that leads here is one that a site has given to make the browser take us for itself ("DNS
   rebinding"); where others listen too, names are the network's, and any is good.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from twisted.web.server import Request

# "none" is what somebody typed, or keeps among bookmarks.
_OURS: Final = frozenset({None, "same-origin", "none"})
_HOST: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:]*))(?::\d*)?")


# What is told is what others have said of themselves: no browser takes it for anything but text.
_HEADERS: Final = (
    ("content-type", "text/plain; charset=utf-8"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
)


def seal(request: Request) -> None:
    """Have the browser show an answer as what it is, nowhere but by itself."""
    for name, value in _HEADERS:
        request.setHeader(name, value)


def refusal_of(request: Request, listens_at: str) -> str | None:
    """
    Tell why a question is not answered.

    :param request: It.
    :param listens_at: The address of the door.
    :returns: The reason, for people; None when it is answered.
    """
    site = _header(request, b"sec-fetch-site")
    if site not in _OURS:
        return "asked by a page of another site"
    asked = _header(request, b"host")
    if asked is not None and _is_loopback(listens_at) and not _is_own_name(asked):
        return "this is not the name of a host that answers here: ask for localhost, or its address"
    return None


def _header(request: Request, name: bytes) -> str | None:
    # By its bytes: Twisted's own text of a header is no answer where it is not UTF-8.
    value = request.getHeader(name)
    return None if value is None else value.decode(errors="replace")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_own_name(asked: str) -> bool:
    found = _HOST.fullmatch(asked)
    if found is None:
        return False
    host = found["v6"] or found["host"]
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
