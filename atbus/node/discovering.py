"""
A node and the registries that it is told of: it announces itself, and knows from them of others.

1. A node announces itself before it dials its upstream. When its id is another's, it does not
   start.
2. A registry that does not answer holds a start up for a while and not for ever, unless the node is
   told that it needs it. What a registry does later never stops a node: a lease is no lock.
3. What is announced follows what the node says of itself; what has not changed is not written.
4. Records go to the registry of records, as one feeder among others; services to the set of them.
   What a registry said stays when it is away.
5. What others do to our own key is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
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
from atbus.errors import DiscoveryConflict, DiscoveryError
from atbus.node.reading_discovery import read_etcd, read_service
from atbus.routing.record import Record
from atbus.routing.registry import Feeder
from atbus.routing.services import Service, ServiceSet

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.directory import EtcdDirectory
    from atbus.node.topology import Topology


def _nobody(_: Record) -> None:
    """Nobody wants to know what we say of ourselves."""


class Discovering:
    """
    The registries of one node.

    :param reactor: Where connections to them are made.
    """

    def __init__(self, context: Context, topology: Topology, reactor: Any) -> None:
        #: What the nodes offer that are known from registries, this one among them.
        self.services = ServiceSet()
        #: Names of the registries that have told everything and tell changes as they happen.
        self.in_sync: frozenset[str] = frozenset()
        #: How often a registry had something that cannot be used.
        self.refused_count = 0
        self._context = context
        self._topology = topology
        self._reactor = reactor
        self._settings = read_etcd(context.config.etcd)
        self._etcd: EtcdDirectory | None = None
        self._announced_id = 0
        self._offered: Service | None = None

    def start(self) -> Deferred[None]:
        """
        Announce the node, and begin to know of others.

        :returns: Fires when the node is announced, or the start has waited long enough for it, or
            there is nothing to announce yet. Fails with `DiscoveryConflict`, or with
            `DiscoveryError` when the node needs a registry that is not there.
        """
        settings = self._settings
        if settings is None:
            return succeed(None)
        # HTTP and OpenSSL are loaded by those who use them.
        from atbus.node.directory import EtcdDirectory  # noqa: PLC0415

        own = self._topology.own
        self._etcd = EtcdDirectory(settings, self._context, self._reactor, _Receiver(self, "etcd"))
        announced: Deferred[None] = succeed(None) if own is None else self._announce(own)
        self._topology.own_changed = self._own_changed
        announced.addTimeout(settings.start_seconds, cast("IReactorTime", self._context.timers))
        return announced.addErrback(self._not_announced)

    def _not_announced(self, failure: Failure) -> None:
        if failure.check(DiscoveryConflict) or self._settings is None:
            failure.raiseException()
        failure.trap(defer.TimeoutError, DiscoveryError)
        why = f"etcd has not taken this node within {self._settings.start_seconds:g} s"
        if self._settings.required:
            raise DiscoveryError(why)
        self._context.log.warn("{why}; it is tried again", why=why)

    def stop(self) -> Deferred[None]:
        """
        Take back what was announced, and forget the others; does nothing before `start`.

        :returns: Fires when nothing of it is left; does not fail.
        """
        etcd, self._etcd = self._etcd, None
        self._topology.own_changed = _nobody
        self.in_sync = frozenset()
        if etcd is None:
            return succeed(None)
        return etcd.stop().addCallback(self._stopped)

    def _stopped(self, _: None) -> None:
        self._topology.replace(Feeder.ETCD, ())
        self.services = ServiceSet()

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
        # A conflict is told by the directory; here nobody waits.
        self._announce(own).addErrback(lambda failure: failure.trap(DiscoveryError) and None)

    def _announce(self, own: Record) -> Deferred[None]:
        announcer = None if self._etcd is None else self._etcd.announcer
        if announcer is None:
            return succeed(None)
        if self._announced_id not in (0, own.bus_id):
            announcer.withdraw()
        self._announced_id = own.bus_id
        if self._offered is not None:
            service = attrs.evolve(self._offered, bus_id=own.bus_id)
        else:
            config = self._context.config
            service = read_service(config.service, own.bus_id, config.name)
        return announcer.announce(own, service)

    # What the registries tell.

    def discovered(self, changes: Sequence[DiscoveryChange]) -> None:
        """Take what has changed; see `IRecordReceiver.discovered`."""
        records: dict[int, Record | None] = {}
        events = self._context.events
        for change in changes:
            match change:
                case RecordFound(record, _):
                    records[record.bus_id] = record
                case RecordGone(bus_id):
                    records[bus_id] = None
                case ServiceFound(service, version):
                    if self.services.add(service, version):
                        events.on_service_found(service)
                case ServiceGone(service):
                    if self.services.remove(service):
                        events.on_service_gone(service)
        own_id = self._context.bus_id
        if own_id in records:
            self._look_at_own(records.pop(own_id))
        found = [record for record in records.values() if record is not None]
        gone = [bus_id for bus_id, record in records.items() if record is None]
        if gone:
            self._topology.withdraw(Feeder.ETCD, gone)
        if found:
            self._topology.claim(Feeder.ETCD, found)

    def _look_at_own(self, record: Record | None) -> None:
        """Write anew what somebody has deleted, or another has written under our id."""
        is_ours = record is not None and record.process == self._context.identity.process
        if not is_ours and self._etcd is not None and self._etcd.announcer is not None:
            self._etcd.announcer.look_again()

    def synced(self, name: str, reason: str | None) -> None:
        """Note that a registry is there, or why it is not."""
        if reason is None:
            self.in_sync |= {name}
        else:
            self.in_sync -= {name}
            self._context.log.warn("{name} is away: {reason}", name=name, reason=reason)
        self._context.events.on_discovery(name, reason is None)

    def refused(self, name: str, key: str, fault: str) -> None:
        """Note something in a registry that cannot be used."""
        self.refused_count += 1
        self._context.log.warn("{name}: {key}: {fault}", name=name, key=key, fault=fault)


@implementer(IRecordReceiver)
class _Receiver:
    """Between one registry and the node."""

    def __init__(self, discovering: Discovering, name: str) -> None:
        self._discovering = discovering
        self._name = name

    def discovered(self, changes: Sequence[DiscoveryChange]) -> None:
        self._discovering.discovered(changes)

    def in_sync(self) -> None:
        self._discovering.synced(self._name, None)

    def out_of_sync(self, reason: str) -> None:
        self._discovering.synced(self._name, reason)

    def refused(self, key: str, fault: str) -> None:
        self._discovering.refused(self._name, key, fault)
