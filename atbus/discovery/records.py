"""
What is known of the nodes under one prefix: the decisions of a watcher, whatever the registry is.

1. Of a node the newest that was told counts, by its `Version`: what comes late or twice is left
   out.
2. A snapshot says all that there is. What was known and is not in it is gone.
3. A service is known under its key. When one node stands under several, that of the newest owner
   counts: under the key that came into being last, whatever an owner before it has written since.
   When that goes, the next one does.
4. What cannot be read is named once per writing and left out; what stood there before is gone.
5. A record that is deleted is forgotten, with its version: revisions only grow, so what comes later
   is newer all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

import attrs

from atbus.discovery import bounds
from atbus.discovery.documents import (
    DocumentError,
    Kind,
    read_key,
    read_record,
    read_service,
)
from atbus.discovery.interfaces import (
    DiscoveryChange,
    RecordFound,
    RecordGone,
    ServiceFound,
    ServiceGone,
)
from atbus.errors import printable
from atbus.routing.record import Record
from atbus.routing.services import Service, Version


@attrs.frozen
class Entry:
    """
    One key as it stands in a registry.

    :param key: The key.
    :param value: What stands there; None when it was deleted.
    :param version: How new that is.
    """

    key: bytes
    value: bytes | None
    version: Version


class Directory:
    """
    The nodes under one prefix (see the rules at the top of this file).

    :param prefix: Ours, with a slash at its end.
    :param refused: Told of what cannot be used: where it stands, and what is wrong with it.
    """

    def __init__(self, prefix: str, refused: Callable[[str, str], None]) -> None:
        #: How often something could not be used.
        self.refused_count = 0
        self._prefix = prefix
        self._refused = refused
        self._versions: dict[bytes, Version] = {}
        self._records: dict[bytes, Record] = {}
        # For each node, or name where there is no id, the keys of its services with these.
        self._services: dict[int | str, dict[bytes, Service]] = {}
        self._told: dict[int | str, Service] = {}

    def snapshot(self, entries: Iterable[Entry], revision: int) -> list[DiscoveryChange]:
        """
        Take all that there is.

        :param entries: In any order.
        :param revision: Of the registry; nothing in *entries* is newer.
        :returns: What has changed.
        """
        kept = list(entries)
        return self.changed([*self.missing({entry.key for entry in kept}, revision), *kept])

    def missing(self, there: AbstractSet[bytes], revision: int) -> list[Entry]:
        """
        Find what a snapshot does not have.

        :param there: The keys in it.
        :param revision: Of the registry.
        :returns: What is known and is not there, as deleted; to be taken before what is there.
        """
        version = Version(modified=revision)
        return [Entry(key, None, version) for key in self._versions if key not in there]

    def changed(self, entries: Iterable[Entry]) -> list[DiscoveryChange]:
        """
        Take what has happened, in order.

        :param entries: Keys as they stand now.
        :returns: What has changed.
        """
        changes: list[DiscoveryChange] = []
        for entry in entries:
            known = self._versions.get(entry.key)
            if known is not None and entry.version < known:
                continue
            if known is not None and entry.version == known and entry.value is not None:
                continue
            self._take(entry, changes)
        return changes

    def refuse(self, key: str, fault: str) -> None:
        """
        Name something that cannot be used.

        :param key: Where it stands.
        :param fault: What is wrong with it.
        """
        self.refused_count += 1
        self._refused(printable(key), printable(fault))

    def _take(self, entry: Entry, changes: list[DiscoveryChange]) -> None:
        if entry.value is None:
            self._versions.pop(entry.key, None)
            self._drop(entry.key, changes)
            return
        if entry.key not in self._versions and len(self._versions) >= bounds.REGISTRY_KEYS_MAX:
            self.refuse(repr(entry.key), f"more than {bounds.REGISTRY_KEYS_MAX} keys")
            return
        self._versions[entry.key] = entry.version
        try:
            key = read_key(self._prefix, entry.key)
            if key.kind is Kind.TOPOLOGY:
                record = read_record(key, entry.value)
                self._note_record(entry, record, changes)
            else:
                service = read_service(key, entry.value)
                self._note_service(entry, service, changes)
        except DocumentError as fault:
            self.refuse(fault.key, fault.fault)
            self._drop(entry.key, changes)

    def _note_record(self, entry: Entry, record: Record, changes: list[DiscoveryChange]) -> None:
        if self._records.get(entry.key) != record:
            self._records[entry.key] = record
            changes.append(RecordFound(record, entry.version))

    def _note_service(self, entry: Entry, service: Service, changes: list[DiscoveryChange]) -> None:
        owner = service.bus_id or service.name
        self._services.setdefault(owner, {})[entry.key] = service
        self._settle(owner, changes)

    def _drop(self, key: bytes, changes: list[DiscoveryChange]) -> None:
        record = self._records.pop(key, None)
        if record is not None:
            changes.append(RecordGone(record.bus_id))
        try:
            said = read_key(self._prefix, key)
        except DocumentError:
            return
        owner = said.bus_id or said.name
        services = self._services.get(owner)
        if services is not None and services.pop(key, None) is not None:
            self._settle(owner, changes)

    def _settle(self, owner: int | str, changes: list[DiscoveryChange]) -> None:
        """Work out anew which of its services a node has."""
        services = self._services[owner]
        if not services:
            del self._services[owner]
            changes.append(ServiceGone(self._told.pop(owner)))
            return
        # That of the newest owner, then the newest; of two that are equal the smaller key.
        key = min(services, key=lambda each: (*_age(self._versions[each]), each))
        if self._told.get(owner) != services[key]:
            self._told[owner] = services[key]
            changes.append(ServiceFound(services[key], self._versions[key]))


def _age(version: Version) -> tuple[int, int, int]:
    """Give what is smaller the newer the owner is, and of one owner the newer what it has said."""
    return -version.created, -version.modified, -version.writes
