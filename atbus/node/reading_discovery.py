"""
How the options about registries are read: the tables ``discovery.*``, ``service`` and ``nats``.

A key that nobody knows is a fault, in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from atbus.errors import RecordError
from atbus.node.reading_nats import nats_faults
from atbus.node.reading_sources import dns_faults, static_faults
from atbus.routing.services import Service

if TYPE_CHECKING:
    from atbus.discovery.etcd.options import ClusterOptions
    from atbus.node.config import NodeConfig
    from atbus.node.reading_etcd import EtcdSettings
    from atbus.node.reading_zookeeper import ZooKeeperSettings

_SERVICE_KEYS: Final = frozenset(attrs.fields_dict(Service)) - {"bus_id", "name", "addresses"}
_SERVICE_LISTS: Final = frozenset({"gateways"})

Places: TypeAlias = "tuple[EtcdSettings, ...] | tuple[ZooKeeperSettings]"
"""What a configuration says of the places in one registry, which are one lease or session."""


def read_registries(config: NodeConfig) -> list[Places]:
    """
    Read the tables of all registries.

    :param config: Has them.
    :returns: For each cluster of etcd and each ZooKeeper the places in it; none for a bus alone.
    """
    groups: list[Places] = []
    if config.etcd:
        # What a registry needs is loaded by those who have one.
        from atbus.node.reading_etcd import read_etcd  # noqa: PLC0415

        clusters: dict[ClusterOptions, list[EtcdSettings]] = {}
        for place in read_etcd(config.etcd):
            clusters.setdefault(place.cluster, []).append(place)
        groups += [tuple(places) for places in clusters.values()]
    if config.zookeeper:
        from atbus.node.reading_zookeeper import read_zookeeper  # noqa: PLC0415  # as above

        groups += [(settings,) for settings in read_zookeeper(config.zookeeper)]
    return groups


def registry_faults(options: object) -> Iterator[str]:
    """
    Check all tables about registries, names, services and gateways.

    :param options: Has them as attributes.
    :returns: What is wrong with them, each beginning with the name of the option.
    """
    for name, faults_in in _TABLES.items():
        yield from (name + fault for fault in faults_in(getattr(options, name)))


def service_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check the table of the service.

    :param table: What was given; empty for a service without particulars.
    :returns: What is wrong with it, each beginning with the place.
    """
    known = True
    for key, value in table.items():
        fault = _fault_in_part(key, value)
        if fault is not None:
            known = False
            yield f".{key}: {fault}"
    if known:
        try:
            read_service(table, 1, "")
        except RecordError as fault:
            yield f".{fault.place}: {fault.fault}"


def read_service(table: Mapping[str, Any], bus_id: int, name: str) -> Service:
    """
    Read the table of the service.

    :param table: One without faults.
    :param bus_id: Of the node.
    :param name: Of the node.
    :returns: What the node offers.
    :raises RecordError: A part is outside its bounds.
    """
    parts = dict(table)
    for key in _SERVICE_LISTS & parts.keys():
        parts[key] = tuple(parts[key])
    return Service(bus_id=bus_id, name=name, **parts)


def _fault_in_part(key: str, value: object) -> str | None:
    if key not in _SERVICE_KEYS:
        return "unknown"
    if key == "labels":
        texts = isinstance(value, Mapping) and all(isinstance(it, str) for it in value.values())
        return None if texts else "expected a table of texts"
    if key == "pod_index":
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return None if is_number else "expected an integer"
    if key in _SERVICE_LISTS:
        texts = isinstance(value, list | tuple) and all(isinstance(it, str) for it in value)
        return None if texts else "expected a list of texts"
    return None if isinstance(value, str) else "expected a text"


def _etcd_faults(table: Mapping[str, Any]) -> Iterator[str]:
    if table:
        from atbus.node.reading_etcd import etcd_faults  # noqa: PLC0415  # see read_registries

        yield from etcd_faults(table)


def _zookeeper_faults(table: Mapping[str, Any]) -> Iterator[str]:
    if table:
        from atbus.node.reading_zookeeper import zookeeper_faults  # noqa: PLC0415  # likewise

        yield from zookeeper_faults(table)


_TABLES: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]]] = {
    "static": static_faults,
    "dns": dns_faults,
    "etcd": _etcd_faults,
    "zookeeper": _zookeeper_faults,
    "service": service_faults,
    "nats": nats_faults,
}
