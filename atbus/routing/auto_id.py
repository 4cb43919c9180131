"""
Ids for nodes that have none: free ones out of the subnets of their upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atbus.busid import BusId, Subnet, merge_subnets


def assign_auto_id(
    own_subnets: Iterable[Subnet], taken: Iterable[Subnet], number: int, mask_bits: int = 0
) -> BusId | None:
    """
    Choose a free id, each with the same probability; the free ranges are counted, not probed.

    :param own_subnets: Where to choose.
    :param taken: What is not free.
    :param number: Drawn by lot, much larger than the count of free ids; the same number chooses
        the same id.
    :param mask_bits: How many bits of the id are to be free for others below it: the whole range
        around it, and not just the id, is chosen from *own_subnets* and not *taken*.
    :returns: The id, or None when nothing is free.
    """
    free = [
        _whole_blocks(first, last, mask_bits)
        for first, last in _free_ranges(merge_subnets(own_subnets), merge_subnets(taken))
    ]
    count = sum(end - first for first, end in free)
    if not count:
        return None
    index = number % count
    for first, end in free:
        if index < end - first:
            return BusId(first + index)
        index -= end - first
    raise AssertionError("an index below the count lies in one of the ranges")


def _whole_blocks(first: int, last: int, mask_bits: int) -> tuple[int, int]:
    """
    Keep of a range what belongs to whole blocks inside it.

    :param first: The first id of the range.
    :param last: Its last id.
    :param mask_bits: The size of a block, a power of two; blocks begin at their multiples.
    :returns: The first id of the first block, and the one behind the last.
    """
    start = -(-first >> mask_bits) << mask_bits
    end = (last + 1) >> mask_bits << mask_bits
    return start, max(start, end)


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
