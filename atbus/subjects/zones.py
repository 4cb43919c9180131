"""
In which zones the members of queue groups are (wire protocol, 7.18).

A group is counted as a whole, and beside that its members in each zone once more, as something that
is wanted as well: `Part`. So zones are told, repeated and forgotten as all interest is. Only who
chooses a member looks at them (`atbus.subjects.distribution`).

1. This node counts its own members in its own zone, and those of a neighbor that cannot tell of
   zones in the zone of that neighbor.
2. Of one group so many zones are told as there is a bound for, those that have been known the
   longest. When one of them has no member any more, the next one is told.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from atbus.subjects import bounds

if TYPE_CHECKING:
    from atbus.subjects.interest import Row


class Part(NamedTuple):
    """Those members of a queue group that are in one zone."""

    pattern: str
    queue: str
    zone: str


class Zones:
    """Of which places the zone is known, and which zones of each group are told."""

    def __init__(self) -> None:
        #: The zone of everybody at one place; empty where it is not known, or not one.
        self.of: dict[int, str] = {}
        # Of each group, in the order in which they have appeared.
        self._known: dict[tuple[str, str], dict[str, None]] = {}

    def part(self, place: int, row: Row) -> Part | None:
        """Say as what a group's members at one place are counted besides; None if as nothing."""
        zone = self.of.get(place)
        return Part(row.pattern, row.queue, zone) if zone and row.queue and not row.zone else None

    def appeared(self, part: Part) -> None:
        """Note that a group has its first member in a zone."""
        self._known.setdefault(part[:2], {})[part.zone] = None

    def gone(self, part: Part) -> Part | None:
        """
        Note that a group has no member in a zone any more.

        :returns: What is told from now on in its place.
        """
        group = part[:2]
        known = self._known[group]
        was_told = self.is_told(part)
        del known[part.zone]
        if not known:
            del self._known[group]
        last = bounds.ZONES_TOLD_MAX - 1
        following = next(islice(known, last, None), None) if was_told else None
        return None if following is None else Part(*group, following)

    def is_told(self, part: Part) -> bool:
        """Tell whether a zone is among those of its group that are told."""
        return part.zone in islice(self._known.get(part[:2], {}), bounds.ZONES_TOLD_MAX)
