"""
What a node says of itself, in any registry: two keys, one tenure, the record first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from atbus.discovery.documents import (
    Author,
    DocumentError,
    Key,
    Kind,
    author_of,
    normal_prefix,
    read_record,
    service_key,
    topology_key,
    write_record,
    write_service,
)
from atbus.discovery.interfaces import IAnnouncer
from atbus.discovery.keeping import KeptValue
from atbus.discovery.waiting import Listeners
from atbus.errors import DiscoveryConflict, DiscoveryError, LocalProtocolError
from atbus.routing.record import Record
from atbus.routing.services import Service


@implementer(IAnnouncer)
class Announcer(ABC):
    """
    Announces one node; see `IAnnouncer`. A registry says how one value is kept.

    :param prefix: Below it stand our keys.
    :param author: This node. What a former life of it has left is overwritten.
    :param is_alive: Tells of the process of another author with our identity whether it is alive:
        then there are two of us, and that is a conflict.
    """

    #: What a registry is called in messages.
    registry: ClassVar[str]

    _log = Logger(namespace="atbus.discovery")

    def __init__(self, prefix: str, author: Author, is_alive: Callable[[str], bool]) -> None:
        self._prefix = normal_prefix(prefix)
        self._author = author
        self._is_alive = is_alive
        self._bus_id = 0
        self._topology: KeptValue | None = None
        self._service: KeptValue | None = None
        self._conflicted: Listeners[[DiscoveryConflict]] = Listeners()
        self._outlived: Listeners[[Record]] = Listeners()
        self._waiting: list[Deferred[None]] = []
        self._stopped = False

    @abstractmethod
    def keep(self, key: bytes, value: bytes, after: KeptValue | None) -> KeptValue:
        """
        Make what keeps one value.

        :param key: The key.
        :param value: The value.
        :param after: What is to be written before it.
        :returns: It, not yet started; it asks `is_ours` and `owner_of`.
        """

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
        """When the record came into being, in the numbers of the registry; see `IAnnouncer`."""
        return 0 if self._topology is None else self._topology.fence

    @property
    def _keys(self) -> list[KeptValue]:
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
            self._topology = self._begin(topology_key(self._prefix, record.bus_id), value, None)
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
            self._service = self._begin(key, value, self._topology)
        else:
            self._service.set(value)

    def _begin(self, key: bytes, value: bytes, after: KeptValue | None) -> KeptValue:
        kept = self.keep(key, value, after)
        kept.written.add(self._written)
        kept.conflicted.add(self._met_another)
        if after is None:
            kept.found.add(self._found)
        kept.start()
        return kept

    def _found(self, value: bytes) -> None:
        """Look at a record of ours that is there already."""
        if author_of(value).process == self._author.process:
            return
        try:
            record = read_record(Key(Kind.TOPOLOGY, self._bus_id), value)
        except DocumentError:
            # It is overwritten, whatever it said.
            return
        self._outlived.tell(record)

    def is_ours(self, value: bytes) -> bool:
        """
        Tell of what stands under a key of ours whether we may overwrite it.

        :param value: That.
        :returns: Whether it is of a life of this node that is over, or of nobody.
        """
        author = author_of(value)
        if author.identity != self._author.identity:
            return not author.identity
        return author.process == self._author.process or not self._is_alive(author.process)

    @staticmethod
    def owner_of(value: bytes) -> str:
        """
        Say for people who has written something.

        :param value: That.
        :returns: The identity of the node.
        """
        return author_of(value).identity

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

    def on_outlived(self, callback: Callable[[Record], None]) -> Callable[[], None]:
        """Have something called with the record of a former life of the node that is found."""
        return self._outlived.add(callback)

    def look_again(self) -> None:
        """Write anew what somebody else has deleted or changed."""
        for key in self._keys:
            key.check()

    def withdraw(self) -> Deferred[None]:
        """Take everything back; see `IAnnouncer`."""
        keys = self._keys
        self._topology = self._service = None
        for waiting in self._end_waiting():
            waiting.errback(DiscoveryError(f"{self.registry}: withdrawn before it was announced"))
        return Deferred.fromCoroutine(self._remove(*reversed(keys)))

    async def _remove(self, *keys: KeptValue) -> None:
        for key in keys:
            # All of them first: a record that is gone must not be written again by its service.
            key.stop()
        for key in keys:
            try:
                await key.remove()
            except DiscoveryError as failed:
                self._log.info("a key goes by itself: {reason}", reason=str(failed))

    def stop(self, *, keep: bool = False) -> Deferred[None]:
        """Withdraw, and use the registry no more; see `IAnnouncer`."""
        self._stopped = True
        if not keep:
            return self.withdraw()
        for key in self._keys:
            key.stop()
        for waiting in self._end_waiting():
            waiting.errback(DiscoveryError(f"{self.registry}: stopped before it was announced"))
        return succeed(None)
