"""The word that a node is dead."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.record import Stamp
from atbus.routing.tombstones import Tombstones


class TombstoneTests(SynchronousTestCase):
    """How long a death is remembered, and what it covers."""

    def test_it_covers_what_is_older(self) -> None:
        """Records up to the stamp of the death are covered, later ones are not."""
        graves = Tombstones(10.0, 5)
        graves.bury(7, Stamp(2, 3), now=0.0)
        covered = [graves.covers(7, Stamp(*each)) for each in ((1, 9), (2, 3), (2, 4), (3, 1))]
        self.assertEqual(covered, [True, True, False, False])
        self.assertFalse(graves.covers(8, Stamp(1, 1)))

    def test_the_larger_stamp_stays(self) -> None:
        """A death that is reported again keeps its larger stamp, and is kept longer."""
        graves = Tombstones(10.0, 5)
        graves.bury(7, Stamp(2, 3), now=0.0)
        graves.bury(7, Stamp(2, 1), now=4.0)
        self.assertEqual((graves.stamp_of(7), graves.deadline), (Stamp(2, 3), 14.0))

    def test_it_ends(self) -> None:
        """
        After its time nothing is left of it.

        Scenario: BB37
        """
        graves = Tombstones(10.0, 5)
        graves.bury(7, Stamp(1, 1), now=0.0)
        graves.bury(8, Stamp(1, 1), now=1.0)
        self.assertEqual(graves.expire(9.9), [])
        self.assertEqual(graves.expire(10.0), [7])
        self.assertEqual(graves.expire(99.0), [8])
        self.assertEqual((len(graves), graves.deadline, graves.stamp_of(7)), (0, None, None))

    def test_they_are_counted(self) -> None:
        """One too many is the end of the oldest."""
        graves = Tombstones(10.0, 2)
        forgotten = [graves.bury(each, Stamp(1, 1), float(each)) for each in (1, 2, 1, 3)]
        self.assertEqual(forgotten, [[], [], [], [2]])
