"""
The ranges of nodes that were below us and are not there now.

An automatic node that got an id out of such a range would keep the range's owner out for good when
it comes back, for no two neighbors may share an id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container

import attrs

from atbus.busid import Subnet


@attrs.define(eq=False)
class FormerRanges:
    """
    Remember what nodes answered for that have left.

    :param count_max: Of how many nodes; the one that left first is forgotten first.
    """

    count_max: int
    _ranges: OrderedDict[int, tuple[Subnet, ...]] = attrs.field(factory=OrderedDict, init=False)

    def left(self, bus_id: int, subnets: tuple[Subnet, ...]) -> None:
        """
        Note that a node has left.

        :param bus_id: The node.
        :param subnets: What it answered for; of one that had its own id only nothing is noted.
        """
        if not any(subnet.mask_bits for subnet in subnets):
            return
        self._ranges[bus_id] = subnets
        self._ranges.move_to_end(bus_id)
        if len(self._ranges) > self.count_max:
            self._ranges.popitem(last=False)

    def subnets(self, present: Container[int]) -> tuple[Subnet, ...]:
        """
        List the ranges of those that have not come back.

        :param present: Who is there.
        :returns: Their ranges, those of the first to leave first.
        """
        return tuple(
            subnet
            for bus_id, subnets in self._ranges.items()
            if bus_id not in present
            for subnet in subnets
        )
