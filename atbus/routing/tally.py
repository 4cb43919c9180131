"""
Count who says that nobody has got a question.

A question goes to one branch or several, and each says at most once that nobody there has got it:
who passes it on to several ends that, or counts in its turn (wire protocol, 7.20). So nobody has
got it when as many have said so as there are branches. Of one that has got it, or whose link died,
nothing is heard, and the time for counting runs out. Where too many are counted the one whose time
is over first is forgotten: if nobody had it, all would mostly have said so by then.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from atbus.routing.answers import Expectations

T = TypeVar("T")


@attrs.define(eq=False)
class _Tally(Generic[T]):
    """
    Who has said so of one question.

    :param branches: How many have to; None until that is known.
    :param nodes: Which nodes have. A second word of one does not count: it may be the first again.
    :param here: How often it was found here: at once, or as a branch has handed the question back.
    """

    token: T
    branches: int | None
    nodes: set[int] = attrs.field(factory=set)
    here: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nobody is left who may have got it."""
        return self.branches is not None and self.here + len(self.nodes) >= self.branches


class Tallies(Generic[T]):
    """
    The questions of which one node counts who has not got them.

    :param count_max: How many there may be at once.
    """

    def __init__(self, count_max: int) -> None:
        self._open: Expectations[int, _Tally[T]] = Expectations(count_max)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def deadline(self) -> float | None:
        """When the first of them is over, seconds; None when there is none."""
        return self._open.deadline

    def add(self, number: int, token: T, deadline: float, branches: int | None = None) -> None:
        """
        Count for a question, if need be in place of another one.

        :param number: What it will be known by.
        :param token: What `went` or `said` gives when nobody has got it.
        :param deadline: When to stop counting, seconds.
        :param branches: To how many it goes; None when `went` will say so.
        """
        if self._open.full:
            self._open.give_up()
        self._open.add(number, _Tally(token, branches), deadline)

    def went(self, number: int, branches: int) -> T | None:
        """
        Take note of how many branches a question has gone to.

        :param branches: 0 when somebody has it for certain, or nobody was found.
        :returns: The token, because nobody has got it.
        """
        tally = self._open.get(number)
        if tally is None:
            return None
        tally.branches = branches
        if not branches and not tally.here:
            self._open.resolve(number)
            return None
        return self._checked(number, tally)

    def said(self, number: int, node: int | None = None) -> T | None:
        """
        Take the news that nobody has got a question on one branch.

        :param node: Who says so; None when it was found here.
        :returns: The token, because that was the last branch.
        """
        tally = self._open.get(number)
        if tally is None:
            return None
        if node is None:
            tally.here += 1
        else:
            tally.nodes.add(node)
        return self._checked(number, tally)

    def _checked(self, number: int, tally: _Tally[T]) -> T | None:
        if not tally.is_complete:
            return None
        self._open.resolve(number)
        return tally.token

    def expire(self, now: float) -> None:
        """Count no more for those whose time is over."""
        self._open.expire(now)

    def clear(self) -> None:
        """Count for none any more."""
        self._open.clear()
