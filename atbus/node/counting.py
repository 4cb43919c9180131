"""
Questions of which others may say that nobody has got them.

A node counts for those that begin here, and for those that part here: then it tells whom it would
have told if it had found nobody itself. Both have numbers of one kind, so that whoever finds nobody
treats the one like the other: those of tallies begin where no publication comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from atbus import limits
from atbus.node.context import Alarm
from atbus.routing.tally import Tallies
from atbus.subjects import bounds
from atbus.subjects.interest import HERE, Side
from atbus.wire.messages import Tally

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.publication import Passing, Publication

#: Called, at most once, when it turns out that nobody gets a publication.
Unheard = Callable[[], object]

_FIRST: Final = 1 << 63


class Counting:
    """What one node counts, and whom it tells."""

    def __init__(self, context: Context) -> None:
        # Set by the node, which wires its parts: how another node is told, ...
        self.tell: Callable[[Tally], object]
        # ... whether a neighbor can be named another one than the source, ...
        self.counts: Callable[[int], bool]
        # ... on which side each is, and whether a group can have been handed back.
        self.sides: Callable[[], Mapping[int, Side]]
        self.has_entrusted: Callable[[int, int, int], bool]
        self._context = context
        self._asked: Tallies[Unheard] = Tallies(bounds.INQUIRIES_MAX)
        self._parted: Tallies[Tally] = Tallies(bounds.PARTED_QUESTIONS_MAX)
        self._number = _FIRST
        self._alarm = Alarm(context.timers, self._expire)

    def ask(self, sequence: int, unheard: Unheard) -> None:
        """
        Count for a question that goes out now; of too many the first are forgotten.

        :param sequence: Its number among the publications of this node.
        :param unheard: Called when nobody has got it.
        """
        self._asked.add(sequence, unheard, self._context.now + limits.REQUEST_SECONDS)

    def asked(self, sequence: int, branches: int) -> None:
        """
        Take note of how many branches a question has gone to.

        :param branches: 0 when somebody has it for certain, or nobody was found.
        """
        self.call(self._asked.went(sequence, branches))
        self._set_alarm()

    def told(
        self, publication: Publication, passing: Passing, neighbors: Sequence[int]
    ) -> dict[int, Tally | None]:
        """
        Say whom those are to tell to whom a question goes on that nobody has got yet.

        :param neighbors: To whom.
        :returns: By neighbor, None for the source. Who is not there tells nobody.
        """
        if not publication.reply_to:
            return {}
        tally = passing.tally
        if passing.came_from != HERE:
            is_single = len(neighbors) == 1
            counted = None
            if not passing.begins_here and (
                not is_single or self._is_back(publication, passing)
            ):
                counted = self._part(passing.told(publication), neighbors)
            if counted is None and not is_single:
                return {}
            tally = counted or tally
        found: dict[int, Tally | None] = dict.fromkeys(neighbors, tally)
        sides = [*map(self.sides().get, neighbors)]
        if Side.ABOVE in sides and Side.BESIDE in sides:
            # Who is beside us may also get a group by way of who is above us both.
            above = neighbors[sides.index(Side.ABOVE)]
            found[above] = self._part(tally or passing.told(publication), [above]) or tally
        return found

    def _is_back(self, publication: Publication, passing: Passing) -> bool:
        """Tell whether a group was handed back to us."""
        return passing.handed_back and self.has_entrusted(
            publication.source, passing.epoch, publication.sequence
        )

    def _part(self, told: Tally, neighbors: Sequence[int]) -> Tally | None:
        """
        Count for a question that parts here.

        :param told: Who is told when nobody has got it.
        :param neighbors: To whom it goes.
        :returns: Whom these are to tell; None when one of them cannot.
        """
        if not all(map(self.counts, neighbors)):
            return None
        deadline = self._context.now + limits.REQUEST_SECONDS
        self._parted.add(self._number, told, deadline, len(neighbors))
        self._set_alarm()
        self._number += 1
        return Tally(int(self._context.bus_id), self._context.epoch, self._number - 1)

    def nobody(self, tally: Tally) -> None:
        """
        Tell that nobody has got a question, as far as it has come here.

        :param tally: Who is to be told.
        """
        if tally.node != self._context.bus_id:
            self.tell(tally)
        elif self._context.is_own_epoch(tally.epoch):
            self.said(tally.number)

    def said(self, number: int, node: int | None = None) -> None:
        """
        Take the news that nobody has got a question on one branch.

        :param number: Its own here, or that of a tally.
        :param node: Who says so; None when it was found here.
        """
        if number < _FIRST:
            self.call(self._asked.said(number, node))
            return
        told = self._parted.said(number, node)
        if told is not None:
            self.nobody(told)

    def call(self, unheard: Unheard | None) -> None:
        """Tell the program that nobody has got its question, if it is to be told."""
        if unheard is not None:
            try:
                unheard()
            except Exception:  # noqa: BLE001 - the program's
                self._context.statistics.callback_failures += 1
                self._context.log.failure("the program failed on a question that nobody heard")

    def _expire(self) -> None:
        for each in (self._asked, self._parted):
            each.expire(self._context.now)
        self._set_alarm()

    def _set_alarm(self) -> None:
        deadlines = (self._asked.deadline, self._parted.deadline)
        self._alarm.set(min((each for each in deadlines if each is not None), default=None))

    def close(self) -> None:
        """Wait for no news any more."""
        self._asked.clear()
        self._parted.clear()
        self._alarm.set(None)
