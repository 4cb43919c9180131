"""Lists of ranges: merging, covering, finding, conflicting."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import (
    ID_MAX,
    MASK_BITS_MAX,
    TEMPORARY,
    Subnet,
    covers,
    find_subnet,
    first_conflict,
    merge_subnets,
    own_subnets,
)
from atbus.errors import BusIdError

NODE = 0x12345678

ids = st.integers(min_value=1, max_value=ID_MAX)
subnets = st.builds(Subnet, ids, st.integers(min_value=0, max_value=MASK_BITS_MAX))
#: Few and narrow, so that ranges meet, nest and touch often.
crowded = st.lists(
    st.builds(Subnet, st.integers(min_value=0x100, max_value=0x1FF), st.integers(0, 6)),
    max_size=24,
)
crowded_ids = st.integers(min_value=0xC0, max_value=0x240)


def members(ranges: tuple[Subnet, ...] | list[Subnet]) -> set[int]:
    """Count out the ids of narrow ranges."""
    return {each for subnet in ranges for each in range(subnet.first, subnet.last + 1)}


def mergeable(left: Subnet, right: Subnet) -> bool:
    """Tell whether two ranges are the halves of one."""
    return (
        left.mask_bits == right.mask_bits < MASK_BITS_MAX
        and left.last + 1 == right.first
        and Subnet(left.first, left.mask_bits + 1).contains(right.last)
    )


class MergeTests(SynchronousTestCase):
    """The shortest form of a list of ranges."""

    def test_drops_what_is_inside(self) -> None:
        """
        A range inside another adds nothing.

        Scenario: A6
        """
        merged = merge_subnets([Subnet(0x12345678, 8), Subnet(0x12345670, 0)])
        self.assertEqual(merged, (Subnet(0x12345678, 8),))

    def test_joins_two_halves(self) -> None:
        """
        Two aligned neighbors of one width become one range twice as wide.

        Scenario: A7
        """
        (merged,) = merge_subnets([Subnet(0x12345678, 8), Subnet(0x12345789, 8)])
        self.assertEqual((merged.first, merged.last, merged.mask_bits), (0x12345600, 0x123457FF, 9))

    def test_leaves_apart_what_is_apart(self) -> None:
        """
        Ranges that do not touch stay two, sorted.

        Scenario: A8
        """
        merged = merge_subnets([Subnet(0x12356789, 8), Subnet(0x12345678, 8)])
        self.assertEqual(merged, (Subnet(0x12345678, 8), Subnet(0x12356789, 8)))

    def test_joins_again_and_again(self) -> None:
        """
        Joining makes new neighbors, which are joined as well.

        Scenario: A9
        """
        merged = merge_subnets(
            [
                Subnet(0x12345709, 7),
                Subnet(0x12345678, 8),
                Subnet(0x12356789, 16),
                Subnet(0x12345789, 7),
                Subnet(0x12356900, 8),
                Subnet(0x12396789, 16),
            ]
        )
        self.assertEqual(
            [(each.first, each.last, each.mask_bits) for each in merged],
            [
                (0x12345600, 0x123457FF, 9),
                (0x12350000, 0x1235FFFF, 16),
                (0x12390000, 0x1239FFFF, 16),
            ],
        )

    def test_neighbors_across_a_border_stay_two(self) -> None:
        """Ranges that touch but are not the halves of one stay as they are."""
        across = (Subnet(0x1100, 8), Subnet(0x1200, 8))
        self.assertEqual(merge_subnets(across), across)

    def test_everybody_stays_two_halves(self) -> None:
        """The two halves of all ids are not joined: there is no such range."""
        halves = (Subnet(0, 63), Subnet(ID_MAX, 63))
        self.assertEqual(merge_subnets(halves), halves)

    @settings(deadline=None)
    @given(crowded)
    def test_shortest_form(self, ranges: list[Subnet]) -> None:
        """Merging keeps the ids, sorts, and leaves nothing to merge."""
        merged = merge_subnets(ranges)
        self.assertEqual(members(merged), members(ranges))
        self.assertEqual(list(merged), sorted(merged))
        for left, right in itertools.pairwise(merged):
            self.assertFalse(left.overlaps(right))
            self.assertFalse(mergeable(left, right))
        self.assertEqual(merge_subnets(merged), merged)

    @settings(deadline=None)
    @given(st.lists(subnets, max_size=12), ids)
    def test_keeps_wide_ranges(self, ranges: list[Subnet], bus_id: int) -> None:
        """An id is in the merged ranges exactly when it was in one of the originals."""
        merged = merge_subnets(ranges)
        for each in (bus_id, *(subnet.first for subnet in ranges)):
            was_inside = any(subnet.contains(each) for subnet in ranges)
            self.assertEqual(any(subnet.contains(each) for subnet in merged), was_inside)
        self.assertTrue(covers(merged, ranges))


class CoverTests(SynchronousTestCase):
    """Lists of ranges against ids and against each other."""

    OUTER = (Subnet(0x12345678, 16), Subnet(0x12356789, 8))

    def test_ids_in_a_list(self) -> None:
        """
        An id is in a list when one of the ranges has it; 0 never is.

        Scenario: A10
        """
        for inside in (0x12340000, 0x1234FFFF, 0x12356700, 0x123567FF):
            self.assertIsNotNone(find_subnet(sorted(self.OUTER), inside))
        for outside in (0x1233FFFF, 0x12350000, 0x123566FF, 0x12356800, 0):
            self.assertIsNone(find_subnet(sorted(self.OUTER), outside))

    def test_list_in_a_list(self) -> None:
        """
        A list covers another when each range of it lies inside one of its own.

        Scenario: A11
        """
        inner = (Subnet(0x12345678, 8), Subnet(0x12356789, 8))
        self.assertTrue(covers(self.OUTER, self.OUTER))
        self.assertTrue(covers(self.OUTER, inner))
        self.assertFalse(covers(inner, self.OUTER))
        wider = (Subnet(0x12345678, 8), Subnet(0x12356789, 16))
        self.assertFalse(covers(self.OUTER, wider))

    def test_prefix_may_be_any_id_of_the_range(self) -> None:
        """
        Ranges compare the same whichever of their ids a configuration gives as prefix.

        Scenario: A11
        """
        raw = [(0x1234FFFF, 8), (0x123567AB, 8)]
        self.assertTrue(covers(self.OUTER, [Subnet(*pair) for pair in raw]))
        wider = [(0x1234FFFF, 17)]
        self.assertFalse(covers(self.OUTER, [Subnet(*pair) for pair in wider]))

    def test_empty_lists(self) -> None:
        """
        Nothing covers nothing, and nothing else.

        Scenario: A12
        """
        self.assertTrue(covers((), ()))
        self.assertFalse(covers((), self.OUTER))
        self.assertTrue(covers(self.OUTER, ()))

    @settings(deadline=None)
    @given(crowded, crowded)
    def test_covering_means_having_all_ids(self, outer: list[Subnet], inner: list[Subnet]) -> None:
        """A list that covers another has its ids; a merged one covers whatever it has."""
        if covers(outer, inner):
            self.assertLessEqual(members(inner), members(outer))
        if members(inner) <= members(outer):
            self.assertTrue(covers(merge_subnets(outer), merge_subnets(inner)))


class FindTests(SynchronousTestCase):
    """The narrowest range around an id."""

    def test_both_ends_find_the_entry(self) -> None:
        """
        The ends of a range find it; gaps and id 0 find nothing.

        Scenario: A13
        """
        listed = sorted([Subnet(0x12345678, 16), Subnet(0x12356789, 8)])
        for bus_id, position in (
            (0x12340000, 0),
            (0x1234FFFF, 0),
            (0x12356700, 1),
            (0x123567FF, 1),
        ):
            self.assertIs(find_subnet(listed, bus_id), listed[position])
        for bus_id in (0, 0x1233FFFF, 0x12350000, 0x123566FF, 0x12356800):
            self.assertIsNone(find_subnet(listed, bus_id))

    def test_narrowest_wins(self) -> None:
        """
        Of nested ranges the narrowest that has the id is found.

        Scenario: A13
        """
        listed = [
            Subnet(0x12340000, 8),
            Subnet(0x12345678, 8),
            Subnet(0x1234FF78, 8),
            Subnet(0x12345679, 16),
        ]
        self.assertEqual(listed, sorted(listed))
        expected = {
            0x12340035: listed[0],
            0x12340100: listed[3],
            0x12347890: listed[3],
            0x12345678: listed[1],
            0x1234FF79: listed[2],
            0x1234FFFF: listed[2],
            0x1233FFFF: None,
        }
        for bus_id, subnet in expected.items():
            self.assertEqual(find_subnet(listed, bus_id), subnet)

    @settings(deadline=None)
    @given(crowded, crowded_ids)
    def test_agrees_with_looking_at_all(self, ranges: list[Subnet], bus_id: int) -> None:
        """The search finds what looking at every range finds."""
        around = [subnet for subnet in ranges if subnet.contains(bus_id)]
        expected = min(around, key=lambda subnet: subnet.mask_bits, default=None)
        self.assertEqual(find_subnet(sorted(ranges), bus_id), expected)

    @settings(deadline=None)
    @given(st.lists(subnets, max_size=24), ids)
    def test_agrees_over_all_widths(self, ranges: list[Subnet], bus_id: int) -> None:
        """The same for ranges of any width anywhere."""
        around = [subnet for subnet in ranges if subnet.contains(bus_id)]
        expected = min(around, key=lambda subnet: subnet.mask_bits, default=None)
        self.assertEqual(find_subnet(sorted(ranges), bus_id), expected)


class ConflictTests(SynchronousTestCase):
    """Two nodes that claim the same ids."""

    def test_names_the_pair(self) -> None:
        """A conflict names what was wanted and what is taken."""
        taken = [Subnet(0x12350000, 16), Subnet(0x12345678, 8)]
        wanted = [Subnet(0x12360000, 16), Subnet(0x12345601, 0)]
        self.assertEqual(first_conflict(wanted, taken), (wanted[1], taken[1]))

    def test_looks_behind_the_neighbor(self) -> None:
        """A wide claim that swallows several taken ranges is seen wherever they stand."""
        taken = [Subnet(0x12340100, 8), Subnet(0x12345678, 8), Subnet(0x22340000, 16)]
        self.assertIsNotNone(first_conflict([Subnet(0x12345678, 24)], taken))
        self.assertIsNotNone(first_conflict(taken, [Subnet(0x12345678, 24)]))

    def test_peace(self) -> None:
        """Ranges side by side are no conflict, and neither is nothing."""
        taken = [Subnet(0x12345600, 8)]
        self.assertIsNone(first_conflict([Subnet(0x12345700, 8)], taken))
        self.assertIsNone(first_conflict([], taken))
        self.assertIsNone(first_conflict(taken, []))

    @settings(deadline=None)
    @given(crowded, crowded)
    def test_symmetric(self, one: list[Subnet], other: list[Subnet]) -> None:
        """Two lists conflict, whichever came first, exactly when they share an id."""
        shared = bool(members(one) & members(other))
        self.assertEqual(first_conflict(one, other) is not None, shared)
        self.assertEqual(first_conflict(other, one) is not None, shared)


class OwnSubnetTests(SynchronousTestCase):
    """The ranges of a node, from its configuration."""

    def test_prefix_of_zero_means_myself(self) -> None:
        """
        A node's ranges, one written with prefix 0, hold exactly the ids between their ends.

        Scenario: A14
        """
        ranges = own_subnets(NODE, [(0, 16), (0x22345678, 16)])
        for inside in (0x12340000, 0x1234FFFF, 0x22340000, 0x2234FFFF):
            self.assertIsNotNone(find_subnet(ranges, inside))
        for outside in (0x1233FFFF, 0x12350000, 0x2233FFFF, 0x22350000):
            self.assertIsNone(find_subnet(ranges, outside))

    def test_node_without_ranges_has_itself(self) -> None:
        """
        A node that was given no range, or none around itself, still has its own id.

        Scenario: A16
        """
        ranges = own_subnets(NODE, [])
        self.assertIsNotNone(find_subnet(ranges, NODE))
        self.assertIsNone(find_subnet(ranges, NODE + 1))
        elsewhere = own_subnets(NODE, [(0x22345678, 16)])
        self.assertEqual(elsewhere, (Subnet(NODE, 0), Subnet(0x22340000, 16)))

    def test_temporary_node_has_none(self) -> None:
        """A temporary node has no ids to give away."""
        self.assertEqual(own_subnets(TEMPORARY, [(0, 16), (0x22345678, 16)]), ())

    def test_refuses_a_wrong_mask(self) -> None:
        """A pair out of bounds is refused."""
        self.assertRaises(BusIdError, own_subnets, NODE, [(0, 64)])
