"""
Where the neighbors stand that take part, and what those who stand there may have to be told.

What has changed is noted once for all who stand on one side, not for each of them, and the places
are kept as they change: many neighbors may end at the same moment, and each of them is to cost what
it wanted, whoever else there is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, TypeVar

S = TypeVar("S")
R = TypeVar("R")


class Places(Generic[S, R]):
    """
    Places of neighbors.

    :param upwards: The side on which our upstream is.
    """

    def __init__(self, upwards: S) -> None:
        #: Who takes part, and where each stands; only to be read.
        self.sides: dict[int, S] = {}
        #: The first of those upwards; None if there is none.
        self.above: int | None = None
        #: By side what has changed since it was taken; only to be read.
        self.news: defaultdict[S, dict[R, None]] = defaultdict(dict)
        self._upwards = upwards

    def stand(self, bus_id: int, side: S | None) -> None:
        """
        Note where a neighbor stands.

        :param side: There; None: it takes part no more.
        """
        before = self.sides.get(bus_id)
        if side is not None:
            self.sides[bus_id] = side
        else:
            self.sides.pop(bus_id, None)
        if not self.sides:
            # Whoever comes is told everything.
            self.news.clear()
        if self._upwards in (before, side):
            places = self.sides.items()
            self.above = next((each for each, at in places if at == self._upwards), None)

    def note(self, sides: Iterable[S], row: R, by: int = 0) -> None:
        """
        Note that those who stand there may have to be told something.

        :param sides: Where.
        :param row: What; who knows it already, or has told it himself, has nothing to be told.
        :param by: Which neighbor has told it; 0 for none. Where it is alone nobody is to be told.
        """
        if len(self.sides) > (by in self.sides):
            for side in sides:
                self.news[side][row] = None

    def take_news(self) -> dict[S, dict[R, None]]:
        """
        Take what was noted.

        :returns: By side what has changed since the last call.
        """
        taken, self.news = self.news, defaultdict(dict)
        return taken
