"""
How the options about sources of addresses are read: ``discovery.dns`` and ``discovery.static``.

A source gives addresses of nodes of which nothing else is known, to be tried as upstreams or to be
connected to as peers.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from atbus.discovery import bounds
from atbus.discovery.addresses import checked
from atbus.errors import AddressError

NOBODY_ASSIGNS: Final = 'id: "auto" needs an upstream that assigns one'
"""What is wrong with an automatic id where no upstream is found."""

_WHERE_UPSTREAMS_ARE: Final = re.compile(r"(upstreams?|upstream_labels|static|dns)\b")


class Use(enum.Enum):
    """What the nodes behind addresses are to this one; the value is written in files."""

    #: One of them is the upstream.
    UPSTREAMS = "upstreams"
    #: All of them are connected to.
    PEERS = "peers"


@attrs.frozen(kw_only=True)
class DnsSettings:
    """
    A name to ask for.

    :param name: The name.
    :param port: Where the nodes listen, for a name that is not that of a service.
    :param use: What for.
    :param tls: Whether they are dialled through TLS.
    :param servers: IP addresses and ports of name servers; those of the system when there are none.
    :param refresh_seconds: Between two questions.
    """

    name: str
    port: int = 0
    use: Use = Use.UPSTREAMS
    tls: bool = False
    servers: tuple[tuple[str, int], ...] = ()
    refresh_seconds: float = bounds.NAME_REFRESH_SECONDS


@attrs.frozen(kw_only=True)
class StaticSettings:
    """
    Addresses that are given, and a file in which there are more.

    :param addresses: In order of preference.
    :param file: The path of the file; empty for none.
    :param use: What for.
    :param refresh_seconds: Between two looks at the file.
    """

    addresses: tuple[str, ...] = ()
    file: str = ""
    use: Use = Use.UPSTREAMS
    refresh_seconds: float = bounds.ADDRESS_FILE_SECONDS


_DNS_PORT: Final = 53
_SECONDS: Final = (0.1, 86_400)
_DNS_KEYS: Final = frozenset(attrs.fields_dict(DnsSettings))
_STATIC_KEYS: Final = frozenset(attrs.fields_dict(StaticSettings))


def dns_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check the table of names.

    :param table: What was given; empty for no name.
    :returns: What is wrong with it, each beginning with the place.
    """
    if not table:
        return
    yield from _common_faults(table, _DNS_KEYS)
    name, port = table.get("name"), table.get("port", 0)
    if not isinstance(name, str) or not name or not name.isascii() or not name.isprintable():
        yield ".name: expected the name of hosts, or of a service: _atbus._tcp.example"
        name = ""
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 2**16:
        yield ".port: expected 1 to 65535"
    elif name.startswith("_") and port:
        yield ".port: the services behind the name have ports of their own"
    elif name and not name.startswith("_") and not port:
        yield ".port: missing; where do the nodes behind the name listen?"
    if not isinstance(table.get("tls", False), bool):
        yield ".tls: expected true or false"
    yield from _list_faults(table, "servers", _server)


def static_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check the table of given addresses.

    :param table: What was given; empty for none.
    :returns: What is wrong with it, each beginning with the place.
    """
    if not table:
        return
    yield from _common_faults(table, _STATIC_KEYS)
    if not isinstance(table.get("file", ""), str):
        yield ".file: expected a path"
    if not table.get("file") and "addresses" not in table:
        yield ".addresses: give some, or a file in which they stand"
    yield from _list_faults(table, "addresses", lambda text: checked([text]))


def read_dns(table: Mapping[str, Any]) -> DnsSettings | None:
    """
    Read the table of names.

    :param table: One without faults.
    :returns: What it says; None when it is empty.
    """
    if not table:
        return None
    given = {key: table[key] for key in ("name", "port", "tls") if key in table}
    servers = tuple(map(_server, table.get("servers", ())))
    return DnsSettings(**given, servers=servers, **_common(table))


def read_static(table: Mapping[str, Any]) -> StaticSettings | None:
    """
    Read the table of given addresses.

    :param table: One without faults.
    :returns: What it says; None when it is empty.
    """
    if not table:
        return None
    addresses = tuple(table.get("addresses", ()))
    return StaticSettings(addresses=addresses, file=table.get("file", ""), **_common(table))


def finds_upstreams(table: Mapping[str, Any]) -> bool:
    """
    Tell whether a source is there to find upstreams.

    :param table: Of either kind; empty for no source.
    :returns: Whether it is.
    """
    return bool(table) and table.get("use", Use.UPSTREAMS.value) == Use.UPSTREAMS.value


def hide_upstreams(faults: Iterable[str]) -> bool:
    """
    Tell whether a configuration may well have an upstream, but for its faults.

    :param faults: All of them, each behind the name of its option.
    :returns: Whether one of them is about where upstreams are.
    """
    return any(_WHERE_UPSTREAMS_ARE.match(fault) for fault in faults)


def _common(table: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if "use" in table:
        given["use"] = Use(table["use"])
    if "refresh_seconds" in table:
        given["refresh_seconds"] = float(table["refresh_seconds"])
    return given


def _common_faults(table: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    yield from (f".{key}: unknown" for key in table if key not in known)
    if table.get("use", Use.UPSTREAMS.value) not in [use.value for use in Use]:
        yield f".use: must be one of {', '.join(use.value for use in Use)}"
    least, most = _SECONDS
    seconds = table.get("refresh_seconds", least)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        yield ".refresh_seconds: expected a number"
    elif not least <= seconds <= most:
        yield f".refresh_seconds: must be {least} to {most} seconds, not {seconds}"


def _list_faults(
    table: Mapping[str, Any], key: str, read: Callable[[str], object]
) -> Iterator[str]:
    texts = table.get(key, ())
    if not isinstance(texts, list | tuple):
        yield f".{key}: expected a list of texts"
        return
    if len(texts) > bounds.NAME_ANSWERS_MAX:
        yield f".{key}: {len(texts)} are more than {bounds.NAME_ANSWERS_MAX}"
    for index, text in enumerate(texts):
        try:
            read(text if isinstance(text, str) else "")
        except (AddressError, ValueError) as fault:
            yield f".{key}[{index}]: {fault}"


def _server(text: str) -> tuple[str, int]:
    """Read where a name server is: a host, and a port unless it is the usual one."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = text, str(_DNS_PORT)
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is not the IP address of a name server") from None
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"{text!r}: a port is 1 to 65535")
    return host, int(port)
