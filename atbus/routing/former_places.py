"""
Where nodes stood until a moment ago.

What a node sent before it moved to another upstream is still on its way, along the old one, when
everybody knows of the move. The neighbors that could speak for it before may do so for a while
more; after that what they bring in its name is not its word. What was sent to it is looked for
there as well (`atbus.node.stragglers`).
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
    :param count_max: Of how many nodes; the one that moved longest ago is forgotten first.
    :param each_max: How many of one node; the oldest is forgotten first.
    """

    seconds: float
    count_max: int
    each_max: int
    # By node: the upstreams that it had, and until when that matters, the last one first.
    _places: OrderedDict[int, tuple[tuple[int, float], ...]] = attrs.field(
        factory=OrderedDict, init=False
    )

    def moved(self, bus_id: int, former_upstream: int, now: float) -> None:
        """
        Note that a node has moved.

        :param bus_id: The node.
        :param former_upstream: Whom it was below; 0 for nobody, which is not noted.
        :param now: The time, seconds.
        """
        if not former_upstream:
            return
        others = [
            (place, until)
            for place, until in self._places.get(bus_id, ())
            if now < until and place != former_upstream
        ]
        places = ((former_upstream, now + self.seconds), *others)
        self._places[bus_id] = places[: self.each_max]
        self._places.move_to_end(bus_id)
        if len(self._places) > self.count_max:
            self._places.popitem(last=False)

    def upstreams(self, bus_ids: Iterable[int], now: float) -> list[int]:
        """
        Say below whom nodes were until a moment ago.

        :param bus_ids: The nodes, such as one and all above it.
        :param now: The time, seconds.
        :returns: The former upstreams of those that have moved; of each the last one first.
        """
        if not self._places:
            return []
        return [
            place
            for bus_id in bus_ids
            for place, until in self._places.get(bus_id, ())
            if now < until
        ]
