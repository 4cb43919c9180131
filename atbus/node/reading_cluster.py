"""Check what the table about clients of NATS says of a cluster that the node joins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_FILES: Final = ("certificate_file", "key_file", "ca_file")
_TEXTS: Final = ("name", "listen", "advertise", "user", "password", *_FILES)
_NAME: Final = re.compile(r"[^\s\x00-\x1f]+")
_PLACE: Final = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}")
_LOOPBACK: Final = re.compile(r"(?:127\.[\d.]+|localhost|\[::1\]):\d+")


def cluster_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check what is said of a cluster.

    :param table: Of the gateway.
    :returns: What is wrong with it, each beginning with the place.
    """
    cluster = table.get("cluster")
    if cluster is None:
        return
    if not isinstance(cluster, Mapping):
        yield ".cluster: expected a table"
        return
    yield from (f".cluster{fault}" for fault in _faults(cluster, table))


def _faults(cluster: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    yield from (f".{key}: unknown" for key in sorted(cluster.keys() - {"routes", *_TEXTS}))
    for key in _TEXTS:
        if not isinstance(cluster.get(key, ""), str):
            yield f".{key}: expected a text"
    if not _NAME.fullmatch(str(cluster.get("name", ""))):
        yield ".name: expected the name of the cluster, without blanks"
    is_safe = bool(cluster.get("certificate_file")) or table.get("allow_insecure") is True
    yield from _faults_in_place("listen", cluster.get("listen", ""), is_safe=is_safe)
    if cluster.get("advertise") and not _PLACE.fullmatch(str(cluster["advertise"])):
        yield ".advertise: expected an address such as 10.0.0.1:6222"
    routes = cluster.get("routes", ())
    if not isinstance(routes, list | tuple):
        yield ".routes: expected a list of addresses such as 10.0.0.1:6222"
    else:
        for each in routes:
            yield from _faults_in_place("routes", each, is_safe=is_safe)
    if bool(cluster.get("user")) != bool(cluster.get("password")):
        yield ".password: user and password go together"
    if bool(cluster.get("certificate_file")) != bool(cluster.get("key_file")):
        yield ".key_file: certificate_file and key_file go together"
    elif cluster.get("ca_file") and not cluster.get("certificate_file"):
        yield ".ca_file: members show each other certificates, so certificate_file is needed"


def _faults_in_place(key: str, place: object, *, is_safe: bool) -> Iterator[str]:
    if not isinstance(place, str) or not _PLACE.fullmatch(place):
        yield f".{key}: expected an address such as 10.0.0.1:6222, not {place!r}"
    elif not (is_safe or _LOOPBACK.fullmatch(place)):
        yield (
            f".{key}: {place} is not on loopback, what passes can be read by others; "
            "give certificate_file, or say allow_insecure = true for the gateway"
        )
