"""
A node and the registries that it is told of: it announces itself, and knows from them of others.

1. A node announces itself before it dials its upstream. When its id is another's, it does not
   start.
2. A registry that does not answer holds a start up for a while and not for ever, unless the node is
   told that it needs it. What a registry does later never stops a node: a lease is no lock.
3. What is announced follows what the node says of itself; what has not changed is not written.
4. Records go to the registry of records, as one feeder among others; services to the set of them.
   What a registry said stays when it is away. When several speak of one node, `Precedence` says
   whose word counts.
5. With no registry the bus itself is one, for services: neighbors tell each other.
6. What others do to our own key is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.discovery.interfaces import (
    DiscoveryChange,
    IRecordReceiver,
    RecordFound,
    RecordGone,
    ServiceFound,
    ServiceGone,
)
from atbus.discovery.precedence import Precedence
from atbus.errors import DiscoveryConflict, DiscoveryError
from atbus.node.reading_discovery import EtcdSettings, read_etcd, read_service
from atbus.node.reading_zookeeper import ZooKeeperSettings, read_zookeeper
from atbus.routing import bounds
from atbus.routing.record import Record
from atbus.routing.registry import Feeder
from atbus.routing.services import Service, ServiceSet

if TYPE_CHECKING:
    from atbus.discovery.announcing import Announcer
    from atbus.discovery.etcd.options import ClusterOptions
    from atbus.node.context import Context
    from atbus.node.directory import RegistryPlaces
    from atbus.node.service_talk import ServiceTalk
    from atbus.node.topology import Topology


def _nobody(_: Record) -> None:
    """Nobody wants to know what we say of ourselves."""


def _is_newer(one: Record, other: Record) -> bool:
    """Tell whether a node says the one, and has said the other before."""
    # Without a process nobody knows whether it is the same node that speaks.
    same = bool(one.process) and (one.host, one.process) == (other.host, other.process)
    return same and one.stamp > other.stamp


def _first_of(failure: Failure) -> None:
    """Fail with what the first of several failed with."""
    first = failure.value
    assert isinstance(first, FirstError)
    first.subFailure.raiseException()


class Discovering:
    """
    The registries of one node.

    :param reactor: Where connections to them are made.
    :param talk: Tells neighbors, when there is no registry.
    """

    def __init__(
        self, context: Context, topology: Topology, reactor: Any, talk: ServiceTalk
    ) -> None:
        #: What the nodes offer that are known from registries, this one among them.
        self.services = ServiceSet()
        #: Names of the registries that have told everything and tell changes as they happen.
        self.in_sync: frozenset[str] = frozenset()
        #: How often a registry had something that cannot be used.
        self.refused_count = 0
        self._context = context
        self._topology = topology
        self._reactor = reactor
        self._talk = talk
        self._etcd = read_etcd(context.config.etcd)
        self._zookeeper = read_zookeeper(context.config.zookeeper)
        self._directories: list[RegistryPlaces] = []
        self._announced_id = 0
        self._offered: Service | None = None
        self._forget()

    def _forget(self) -> None:
        """Know nothing of what registries say."""
        self.services = ServiceSet()
        # For each feeder: between feeders the registry of records decides.
        self._records: dict[Feeder, Precedence[int, Record]] = {}
        self._offers: Precedence[int | str, Service] = Precedence()

    @property
    def _announcers(self) -> dict[str, Announcer]:
        return {
            name: announcer
            for directory in self._directories
            for name, announcer in directory.announcers.items()
        }

    @property
    def _places(self) -> tuple[EtcdSettings | ZooKeeperSettings, ...]:
        return (*self._etcd, *self._zookeeper)

    def start(self) -> Deferred[None]:
        """
        Announce the node, and begin to know of others.

        :returns: Fires when the node is announced, or the start has waited long enough for it, or
            there is nothing to announce yet. Fails with `DiscoveryConflict`, or with
            `DiscoveryError` when the node needs a registry that is not there.
        """
        if not self._places:
            self._open_bus()
            return succeed(None)
        self._open()
        for directory in self._directories:
            directory.on_raised = self._topology.refresh
        own = self._topology.own
        self._topology.own_changed = self._own_changed
        waiting = {} if own is None else self._announce(own)
        timers = cast("IReactorTime", self._context.timers)
        for settings in self._places:
            if settings.name in waiting:
                announced = waiting[settings.name]
                announced.addTimeout(settings.start_seconds, timers)
                announced.addErrback(self._not_announced, settings)
        return gatherResults(waiting.values(), consumeErrors=True).addCallbacks(
            lambda _: None, _first_of
        )

    def _open(self) -> None:
        """Begin with all registries."""
        # A node without a registry does not load what registries need.
        from atbus.node.directory import EtcdPlaces, ZooKeeperPlaces  # noqa: PLC0415

        clusters: dict[ClusterOptions, list[EtcdSettings]] = {}
        for place in self._etcd:
            clusters.setdefault(place.cluster, []).append(place)
        told = partial(_Receiver, self, Feeder.ETCD)
        for places in clusters.values():
            opened: RegistryPlaces = EtcdPlaces(places, self._context, self._reactor, told)
            self._directories.append(opened)
        for settings in self._zookeeper:
            receiver = _Receiver(self, Feeder.ZOOKEEPER, settings.name)
            opened = ZooKeeperPlaces(settings, self._context, self._reactor, receiver)
            self._directories.append(opened)

    def _open_bus(self) -> None:
        """Begin with the bus itself, the registry of those who have no other one."""
        if not self._talk.capability:
            return
        from atbus.node.directory import BUS, BusPlaces  # noqa: PLC0415

        receiver = _Receiver(self, Feeder.SYNC, BUS)
        self._directories.append(BusPlaces(self._talk.board, self._context, receiver))
        self._topology.own_changed = self._own_changed
        if self._topology.own is not None:
            self._own_changed(self._topology.own)

    def _not_announced(
        self, failure: Failure, settings: EtcdSettings | ZooKeeperSettings
    ) -> None:
        failure.trap(defer.TimeoutError, DiscoveryError)
        if failure.check(DiscoveryConflict):
            failure.raiseException()
        why = f"{settings.name} has not taken this node within {settings.start_seconds:g} s"
        if settings.required:
            raise DiscoveryError(why)
        self._context.log.warn("{why}; it is tried again", why=why)

    def stop(self) -> Deferred[None]:
        """
        Take back what was announced, and forget the others; does nothing before `start`.

        :returns: Fires when nothing of it is left; does not fail.
        """
        directories, self._directories = self._directories, []
        self._topology.own_changed = _nobody
        self.in_sync = frozenset()
        if not directories:
            return succeed(None)
        stopping = DeferredList([directory.stop() for directory in directories])
        return stopping.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        for feeder in self._records:
            self._topology.replace(feeder, ())
        self._forget()

    def sweep(self) -> None:
        """Prepare choices by key for services that have come; called now and then."""
        self.services.settle(bounds.SERVICES_IN_SWEEP)

    def offer(self, service: Service | None) -> None:
        """
        Say something else of what this node offers than its configuration does.

        :param service: What; it gets the id of the node. None for what is configured.
        """
        self._offered = service
        own = self._topology.own
        if own is not None:
            self._own_changed(own)

    def _own_changed(self, own: Record) -> None:
        for announced in self._announce(own).values():
            # A conflict is told by the directory; here nobody waits.
            announced.addErrback(lambda failure: failure.trap(DiscoveryError) and None)

    def _announce(self, own: Record) -> dict[str, Deferred[None]]:
        """Announce the node everywhere; gives what fires when that is done, for each place."""
        announcers = self._announcers
        if self._announced_id not in (0, own.bus_id):
            for announcer in announcers.values():
                announcer.withdraw()
        self._announced_id = own.bus_id
        service: Service | None
        if self._offered is not None:
            service = attrs.evolve(self._offered, bus_id=own.bus_id)
        elif not (self._places or self._context.config.service):
            # On a bus those are told who offer something; the others are in the route table.
            service = None
        else:
            config = self._context.config
            service = read_service(config.service, own.bus_id, config.name)
        return {name: each.announce(own, service) for name, each in announcers.items()}

    # What the registries tell.

    def discovered(self, feeder: Feeder, name: str, changes: Sequence[DiscoveryChange]) -> None:
        """Take what has changed in one registry; see `IRecordReceiver.discovered`."""
        records: dict[int, Record | None] = {}
        for change in changes:
            match change:
                case RecordFound(record, _):
                    records[record.bus_id] = record
                case RecordGone(bus_id):
                    records[bus_id] = None
                case ServiceFound(service, _):
                    self._offered_by(name, service, service)
                case ServiceGone(service):
                    self._offered_by(name, service, None)
        own_id = self._context.bus_id
        if own_id in records:
            self._look_at_own(name, records.pop(own_id))
        if not records:
            return
        said = self._records.setdefault(feeder, Precedence(_is_newer))
        counting = {
            bus_id: said.say(name, bus_id, record) for bus_id, record in records.items()
        }
        found = [record for record in counting.values() if record is not None]
        gone = [bus_id for bus_id, record in counting.items() if record is None]
        if gone:
            self._topology.withdraw(feeder, gone)
        if found:
            self._topology.claim(feeder, found)

    def _offered_by(self, name: str, service: Service, now: Service | None) -> None:
        """Take what one registry says of the service of a node."""
        key = service.bus_id or service.name
        before = self._offers.counts(key)
        counts = self._offers.say(name, key, now)
        if counts is not None:
            if self.services.add(counts):
                self._context.events.on_service_found(counts)
        elif before is not None and self.services.remove(before):
            self._context.events.on_service_gone(before)

    def _look_at_own(self, name: str, record: Record | None) -> None:
        """Write anew what somebody has deleted, or another has written under our id."""
        is_ours = record is not None and record.process == self._context.identity.process
        announcer = self._announcers.get(name)
        if not is_ours and announcer is not None:
            announcer.look_again()

    def synced(self, name: str, reason: str | None) -> None:
        """Note that a registry is there, or why it is not."""
        if reason is None:
            self.in_sync |= {name}
        else:
            self.in_sync -= {name}
            # With the bus nothing is wrong while a neighbor comes or goes, which is told anyway.
            if any(name == place.name for place in self._places):
                self._context.log.warn("{name} is away: {reason}", name=name, reason=reason)
        self._context.events.on_discovery(name, reason is None)

    def refused(self, name: str, key: str, fault: str) -> None:
        """Note something in a registry that cannot be used."""
        self.refused_count += 1
        self._context.log.warn("{name}: {key}: {fault}", name=name, key=key, fault=fault)


@implementer(IRecordReceiver)
class _Receiver:
    """Between one registry and the node."""

    def __init__(self, discovering: Discovering, feeder: Feeder, name: str) -> None:
        self._discovering = discovering
        self._feeder = feeder
        self._name = name

    def discovered(self, changes: Sequence[DiscoveryChange]) -> None:
        self._discovering.discovered(self._feeder, self._name, changes)

    def in_sync(self) -> None:
        self._discovering.synced(self._name, None)

    def out_of_sync(self, reason: str) -> None:
        self._discovering.synced(self._name, reason)

    def refused(self, key: str, fault: str) -> None:
        self._discovering.refused(self._name, key, fault)
