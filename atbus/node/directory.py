"""
A node's place in one etcd: what it announces there, and what it knows from there.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from atbus.discovery.documents import Author
from atbus.discovery.etcd.announcer import EtcdAnnouncer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.records import EtcdRecordWatcher
from atbus.discovery.interfaces import IRecordReceiver
from atbus.errors import DiscoveryConflict
from atbus.node.context import Context
from atbus.node.identity import is_process_alive
from atbus.node.reading_discovery import EtcdSettings


class EtcdDirectory:
    """
    One etcd, from start to stop.

    :param settings: Which, and what for.
    :param context: Of the node.
    :param reactor: Where connections are made.
    :param receiver: Is told of other nodes.
    """

    def __init__(
        self, settings: EtcdSettings, context: Context, reactor: Any, receiver: IRecordReceiver
    ) -> None:
        timers = cast("IReactorTime", context.timers)
        self.announcer: EtcdAnnouncer | None = None
        self._context = context
        self._cluster = EtcdCluster(settings.cluster, reactor, timers, context.random)
        self._cluster.start()
        self._watcher: EtcdRecordWatcher | None = None
        if settings.announce:
            self.announcer = EtcdAnnouncer(
                self._cluster,
                settings.prefix,
                _author(context),
                timers,
                context.random.random,
                is_alive=is_process_alive,
            )
            self.announcer.on_conflict(self._conflict)
        if settings.watch:
            self._watcher = EtcdRecordWatcher(
                self._cluster, settings.prefix, timers, context.random
            )
            self._watcher.start(receiver)

    def _conflict(self, conflict: DiscoveryConflict) -> None:
        self._context.events.on_error(conflict.status, str(conflict))

    def stop(self) -> Deferred[None]:
        """
        Take everything back at once, by giving up the lease.

        :returns: Fires when nothing is left; does not fail.
        """
        if self.announcer is not None:
            self.announcer.stop(keep=True)
        watched = succeed(None) if self._watcher is None else self._watcher.stop()
        return watched.addCallback(lambda _: self._cluster.close())


def _author(context: Context) -> Author:
    """Say who we are: a node of this name or id, on this machine, in this process."""
    name = context.config.name or f"{context.bus_id:#x}"
    identity = context.identity
    # The machine's id without that of its boot: a node is the same after a boot.
    machine = identity.host.partition("-")[0]
    return Author(f"{name}@{identity.hostname}/{machine}", identity.process)
