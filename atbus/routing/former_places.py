"""
Where nodes stood until a moment ago.

What a node sent before it moved to another upstream is still on its way, along the old one, when
everybody knows of the move. The neighbors that could speak for it before may do so for a while
more; after that what they bring in its name is not its word.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs


@attrs.define(eq=False)
class FormerPlaces:
    """
    Remember the former upstreams of nodes that have moved.

    :param seconds: For how long.
    :param count_max: Of how many nodes; the move longest ago is forgotten first.
    """

    seconds: float
    count_max: int
    # By node: the upstream it had, and until when that matters.
    _places: OrderedDict[int, tuple[int, float]] = attrs.field(factory=OrderedDict, init=False)

    def moved(self, bus_id: int, former_upstream: int, now: float) -> None:
        """
        Note that a node has moved.

        :param bus_id: The node.
        :param former_upstream: Whom it was below; 0 for nobody, which is not noted.
        :param now: The time, seconds.
        """
        if former_upstream:
            self._places[bus_id] = (former_upstream, now + self.seconds)
            self._places.move_to_end(bus_id)
            if len(self._places) > self.count_max:
                self._places.popitem(last=False)

    def upstreams(self, bus_ids: Iterable[int], now: float) -> list[int]:
        """
        Say below whom nodes were until a moment ago.

        :param bus_ids: The nodes, such as one and all above it.
        :param now: The time, seconds.
        :returns: The former upstreams of those that have moved.
        """
        if not self._places:
            return []
        found = []
        for bus_id in bus_ids:
            place = self._places.get(bus_id)
            if place is not None and now < place[1]:
                found.append(place[0])
        return found
