"""What is kept of one neighbor, and of one pattern or group; see `atbus.subjects.interest`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

import attrs

from atbus.subjects.doubt import Doubt
from atbus.subjects.pattern import OWN_SUBJECTS, check_queue, parse_pattern
from atbus.subjects.zones import Part

if TYPE_CHECKING:
    from atbus.subjects.interest import Row, Side, Wanted

K = TypeVar("K")


@attrs.define(eq=False)
class Sums:
    """What is known of one pattern or group: how many there are, and behind whom."""

    everywhere: int = 0
    #: Of these, here, below and outside: what is told upwards and to peers.
    below: int = 0
    #: Of these, outside: what is not told there.
    outside: int = 0
    weights: dict[int, int] = attrs.field(factory=dict)

    def beyond(self, places: Iterable[int]) -> int:
        """Count those who are not at some places."""
        return self.everywhere - sum(self.weights.get(each, 0) for each in places)

    def twice(self, above: int | None, siblings: frozenset[int]) -> int:
        """
        Count those of whom two have told: a sibling, and our upstream, which knows it from him.

        :param above: Our upstream; None if there is none.
        """
        told_above = self.weights.get(above, 0) if above is not None and siblings else 0
        if not told_above:
            return 0
        return min(told_above, sum(self.weights[each] for each in siblings & self.weights.keys()))


@attrs.define(eq=False)
class Neighbor:
    """What was heard from a neighbor, and what it was told."""

    side: Side
    #: The cluster of servers that it belongs to; 0 for none.
    cluster: int = 0
    #: Whether it tells of zones, and is told of them.
    tells_zones: bool = False
    heard: dict[Row, int] = attrs.field(factory=dict)
    heard_digest: int = 0
    told: dict[Row, int] = attrs.field(factory=dict)
    told_digest: int = 0
    changed: dict[Row, None] = attrs.field(factory=dict)
    #: Groups of which only the size is another, to be told when sizes are.
    resized: dict[Row, None] = attrs.field(factory=dict)
    generation: int = 0
    heard_generation: int = 0
    repeated: set[Row] | None = None
    #: Of `heard`, about.
    heard_bytes: int = 0
    #: Whether something was refused that was not told, and whether that was, since there was room.
    is_full: bool = False
    is_named: bool = False
    #: Whether something was refused, since the neighbor was told that there was room.
    has_missed: bool = False
    doubt: Doubt = attrs.field(factory=Doubt)
    #: Whether what it wants in groups, and otherwise, is honoured.
    honours_groups: bool = True
    honours_plain: bool = True

    def honours(self, wanted: Row) -> bool:
        """Tell whether it counts that the neighbor wants something."""
        honoured = self.honours_groups if wanted.queue else self.honours_plain
        return honoured or wanted.pattern.startswith(OWN_SUBJECTS)

    def repeats(self, wanted: Row) -> None:
        """Note what a replay has told, if one is under way."""
        if self.repeated is None:
            return
        # Nothing but what is known, for a replay may never end: so it has the same bound.
        if wanted in self.heard:
            self.repeated.add(wanted)
        else:
            self.repeated.discard(wanted)


class Clusters:
    """Which neighbors belong together, and give each other what they publish."""

    def __init__(self) -> None:
        self._members: dict[int, set[int]] = {}

    def join(self, cluster: int, place: int) -> None:
        """Take a neighbor in; 0 is no cluster."""
        if cluster:
            self._members.setdefault(cluster, set()).add(place)

    def leave(self, cluster: int, place: int) -> None:
        """Forget a neighbor."""
        members = self._members.get(cluster)
        if members is not None:
            members.discard(place)
            if not members:
                del self._members[cluster]

    def beside(self, cluster: int, place: int) -> Collection[int]:
        """Name all members of a cluster, or just *place*, which is in none."""
        return self._members.get(cluster) or (place,)

    def among(self, served: Iterable[int]) -> frozenset[int]:
        """Name the members of those clusters that are among what has been served."""
        if not self._members:
            return frozenset()
        return frozenset().union(*(self._members.get(each, ()) for each in served))


def is_valid(wanted: Row) -> bool:
    """Tell whether something is a pattern, and if need be a queue group."""
    try:
        parse_pattern(wanted.pattern)
        if wanted.queue or wanted.zone:
            check_queue(wanted.queue)
    except ValueError:
        return False
    return True


def wholes(rows: Mapping[Row, int]) -> dict[Wanted, int]:
    """Leave out what is told of zones."""
    return {row: weight for row, weight in rows.items() if not isinstance(row, Part)}


def put(weights: dict[K, int], key: K, weight: int) -> None:
    """Set how much something is wanted; what is not wanted has no entry."""
    if weight:
        weights[key] = weight
    else:
        weights.pop(key, None)
