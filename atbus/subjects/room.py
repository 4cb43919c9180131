"""How much memory there is for what neighbors want."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from atbus.subjects import bounds
from atbus.subjects.cost import cost_of
from atbus.subjects.pattern import OWN_SUBJECTS

if TYPE_CHECKING:
    from atbus.subjects.interest import Row
    from atbus.subjects.neighbor import Neighbor


class Room:
    """
    Memory for what neighbors want.

    :param bytes_max: For what one neighbor tells of; all of them may have
        `bounds.INTEREST_SHARES` times as much. Others may be set at any time, and hold for what
        comes then.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._taken_bytes = 0

    def take(self, neighbor: Neighbor, wanted: Row, part: Row | None = None) -> bool:
        """
        Make room for one more thing that a neighbor wants.

        :param part: What is counted with it; None for nothing.
        :returns: Whether there is any; if not it is noted, unless it is about a zone: nobody misses
            anything for that.
        """
        cost_bytes = _cost_of(wanted, part)
        if not self._has_room(neighbor, wanted, cost_bytes):
            if not wanted.zone:
                neighbor.is_full = neighbor.has_missed = True
            return False
        self._count(neighbor, cost_bytes)
        return True

    def give_back(self, neighbor: Neighbor, wanted: Row, part: Row | None = None) -> None:
        """Take note that a neighbor wants something no more."""
        self._count(neighbor, -_cost_of(wanted, part))

    def give_all_back(self, neighbor: Neighbor) -> None:
        """Take note that a neighbor is gone."""
        self._taken_bytes -= neighbor.heard_bytes

    def _count(self, neighbor: Neighbor, cost_bytes: int) -> None:
        neighbor.heard_bytes += cost_bytes
        self._taken_bytes += cost_bytes
        if neighbor.is_named and neighbor.heard_bytes * 4 < self.bytes_max * 3:
            neighbor.is_named = False

    def _has_room(self, neighbor: Neighbor, wanted: Row, cost_bytes: int) -> bool:
        if wanted.pattern.startswith(OWN_SUBJECTS):
            cost_bytes -= bounds.OWN_INTEREST_BYTES
        its_bytes, all_bytes = neighbor.heard_bytes + cost_bytes, self._taken_bytes + cost_bytes
        its_max = self.bytes_max * (bounds.ZONES_SHARE_MAX if wanted.zone else 1)
        return its_bytes <= its_max and all_bytes <= its_max * bounds.INTEREST_SHARES

    @staticmethod
    def names_full(neighbor: Neighbor) -> bool:
        """
        Tell, once, that something of a neighbor's was refused for want of memory.

        :returns: Whether it was, since this was asked or there was room for a quarter more.
        """
        is_full, neighbor.is_full = neighbor.is_full, False
        was_named = neighbor.is_named
        neighbor.is_named = was_named or is_full
        return is_full and not was_named

    def again(self, neighbors: Mapping[int, Neighbor]) -> list[int]:
        """
        Name neighbors for whom there is room again after something of theirs was refused.

        :returns: Each once, when a quarter of what it may have is free.
        """
        bound = self.bytes_max * 3
        if self._taken_bytes * 4 >= bound * bounds.INTEREST_SHARES:
            return []
        found = [
            bus_id
            for bus_id, neighbor in neighbors.items()
            if neighbor.has_missed and neighbor.heard_bytes * 4 < bound
        ]
        for bus_id in found:
            neighbors[bus_id].has_missed = False
        return found


def _cost_of(wanted: Row, part: Row | None) -> int:
    return cost_of(*wanted) + (0 if part is None else cost_of(*part))
