"""What a node remembers of groups that it is to find members of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects import bounds
from atbus.subjects.entrusted import Entrusted, Errand
from atbus.subjects.interest import HERE

NUMBER = (7, 1, 5)
BY, FIRST, SECOND = 2, 3, 4


class EntrustedTests(SynchronousTestCase):
    """A node that has a publication from one neighbor, and others that might have a member."""

    def setUp(self) -> None:
        self.entrusted = Entrusted()

    def back(
        self, came_from: int, *queues: str, ours: bool = False, zone: str = ""
    ) -> Errand | None:
        """Take a group back, that comes with hop limit 3."""
        brought = Errand(came_from, 3, zone=zone)
        return self.entrusted.back(NUMBER, queues or ("q",), brought, ours=ours)

    def test_each_branch_once(self) -> None:
        """Who has handed it back is named, one after the other, with what came at first."""
        self.entrusted.add(NUMBER, ("q",), FIRST, Errand(BY, 9))
        errand = self.back(FIRST)
        self.assertEqual(errand, Errand(BY, 9, (FIRST,), FIRST))
        self.entrusted.add(NUMBER, ("q",), SECOND, errand)
        self.assertEqual(self.back(SECOND), Errand(BY, 9, (FIRST, SECOND), SECOND))

    def test_where_it_began(self) -> None:
        """Nothing is remembered of it before it comes back, but that it has gone."""
        self.entrusted.add(NUMBER, ("q",), FIRST)
        self.assertTrue(self.entrusted.knows(*NUMBER))
        errand = self.back(FIRST, ours=True)
        self.assertEqual(errand, Errand(HERE, 3, (FIRST,)))
        self.entrusted.add(NUMBER, ("q",), SECOND, errand)
        again = self.back(SECOND, ours=True)
        self.assertEqual(again, Errand(HERE, 3, (FIRST, SECOND), SECOND))

    def test_as_another_branch(self) -> None:
        """Who tries us gets it back, also when we have had it before."""
        self.assertEqual(self.back(FIRST), Errand(FIRST, 3, far=True))
        self.assertFalse(self.entrusted.knows(*NUMBER))
        self.entrusted.add(NUMBER, ("q",), FIRST, Errand(BY, 9))
        self.back(FIRST)
        self.assertEqual(self.back(SECOND), Errand(SECOND, 3, far=True))

    def test_while_another_one_has_it(self) -> None:
        """Who tries us while we wait for a branch has it from there: it is not ours to be given."""
        self.entrusted.add(NUMBER, ("q",), FIRST, Errand(BY, 9))
        self.assertIsNone(self.back(SECOND))
        self.assertEqual(self.back(FIRST), Errand(BY, 9, (FIRST,), FIRST))

    def test_groups_part(self) -> None:
        """Of one publication each group has branches of its own."""
        self.entrusted.add(NUMBER, ("q",), FIRST, Errand(BY, 9))
        self.entrusted.add(NUMBER, ("r", "s"), SECOND, Errand(BY, 9))
        self.assertEqual(self.back(SECOND, "r", "s"), Errand(BY, 9, (SECOND,), SECOND))
        self.assertEqual(self.back(FIRST), Errand(BY, 9, (FIRST,), FIRST))
        self.assertEqual(self.back(FIRST, "t"), Errand(FIRST, 3, far=True))

    def test_with_a_zone(self) -> None:
        """Who brings the zone along has others; with the last one in the zone that is over."""
        self.entrusted.add(NUMBER, ("q",), FIRST, Errand(BY, 9, zone="x"))
        errand = self.back(FIRST, zone="x")
        self.assertEqual(errand, Errand(BY, 9, (), FIRST, "x", (FIRST,)))
        self.entrusted.add(NUMBER, ("q",), SECOND, errand)
        errand = self.back(SECOND)
        self.assertEqual(errand, Errand(BY, 9, (SECOND,), SECOND, "x", (FIRST,)))
        assert errand is not None
        self.entrusted.add(NUMBER, ("q",), FIRST, errand._replace(far=True))
        # Also when it is brought by one of an earlier release, who brings it always.
        for zone in ("", "x"):
            kept = Entrusted()
            kept.add(NUMBER, ("q",), FIRST, errand._replace(far=True))
            last = kept.back(NUMBER, ("q",), Errand(FIRST, 3, zone=zone), ours=False)
            self.assertEqual(last, Errand(BY, 9, (SECOND, FIRST), FIRST, "x", (), far=True))

    def test_a_zone_of_another_one(self) -> None:
        """What had none where it came from has that of who is the first to prefer one."""
        self.entrusted.add(NUMBER, ("q",), FIRST, Errand(BY, 9))
        self.assertEqual(self.back(FIRST, zone="x"), Errand(BY, 9, (), FIRST, "x", (FIRST,)))
        self.assertEqual(self.back(SECOND, zone="x"), Errand(SECOND, 3, zone="x"))
        self.assertEqual(
            self.back(FIRST, ours=True, zone="x"), Errand(HERE, 3, (), HERE, "x", (FIRST,))
        )

    def test_no_more_than_a_bound(self) -> None:
        """What has been forgotten seems to come for the first time."""
        self.patch(bounds, "ENTRUSTED_REMEMBERED_MAX", 2)
        for queue in "qrst":
            self.entrusted.add(NUMBER, (queue,), FIRST, Errand(BY, 9))
        self.assertEqual(self.back(FIRST, "q"), Errand(FIRST, 3, far=True))
        self.assertEqual(self.back(FIRST, "t"), Errand(BY, 9, (FIRST,), FIRST))
