"""
Who owns an id: the narrowest of many subnets.
"""

from __future__ import annotations

from collections.abc import Collection

from atbus.busid import BusId, Subnet


class SubnetIndex:
    """
    Finds the owners of the narrowest subnets around an id.

    Subnets are aligned powers of two, so two of them are nested or disjoint and one dictionary per
    width answers exactly: at most 64 look-ups, whatever the number of neighbors.
    """

    def __init__(self) -> None:
        self._by_width: dict[int, dict[int, list[BusId]]] = {}
        self._widths: list[int] = []

    def insert(self, subnet: Subnet, owner: BusId) -> None:
        """
        Enter one subnet.

        :param subnet: What is owned.
        :param owner: Who owns it; of several owners the smallest id is found first.
        """
        bits = subnet.mask_bits
        owners = self._by_width.setdefault(bits, {}).setdefault(subnet.first >> bits, [])
        if owner not in owners:
            owners.append(owner)
            owners.sort()
        self._widths = sorted(self._by_width)

    def discard(self, subnet: Subnet, owner: BusId) -> None:
        """
        Take one subnet out; nothing happens when it is not there.

        :param subnet: What was owned.
        :param owner: Who owned it.
        """
        bits = subnet.mask_bits
        row = self._by_width.get(bits, {})
        owners = row.get(subnet.first >> bits, [])
        if owner not in owners:
            return
        owners.remove(owner)
        if not owners:
            del row[subnet.first >> bits]
        if not row:
            del self._by_width[bits]
        self._widths = sorted(self._by_width)

    def narrowest(
        self, bus_id: int, width_max: int, exclude: Collection[int]
    ) -> tuple[Subnet, BusId] | None:
        """
        Find who owns an id.

        :param bus_id: The id to look for.
        :param width_max: Wider subnets are not considered, in suffix bits.
        :param exclude: Owners that are not considered.
        :returns: The narrowest subnet around the id and its owner, if there is one.
        """
        for bits in self._widths:
            if bits > width_max:
                break
            for owner in self._by_width[bits].get(bus_id >> bits, ()):
                if owner not in exclude:
                    return Subnet(bus_id, bits), owner
        return None
