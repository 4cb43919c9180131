"""Choosing free ids."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.routing.auto_id import assign_auto_id, intersection

SUBNETS = st.lists(st.builds(Subnet, st.integers(0, 63), st.integers(0, 5)), max_size=4)


def ids_of(subnets: list[Subnet] | tuple[Subnet, ...]) -> set[int]:
    return {bus_id for each in subnets for bus_id in range(each.first, each.last + 1)} - {0}


class AssignTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(own=SUBNETS, taken=SUBNETS)
    def test_each_free_id_once(self, *, own: list[Subnet], taken: list[Subnet]) -> None:
        """Consecutive numbers choose every free id, each once, and nothing else."""
        free = ids_of(own) - ids_of(taken)
        chosen = [assign_auto_id(own, taken, number) for number in range(len(free))]
        self.assertEqual(sorted(each for each in chosen if each is not None), sorted(free))
        if not free:
            self.assertIsNone(assign_auto_id(own, taken, 17))

    @settings(deadline=None)
    @given(own=SUBNETS, taken=SUBNETS, bits=st.integers(0, 4))
    def test_with_room_around(self, *, own: list[Subnet], taken: list[Subnet], bits: int) -> None:
        """Who wants a range gets every id, each once, around which the whole range is free."""
        free = ids_of(own) - ids_of(taken)
        blocks = {each: Subnet(each, bits) for each in free}
        fitting = [each for each in free if {blocks[each].first, *ids_of([blocks[each]])} <= free]
        chosen = [assign_auto_id(own, taken, number, bits) for number in range(len(fitting))]
        self.assertEqual(chosen, sorted(fitting))
        if not fitting:
            self.assertIsNone(assign_auto_id(own, taken, 17, bits))

    def test_deterministic(self) -> None:
        """The same number chooses the same id; another one, another."""
        own, taken = [Subnet(0x10000, 16)], [Subnet(0x10000, 8)]
        first = assign_auto_id(own, taken, 123456)
        self.assertEqual(assign_auto_id(own, taken, 123456), first)
        self.assertNotEqual(assign_auto_id(own, taken, 123457), first)

    def test_huge_ranges(self) -> None:
        """Half of all ids, with all but one of them taken, still yield that one."""
        own = [Subnet(1 << 63, 63)]
        last_free = (1 << 63) + 12345
        taken = [Subnet(last_free ^ (1 << bits), bits) for bits in range(63)]
        self.assertEqual(assign_auto_id(own, taken, 999), last_free)
        self.assertIsNone(assign_auto_id(own, [*taken, Subnet(last_free, 0)], 999))

    @settings(deadline=None)
    @given(ones=SUBNETS, others=SUBNETS)
    def test_intersection(self, *, ones: list[Subnet], others: list[Subnet]) -> None:
        """The intersection is what is in both."""
        self.assertEqual(ids_of(intersection(ones, others)), ids_of(ones) & ids_of(others))
