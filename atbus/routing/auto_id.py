"""
Ids for nodes that have none: free ones out of the subnets of their upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atbus.busid import BusId, Subnet, merge_subnets


def assign_auto_id(
    own_subnets: Iterable[Subnet], taken: Iterable[Subnet], number: int
) -> BusId | None:
    """
    Choose a free id, each with the same probability; the free ranges are counted, not probed.

    :param own_subnets: Where to choose.
    :param taken: What is not free.
    :param number: Drawn by lot, much larger than the count of free ids; the same number chooses
        the same id.
    :returns: The id, or None when nothing is free.
    """
    free = _free_ranges(merge_subnets(own_subnets), merge_subnets(taken))
    count = sum(last - first + 1 for first, last in free)
    if not count:
        return None
    index = number % count
    for first, last in free:
        if index <= last - first:
            return BusId(first + index)
        index -= last - first + 1
    raise AssertionError("an index below the count lies in one of the ranges")


def intersection(ones: Iterable[Subnet], others: Sequence[Subnet]) -> tuple[Subnet, ...]:
    """
    Find the ids that two lists of ranges share.

    :param ones: Ranges.
    :param others: Other ranges.
    :returns: What is in both, merged and sorted.
    """
    common = [
        other if one.contains_subnet(other) else one
        for one in ones
        for other in others
        if one.overlaps(other)
    ]
    return merge_subnets(common)


def _free_ranges(subnets: Sequence[Subnet], taken: Sequence[Subnet]) -> list[tuple[int, int]]:
    """
    Subtract ranges; both lists are sorted and merged.

    :param subnets: What to subtract from.
    :param taken: What to subtract.
    :returns: First and last id of each range that is left; never id 0.
    """
    free: list[tuple[int, int]] = []
    for subnet in subnets:
        first = max(subnet.first, 1)
        for other in taken:
            if other.last < first:
                continue
            if other.first > subnet.last:
                break
            if first < other.first:
                free.append((first, other.first - 1))
            first = other.last + 1
        if first <= subnet.last:
            free.append((first, subnet.last))
    return free
