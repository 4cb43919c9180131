"""
The word that a node is dead, kept against older words that are still under way.

A tombstone covers every record of its node with a stamp up to its own: such a record comes from a
feed that has not heard of the death yet. The larger stamp replaces the smaller one. After
``seconds`` nothing of it is left, so ids that never come back cost nothing.
"""

from __future__ import annotations

import attrs

from atbus.routing.record import Stamp


@attrs.define(eq=False)
class Tombstones:
    """
    Remember the deaths of nodes.

    :param seconds: How long each is remembered after it was last heard of.
    :param count_max: How many are; the oldest is forgotten for a new one.
    """

    seconds: float
    count_max: int
    # Ordered by the time of the last word, for all are kept equally long.
    _graves: dict[int, tuple[Stamp, float]] = attrs.field(factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._graves)

    @property
    def deadline(self) -> float | None:
        """When the next one is to be forgotten, seconds; None when there is none."""
        for _, buried_at in self._graves.values():
            return buried_at + self.seconds
        return None

    def bury(self, bus_id: int, stamp: Stamp, now: float) -> list[int]:
        """
        Remember a death.

        :param bus_id: Who died.
        :param stamp: The last stamp that died with it; a smaller one than is known changes nothing.
        :param now: The time, seconds.
        :returns: Whose tombstone was given up, because there were too many.
        """
        known = self._graves.pop(bus_id, None)
        if known is not None and known[0] > stamp:
            stamp = known[0]
        self._graves[bus_id] = (stamp, now)
        forgotten: list[int] = []
        while len(self._graves) > self.count_max:
            oldest = next(iter(self._graves))
            del self._graves[oldest]
            forgotten.append(oldest)
        return forgotten

    def stamp_of(self, bus_id: int) -> Stamp | None:
        """
        Look a death up.

        :param bus_id: Any id.
        :returns: The last stamp that died, or None.
        """
        grave = self._graves.get(bus_id)
        return None if grave is None else grave[0]

    def covers(self, bus_id: int, stamp: Stamp) -> bool:
        """
        Tell whether a record is of a node that has died since.

        :param bus_id: Whom the record is about.
        :param stamp: Its stamp.
        :returns: Whether it must not be believed.
        """
        grave = self._graves.get(bus_id)
        return grave is not None and stamp <= grave[0]

    def expire(self, now: float) -> list[int]:
        """
        Forget what was kept long enough.

        :param now: The time, seconds.
        :returns: Whose tombstone is gone.
        """
        gone: list[int] = []
        for bus_id, (_, buried_at) in self._graves.items():
            if now < buried_at + self.seconds:
                break
            gone.append(bus_id)
        for bus_id in gone:
            del self._graves[bus_id]
        return gone
