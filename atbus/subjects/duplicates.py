"""
Recognize a publication that came before.

The rules of `atbus.subjects.distribution` send a publication to nobody twice in a tree with peers
under one upstream. While tables change, and in a mesh where two ways lead to one node, it may
arrive by both. Each publisher numbers its publications, so the second one is known by its number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs

from atbus import limits

_ALL = (1 << limits.PUBLICATIONS_REMEMBERED_MAX) - 1


@attrs.define(eq=False)
class _Publisher:
    """The newest number of a publisher, and a bit for each of the last ones: 1 is the newest."""

    epoch: int
    newest: int
    seen: int


class Duplicates:
    """What came from each of the publishers that published last."""

    def __init__(self) -> None:
        self._publishers: OrderedDict[int, _Publisher] = OrderedDict()

    def is_new(self, source: int, epoch: int, sequence: int) -> bool:
        """
        Note one publication.

        :param source: Who published it.
        :param epoch: The publisher's incarnation; an older one than is known is over.
        :param sequence: Its number.
        :returns: Whether it did not come before; False also for one too old to be told.
        """
        publisher = self._publishers.get(source)
        if publisher is None or epoch > publisher.epoch:
            self._publishers[source] = _Publisher(epoch, sequence, 1)
            self._publishers.move_to_end(source)
            if len(self._publishers) > limits.PUBLISHERS_REMEMBERED_MAX:
                self._publishers.popitem(last=False)
            return True
        if epoch < publisher.epoch:
            return False
        self._publishers.move_to_end(source)
        ahead = sequence - publisher.newest
        if ahead > 0:
            kept = publisher.seen << ahead if ahead < limits.PUBLICATIONS_REMEMBERED_MAX else 0
            publisher.seen = kept & _ALL | 1
            publisher.newest = sequence
            return True
        if -ahead >= limits.PUBLICATIONS_REMEMBERED_MAX:
            return False
        bit = 1 << -ahead
        if publisher.seen & bit:
            return False
        publisher.seen |= bit
        return True

    def are_new(self, source: int, epoch: int, first: int, count: int) -> bool:
        """
        Note several publications, if all are newer than everything of this publisher.

        :param source: Who published them.
        :param epoch: The publisher's incarnation.
        :param first: The number of the first one; the others follow.
        :param count: How many.
        :returns: Whether they are noted; if not, each is to be asked for with `is_new`.
        """
        publisher = self._publishers.get(source)
        if publisher is not None and epoch <= publisher.epoch:
            if epoch < publisher.epoch or first <= publisher.newest:
                return False
            ahead = first + count - 1 - publisher.newest
            kept = publisher.seen << ahead if ahead < limits.PUBLICATIONS_REMEMBERED_MAX else 0
            publisher.seen = (kept | (1 << count) - 1) & _ALL
            publisher.newest = first + count - 1
            self._publishers.move_to_end(source)
            return True
        for sequence in range(first, first + count):
            self.is_new(source, epoch, sequence)
        return True

    def knows(self, source: int, epoch: int, sequence: int) -> bool:
        """
        Tell whether one publication has been noted.

        :param source: Who published it.
        :param epoch: The publisher's incarnation.
        :param sequence: Its number.
        """
        publisher = self._publishers.get(source)
        if publisher is None or epoch != publisher.epoch:
            return False
        behind = publisher.newest - sequence
        return 0 <= behind < limits.PUBLICATIONS_REMEMBERED_MAX and bool(
            publisher.seen >> behind & 1
        )

    @property
    def rows(self) -> list[tuple[int, int, int, int]]:
        """All of it: of each publisher its id, its epoch, its newest number, and the bits."""
        return [(key, each.epoch, each.newest, each.seen) for key, each in self._publishers.items()]

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int, int]]) -> Duplicates:
        """Make the same again from its `rows`."""
        made = cls()
        for source, epoch, newest, seen in rows:
            made._publishers[source] = _Publisher(epoch, newest, seen)
        return made

    def may_know(self, source: int, epoch: int, sequence: int) -> bool:
        """Tell whether one publication has been noted, or is too old to be told; as in `knows`."""
        publisher = self._publishers.get(source)
        if publisher is None or epoch > publisher.epoch:
            return False
        is_old = publisher.newest - sequence >= limits.PUBLICATIONS_REMEMBERED_MAX
        return epoch < publisher.epoch or is_old or self.knows(source, epoch, sequence)
