"""
How the options about etcd are read: the table ``discovery.etcd``.

One table may have further ``contexts``: other places where the same node is announced, or where it
learns of others. Each is a table as well, and what it does not say is as in the first one.

A key that nobody knows is a fault: a password that is misspelled would be left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from atbus.discovery import bounds
from atbus.discovery.documents import normal_prefix
from atbus.discovery.etcd.options import ClusterOptions, TlsFiles, WatcherOptions
from atbus.discovery.etcd.servers import read_url
from atbus.node.reading_registries import PREFIX, START_SECONDS, faults_in_kinds

ETCD: Final = "etcd"
"""What a node calls the first place in etcd."""


@attrs.frozen(kw_only=True)
class EtcdSettings:
    """
    How a node uses one place in etcd.

    :param name: What the node calls it: ``etcd``, and for a further one where it is behind that.
    :param cluster: Which cluster.
    :param prefix: Below what the keys of the bus stand.
    :param announce: Whether the node announces itself.
    :param watch: Whether it wants to know of others.
    :param required: Whether it may not start without having announced itself.
    :param start_seconds: How long its start waits for that.
    :param watching: How it is watched.
    """

    name: str
    cluster: ClusterOptions
    prefix: str = PREFIX
    announce: bool = True
    watch: bool = True
    required: bool = False
    start_seconds: float = START_SECONDS
    watching: WatcherOptions = attrs.field(factory=WatcherOptions)


_TEXTS: Final = ("user", "password", "ca_file", "certificate_file", "key_file")
_TRUTHS: Final = ("announce", "watch", "required", "auto_update")
_SECONDS: Final = {
    "lease_seconds": (2, 3_600),
    "start_seconds": (0, 3_600),
    "request_seconds": (0.1, 3_600),
    "watch_seconds": (1, 86_400),
    "silence_seconds": (1, 3_600),
    "spread_seconds": (0, 3_600),
}
_ETCD_KEYS: Final = frozenset({"endpoints", "prefix", "contexts", *_SECONDS, *_TEXTS, *_TRUTHS})


def etcd_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check the table of etcd.

    :param table: What was given; empty for no etcd.
    :returns: What is wrong with it, each beginning with the place.
    """
    if not table:
        return
    faults = list(_faults_in_context(table, _ETCD_KEYS))
    yield from faults
    contexts = table.get("contexts", ())
    if not isinstance(contexts, list | tuple):
        yield ".contexts: expected a list of tables"
    elif len(contexts) > bounds.ETCD_CONTEXTS_MAX:
        yield f".contexts: {len(contexts)} are more than {bounds.ETCD_CONTEXTS_MAX}"
    elif not faults:
        # What is wrong with the first one would be told of all that take it over.
        yield from _faults_in_contexts(table, contexts)


def _faults_in_contexts(table: Mapping[str, Any], contexts: Sequence[object]) -> Iterator[str]:
    places = {_place_of(table)}
    for index, context in enumerate(contexts):
        where = f".contexts[{index}]"
        if not isinstance(context, Mapping):
            yield f"{where}: expected a table"
            continue
        whole = {**_inherited(table), **context}
        faults = list(_faults_in_context(whole, _CONTEXT_KEYS))
        if not faults and _place_of(whole) in places:
            faults = [".prefix: this place is there already"]
        elif not faults:
            places.add(_place_of(whole))
        yield from (where + fault for fault in faults)


_CONTEXT_KEYS: Final = _ETCD_KEYS - {"contexts"}


def _inherited(table: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a further context has from the first one."""
    return {key: value for key, value in table.items() if key in _CONTEXT_KEYS}


def _place_of(table: Mapping[str, Any]) -> tuple[str, str]:
    """Give what two contexts may not have in common: a server of a cluster, and the keys there."""
    return str(next(iter(table["endpoints"]))), normal_prefix(str(table.get("prefix", PREFIX)))


def _faults_in_context(table: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    yield from (f".{key}: unknown" for key in table if key not in known)
    urls = table.get("endpoints", ())
    if isinstance(urls, str) or not isinstance(urls, list | tuple):
        yield ".endpoints: expected a list of URLs"
        urls = ("http://127.0.0.1:2379",)
    elif not urls:
        yield ".endpoints: at least one is needed"
    for index, url in enumerate(urls):
        try:
            read_url(url if isinstance(url, str) else "")
        except ValueError as fault:
            yield f".endpoints[{index}]: {fault}"
    yield from faults_in_kinds(table, ("prefix", *_TEXTS), _TRUTHS, _SECONDS)
    if str(table.get("prefix", PREFIX)).strip("/") == "":
        yield ".prefix: the keys of a bus need a place of their own"


def read_etcd(table: Mapping[str, Any]) -> tuple[EtcdSettings, ...]:
    """
    Read the table of etcd.

    :param table: One without faults.
    :returns: The places that it names, the first one first; none when it is empty.
    """
    if not table:
        return ()
    places = [_read_context(ETCD, table)]
    for context in table.get("contexts", ()):
        whole = {**_inherited(table), **context}
        server, prefix = _place_of(whole)
        elsewhere = "" if server == _place_of(table)[0] else server
        places.append(_read_context(f"{ETCD} {elsewhere}{prefix}", whole))
    return tuple(places)


def _read_context(name: str, table: Mapping[str, Any]) -> EtcdSettings:
    lease = float(table.get("lease_seconds", bounds.LEASE_SECONDS))
    cluster = ClusterOptions(
        endpoints=tuple(table["endpoints"]),
        user=table.get("user", ""),
        password=table.get("password", ""),
        tls=TlsFiles(
            ca_file=table.get("ca_file", ""),
            certificate_file=table.get("certificate_file", ""),
            key_file=table.get("key_file", ""),
        ),
        auto_update=table.get("auto_update", True),
        lease_seconds=lease,
        # Two renewals of three may be lost.
        renewal_seconds=min(bounds.LEASE_RENEWAL_SECONDS, lease * 0.3),
        request_seconds=float(table.get("request_seconds", bounds.REGISTRY_REQUEST_SECONDS)),
    )
    return EtcdSettings(
        name=name,
        cluster=cluster,
        prefix=normal_prefix(table.get("prefix", PREFIX)),
        announce=table.get("announce", True),
        watch=table.get("watch", True),
        required=table.get("required", False),
        start_seconds=float(table.get("start_seconds", START_SECONDS)),
        watching=WatcherOptions(
            startup_seconds=(0.0, float(table.get("spread_seconds", 0.0))),
            watch_seconds=float(table.get("watch_seconds", bounds.ETCD_WATCH_SECONDS)),
            silence_seconds=float(table.get("silence_seconds", bounds.ETCD_SILENCE_SECONDS)),
        ),
    )
