"""
A node's places in one etcd: what it announces there, and what it knows from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList
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
    One cluster, from start to stop, with all places in it that the node uses.

    :param places: All of one cluster.
    :param context: Of the node.
    :param reactor: Where connections are made.
    :param receiver_of: Gives who is told of other nodes, for the name of a place.
    """

    def __init__(
        self,
        places: Sequence[EtcdSettings],
        context: Context,
        reactor: Any,
        receiver_of: Callable[[str], IRecordReceiver],
    ) -> None:
        timers = cast("IReactorTime", context.timers)
        #: Those who announce the node, for the name of each place.
        self.announcers: dict[str, EtcdAnnouncer] = {}
        self._context = context
        self._cluster = EtcdCluster(places[0].cluster, reactor, timers, context.random)
        self._cluster.start()
        self._watchers: list[EtcdRecordWatcher] = []
        for place in places:
            if place.announce:
                announcer = self.announcers[place.name] = EtcdAnnouncer(
                    self._cluster,
                    place.prefix,
                    _author(context),
                    timers,
                    context.random.random,
                    is_alive=is_process_alive,
                )
                announcer.on_conflict(self._conflict)
            if place.watch:
                watcher = EtcdRecordWatcher(
                    self._cluster, place.prefix, timers, context.random, place.watching
                )
                self._watchers.append(watcher)
                watcher.start(receiver_of(place.name))

    def _conflict(self, conflict: DiscoveryConflict) -> None:
        self._context.events.on_error(conflict.status, str(conflict))

    def stop(self) -> Deferred[None]:
        """
        Take everything back at once, by giving up the lease.

        :returns: Fires when nothing is left; does not fail.
        """
        for announcer in self.announcers.values():
            announcer.stop(keep=True)
        watched = DeferredList([watcher.stop() for watcher in self._watchers])
        return watched.addCallback(lambda _: self._cluster.close())


def _author(context: Context) -> Author:
    """Say who we are: a node of this name or id, on this machine, in this process."""
    name = context.config.name or f"{context.bus_id:#x}"
    identity = context.identity
    # The machine's id without that of its boot: a node is the same after a boot.
    machine = identity.host.partition("-")[0]
    return Author(f"{name}@{identity.hostname}/{machine}", identity.process)
