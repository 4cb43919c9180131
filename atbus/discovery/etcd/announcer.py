"""
What a node says of itself, in etcd: two keys, one lease.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from atbus.discovery.documents import (
    Author,
    author_of,
    normal_prefix,
    service_key,
    topology_key,
    write_record,
    write_service,
)
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.keepalive import KeepAlive
from atbus.discovery.interfaces import IAnnouncer
from atbus.discovery.waiting import Listeners
from atbus.errors import DiscoveryConflict, DiscoveryError, LocalProtocolError
from atbus.routing.record import Record
from atbus.routing.services import Service


@implementer(IAnnouncer)
class EtcdAnnouncer:
    """
    Announces one node; see `IAnnouncer`.

    :param cluster: Where; whoever made it closes it, after this was stopped.
    :param prefix: Below it stand our keys.
    :param author: This node. What a former life of it has left is overwritten.
    :param is_alive: Tells of the process of another author with our identity whether it is alive:
        then there are two of us, and that is a conflict.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    """

    _log = Logger(namespace="atbus.discovery.etcd")

    def __init__(
        self,
        cluster: EtcdCluster,
        prefix: str,
        author: Author,
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        is_alive: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._cluster = cluster
        self._prefix = normal_prefix(prefix)
        self._author = author
        self._is_alive = is_alive
        self._timers = timers
        self._random = random
        self._bus_id = 0
        self._topology: KeepAlive | None = None
        self._service: KeepAlive | None = None
        self._conflicted: Listeners[[DiscoveryConflict]] = Listeners()
        self._waiting: list[Deferred[None]] = []
        self._stopped = False

    @property
    def is_announced(self) -> bool:
        """Whether everything that was announced last is there now."""
        keys = self._keys
        return bool(keys) and all(key.is_written for key in keys)

    @property
    def conflict(self) -> DiscoveryConflict | None:
        """Who else has our id, if somebody has."""
        return next((key.conflict for key in self._keys if key.conflict is not None), None)

    @property
    def fence(self) -> int:
        """The revision at which the record came into being; see `IAnnouncer`."""
        return 0 if self._topology is None else self._topology.create_revision

    @property
    def _keys(self) -> list[KeepAlive]:
        return [key for key in (self._topology, self._service) if key is not None]

    def announce(self, record: Record, service: Service | None = None) -> Deferred[None]:
        """Have a record and a service there; see `IAnnouncer`."""
        if self._stopped:
            raise LocalProtocolError("the announcer was stopped")
        if self._topology is not None and record.bus_id != self._bus_id:
            raise LocalProtocolError("another id while one is announced")
        self._bus_id = record.bus_id
        value = write_record(record, self._author)
        if self._topology is None:
            self._topology = self._keep(topology_key(self._prefix, record.bus_id), value, None)
        else:
            self._topology.set(value)
        self._announce_service(service)
        if self.is_announced:
            return succeed(None)
        if self.conflict is not None:
            return fail(self.conflict)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def _announce_service(self, service: Service | None) -> None:
        key = b"" if service is None else service_key(self._prefix, self._bus_id, service.name)
        if self._service is not None and self._service.key != key:
            Deferred.fromCoroutine(self._remove(self._service))
            self._service = None
        if service is None:
            return
        value = write_service(service, self._author)
        if self._service is None:
            self._service = self._keep(key, value, self._topology)
        else:
            self._service.set(value)

    def _keep(self, key: bytes, value: bytes, after: KeepAlive | None) -> KeepAlive:
        kept = KeepAlive(
            self._cluster,
            key,
            value,
            self._timers,
            self._random,
            is_ours=self._is_ours,
            owner_of=lambda there: author_of(there).identity,
            after=after,
        )
        kept.written.add(self._written)
        kept.conflicted.add(self._met_another)
        kept.start()
        return kept

    def _is_ours(self, value: bytes) -> bool:
        author = author_of(value)
        if author.identity != self._author.identity:
            return not author.identity
        return author.process == self._author.process or not self._is_alive(author.process)

    def _written(self) -> None:
        if self.is_announced:
            for waiting in self._end_waiting():
                waiting.callback(None)

    def _met_another(self, conflict: DiscoveryConflict) -> None:
        self._conflicted.tell(conflict)
        for waiting in self._end_waiting():
            waiting.errback(conflict)

    def _end_waiting(self) -> list[Deferred[None]]:
        waiting, self._waiting = self._waiting[:], []
        return waiting

    def on_conflict(self, callback: Callable[[DiscoveryConflict], None]) -> Callable[[], None]:
        """Have something called each time another is found to own our id."""
        return self._conflicted.add(callback)

    def look_again(self) -> None:
        """Write anew what somebody else has deleted or changed."""
        for key in self._keys:
            key.check()

    def withdraw(self) -> Deferred[None]:
        """Take everything back; see `IAnnouncer`."""
        keys = self._keys
        self._topology = self._service = None
        for waiting in self._end_waiting():
            waiting.errback(DiscoveryError("etcd: withdrawn before it was announced"))
        return Deferred.fromCoroutine(self._remove(*reversed(keys)))

    async def _remove(self, *keys: KeepAlive) -> None:
        for key in keys:
            # All of them first: a record that is gone must not be written again by its service.
            key.stop()
        for key in keys:
            try:
                await key.remove()
            except DiscoveryError as failed:
                self._log.info("a key goes with the lease: {reason}", reason=str(failed))

    def stop(self, *, keep: bool = False) -> Deferred[None]:
        """Withdraw, and use the registry no more; see `IAnnouncer`."""
        self._stopped = True
        if not keep:
            return self.withdraw()
        for key in self._keys:
            key.stop()
        return succeed(None)
