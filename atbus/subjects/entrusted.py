"""
For whom this node looks for members of queue groups (wire protocol, 7.20).

A branch that finds no member hands a group back. The other branches are tried then, each once, and
when none of them has a member it goes back to the neighbor that has entrusted us with it: so step
by step to where it began, and nobody is passed over. Of a group on its way each node remembers from
whom it has it, who has it now, and who has handed it back.

While members in a zone are looked for, a group may go back before all have been tried: there are
some in the zone where it came from, as far as is known. Then it brings the zone along, and who has
handed it back so is tried once more, without the zone, when there are none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from atbus.subjects import bounds
from atbus.subjects.duplicates import Duplicates
from atbus.subjects.interest import HERE


class Errand(NamedTuple):
    """
    A group of one publication that this node is to find a member of.

    :param by: The neighbor that has entrusted us with it; `HERE` when it goes back no further.
    :param hop_limit: What came with it then.
    :param tried: The neighbors that have handed it back since.
    :param at: The neighbor that has it now.
    :param zone: Whose members are preferred, as came with it; empty for none.
    :param left: Those that have handed it back and have others, who are not in the zone.
    :param far: Whether the zone is no matter any more.
    """

    by: int
    hop_limit: int
    tried: tuple[int, ...] = ()
    at: int = HERE
    zone: str = ""
    left: tuple[int, ...] = ()
    far: bool = False

    def without(self, neighbor: int, zone: str) -> Errand:
        """
        Give the same when one more has handed it back.

        :param zone: What he has brought along: not empty if he has others.
        """
        left = tuple(place for place in self.left if place != neighbor)
        if zone and not self.far:
            return self._replace(zone=self.zone or zone, left=(*left, neighbor))
        return self._replace(tried=(*self.tried, neighbor), left=left)


#: It is not here any more, and may come again in another way.
_DONE: Final = Errand(HERE, 0)


class Entrusted:
    """What went on from one node with groups to serve, as much as there is a bound for."""

    def __init__(self) -> None:
        self._known = Duplicates()
        # By source, epoch, sequence and group. What began here is in it when it has come back.
        self._errands: OrderedDict[tuple[int, int, int, str], Errand] = OrderedDict()

    def add(
        self,
        number: tuple[int, int, int],
        queues: Sequence[str],
        place: int,
        errand: Errand | None = None,
    ) -> None:
        """
        Take note that a publication goes on to a branch.

        :param number: Who published it, in which of his incarnations, and its number.
        :param queues: The groups that this branch is to serve.
        :param place: The neighbor.
        :param errand: From whom it is; None when it begins here, and has not come back.
        """
        self._known.is_new(*number)
        if errand is not None:
            self._keep(number, queues, errand._replace(at=place))

    def knows(self, source: int, epoch: int, sequence: int) -> bool:
        """Tell whether a publication has gone on from here with groups to serve."""
        return self._known.knows(source, epoch, sequence)

    def back(
        self,
        number: tuple[int, int, int],
        queues: Sequence[str],
        brought: Errand,
        *,
        ours: bool,
    ) -> Errand | None:
        """
        Take groups that somebody has had before.

        :param number: As in `add`.
        :param brought: Who hands them back, or tries us as another branch, and what he brings.
        :param ours: Whether the publication began here.
        :returns: None when another neighbor has them from us: who tries us has them from him.
        """
        keys = [(*number, queue) for queue in queues]
        found = [self._errands.get(key, _DONE) for key in keys]
        waiting = next((errand for errand in found if errand is not _DONE), None)
        if waiting is not None and waiting.at != brought.by:
            return None
        self._keep(number, queues, _DONE)
        if waiting is None and ours:
            waiting = Errand(HERE, brought.hop_limit)
        if waiting is not None:
            return waiting.without(brought.by, brought.zone)
        # What is forgotten seems to come for the first time; its hop limit is less each time.
        return brought._replace(far=not brought.zone)

    def _keep(
        self, number: tuple[int, int, int], queues: Sequence[str], errand: Errand
    ) -> None:
        errands = self._errands
        for queue in queues:
            key = (*number, queue)
            errands[key] = errand
            errands.move_to_end(key)
        while len(errands) > bounds.ENTRUSTED_REMEMBERED_MAX:
            errands.popitem(last=False)
