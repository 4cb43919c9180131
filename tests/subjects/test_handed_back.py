"""Where a group goes that a branch has handed back."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.distribution import Distribution, Distributor, Incoming
from atbus.subjects.interest import HERE, Interests, Side
from atbus.wire.messages import Interest, InterestEntry

ABOVE, BESIDE, BELOW, OTHER = 1, 2, 3, 4
PLACES = {ABOVE: Side.ABOVE, BESIDE: Side.BESIDE, BELOW: Side.BELOW, OTHER: Side.BELOW}


class HandedBackTests(SynchronousTestCase):
    """A node with neighbors on all sides, one of which has handed group "q" back."""

    def try_others(self, only: int | None, *members: int) -> Distribution:
        """
        Decide for what comes back from below.

        :param only: The one neighbor above or beside that believes it; None: all do.
        :param members: Who wants it.
        """
        interests = Interests()
        entries = (InterestEntry(subject="a", queue="q", weight=1),)
        told = Interest(generation=1, replay=True, last=True, entries=entries)
        for place, side in PLACES.items():
            interests.open(place, side)
            if place in members:
                interests.heard(place, told)
        if HERE in members:
            interests.subscribe("a", "q")
        return Distributor(interests, random.Random(0).randrange).distribute(
            Incoming(
                subject=("a",), came_from=BELOW, queues=("q",), handed_back=True, only=only
            )
        )

    def test_where_it_is_believed(self) -> None:
        """Above and beside only who believes it is tried; where nobody does, nobody has it."""
        for believer, other in ((ABOVE, BESIDE), (BESIDE, ABOVE)):
            for members in ((believer,), (believer, other)):
                [branch] = self.try_others(believer, *members).branches
                self.assertEqual((branch.neighbor, branch.queues), (believer, ("q",)))
            self.assertEqual(self.try_others(believer, other).unserved, ("q",))
            self.assertEqual(self.try_others(0, ABOVE, BESIDE).unserved, ("q",))
            [branch] = self.try_others(None, other).branches
            self.assertEqual(branch.neighbor, other)

    def test_here_and_below(self) -> None:
        """Those below believe everything, and members here are members."""
        [branch] = self.try_others(0, OTHER, ABOVE, BESIDE).branches
        self.assertEqual(branch.neighbor, OTHER)
        self.assertEqual(self.try_others(0, HERE, ABOVE).queues_here, ("q",))
        self.assertEqual(self.try_others(None, BELOW).unserved, ("q",))
