"""A consistent hash."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing import ring as ring_module
from atbus.routing.ring import POINTS, Point, Ring, Search, number_of

MEMBERS = 32


def ring_of(count: int = MEMBERS) -> Ring[str]:
    """Make a ring of members with telling names."""
    ring: Ring[str] = Ring()
    for number in range(count):
        ring.add(f"node-{number}".encode(), f"node-{number}")
    return ring


def walk(
    ring: Ring[str], search: Search, *, skip_first: bool = False, count: int = 100_000
) -> list[Point[str]]:
    """Walk all around, from one key."""
    return ring.search(number_of("a key"), count, search, skip_first=skip_first)


class KeyTests(SynchronousTestCase):
    """What is spread."""

    def test_signed_and_unsigned_are_the_same(self) -> None:
        """
        A number of 64 bits has one place, whatever the language that it comes from thinks of it.

        Scenario: T3
        """
        self.assertEqual(number_of(-1), number_of(2**64 - 1))
        self.assertEqual(number_of(123), number_of((123).to_bytes(8, "little")))
        self.assertEqual(number_of("ä"), number_of("ä".encode()))

    def test_places_never_change(self) -> None:
        """Keys go to the same place in every version of atbus, on every machine."""
        self.assertEqual(number_of(123), 9_561_196_242_886_989_856)
        self.assertEqual(ring_of(3).find(b"key"), "node-0")


class SearchTests(SynchronousTestCase):
    """Walking the ring."""

    def test_all_points(self) -> None:
        """
        A walk gives every point, the key's own member first; without the first it is shifted.

        Scenario: T5
        """
        ring = ring_of()
        points = walk(ring, Search.ALL)
        self.assertEqual(len(points), MEMBERS * POINTS)
        self.assertEqual(points[0].member, ring.find("a key"))
        rest = walk(ring, Search.ALL, skip_first=True)
        self.assertEqual(rest, points[1:])
        # From a point that was found one goes on where it was.
        again = ring.search(points[0].number, 5, skip_first=True)
        self.assertEqual(again, points[1:6])

    def test_each_member_once(self) -> None:
        """
        Unique means that each member comes once, and the first one not at all if it is skipped.

        Scenario: T6
        """
        ring = ring_of()
        points = walk(ring, Search.UNIQUE)
        self.assertEqual(len({point.member for point in points}), MEMBERS)
        self.assertEqual(len(points), MEMBERS)
        rest = walk(ring, Search.UNIQUE, skip_first=True)
        self.assertEqual(rest, points[1:])

    def test_runs_count_as_one(self) -> None:
        """
        Compact means that no two neighbors are of one member, around the end neither.

        Scenario: T7
        """
        ring = ring_of(3)
        points = walk(ring, Search.COMPACT)
        everything = walk(ring, Search.ALL)
        self.assertLess(len(points), len(everything))
        self.assertEqual(points[0].member, everything[0].member)
        for one, next_one in zip(points, [*points[1:], points[0]], strict=True):
            self.assertNotEqual(one.member, next_one.member)
            self.assertNotEqual(one.number, next_one.number)
        self.assertEqual(walk(ring, Search.COMPACT, skip_first=True), points[1:])

    def test_runs_of_each_member_once(self) -> None:
        """
        Compact and unique together give each member once, by the end of its first run.

        Scenario: T8
        """
        ring = ring_of()
        points = walk(ring, Search.COMPACT_UNIQUE)
        self.assertEqual(len(points), MEMBERS)
        self.assertEqual(len({point.number for point in points}), MEMBERS)
        compact = walk(ring, Search.COMPACT)
        self.assertLessEqual(set(points), set(compact))
        self.assertEqual(
            len(walk(ring, Search.COMPACT_UNIQUE, skip_first=True)), MEMBERS - 1
        )

    def test_one_member_is_one_run(self) -> None:
        """A ring of one member has one run, which begins and ends with it."""
        ring = ring_of(1)
        self.assertEqual(len(walk(ring, Search.COMPACT)), 1)
        self.assertEqual(len(walk(ring, Search.ALL)), POINTS)
        self.assertEqual(walk(ring, Search.UNIQUE, skip_first=True), [])

    def test_never_too_many(self) -> None:
        """
        Who asks for nothing gets nothing, and nobody gets more than there is.

        Scenario: T13, T17
        """
        ring = ring_of()
        for search in Search:
            self.assertEqual(walk(ring, search, count=0), [])
            self.assertEqual(walk(ring, search, count=-3), [])
            self.assertEqual(len(walk(ring, search, count=7)), 7)
            self.assertEqual(Ring[str]().search(5, 10, search), [])
        self.assertIsNone(Ring[str]().find("key"))


class MemberTests(SynchronousTestCase):
    """Members that come and go."""

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=30), st.randoms())
    def test_the_way_there_does_not_matter(
        self, steps: list[tuple[bool, int]], random: object
    ) -> None:
        """
        Whatever came and went in whatever order: the same members give the same ring.

        Scenario: T17
        """
        ring: Ring[int] = Ring()
        left: set[int] = set()
        for is_added, number in steps:
            if is_added:
                ring.add(b"%d" % number, number)
                left.add(number)
            else:
                ring.remove(b"%d" % number)
                left.discard(number)
        other: Ring[int] = Ring()
        for number in sorted(left, reverse=True):
            other.add(b"%d" % number, number)
        self.assertEqual(len(ring), POINTS * len(left))
        self.assertEqual(ring.search(0, 5_000), other.search(0, 5_000))

    def test_a_ring_of_any_size(self) -> None:
        """
        A ring that grows by hundreds and shrinks again gives what the plain list of points does.

        Scenario: T17
        """
        ring: Ring[int] = Ring()
        points = [ring_module._points_of(b"%d" % number) for number in range(600)]
        size = 0
        for wanted in (1, 3, 40, 300, 600, 500, 90, 2, 400):
            for number in range(size, wanted):
                ring.add(b"%d" % number, number)
                if number % 7 == 0:
                    ring.settle(5)
            for number in range(wanted, size):
                ring.remove(b"%d" % number)
            size = wanted
            plain = sorted((point, who) for who in range(size) for point in points[who])
            for key in range(50):
                place = bisect_left(plain, (number_of(key), 0))
                first = plain[place % len(plain)]
                self.assertEqual(ring.find(key), first[1])
            start = number_of("from here")
            place = bisect_left(plain, (start, 0))
            found = [(each.number, each.member) for each in ring.search(start, len(plain) + 1)]
            self.assertEqual(found, plain[place:] + plain[:place])

    def test_one_point_of_two_members(self) -> None:
        """Of two names on one point the smaller has it, whoever came first, while it is there."""
        self.patch(ring_module, "_points_of", lambda name: [number_of(b"here"), number_of(name)])
        for names in ("abc", "cab", "bca"):
            ring: Ring[str] = Ring()
            for name in names:
                ring.add(name.encode(), name)
            self.assertEqual(ring.find(b"here"), "a")
            self.assertEqual(len(ring.search(0, 10)), 4)
            ring.remove(b"a")
            self.assertEqual(ring.find(b"here"), "b")

    def test_a_member_of_the_same_name_takes_its_place(self) -> None:
        """Another member under a name gets exactly the keys of the first."""
        ring = ring_of(4)
        before = {key: ring.find(key) for key in range(200)}
        ring.add(b"node-2", "another")
        after = {key: ring.find(key) for key in range(200)}
        moved = {key for key in before if before[key] != after[key]}
        self.assertEqual(moved, {key for key, member in before.items() if member == "node-2"})

    def test_few_keys_move(self) -> None:
        """When a member goes, only its own keys move; the others stay where they were."""
        ring = ring_of(20)
        before = {key: ring.find(key) for key in range(2_000)}
        ring.remove(b"node-7")
        for key, member in before.items():
            if member != "node-7":
                self.assertEqual(ring.find(key), member)
            else:
                self.assertNotEqual(ring.find(key), "node-7")

    def test_keys_are_spread(self) -> None:
        """Each of ten members gets between a half and twice its share."""
        ring = ring_of(10)
        counts: dict[str | None, int] = {}
        for key in range(5_000):
            member = ring.find(key)
            counts[member] = counts.get(member, 0) + 1
        self.assertEqual(len(counts), 10)
        self.assertTrue(all(250 < count < 1_000 for count in counts.values()), counts)
