"""
How late the reactor calls.

A timer that comes late was kept from running by something: a callback that took long, a processor
that others had. What happens at the worst moments is what a program feels, so it is counted how
often a look came how late.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import ceil
from typing import Final

import attrs

#: What is told apart, seconds.
STEPS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@attrs.define(eq=False)
class Lag:
    """The lags that one node has seen."""

    #: How often it was looked.
    looks: int = attrs.field(default=0, init=False)
    #: The longest.
    worst_seconds: float = attrs.field(default=0.0, init=False)
    # How many looks came no later than each step; the last ones came later than all.
    _counts: list[int] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._counts = [0] * (len(STEPS) + 1)

    def note(self, late_seconds: float) -> None:
        """
        Count one look.

        :param late_seconds: How late it came.
        """
        self.looks += 1
        self.worst_seconds = max(self.worst_seconds, late_seconds)
        self._counts[bisect_left(STEPS, late_seconds)] += 1

    def quantile(self, part: float) -> float:
        """
        Give what a part of the looks did not exceed.

        :param part: Of all looks, 0 to 1.
        :returns: Seconds: one of `STEPS`, or the longest when that is less or no step reaches.
        """
        if not self.looks:
            return 0.0
        needed = ceil(part * self.looks)
        for step, total in zip(STEPS, accumulate(self._counts), strict=False):
            if total >= needed:
                return min(step, self.worst_seconds)
        return self.worst_seconds
