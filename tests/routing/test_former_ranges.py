"""The ranges of nodes that have left."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.routing import bounds
from atbus.routing.former_ranges import FormerRanges


class FormerRangesTests(SynchronousTestCase):
    """What is kept of them."""

    def test_until_it_is_back(self) -> None:
        """The ranges of a node count while it is away; an id alone is no range."""
        former = FormerRanges(4)
        former.left(0x100, (Subnet(0x100, 8),))
        former.left(0x200, (Subnet(0x200, 8), Subnet(0x700, 0)))
        former.left(0x300, (Subnet(0x300, 0),))
        self.assertEqual(former.subnets({0x100}), (Subnet(0x200, 8), Subnet(0x700, 0)))
        self.assertEqual(former.subnets(()), (Subnet(0x100, 8), *former.subnets({0x100})))

    def test_no_more_than_so_many(self) -> None:
        """The one that left first is forgotten first."""
        former = FormerRanges(bounds.FORMER_RANGES_MAX)
        for number in range(bounds.FORMER_RANGES_MAX + 1):
            former.left(number << 8, (Subnet(number << 8, 8),))
        former.left(1 << 8, (Subnet(1 << 8, 4),))
        ranges = former.subnets(())
        self.assertEqual(len(ranges), bounds.FORMER_RANGES_MAX)
        self.assertEqual((ranges[0], ranges[-1]), (Subnet(2 << 8, 8), Subnet(1 << 8, 4)))
