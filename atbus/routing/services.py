"""
What the nodes of a bus offer, and how one of them is chosen.

A `Record` says where a node stands; a `Service` says what it is for. The two change for different
reasons, so they are told apart: when a proxy is added, no service changes.

1. A service has an id or a name, or both; each of them is known once. Who comes with an id of one
   and the name of another takes the place of both.
2. It is replaced by what is newer only: by its `Version`, which the directory gives.
3. A `Filter` picks some of them. For each filter that was asked about there is an index, kept up to
   date as services come and go, and given up when nothing is left in it.
4. Sorted means: by the index of the pod, by id, by name. Rounds go in that order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Final, NamedTuple

import attrs

from atbus import limits
from atbus.busid import ID_MAX, format_bus_id
from atbus.errors import RecordError
from atbus.routing import bounds
from atbus.routing.ring import Key, Point, Ring, Search, number_of

_TEXTS: Final = (
    *("name", "type", "namespace", "api_version", "kind", "group", "uid", "service_subset"),
    *("version", "data"),
)

# Enough of a wrong text to recognize it.
_QUOTED_LETTERS: Final = 40


def _in_order(
    labels: Mapping[str, str] | tuple[tuple[str, str], ...],
) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items() if isinstance(labels, Mapping) else labels))


class Version(NamedTuple):
    """
    How new a service is; larger is newer. Only versions of one directory can be compared.

    :param modified: When it was last written.
    :param created: When it came into being.
    :param writes: How often it was written since.
    """

    modified: int = 0
    created: int = 0
    writes: int = 0


@attrs.frozen(kw_only=True)
class Service:
    """
    What one node offers.

    :param bus_id: The node; 0 when only its name is known.
    :param name: Its name; empty when only its id is known.
    :param type: What kind of node it is: ``"battle"``.
    :param namespace: One of the words that a filter can ask for, like the next four.
    :param labels: Pairs of key and value; a mapping is put in order.
    :param gateways: Where clients reach it, in its order of preference; not addresses of the bus.
    :param addresses: Where it listens, for those who have no gateway.
    :param pod_index: Its place among its equals, as a StatefulSet gives it.
    :param uid: Of the thing that runs it.
    :param version: Of its program.
    :param data: Whatever the application wants to tell.
    :raises RecordError: When a part is outside its bounds; names the first one that is.
    """

    bus_id: int = 0
    name: str = ""
    type: str = ""
    namespace: str = ""
    api_version: str = ""
    kind: str = ""
    group: str = ""
    service_subset: str = ""
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_in_order)
    gateways: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    pod_index: int = 0
    uid: str = ""
    version: str = ""
    data: str = ""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.bus_id <= ID_MAX:
            raise RecordError(self.bus_id, "bus_id", f"{self.bus_id:#x} has more than 64 bits")
        if not self.bus_id and not self.name:
            raise RecordError(0, "name", "a service without id and name")
        if not 0 <= self.pod_index < 2**32:
            raise RecordError(self.bus_id, "pod_index", f"{self.pod_index} is outside 0..2**32-1")
        for place in _TEXTS:
            most = bounds.SERVICE_DATA_BYTES if place == "data" else bounds.SERVICE_TEXT_BYTES
            self._check(place, getattr(self, place), most)
        for place, texts in (("gateways", self.gateways), ("addresses", self.addresses)):
            if len(texts) > limits.ADDRESSES_MAX:
                raise RecordError(self.bus_id, place, f"{len(texts)} of them")
            for text in texts:
                self._check(place, text, limits.ADDRESS_BYTES)
        if len(self.labels) > limits.LABELS_MAX:
            raise RecordError(self.bus_id, "labels", f"{len(self.labels)} of them")
        if len(dict(self.labels)) < len(self.labels):
            raise RecordError(self.bus_id, "labels", "a key twice")
        for key, value in self.labels:
            self._check("labels", key + value, bounds.SERVICE_TEXT_BYTES)

    def _check(self, place: str, text: str, bytes_max: int) -> None:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as fault:
            quoted = text[:_QUOTED_LETTERS]
            detail = f"{quoted!r} has a letter that UTF-8 has not"
            raise RecordError(self.bus_id, place, detail) from fault
        if size > bytes_max:
            raise RecordError(self.bus_id, place, f"{size} bytes, {bytes_max} are allowed")

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or format_bus_id(self.bus_id)

    @property
    def order(self) -> tuple[int, int, str]:
        """Where it stands among others."""
        return self.pod_index, self.bus_id, self.name

    @property
    def hashed(self) -> bytes:
        """What its points on the ring are made of."""
        return self.name.encode() if self.name else self.bus_id.to_bytes(8, "little")

    def ways_in(self) -> Iterator[str]:
        """
        Go around where it is reached from outside.

        :returns: Its gateways again and again, in order; its addresses if it has no gateway.
        """
        return cycle(self.gateways or self.addresses)


@attrs.frozen(kw_only=True)
class Filter:
    """
    Which services are meant; what is empty does not matter.

    :param type: As the service has it; so are the next five.
    :param labels: Each must be there with this value; one with an empty value does not matter.
    """

    type: str = ""
    namespace: str = ""
    api_version: str = ""
    kind: str = ""
    group: str = ""
    service_subset: str = ""
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_in_order)

    def matches(self, service: Service) -> bool:
        """
        Tell whether a service is meant.

        :param service: Any.
        :returns: Whether it is.
        """
        for name in _FILTERED:
            wanted = getattr(self, name)
            if wanted and wanted != getattr(service, name):
                return False
        if not self.labels:
            return True
        labels = dict(service.labels)
        return all(labels.get(key) == value for key, value in self.labels if value)


EVERYTHING: Final = Filter()
"""The filter that every service passes."""

_FILTERED: Final = ("type", "namespace", "api_version", "kind", "group", "service_subset")


class _Index:
    """The services that pass one filter."""

    def __init__(self, services: Iterator[Service]) -> None:
        self._ring: Ring[Service] | None = None
        self._services = {service.hashed: service for service in services}
        self._in_order: tuple[Service, ...] | None = None
        self._turn = 0

    def __len__(self) -> int:
        return len(self._services)

    def add(self, service: Service) -> None:
        self._services[service.hashed] = service
        self._in_order = None
        if self._ring is not None:
            self._ring.add(service.hashed, service)

    def remove(self, service: Service) -> None:
        if self._services.pop(service.hashed, None) is not None:
            self._in_order = None
            if self._ring is not None:
                self._ring.remove(service.hashed)

    @property
    def in_order(self) -> tuple[Service, ...]:
        if self._in_order is None:
            self._in_order = tuple(sorted(self._services.values(), key=lambda one: one.order))
        return self._in_order

    @property
    def ring(self) -> Ring[Service]:
        if self._ring is None:
            self._ring = Ring()
            for name, service in self._services.items():
                self._ring.add(name, service)
        return self._ring

    def settle(self, count: int) -> None:
        if self._ring is not None:
            self._ring.settle(count)

    def next(self) -> Service | None:
        services = self.in_order
        if not services:
            return None
        turn = self._turn % len(services)
        self._turn = turn + 1
        return services[turn]


class ServiceSet:
    """The services that one node knows (see the rules at the top of this file)."""

    def __init__(self) -> None:
        self._ids: dict[int, Service] = {}
        self._names: dict[str, Service] = {}
        self._versions: dict[Service, Version] = {}
        self._all = _Index(iter(()))
        self._indexes: OrderedDict[Filter, _Index] = OrderedDict()
        #: Grows with every change that can be seen.
        self.version = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Service]:
        return iter(self._all.in_order)

    @property
    def index_count(self) -> int:
        """How many filters have an index."""
        return len(self._indexes)

    # What is brought.

    def add(self, service: Service, version: Version | None = None) -> bool:
        """
        Take a service.

        :param service: It.
        :param version: How new it is; left out, it is newer than what is there.
        :returns: Whether anything can be seen that is different now; not when what is there is
            newer, and not when only its version is.
        """
        found = [self._ids.get(service.bus_id), self._names.get(service.name)]
        there = [old for old in dict.fromkeys(found) if old is not None]
        known = max((self._versions[old] for old in there), default=Version())
        if version is None:
            version = known
        elif version < known:
            return False
        if there == [service]:
            self._versions[there[0]] = version
            return False
        for old in there:
            self._remove(old)
        if service.bus_id:
            self._ids[service.bus_id] = service
        if service.name:
            self._names[service.name] = service
        self._versions[service] = version
        self.version += 1
        self._all.add(service)
        for rule, index in self._indexes.items():
            if rule.matches(service):
                index.add(service)
        return True

    def version_of(self, service: Service) -> Version:
        """
        Say how new a service is.

        :param service: One that is in the set.
        :returns: What was given with it last.
        """
        return self._versions[service]

    def remove(self, service: Service) -> bool:
        """
        Take out a service, if it is this one and not another of its id or name.

        :param service: It.
        :returns: Whether it was there.
        """
        if service not in self._versions:
            return False
        self._remove(service)
        return True

    def remove_id(self, bus_id: int) -> Service | None:
        """
        Take out the service of a node.

        :param bus_id: Its id.
        :returns: It, or None when there was none.
        """
        return self._remove_found(self._ids.get(bus_id))

    def remove_name(self, name: str) -> Service | None:
        """
        Take out the service of a name.

        :param name: Its name.
        :returns: It, or None when there was none.
        """
        return self._remove_found(self._names.get(name))

    def _remove_found(self, service: Service | None) -> Service | None:
        if service is not None:
            self._remove(service)
        return service

    def _remove(self, service: Service) -> None:
        self._ids.pop(service.bus_id, None)
        self._names.pop(service.name, None)
        del self._versions[service]
        self.version += 1
        self._all.remove(service)
        for rule in [rule for rule in self._indexes if rule.matches(service)]:
            index = self._indexes[rule]
            index.remove(service)
            if not index:
                del self._indexes[rule]

    def settle(self, count: int) -> None:
        """
        Do some of the work that `by_hash` and `search` would have to do otherwise.

        :param count: For how many services, for each filter by whose keys somebody has chosen.
        """
        for index in (self._all, *self._indexes.values()):
            index.settle(count)

    # What is known.

    def get(self, bus_id: int) -> Service | None:
        """
        Look a node up.

        :param bus_id: Its id.
        :returns: Its service, or None.
        """
        return self._ids.get(bus_id)

    def named(self, name: str) -> Service | None:
        """
        Look a name up.

        :param name: It.
        :returns: The service of that name, or None.
        """
        return self._names.get(name)

    def in_order(self, where: Filter = EVERYTHING) -> tuple[Service, ...]:
        """
        List services.

        :param where: Which.
        :returns: Sorted.
        """
        return self._index(where).in_order

    # Choosing one.

    def round_robin(self, where: Filter = EVERYTHING) -> Service | None:
        """
        Choose the one whose turn it is.

        :param where: Among which.
        :returns: It, or None when there is none.
        """
        return self._index(where).next()

    def at_random(self, number: float, where: Filter = EVERYTHING) -> Service | None:
        """
        Choose one by lot.

        :param number: Drawn evenly from 0 to 1, 1 not included.
        :param where: Among which.
        :returns: It, or None when there is none.
        """
        services = self._index(where).in_order
        return services[int(number * len(services))] if services else None

    def by_hash(self, key: Key, where: Filter = EVERYTHING) -> Service | None:
        """
        Choose the one to which a key belongs.

        :param key: The key; the same one goes to the same service as long as that is there.
        :param where: Among which.
        :returns: It, or None when there is none.
        """
        return self._index(where).ring.find(key)

    def search(
        self,
        key: Key | Point[Service],
        count: int,
        search: Search = Search.ALL,
        where: Filter = EVERYTHING,
        *,
        skip_first: bool = False,
    ) -> list[Point[Service]]:
        """
        List those that come after a key on the ring; see `Ring.search`.

        :param key: The key, or a point that was found before.
        :param count: How many at most.
        :param search: Which points count.
        :param where: Among which.
        :param skip_first: Whether to leave the first one out.
        :returns: Points, in the order of the ring.
        """
        start = key.number if isinstance(key, Point) else number_of(key)
        return self._index(where).ring.search(start, count, search, skip_first=skip_first)

    def _index(self, where: Filter) -> _Index:
        if where == EVERYTHING:
            return self._all
        index = self._indexes.get(where)
        if index is not None:
            self._indexes.move_to_end(where)
            return index
        index = _Index(one for one in self._versions if where.matches(one))
        if index:
            self._indexes[where] = index
            if len(self._indexes) > bounds.SERVICE_FILTERS_MAX:
                self._indexes.popitem(last=False)
        return index
