"""
What nodes say of themselves in etcd: the records and services under one prefix.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atbus.discovery import bounds
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.options import WatcherOptions
from atbus.discovery.etcd.packer import Event, EventKind, KeyValue
from atbus.discovery.etcd.watcher import Watcher, WatcherReceiver
from atbus.discovery.records import Entry
from atbus.discovery.watching import RecordWatcher
from atbus.routing.services import Version


class EtcdRecordWatcher(RecordWatcher, WatcherReceiver):
    """
    Watches the nodes under one prefix; see `IRecordWatcher`.

    :param cluster: Where; whoever made it closes it, after this was stopped.
    :param prefix: What their keys begin with.
    :param timers: The clock.
    :param random: For waits.
    :param options: How the keys are watched.
    """

    _log = Logger(namespace="atbus.discovery.etcd")

    def __init__(
        self,
        cluster: EtcdCluster,
        prefix: str,
        timers: IReactorTime,
        random: Random,
        options: WatcherOptions | None = None,
    ) -> None:
        super().__init__(prefix, timers)
        self._watcher = Watcher(cluster, self.prefix.encode(), self, timers, random, options)

    def begin(self) -> None:
        """Begin to watch the keys."""
        self._watcher.start()

    def end(self) -> None:
        """Watch them no more."""
        self._watcher.stop()

    # What the keys tell.

    def snapshot(self, items: list[KeyValue], revision: int) -> Deferred[None]:
        """Take all keys that there are, in turns."""
        gone = self.directory.missing({item.key for item in items}, revision)
        return self._take(chain(gone, map(_entry, items)))

    def changed(self, events: list[Event]) -> Deferred[None]:
        """Take changes of keys, in turns."""
        return self._take(map(_entry_of_event, events))

    def _take(self, entries: Iterator[Entry]) -> Deferred[None]:
        return Deferred.fromCoroutine(self.take_in_turns(entries))

    def watching(self) -> None:
        """Note that changes are told as they happen."""
        self.synced()

    def interrupted(self, reason: str) -> None:
        """Note that they are not."""
        self.lost_sync(reason)

    def too_long(self, key: bytes) -> None:
        """Note a key whose value nobody can read."""
        shown = key[: bounds.REGISTRY_KEY_BYTES].decode("utf-8", "replace")
        self.directory.refuse(shown, "the value is too long to be read")


def _entry(item: KeyValue) -> Entry:
    return Entry(item.key, item.value, _version(item))


def _entry_of_event(event: Event) -> Entry:
    if event.kind is EventKind.DELETE:
        return Entry(event.item.key, None, Version(modified=event.item.mod_revision))
    return _entry(event.item)


def _version(item: KeyValue) -> Version:
    return Version(item.mod_revision, item.create_revision, item.version)
