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
7. With another configuration the node goes over to other registries: it announces itself in the new
   ones, and only then gives up the old ones, which takes along what was written there and nowhere
   else. What an old one said of others stays until the new one has told everything. Whether there
   is a registry at all cannot change while the node runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList, FirstError, fail, gatherResults, succeed
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
from atbus.errors import ConfigurationError, DiscoveryConflict, DiscoveryError
from atbus.node.reading_discovery import Places, read_registries, read_service
from atbus.routing import bounds
from atbus.routing.record import Record
from atbus.routing.registry import Feeder
from atbus.routing.services import Service, ServiceSet

if TYPE_CHECKING:
    from atbus.discovery.announcing import Announcer
    from atbus.node.config import NodeConfig
    from atbus.node.context import Context
    from atbus.node.directory import RegistryPlaces
    from atbus.node.reading_etcd import EtcdSettings
    from atbus.node.reading_zookeeper import ZooKeeperSettings
    from atbus.node.service_talk import ServiceTalk
    from atbus.node.topology import Topology


def _nobody(_: Record) -> None:
    """Nobody wants to know what we say of ourselves."""


def _is_newer(one: Record, other: Record) -> bool:
    """Tell whether a node says the one, and has said the other before."""
    # Without a process nobody knows whether it is the same node that speaks.
    same = bool(one.process) and (one.host, one.process) == (other.host, other.process)
    return same and one.stamp > other.stamp


def _nobody_waits(announced: Deferred[None]) -> None:
    """Leave it to the directory to tell of a conflict."""
    announced.addErrback(lambda failure: failure.trap(DiscoveryError) and None)


def _first_of(failure: Failure) -> None:
    """Fail with what the first of several failed with."""
    first = failure.value
    assert isinstance(first, FirstError)
    first.subFailure.raiseException()


@attrs.frozen
class _Speaker:
    """
    One who tells of others, from when a place was opened until it is given up.

    :param feeder: What kind of registry it is.
    :param name: The name of the place.
    :param who: A name that nobody has had who spoke for the place before.
    """

    feeder: Feeder
    name: str
    who: str


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
        self._groups = read_registries(context.config)
        self._is_started = False
        self._directories: list[RegistryPlaces] = []
        # Those that are given up as soon as the node is announced elsewhere.
        self._leaving: list[RegistryPlaces] = []
        self._changeovers = 0
        self._announced_id = 0
        self._offered: Service | None = None
        self._forget()

    def _forget(self) -> None:
        """Know nothing of what registries say."""
        self.services = ServiceSet()
        # For each feeder: between feeders the registry of records decides.
        self._records: dict[Feeder, Precedence[int, Record]] = {}
        self._offers: Precedence[int | str, Service] = Precedence()
        # Who speaks for each place, and who has spoken for it before it was opened anew.
        self._openings = 0
        self._speakers: dict[str, _Speaker] = {}
        self._former: dict[str, list[_Speaker]] = {}

    @property
    def _announcers(self) -> dict[str, Announcer]:
        return {
            name: announcer
            for directory in self._directories
            for name, announcer in directory.announcers.items()
        }

    @property
    def _places(self) -> list[EtcdSettings | ZooKeeperSettings]:
        return [place for group in self._groups for place in group]

    def start(self) -> Deferred[None]:
        """
        Announce the node, and begin to know of others.

        :returns: Fires when the node is announced, or the start has waited long enough for it, or
            there is nothing to announce yet. Fails with `DiscoveryConflict`, with `DiscoveryError`
            when the node needs a registry that is not there, and with `ConfigurationError` when a
            file cannot be used.
        """
        self._is_started = True
        self._groups = read_registries(self._context.config)
        if not self._places:
            self._open_bus()
            return succeed(None)
        try:
            self.check(self._context.config)
        except ConfigurationError as fault:
            return fail(fault)
        self._open(self._groups)
        own = self._topology.own
        self._topology.own_changed = self._own_changed
        waiting = self._patiently({} if own is None else self._announce(own))
        return gatherResults(waiting, consumeErrors=True).addCallbacks(lambda _: None, _first_of)

    def _patiently(
        self, announced: Mapping[str, Deferred[None]], *, is_start: bool = True
    ) -> list[Deferred[None]]:
        """Wait for all places as long as each of them says."""
        timers = cast("IReactorTime", self._context.timers)
        waiting = []
        for settings in self._places:
            if settings.name in announced:
                each = announced[settings.name].addTimeout(settings.start_seconds, timers)
                waiting.append(each.addErrback(self._not_announced, settings, is_start))
        return waiting

    def _open(self, groups: Iterable[Places]) -> None:
        """Begin with some registries."""
        # A node without a registry does not load what registries need.
        from atbus.node.directory import EtcdPlaces, ZooKeeperPlaces  # noqa: PLC0415
        from atbus.node.reading_etcd import EtcdSettings  # noqa: PLC0415

        self._openings += 1
        for group in groups:
            opened: RegistryPlaces
            if isinstance(group[0], EtcdSettings):
                told = partial(self._receiver, Feeder.ETCD)
                opened = EtcdPlaces(group, self._context, self._reactor, told)
            else:
                receiver = self._receiver(Feeder.ZOOKEEPER, group[0].name)
                opened = ZooKeeperPlaces(group[0], self._context, self._reactor, receiver)
            opened.on_raised = self._topology.refresh
            self._directories.append(opened)

    def _receiver(self, feeder: Feeder, name: str) -> _Receiver:
        who = name if self._openings < 2 else f"{name} ({self._openings})"
        self._speakers[name] = speaker = _Speaker(feeder, name, who)
        return _Receiver(self, speaker)

    def _open_bus(self) -> None:
        """Begin with the bus itself, the registry of those who have no other one."""
        if not self._talk.capability:
            return
        from atbus.node.directory import BUS, BusPlaces  # noqa: PLC0415

        receiver = self._receiver(Feeder.SYNC, BUS)
        self._directories.append(BusPlaces(self._talk.board, self._context, receiver))
        self._topology.own_changed = self._own_changed
        if self._topology.own is not None:
            self._own_changed(self._topology.own)

    def _not_announced(
        self, failure: Failure, settings: EtcdSettings | ZooKeeperSettings, is_start: bool
    ) -> None:
        failure.trap(defer.TimeoutError, DiscoveryError)
        if not self._is_started or settings not in self._places:
            # It was given up meanwhile.
            return
        if failure.check(DiscoveryConflict):
            failure.raiseException()
        why = f"{settings.name} has not taken this node within {settings.start_seconds:g} s"
        if settings.required and is_start:
            raise DiscoveryError(why)
        self._context.log.warn("{why}; it is tried again", why=why)

    def stop(self) -> Deferred[None]:
        """
        Take back what was announced, and forget the others; does nothing before `start`.

        :returns: Fires when nothing of it is left; does not fail.
        """
        directories = [*self._directories, *self._leaving]
        self._directories, self._leaving = [], []
        self._topology.own_changed = _nobody
        self.in_sync = frozenset()
        self._is_started = False
        if not directories:
            return succeed(None)
        stopping = DeferredList([directory.stop() for directory in directories])
        return stopping.addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        for feeder in self._records:
            self._topology.replace(feeder, ())
        self._forget()

    # Another configuration.

    def fixed(self, wanted: NodeConfig) -> frozenset[str]:
        """
        Say which options about registries cannot have their new values while the node runs.

        :param wanted: The configuration with these.
        :returns: Their names; none unless there is a registry in one configuration only.
        """
        if not self._is_started or bool(self._groups) == bool(read_registries(wanted)):
            return frozenset()
        return frozenset({"etcd", "zookeeper"})

    def check(self, config: NodeConfig) -> None:
        """
        Make sure that the registries of a configuration can be used.

        :param config: That.
        :raises ConfigurationError: A file cannot be used.
        """
        groups = read_registries(config)
        if groups:
            from atbus.node.directory import check_files  # noqa: PLC0415  # as in _open

            for group in groups:
                check_files(group)

    def reconfigure(self) -> None:
        """
        Go over to the registries of the configuration that there is now.

        Those that are as they were are left alone, but for files that may have changed.
        """
        if not self._is_started:
            return
        self._changeovers += 1
        self._groups = read_registries(self._context.config)
        before = self._directories
        # The bus has no places in the configuration.
        kept = [each for each in before if not each.places or each.places in self._groups]
        leaving = [each for each in before if each not in kept]
        there = [each.places for each in kept]
        coming = [group for group in self._groups if group not in there]
        self._directories = kept
        self._refresh_files(kept)
        for each in leaving:
            self._leave(each)
        self._open(coming)
        self._retire_former()
        own = self._topology.own
        announced = {} if own is None else self._announce(own)
        waiting = self._patiently(announced, is_start=False)
        for name in announced.keys() - {place.name for place in self._places}:
            _nobody_waits(announced[name])
        DeferredList(waiting, consumeErrors=True).addCallback(self._give_up, self._changeovers)

    def _refresh_files(self, directories: Iterable[RegistryPlaces]) -> None:
        for directory in directories:
            try:
                directory.refresh_files()
            except ConfigurationError as fault:
                self._context.log.error("{fault}; what was read before counts", fault=str(fault))

    def _leave(self, directory: RegistryPlaces) -> None:
        """Announce nothing more in a registry, and hear nothing more from it."""
        self._leaving.append(directory)
        directory.leave()
        for place in directory.places:
            if place.name in self.in_sync:
                self.in_sync -= {place.name}
                self._context.events.on_discovery(place.name, False)
            speaker = self._speakers.pop(place.name, None)
            if speaker is not None:
                self._former.setdefault(place.name, []).append(speaker)

    def _give_up(self, _: object, changeover: int) -> None:
        """Give up what was left, unless the node is on its way to somewhere else already."""
        if changeover == self._changeovers:
            for directory in self._leaving[:]:
                directory.stop().addCallback(self._given_up, directory)

    def _given_up(self, _: None, directory: RegistryPlaces) -> None:
        if directory in self._leaving:
            self._leaving.remove(directory)

    def _retire_former(self) -> None:
        """Let go of places that are not there any more, when those that are have told all."""
        watched = {place.name for place in self._places if place.watch}
        if self.in_sync >= watched:
            for name in self._former.keys() - watched:
                self._retire(name)

    def _retire(self, name: str) -> None:
        """Let the word of those who spoke for a place count no longer."""
        for speaker in self._former.pop(name, ()):
            said = self._records.get(speaker.feeder)
            gone: list[DiscoveryChange] = []
            if said is not None:
                gone = [RecordGone(bus_id) for bus_id in said.keys_of(speaker.who)]
            self.discovered(speaker, gone)
            for key in self._offers.keys_of(speaker.who):
                self._offered_by(speaker.who, key, None)

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
            _nobody_waits(announced)

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

    def discovered(self, speaker: _Speaker, changes: Sequence[DiscoveryChange]) -> None:
        """Take what has changed in one place; see `IRecordReceiver.discovered`."""
        records: dict[int, Record | None] = {}
        for change in changes:
            match change:
                case RecordFound(record, _):
                    records[record.bus_id] = record
                case RecordGone(bus_id):
                    records[bus_id] = None
                case ServiceFound(service, _):
                    self._offered_by(speaker.who, service.bus_id or service.name, service)
                case ServiceGone(service):
                    self._offered_by(speaker.who, service.bus_id or service.name, None)
        own_id = self._context.bus_id
        if own_id in records:
            self._look_at_own(speaker.name, records.pop(own_id))
        if not records:
            return
        feeder = speaker.feeder
        said = self._records.setdefault(feeder, Precedence(_is_newer))
        counting = {
            bus_id: said.say(speaker.who, bus_id, record) for bus_id, record in records.items()
        }
        found = [record for record in counting.values() if record is not None]
        gone = [bus_id for bus_id, record in counting.items() if record is None]
        if gone:
            self._topology.withdraw(feeder, gone)
        if found:
            self._topology.claim(feeder, found)

    def _offered_by(self, who: str, key: int | str, now: Service | None) -> None:
        """Take what somebody says of the service of a node."""
        before = self._offers.counts(key)
        counts = self._offers.say(who, key, now)
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

    def is_half_known(self, bus_id: int) -> bool:
        """Tell whether a registry has told what a node offers, and nobody yet where it is."""
        is_offered = bool(self._groups) and self.services.get(bus_id) is not None
        return is_offered and bus_id not in self._topology.registry

    def synced(self, name: str, reason: str | None) -> None:
        """Note that a registry is there, or why it is not."""
        if reason is None:
            self.in_sync |= {name}
            self._retire(name)
            self._retire_former()
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

    def __init__(self, discovering: Discovering, speaker: _Speaker) -> None:
        self._discovering = discovering
        self._speaker = speaker

    def discovered(self, changes: Sequence[DiscoveryChange]) -> None:
        self._discovering.discovered(self._speaker, changes)

    def in_sync(self) -> None:
        self._discovering.synced(self._speaker.name, None)

    def out_of_sync(self, reason: str) -> None:
        self._discovering.synced(self._speaker.name, reason)

    def refused(self, key: str, fault: str) -> None:
        self._discovering.refused(self._speaker.name, key, fault)
