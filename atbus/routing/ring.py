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
    """Members on a ring; a member is known by its name."""

    def __init__(self) -> None:
        # Numbers apart from members: a list of plain numbers is sorted in place in little time.
        self._numbers: list[int] = []
        self._members: dict[int, tuple[bytes, M]] = {}
        self._names: dict[bytes, M] = {}
        self._sorted = True

    def __len__(self) -> int:
        """Count the points."""
        return len(self._members)

    def add(self, name: bytes, member: M) -> None:
        """
        Add a member; one that has the same name is replaced.

        :param name: Its name.
        :param member: It.
        """
        is_new = name not in self._names
        self._names[name] = member
        points, entry = _points_of(name), (name, member)
        if is_new and self._members.keys().isdisjoint(points):
            self._members.update(dict.fromkeys(points, entry))
            self._numbers += points
            self._sorted = False
            return
        for number in points:
            there = self._members.get(number)
            if there is None:
                self._numbers.append(number)
                self._sorted = False
            # Two names on one point, once in the age of the universe: the smaller one has it.
            if there is None or there[0] >= name:
                self._members[number] = entry

    def remove(self, name: bytes) -> None:
        """
        Remove a member; does no harm when there is none of that name.

        :param name: Its name.
        """
        if self._names.pop(name, None) is None:
            return
        self._sort()
        for number in _points_of(name):
            if self._members.get(number, (b"",))[0] == name:
                del self._members[number]
                del self._numbers[bisect_left(self._numbers, number)]

    def find(self, key: Key) -> M | None:
        """
        Give the member to which a key belongs.

        :param key: The key.
        :returns: The member, or None when there is none.
        """
        if not self._members:
            return None
        self._sort()
        index = bisect_left(self._numbers, number_of(key)) % len(self._numbers)
        return self._members[self._numbers[index]][1]

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
        if count <= 0 or not self._members:
            return []
        self._sort()
        found = self._runs(start) if search.is_compact else self._walk(start)
        if search.is_unique:
            found = _each_once(found)
        first = int(skip_first)
        return [Point(number, member) for number, _, member in islice(found, first, first + count)]

    def _walk(self, start: int) -> Iterator[tuple[int, bytes, M]]:
        first = bisect_left(self._numbers, start)
        for numbers in (self._numbers[first:], self._numbers[:first]):
            for number in numbers:
                name, member = self._members[number]
                yield number, name, member

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

    def _sort(self) -> None:
        if not self._sorted:
            self._numbers.sort()
            self._sorted = True


def _each_once(points: Iterator[tuple[int, bytes, M]]) -> Iterator[tuple[int, bytes, M]]:
    seen: set[bytes] = set()
    for point in points:
        if point[1] not in seen:
            seen.add(point[1])
            yield point
