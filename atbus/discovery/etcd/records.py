"""
What nodes say of themselves in etcd: the records and services under one prefix.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from atbus.discovery import bounds
from atbus.discovery.documents import normal_prefix
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.options import WatcherOptions
from atbus.discovery.etcd.packer import Event, EventKind, KeyValue
from atbus.discovery.etcd.watcher import Watcher, WatcherReceiver
from atbus.discovery.interfaces import DiscoveryChange, IRecordReceiver, IRecordWatcher
from atbus.discovery.records import Directory, Entry
from atbus.errors import LocalProtocolError
from atbus.routing.services import Version


@implementer(IRecordWatcher)
class EtcdRecordWatcher(WatcherReceiver):
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
        self.is_in_sync = False
        self._prefix = normal_prefix(prefix)
        self._receiver: IRecordReceiver | None = None
        self._directory = Directory(self._prefix, self._refused)
        self._watcher = Watcher(
            cluster, self._prefix.encode(), self, timers, random, options
        )

    @property
    def refused_count(self) -> int:
        """How often something was found that cannot be used."""
        return self._directory.refused_count

    def start(self, receiver: IRecordReceiver) -> None:
        """Begin to tell; see `IRecordWatcher`."""
        if self._receiver is not None:
            raise LocalProtocolError("the records are watched already")
        self._receiver = receiver
        self._watcher.start()

    def stop(self) -> Deferred[None]:
        """Tell nothing more; see `IRecordWatcher`."""
        self.is_in_sync = False
        self._receiver = None
        self._watcher.stop()
        return succeed(None)

    # What the keys tell.

    def snapshot(self, items: list[KeyValue], revision: int) -> None:
        """Take all keys that there are."""
        self._discovered(self._directory.snapshot(map(_entry, items), revision))

    def changed(self, events: list[Event]) -> None:
        """Take changes of keys."""
        self._discovered(self._directory.changed(map(_entry_of_event, events)))

    def watching(self) -> None:
        """Note that changes are told as they happen."""
        self.is_in_sync = True
        self._tell(lambda receiver: receiver.in_sync())

    def interrupted(self, reason: str) -> None:
        """Note that they are not."""
        was_in_sync, self.is_in_sync = self.is_in_sync, False
        if was_in_sync:
            self._tell(lambda receiver: receiver.out_of_sync(reason))

    def too_long(self, key: bytes) -> None:
        """Note a key whose value nobody can read."""
        shown = key[: bounds.REGISTRY_KEY_BYTES].decode("utf-8", "replace")
        self._directory.refuse(shown, "the value is too long to be read")

    def _discovered(self, changes: list[DiscoveryChange]) -> None:
        if changes:
            self._tell(lambda receiver: receiver.discovered(changes))

    def _refused(self, key: str, fault: str) -> None:
        self._tell(lambda receiver: receiver.refused(key, fault))

    def _tell(self, tell: Callable[[IRecordReceiver], None]) -> None:
        if self._receiver is None:
            return
        try:
            tell(self._receiver)
        except Exception:  # noqa: BLE001 - the receiver's; the next news are told all the same
            self._log.failure("a receiver of records failed")


def _entry(item: KeyValue) -> Entry:
    return Entry(item.key, item.value, _version(item))


def _entry_of_event(event: Event) -> Entry:
    if event.kind is EventKind.DELETE:
        return Entry(event.item.key, None, Version(modified=event.item.mod_revision))
    return _entry(event.item)


def _version(item: KeyValue) -> Version:
    return Version(item.mod_revision, item.create_revision, item.version)
