"""
A node's places in its registries: what it announces there, and what it knows from there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime

from atbus.discovery.announcing import Announcer
from atbus.discovery.bus.announcer import BusAnnouncer
from atbus.discovery.bus.board import Board
from atbus.discovery.bus.records import BusRecordWatcher
from atbus.discovery.documents import Author
from atbus.discovery.interfaces import IRecordReceiver, IRecordWatcher
from atbus.errors import DiscoveryConflict
from atbus.node.context import Context
from atbus.node.identity import is_process_alive
from atbus.node.reading_discovery import Places
from atbus.routing.record import Record

if TYPE_CHECKING:
    from atbus.node.reading_etcd import EtcdSettings
    from atbus.node.reading_zookeeper import ZooKeeperSettings

BUS: Final = "bus"
"""The name of the bus itself among registries."""


class RegistryPlaces(ABC):
    """
    The places of a node in one registry, from start to stop.

    :param context: Of the node.
    :param places: What the configuration says of them; none for the bus.
    """

    def __init__(self, context: Context, places: Places = ()) -> None:
        #: What the configuration says of them.
        self.places = places
        #: Those who announce the node, for the name of each place.
        self.announcers: dict[str, Announcer] = {}
        #: Called when the node has another epoch, for what was found of a former life of it.
        self.on_raised: Callable[[], None] = lambda: None
        self.context = context
        self.timers = cast("IReactorTime", context.timers)
        self._watchers: list[IRecordWatcher] = []

    def announce(self, name: str, announcer: Announcer) -> None:
        """
        Announce the node in one place.

        :param name: Of the place.
        :param announcer: Who does it.
        """
        self.announcers[name] = announcer
        announcer.on_conflict(self._conflict)
        announcer.on_outlived(self._outlived)

    def watch(self, watcher: IRecordWatcher, receiver: IRecordReceiver) -> None:
        """
        Watch one place.

        :param watcher: Who does it.
        :param receiver: Is told.
        """
        self._watchers.append(watcher)
        watcher.start(receiver)

    def _outlived(self, record: Record) -> None:
        if self.context.outlives(record.stamp.epoch):
            self.on_raised()

    def _conflict(self, conflict: DiscoveryConflict) -> None:
        self.context.events.on_error(conflict.status, str(conflict))

    def leave(self) -> Deferred[None]:
        """
        Announce and watch nothing more; what was announced stays there until `close`.

        :returns: Fires when nothing is told any more; does not fail. Twice does no harm.
        """
        for announcer in self.announcers.values():
            announcer.stop(keep=True)
        watched = DeferredList([watcher.stop() for watcher in self._watchers])
        return watched.addCallback(lambda _: None)

    def stop(self) -> Deferred[None]:
        """
        Take everything back at once, by giving up what it is bound to; twice does no harm.

        :returns: Fires when nothing is left; does not fail.
        """
        return self.leave().addCallback(lambda _: self.close())

    @abstractmethod
    def refresh_files(self) -> None:
        """
        Read the files for TLS again; they count for connections that are made from now on.

        :raises ConfigurationError: One cannot be used; those that were read before stay in use.
        """

    @abstractmethod
    def close(self) -> Deferred[None]:
        """
        Give up the lease or session, with all that is bound to it.

        :returns: Fires when that is done; does not fail.
        """


class EtcdPlaces(RegistryPlaces):
    """
    One cluster, from start to stop, with all places in it that the node uses.

    :param places: All of one cluster.
    :param context: Of the node.
    :param reactor: Where connections are made.
    :param receiver_of: Gives who is told of other nodes, for the name of a place.
    """

    def __init__(
        self,
        places: tuple[EtcdSettings, ...],
        context: Context,
        reactor: Any,
        receiver_of: Callable[[str], IRecordReceiver],
    ) -> None:
        # HTTP and OpenSSL are loaded by those who use them.
        from atbus.discovery.etcd.announcer import EtcdAnnouncer  # noqa: PLC0415
        from atbus.discovery.etcd.cluster import EtcdCluster  # noqa: PLC0415
        from atbus.discovery.etcd.records import EtcdRecordWatcher  # noqa: PLC0415

        super().__init__(context, places)
        timers, random = self.timers, context.random
        self._cluster = EtcdCluster(places[0].cluster, reactor, timers, random)
        self._cluster.start()
        for place in places:
            if place.announce:
                announcer = EtcdAnnouncer(
                    self._cluster,
                    place.prefix,
                    author_of_node(context),
                    timers,
                    random.random,
                    is_alive=is_process_alive,
                )
                self.announce(place.name, announcer)
            if place.watch:
                watcher = EtcdRecordWatcher(
                    self._cluster, place.prefix, timers, random, place.watching
                )
                self.watch(watcher, receiver_of(place.name))

    def refresh_files(self) -> None:
        """Read the files for TLS again; see `RegistryPlaces.refresh_files`."""
        self._cluster.refresh_files()

    def close(self) -> Deferred[None]:
        """Give up the lease."""
        return self._cluster.close()


class ZooKeeperPlaces(RegistryPlaces):
    """
    One ZooKeeper, from start to stop.

    :param settings: Which, and what for.
    :param context: Of the node.
    :param reactor: Is woken by kazoo's threads.
    :param receiver: Is told of other nodes.
    """

    def __init__(
        self,
        settings: ZooKeeperSettings,
        context: Context,
        reactor: Any,
        receiver: IRecordReceiver,
    ) -> None:
        # kazoo is loaded by those who use it.
        from atbus.discovery.zookeeper.announcer import ZooKeeperAnnouncer  # noqa: PLC0415
        from atbus.discovery.zookeeper.records import ZooKeeperRecordWatcher  # noqa: PLC0415
        from atbus.discovery.zookeeper.session import Session  # noqa: PLC0415

        super().__init__(context, (settings,))
        timers, random = self.timers, context.random.random
        self._session = Session(settings.session, reactor, timers, random)
        if settings.announce:
            announcer = ZooKeeperAnnouncer(
                self._session,
                settings.prefix,
                author_of_node(context),
                timers,
                random,
                is_alive=is_process_alive,
            )
            self.announce(settings.name, announcer)
        if settings.watch:
            watcher = ZooKeeperRecordWatcher(self._session, settings.prefix, timers, random)
            self.watch(watcher, receiver)
        self._session.start()

    def refresh_files(self) -> None:
        """Do nothing: they are read with each connection."""

    def close(self) -> Deferred[None]:
        """End the session."""
        return self._session.close()


class BusPlaces(RegistryPlaces):
    """
    The bus itself, from start to stop: for nodes without another registry.

    :param board: What is known there.
    :param context: Of the node.
    :param receiver: Is told of other nodes.
    """

    def __init__(self, board: Board, context: Context, receiver: IRecordReceiver) -> None:
        super().__init__(context)
        author, timers = author_of_node(context), self.timers
        random = context.random.random
        # Records are told by the route table.
        announcer = BusAnnouncer(
            board, author, timers, random, is_alive=is_process_alive, tells_record=False
        )
        self.announce(BUS, announcer)
        self.watch(BusRecordWatcher(board, timers, with_records=False), receiver)

    def refresh_files(self) -> None:
        """Do nothing: there are none."""

    def close(self) -> Deferred[None]:
        """Let what was announced go with the links of the node."""
        return succeed(None)


def check_files(places: Places) -> None:
    """
    Make sure that the files for TLS of a registry can be used.

    :param places: What the configuration says of it.
    :raises ConfigurationError: One cannot; names the option.
    """
    # As above.
    from atbus.node.reading_etcd import EtcdSettings  # noqa: PLC0415

    first = places[0]
    if isinstance(first, EtcdSettings):
        from atbus.discovery.etcd.connections import ClientFiles  # noqa: PLC0415

        ClientFiles(first.cluster.tls)
    else:
        from atbus.discovery.zookeeper.options import check_files as check  # noqa: PLC0415

        check(first.session.tls)


def author_of_node(context: Context) -> Author:
    """
    Say who we are: a node of this name or id, on this machine, in this process.

    :param context: Of the node.
    :returns: That, in the words in which a later life of the node knows itself again.
    """
    name = context.config.name or f"{context.bus_id:#x}"
    identity = context.identity
    # The machine's id without that of its boot: a node is the same after a boot.
    machine = identity.host.partition("-")[0]
    return Author(f"{name}@{identity.hostname}/{machine}", identity.process)
