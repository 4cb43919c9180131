"""
Questions of this node of which others may say that nobody has got them.

A question goes to one branch or several, and each says at most once that nobody there has got it:
who passes it on to several ends that (wire protocol, 7.20). So nobody has got it when there are as
many words as branches.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from atbus.routing.answers import Expectations
from atbus.subjects import bounds
from atbus.subjects.interest import HERE

#: Called, at most once, when it turns out that nobody gets a publication.
Unheard = Callable[[], object]


@attrs.define(eq=False)
class _Tally:
    """
    Who has said that nobody has got a question.

    :param branches: How many have to say so; None until that is known.
    :param nodes: Which nodes have. A second word of one does not count: it may be the first again.
    :param here: How often it was found here: at once, or as a branch has handed the question back.
    """

    call: Unheard
    branches: int | None = None
    nodes: set[int] = attrs.field(factory=set)
    here: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nobody is left who may have got it."""
        return self.branches is not None and self.here + len(self.nodes) >= self.branches


class Tallies:
    """The questions for which this node counts who has not got them."""

    def __init__(self) -> None:
        self._open: Expectations[int, _Tally] = Expectations(bounds.INQUIRIES_MAX)

    @property
    def deadline(self) -> float | None:
        """When the first of them is over, seconds; None when there is none."""
        return self._open.deadline

    def add(self, sequence: int, call: Unheard, deadline: float) -> None:
        """
        Count for a question that goes out now; when too many are counted, nobody will hear of it.

        :param sequence: Its number.
        :param call: What `went` or `said` gives when nobody has got it.
        :param deadline: When to stop counting, seconds.
        """
        self._open.add(sequence, _Tally(call), deadline)

    def went(self, sequence: int, branches: int) -> Unheard | None:
        """
        Take note of how many branches a question has gone to.

        :param branches: 0 when somebody has it for certain, or nobody was found.
        :returns: Whom to call because nobody has got it.
        """
        tally = self._open.get(sequence)
        if tally is None:
            return None
        tally.branches = branches
        if not branches and not tally.here:
            self._open.resolve(sequence)
            return None
        return self._checked(sequence, tally)

    def said(self, sequence: int, node: int = HERE) -> Unheard | None:
        """
        Take the news that nobody has got a question on one branch.

        :param node: Who says so.
        :returns: Whom to call because that was the last branch.
        """
        tally = self._open.get(sequence)
        if tally is None:
            return None
        if node == HERE:
            tally.here += 1
        else:
            tally.nodes.add(node)
        return self._checked(sequence, tally)

    def _checked(self, sequence: int, tally: _Tally) -> Unheard | None:
        if not tally.is_complete:
            return None
        self._open.resolve(sequence)
        return tally.call

    def expire(self, now: float) -> None:
        """Count no more for those whose time is over."""
        self._open.expire(now)

    def clear(self) -> None:
        """Count for none any more."""
        self._open.clear()
