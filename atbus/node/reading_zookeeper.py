"""
How the options about ZooKeeper are read: the table ``discovery.zookeeper``.

A key that nobody knows is a fault, as in the table of etcd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Final

import attrs

from atbus.discovery import bounds
from atbus.discovery.zookeeper.bounds import SERVERS_MAX
from atbus.discovery.zookeeper.options import Access, Login, SessionOptions, TlsFiles, read_server
from atbus.node.reading_registries import PREFIX, START_SECONDS, faults_in_kinds

ZOOKEEPER: Final = "zookeeper"
"""What a node calls its place in ZooKeeper."""


@attrs.frozen(kw_only=True)
class ZooKeeperSettings:
    """
    How a node uses ZooKeeper.

    :param session: Which, and how.
    :param prefix: Below what the places of the bus stand; it begins and ends with a slash.
    :param announce: Whether the node announces itself.
    :param watch: Whether it wants to know of others.
    :param required: Whether it may not start without having announced itself.
    :param start_seconds: How long its start waits for that.
    :param name: What the node calls it.
    """

    session: SessionOptions
    prefix: str = PREFIX
    announce: bool = True
    watch: bool = True
    required: bool = False
    start_seconds: float = START_SECONDS
    name: str = ZOOKEEPER


_TEXTS: Final = ("user", "password", "ca_file", "certificate_file", "key_file")
_CHOICES: Final = {"login": Login, "access": Access}
_TRUTHS: Final = ("announce", "watch", "required")
_SECONDS: Final = {"session_seconds": (1, 3_600), "start_seconds": (0, 3_600)}
_KEYS: Final = frozenset({"servers", "prefix", *_TEXTS, *_CHOICES, *_TRUTHS, *_SECONDS})

# ZooKeeper keeps its own things there.
_RESERVED: Final = "zookeeper"


def zookeeper_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check the table of ZooKeeper.

    :param table: What was given; empty for no ZooKeeper.
    :returns: What is wrong with it, each beginning with the place.
    """
    if not table:
        return
    if find_spec("kazoo") is None:
        yield ": kazoo is needed for it (pip install atbus[zookeeper])"
    yield from (f".{key}: unknown" for key in table if key not in _KEYS)
    yield from _faults_in_servers(table.get("servers", ()))
    yield from faults_in_kinds(table, ("prefix", *_TEXTS), _TRUTHS, _SECONDS)
    parts = str(table.get("prefix", PREFIX)).strip("/").split("/")
    if parts[0] in ("", _RESERVED) or not {"", ".", ".."}.isdisjoint(parts):
        yield ".prefix: expected a place of its own, like /atbus"
    for key, choice in _CHOICES.items():
        words = [member.value for member in choice]
        if key in table and table[key] not in words:
            yield f".{key}: expected one of {', '.join(words)}"
        elif not table.get("user") and table.get(key, Access.OPEN.value) != Access.OPEN.value:
            yield f".{key}: it means nothing without a user"
    if ":" in str(table.get("user", "")):
        yield ".user: a colon ends a name"
    if table.get("certificate_file") and not table.get("ca_file"):
        yield ".certificate_file: there is no TLS without ca_file"


def _faults_in_servers(servers: object) -> Iterator[str]:
    if isinstance(servers, str) or not isinstance(servers, list | tuple):
        yield ".servers: expected a list of host:port"
        return
    if not 0 < len(servers) <= SERVERS_MAX:
        yield f".servers: 1 to {SERVERS_MAX} are needed, not {len(servers)}"
    for index, server in enumerate(servers):
        try:
            read_server(server if isinstance(server, str) else "")
        except ValueError as fault:
            yield f".servers[{index}]: {fault}"


def read_zookeeper(table: Mapping[str, Any]) -> tuple[ZooKeeperSettings, ...]:
    """
    Read the table of ZooKeeper.

    :param table: One without faults.
    :returns: What it says; nothing when it is empty.
    """
    if not table:
        return ()
    user = table.get("user", "")
    # Who has a name is alone in writing what is his.
    access = table.get("access", (Access.READ if user else Access.OPEN).value)
    session = SessionOptions(
        servers=tuple(map(read_server, table["servers"])),
        user=user,
        password=table.get("password", ""),
        login=Login(table.get("login", Login.DIGEST.value)),
        access=Access(access),
        tls=TlsFiles(
            ca_file=table.get("ca_file", ""),
            certificate_file=table.get("certificate_file", ""),
            key_file=table.get("key_file", ""),
        ),
        session_seconds=float(table.get("session_seconds", bounds.LEASE_SECONDS)),
    )
    settings = ZooKeeperSettings(
        session=session,
        prefix=read_prefix(table.get("prefix", PREFIX)),
        announce=table.get("announce", True),
        watch=table.get("watch", True),
        required=table.get("required", False),
        start_seconds=float(table.get("start_seconds", START_SECONDS)),
    )
    return (settings,)


def read_prefix(text: str) -> str:
    """
    Give a prefix the form that paths of ZooKeeper have.

    :param text: Any.
    :returns: It, with a slash at either end.
    """
    return f"/{text.strip('/')}/"
