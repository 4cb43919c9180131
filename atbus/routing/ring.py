"""
A consistent hash: keys are spread over members, and few keys move when a member comes or goes.

1. Each member has 80 points on a ring of 64-bit numbers, made of its name alone. So the ring is the
   same everywhere, in whatever order the members came.
2. A key belongs to the member whose point is the next one at or after the key's own number.
3. A search walks the ring once, from there on. `Search` says what it gives.

A point is 8 bytes of blake2b over the name; the digest of 64 bytes gives eight points at once.
"""

from __future__ import annotations

import enum
import struct
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import Final, Generic, TypeAlias, TypeVar

import attrs

POINTS: Final = 80
"""Points of each member; libatbus's number. With 32 members the loads differ by a third."""

Key: TypeAlias = int | str | bytes
"""What is spread: a number (of 64 bits; signed or not is the same), a text or bytes."""

M = TypeVar("M")

_POINTS_PER_DIGEST: Final = 8
_DIGESTS: Final = POINTS // _POINTS_PER_DIGEST
_EIGHT: Final = struct.Struct("<8Q")
_ONE: Final = struct.Struct("<Q")
_SALTS: Final = tuple(_ONE.pack(index) for index in range(_DIGESTS))
_NUMBER_MASK: Final = 2**64 - 1
_KEYS: Final = b"atbus key"
_NUMBER_BITS: Final = 64

# More members than there can be services.
_PLACE_BITS: Final = 32
_PLACE_MASK: Final = 2**_PLACE_BITS - 1

# The ring is cut anew when a sector has 640 points on average.
_SECTORS_PER_MEMBER_MIN: Final = 1 / 8


class Search(enum.Enum):
    """What a search gives."""

    #: Every point.
    ALL = "all"
    #: Of points of one member that follow each other the last one.
    COMPACT = "compact"
    #: Of each member the first point.
    UNIQUE = "unique"
    #: Of each member the last point of its first run.
    COMPACT_UNIQUE = "compact unique"

    @property
    def is_compact(self) -> bool:
        """Whether runs of points of one member count as one."""
        return self in (Search.COMPACT, Search.COMPACT_UNIQUE)

    @property
    def is_unique(self) -> bool:
        """Whether each member comes once."""
        return self in (Search.UNIQUE, Search.COMPACT_UNIQUE)


@attrs.frozen
class Point(Generic[M]):
    """
    A place on the ring.

    :param number: Where it is.
    :param member: Whose it is.
    """

    number: int
    member: M


def number_of(key: Key) -> int:
    """
    Give the place of a key.

    :param key: The key.
    :returns: A number of 64 bits.
    """
    if isinstance(key, int):
        key = _ONE.pack(key & _NUMBER_MASK)
    elif isinstance(key, str):
        key = key.encode()
    number: int = _ONE.unpack(blake2b(key, digest_size=8, person=_KEYS).digest())[0]
    return number


def _points_of(name: bytes) -> list[int]:
    points: list[int] = []
    for salt in _SALTS:
        points += _EIGHT.unpack(blake2b(name, salt=salt).digest())
    return points


class Ring(Generic[M]):
    """
    Members on a ring; a member is known by its name.

    The ring is cut into sectors of equal length, about as many as there are members, and each is
    put in order when somebody looks into it. So a member that comes or goes costs as much among ten
    thousand as among ten, and one who asks for one key does not wait for the order of all points.
    """

    def __init__(self) -> None:
        # For each name the place of its member, and the names and members in these places.
        self._places: dict[bytes, int] = {}
        self._members: list[tuple[bytes, M]] = []
        self._free: list[int] = []
        # Those whose points are not on the ring yet: they are put there together.
        self._new: dict[bytes, None] = {}
        # A point is its number, and in the lowest bits the place of its member.
        self._sectors: list[list[int]] = [[]]
        self._in_order = bytearray(1)
        # By how much the number of a point is shifted for that of its sector.
        self._shift = _NUMBER_BITS

    def __len__(self) -> int:
        """Count the points."""
        return POINTS * len(self._places)

    def add(self, name: bytes, member: M) -> None:
        """
        Add a member; one that has the same name is replaced.

        :param name: Its name.
        :param member: It.
        """
        place = self._places.get(name)
        if place is not None:
            self._members[place] = name, member
            return
        if self._free:
            place = self._free.pop()
            self._members[place] = name, member
        else:
            place = len(self._members)
            self._members.append((name, member))
        self._places[name] = place
        self._new[name] = None

    def remove(self, name: bytes) -> None:
        """
        Remove a member; does no harm when there is none of that name.

        :param name: Its name.
        """
        place = self._places.pop(name, None)
        if place is None:
            return
        self._free.append(place)
        if name in self._new:
            del self._new[name]
            return
        for number in _points_of(name):
            self._sectors[number >> self._shift].remove(number << _PLACE_BITS | place)

    def find(self, key: Key) -> M | None:
        """
        Give the member to which a key belongs.

        :param key: The key.
        :returns: The member, or None when there is none.
        """
        number = number_of(key)
        self.settle()
        points = self._sector(number >> self._shift)
        place = bisect_left(points, number << _PLACE_BITS)
        if place + 1 < len(points):
            point, following = points[place : place + 2]
            if point >> _PLACE_BITS < following >> _PLACE_BITS:
                return self._members[point & _PLACE_MASK][1]
        # The last one of its sector, or two on one point.
        return next((member for _, _, member in self._walk(number)), None)

    def search(
        self, start: int, count: int, search: Search = Search.ALL, *, skip_first: bool = False
    ) -> list[Point[M]]:
        """
        Walk the ring once.

        :param start: Where to begin, as `number_of` gives it, or the number of an earlier point.
        :param count: How many to give at most; none when it is not positive.
        :param search: What to give.
        :param skip_first: Whether to leave out the first that would be given: the point, its run,
            or its member, as *search* counts them.
        :returns: In the order of the ring.
        """
        if count <= 0:
            return []
        found = self._runs(start) if search.is_compact else self._walk(start)
        if search.is_unique:
            found = _each_once(found)
        first = int(skip_first)
        return [Point(number, member) for number, _, member in islice(found, first, first + count)]

    def _walk(self, start: int) -> Iterator[tuple[int, bytes, M]]:
        if not self._places:
            return
        self.settle()
        first = start >> self._shift
        points = self._sector(first)
        place = bisect_left(points, start << _PLACE_BITS)
        yield from self._named(points[place:])
        for index in (*range(first + 1, len(self._sectors)), *range(first)):
            if self._sectors[index]:
                yield from self._named(self._sector(index))
        yield from self._named(points[:place])

    def _named(self, points: list[int]) -> Iterator[tuple[int, bytes, M]]:
        """Say whose points these are, which are of one sector."""
        last: tuple[int, bytes, M] | None = None
        for point in points:
            number = point >> _PLACE_BITS
            name, member = self._members[point & _PLACE_MASK]
            if last is not None:
                if number == last[0]:
                    # Two names on one point, once in the age of the universe: the smaller has it.
                    last = min(last, (number, name, member), key=lambda each: each[1])
                    continue
                yield last
            last = number, name, member
        if last is not None:
            yield last

    def _runs(self, start: int) -> Iterator[tuple[int, bytes, M]]:
        """Give the last point of each run; the ends of the walk are one run if they are one's."""
        first_name: bytes | None = None
        last: tuple[int, bytes, M] | None = None
        for point in self._walk(start):
            if last is not None and point[1] != last[1]:
                yield last
                first_name = first_name or last[1]
            last = point
        if last is not None and last[1] != first_name:
            yield last

    def _sector(self, index: int) -> list[int]:
        """Give the points of a sector in order."""
        points = self._sectors[index]
        if not self._in_order[index]:
            points.sort()
            self._in_order[index] = True
        return points

    def settle(self, count: int | None = None) -> None:
        """
        Put the points of new members on the ring; who does that now and then never waits for it.

        :param count: Of how many members at most; None for all, as every search does.
        """
        if not self._places or not (self._new or count is None):
            return
        # Cut anew when there are many more members than sectors, or many fewer.
        if not _SECTORS_PER_MEMBER_MIN <= len(self._sectors) / len(self._places) <= 1:
            self._cut()
        names = list(islice(self._new, count))
        sectors, shift = self._sectors, self._shift
        for name in names:
            place = self._places[name]
            del self._new[name]
            for number in _points_of(name):
                sectors[number >> shift].append(number << _PLACE_BITS | place)
        if POINTS * len(names) >= len(sectors):
            self._in_order = bytearray(len(sectors))
            return
        for name in names:
            for number in _points_of(name):
                self._in_order[number >> shift] = False

    def _cut(self) -> None:
        """Cut the ring into as many sectors as there are members, rounded down to a power of 2."""
        bits = len(self._places).bit_length() - 1
        points = [point for sector in self._sectors for point in sector]
        self._shift = _NUMBER_BITS - bits
        self._sectors = [[] for _ in range(1 << bits)]
        self._in_order = bytearray(1 << bits)
        shift = self._shift + _PLACE_BITS
        for point in points:
            self._sectors[point >> shift].append(point)


def _each_once(points: Iterator[tuple[int, bytes, M]]) -> Iterator[tuple[int, bytes, M]]:
    seen: set[bytes] = set()
    for point in points:
        if point[1] not in seen:
            seen.add(point[1])
            yield point
