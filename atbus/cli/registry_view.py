"""
What the commands about registries show: keys as they are, and the nodes that they tell of.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from atbus.busid import format_bus_id
from atbus.cli.output import Output
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.packer import Event, KeyValue
from atbus.discovery.etcd.records import EtcdRecordWatcher
from atbus.discovery.etcd.watcher import Watcher, WatcherReceiver
from atbus.discovery.interfaces import (
    DiscoveryChange,
    IRecordReceiver,
    IRecordWatcher,
    RecordFound,
    RecordGone,
    ServiceFound,
    ServiceGone,
)
from atbus.errors import printable
from atbus.routing.record import Record
from atbus.routing.services import Service, Version

# So much of a value is shown to people.
_VALUE_LETTERS = 120


async def leases(cluster: EtcdCluster, prefix: bytes) -> list[dict[str, Any]]:
    """
    List the leases of keys.

    :param cluster: Where.
    :param prefix: What the keys begin with.
    :returns: A row for each lease, with its keys; keys without a lease come first, as lease 0.
    :raises DiscoveryError: Nobody answered, or one refused.
    """
    request = {**packer.prefix_range(prefix), "keys_only": True}
    answer = await cluster.range(request)
    keys: dict[int, list[str]] = {}
    for item in answer.items:
        keys.setdefault(item.lease, []).append(_shown(item.key))
    rows = []
    for lease in sorted(keys):
        row: dict[str, Any] = {"lease": f"{lease:x}", "keys": keys[lease]}
        if lease:
            told = await cluster.call("/v3/lease/timetolive", {"ID": str(lease)})
            row["left_seconds"] = packer.read_number(told, "TTL")
            row["granted_seconds"] = packer.read_number(told, "grantedTTL")
        rows.append(row)
    return rows


class _Counting:
    """
    Show changes, until there were enough.

    :param output: Where they are shown.
    :param count: How many; None for all.
    """

    def __init__(self, output: Output, count: int | None) -> None:
        self.output = output
        self.enough: Deferred[None] = Deferred()
        self._left = count

    def show(self, change: dict[str, Any], line: str) -> None:
        """Show one change."""
        if self.enough.called:
            return
        if self.output.is_json:
            self.output.value(change)
        else:
            self.output.line(line)
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.enough.callback(None)


class KeyView(WatcherReceiver):
    """
    Show keys.

    :param output: Where they are shown.
    :param count: After how many changes to end; None for never.
    """

    def __init__(self, output: Output, count: int | None) -> None:
        self._changes = _Counting(output, count)

    async def follow(self, cluster: EtcdCluster, prefix: bytes) -> None:
        """
        Show what there is, and what happens.

        :param cluster: Where.
        :param prefix: What the keys begin with.
        :raises DiscoveryError: Nobody has answered the first question, or one refused.
        """
        await _is_there(cluster, prefix)
        watcher = Watcher(cluster, prefix, self, cluster.timers, SystemRandom())
        watcher.start()
        try:
            await self._changes.enough
        finally:
            watcher.stop()

    def snapshot(self, items: list[KeyValue], revision: int) -> None:
        for item in items:
            self._show("is", item)

    def changed(self, events: list[Event]) -> None:
        for event in events:
            self._show(event.kind.name.lower(), event.item)

    def interrupted(self, reason: str) -> None:
        self._changes.output.say(f"etcd is away: {reason}")

    def too_long(self, key: bytes) -> None:
        self._changes.output.say(f"{_shown(key)}: the value is too long to be read")

    def _show(self, what: str, item: KeyValue) -> None:
        key, value = _shown(item.key), item.value.decode("utf-8", "replace")
        change = {
            "event": what,
            "key": key,
            "value": value,
            "revision": item.mod_revision,
            "created": item.create_revision,
            "lease": f"{item.lease:x}",
        }
        text = printable(value)
        text = text if len(text) <= _VALUE_LETTERS else f"{text[:_VALUE_LETTERS]}..."
        self._changes.show(change, f"{item.mod_revision} {what} {key} {text}".rstrip())


@implementer(IRecordReceiver)
class NodeView:
    """
    Show nodes.

    :param output: Where they are shown.
    :param count: After how many changes to end; None for never.
    """

    def __init__(self, output: Output, count: int | None) -> None:
        self._changes = _Counting(output, count)
        self._synced: Deferred[None] = Deferred()
        self._records: dict[int, tuple[Record, Version]] = {}
        self._services: dict[int, Service] = {}
        self._is_listing = False

    async def list(self, watcher: IRecordWatcher) -> list[dict[str, Any]]:
        """
        List what there is.

        :param watcher: Of a registry that is there.
        :returns: A row for each node, in the order of ids.
        """
        self._is_listing = True
        watcher.start(self)
        try:
            await self._synced
        finally:
            await watcher.stop()
        known = sorted(self._records.keys() | self._services.keys())
        return [self._row(bus_id) for bus_id in known]

    async def follow(self, watcher: IRecordWatcher) -> None:
        """
        Show what there is, and what happens.

        :param watcher: Of a registry that is there.
        """
        watcher.start(self)
        try:
            await self._changes.enough
        finally:
            await watcher.stop()

    def _row(self, bus_id: int) -> dict[str, Any]:
        row: dict[str, Any] = {"id": format_bus_id(bus_id)}
        if bus_id in self._records:
            record, version = self._records[bus_id]
            row |= {
                "upstream": format_bus_id(record.upstream_id) if record.upstream_id else None,
                "addresses": list(record.addresses),
                "labels": dict(record.labels),
                "stamp": str(record.stamp),
                "revision": version.modified,
            }
        if bus_id in self._services:
            service = self._services[bus_id]
            row |= {"name": service.name, "type": service.type}
            row |= {"offers": dict(service.labels), "gateways": list(service.gateways)}
        return row

    def discovered(self, changes: Sequence[DiscoveryChange]) -> None:
        for change in changes:
            match change:
                case RecordFound(record, version):
                    self._records[record.bus_id] = record, version
                    self._show("record", record.bus_id)
                case RecordGone(bus_id):
                    del self._records[bus_id]
                    self._show("record gone", bus_id)
                case ServiceFound(service, _):
                    self._services[service.bus_id] = service
                    self._show("service", service.bus_id)
                case ServiceGone(service):
                    self._services.pop(service.bus_id, None)
                    self._show("service gone", service.bus_id)

    def _show(self, what: str, bus_id: int) -> None:
        if self._is_listing:
            return
        row = self._row(bus_id)
        about = ("name", "type", "upstream", "addresses")
        said = [f"{key}={_plain(row[key])}" for key in about if row.get(key)]
        self._changes.show({"event": what} | row, " ".join([what, row["id"], *said]))

    def in_sync(self) -> None:
        if not self._synced.called:
            self._synced.callback(None)

    def out_of_sync(self, reason: str) -> None:
        self._changes.output.say(f"the registry is away: {reason}")

    def refused(self, key: str, fault: str) -> None:
        self._changes.output.say(f"{key}: {fault}")


async def watcher_in(cluster: EtcdCluster, prefix: str) -> IRecordWatcher:
    """
    Make what watches the nodes in an etcd.

    :param cluster: Where.
    :param prefix: Below what the keys of the bus stand.
    :returns: It, when somebody is there.
    :raises DiscoveryError: Nobody has answered, or one refused.
    """
    await _is_there(cluster, prefix.encode())
    return EtcdRecordWatcher(cluster, prefix, cluster.timers, SystemRandom())


async def _is_there(cluster: EtcdCluster, prefix: bytes) -> None:
    """Ask something small: a command shall not wait for a server that is not there."""
    await cluster.range({**packer.prefix_range(prefix), "count_only": True})


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else printable(str(value))


def _shown(key: bytes) -> str:
    return printable(key.decode("utf-8", "replace"))
