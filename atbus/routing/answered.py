"""
Which messages have had their last word, so that nobody hears it twice.

News about a message can reach its origin more than once: the link that carried them died under
them, or two nodes answer for it because each believes that it held it. The first word counts. News
are about runs, and a run may be answered in parts, so what is kept per target are ranges of
sequences; neighboring ranges become one. The targets that were answered longest ago are forgotten
first, and of one target the lowest sequences.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict

import attrs


@attrs.define(eq=False)
class AnsweredRanges:
    """
    Remember which sequences of which target were answered.

    :param ranges_max: How many ranges are kept, of one target and of all together.
    """

    ranges_max: int = attrs.field(validator=attrs.validators.ge(1))
    # By target the first sequence of each range, ascending, and beside it the one after its last.
    _ranges: OrderedDict[int, tuple[list[int], list[int]]] = attrs.field(
        factory=OrderedDict, init=False, repr=False
    )
    _count: int = attrs.field(default=0, init=False, repr=False)

    def __len__(self) -> int:
        return self._count

    def add(self, target: int, first: int, count: int) -> list[tuple[int, int]]:
        """
        Note that messages were answered.

        :param target: Where they were sent.
        :param first: The sequence of the first.
        :param count: How many, at least 1.
        :returns: First sequence and count of each part that was not answered before, ascending.
        """
        starts, ends = self._ranges.setdefault(target, ([], []))
        self._ranges.move_to_end(target)
        stop = first + count
        low = bisect_left(ends, first)
        news: list[tuple[int, int]] = []
        at = first
        high = low
        while high < len(starts) and starts[high] <= stop:
            if starts[high] > at:
                news.append((at, starts[high] - at))
            at = max(at, ends[high])
            high += 1
        if at < stop:
            news.append((at, stop - at))
        if high > low:
            first = min(first, starts[low])
            stop = max(stop, ends[high - 1])
        self._count += 1 - (high - low)
        starts[low:high] = [first]
        ends[low:high] = [stop]
        self._shrink(starts, ends)
        return news

    def _shrink(self, starts: list[int], ends: list[int]) -> None:
        while self._count > self.ranges_max:
            if len(self._ranges) > 1:
                _, (forgotten, _ends) = self._ranges.popitem(last=False)
                self._count -= len(forgotten)
            else:
                del starts[0], ends[0]
                self._count -= 1
