"""Check what the table about clients of NATS says of leafs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_TEXTS: Final = (
    *("user", "password", "token", "nkey_file", "credentials_file"),
    *("ca_file", "certificate_file", "key_file"),
)
_WAYS: Final = ("user", "token", "nkey_file", "credentials_file")
_PLACE: Final = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}")
_LOOPBACK: Final = re.compile(r"(?:127\.[\d.]+|localhost|\[::1\]):\d+")


def leaf_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check what is said of leafs.

    :param table: Of the gateway.
    :returns: What is wrong with it, each beginning with the place.
    """
    if bool(table.get("leaf_user")) != bool(table.get("leaf_password")):
        yield ".leaf_password: leaf_user and leaf_password go together"
    remotes = table.get("leaf_remotes", ())
    if not isinstance(remotes, list | tuple):
        yield ".leaf_remotes: expected a list of tables"
        return
    for index, remote in enumerate(remotes):
        place = f".leaf_remotes[{index}]"
        if not isinstance(remote, Mapping):
            yield f"{place}: expected a table"
        else:
            yield from (f"{place}{fault}" for fault in _faults_in_remote(remote, table))


def _faults_in_remote(remote: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    yield from (f".{key}: unknown" for key in sorted(remote.keys() - {"urls", "tls", *_TEXTS}))
    for key in _TEXTS:
        if not isinstance(remote.get(key, ""), str):
            yield f".{key}: expected a text"
    if not isinstance(remote.get("tls", False), bool):
        yield ".tls: expected true or false"
    urls = remote.get("urls")
    if not isinstance(urls, list | tuple) or not urls:
        yield ".urls: expected a list of addresses such as 10.0.0.1:7422"
        return
    for url in urls:
        if not isinstance(url, str) or not _PLACE.fullmatch(url):
            yield f".urls: expected an address such as 10.0.0.1:7422, not {url!r}"
        elif not (
            _LOOPBACK.fullmatch(url) or remote.get("tls") or table.get("allow_insecure") is True
        ):
            yield (
                f".urls: {url} is not on loopback, what passes can be read by others; "
                "say tls = true, or allow_insecure = true for the gateway"
            )
    if bool(remote.get("user")) != bool(remote.get("password")):
        yield ".password: user and password go together"
    ways = [key for key in _WAYS if remote.get(key)]
    if len(ways) > 1:
        yield f".{ways[1]}: {ways[0]} is there already, and one is enough"
    if bool(remote.get("certificate_file")) != bool(remote.get("key_file")):
        yield ".key_file: certificate_file and key_file go together"
