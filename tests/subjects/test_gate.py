"""One end of a link that joins two halves of a bus."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects import bounds
from atbus.subjects.duplicates import Duplicates
from atbus.subjects.gate import BRIDGES, Gate, Sides, State, Verdict, sides_of
from atbus.subjects.interest import Interests, Side, Taker, Wanted
from tests.subjects.test_interest import hear, told

_SOURCE, _EPOCH = 0x10001, 7


class SidesTests(SynchronousTestCase):
    """Whether the sides of a link have another way to each other."""

    def test_one_server(self) -> None:
        """The lowest of each side counts."""
        near = [f"{BRIDGES}.ab.{1:016x}", f"{BRIDGES}.cd.{2:016x}"]
        far = [f"{BRIDGES}.ab.{9:016x}", f"{BRIDGES}.ab.{5:016x}", f"{BRIDGES}.ef.{3:016x}"]
        self.assertEqual(sides_of(near, far), Sides("ab", 1, 5))

    def test_none(self) -> None:
        """Servers that only one side is connected to are no way."""
        self.assertIsNone(sides_of([f"{BRIDGES}.ab.1"], [f"{BRIDGES}.cd.2"]))
        self.assertIsNone(sides_of([], [f"{BRIDGES}.cd.2"]))

    def test_several(self) -> None:
        """With two servers there are more ways than one."""
        near = [f"{BRIDGES}.ab.1", f"{BRIDGES}.cd.1"]
        self.assertIsNone(sides_of(near, [f"{BRIDGES}.ab.2", f"{BRIDGES}.cd.2"]))

    def test_one_that_is_on_both_sides(self) -> None:
        """Who is known on both sides is known by a way without a server."""
        self.assertIsNone(sides_of([f"{BRIDGES}.ab.1", f"{BRIDGES}.ab.2"], [f"{BRIDGES}.ab.2"]))

    def test_subjects_that_are_none(self) -> None:
        """What nobody could have said is nobody."""
        self.assertIsNone(sides_of([f"{BRIDGES}.ab.1"], [f"{BRIDGES}.ab.x.y"]))


class GateTests(SynchronousTestCase):
    """What becomes of publications."""

    def setUp(self) -> None:
        self.gate: Gate[int] = Gate(100.0)

    def take(self, number: int, *, size_bytes: int = 10, is_shared: bool = False) -> Verdict:
        """Let one come."""
        return self.gate.take(
            _SOURCE, _EPOCH, number, number, size_bytes=size_bytes, is_shared=is_shared
        )

    def test_shut(self) -> None:
        """Nothing crosses, and it opens in time."""
        self.assertEqual(self.take(1), Verdict.GIVEN_UP)
        self.assertEqual(self.gate.deadline, 100.0 + bounds.GATE_SHUT_SECONDS)

    def test_held_and_released(self) -> None:
        """What was sent by the server does not cross, but for groups; the rest does, in order."""
        self.gate.hold(101.0)
        self.assertEqual(self.gate.deadline, 101.0 + bounds.GATE_HELD_SECONDS)
        for number in range(1, 7):
            self.assertEqual(self.take(number, is_shared=number % 3 == 0), Verdict.WAITS)
        sent = Duplicates()
        for number in range(1, 4):
            sent.is_new(_SOURCE, _EPOCH, number)
        released = self.gate.open(sent.rows, 102.0)
        known = [(1, Verdict.HAS_CROSSED), (2, Verdict.HAS_CROSSED), (3, Verdict.GROUPS_ONLY)]
        self.assertEqual(released, known + [(each, Verdict.CROSSES) for each in (4, 5, 6)])
        self.assertEqual(self.gate.deadline, 102.0 + bounds.GATE_OPEN_SECONDS)
        self.assertEqual(self.gate.held_bytes, 0)

    def test_open(self) -> None:
        """What comes late is left out as well."""
        self.gate.hold(101.0)
        sent = Duplicates()
        sent.is_new(_SOURCE, _EPOCH, 3)
        self.assertEqual(self.gate.open(sent.rows, 102.0), [])
        self.assertEqual(self.take(3), Verdict.HAS_CROSSED)
        self.assertEqual(self.take(3, is_shared=True), Verdict.GROUPS_ONLY)
        self.assertEqual(self.take(4), Verdict.CROSSES)

    def test_holds_no_more_bytes(self) -> None:
        """What is more than the bound is given up; small ones cost something as well."""
        self.gate.hold(101.0)
        size_bytes = bounds.GATE_HELD_BYTES // 2 - bounds.GATE_HELD_COST_BYTES
        self.assertEqual(self.take(1, size_bytes=size_bytes), Verdict.WAITS)
        self.assertEqual(self.take(2, size_bytes=size_bytes), Verdict.WAITS)
        self.assertEqual(self.take(3, size_bytes=0), Verdict.GIVEN_UP)

    def test_given_up(self) -> None:
        """When a gateway is gone nothing crosses for a moment: it may have gone by the server."""
        self.gate.hold(101.0)
        self.take(1)
        self.assertEqual(self.gate.give_up(102.0), 1)
        self.assertEqual(self.gate.deadline, 102.0 + bounds.GATE_LATE_SECONDS)
        self.assertIs(self.gate.state, State.LATE)
        self.assertEqual(self.take(2), Verdict.GIVEN_UP)


class HonourTests(SynchronousTestCase):
    """What a neighbor wants is heard, and not honoured."""

    def setUp(self) -> None:
        self.interests = Interests()
        self.interests.open(5, Side.ABOVE)
        self.interests.open(6, Side.BELOW)
        self.interests.honour(6, plain=False, groups=False)
        hear(self.interests, 6, ("a", "", 1), ("b", "q", 2), ("$ATBUS.x", "", 1))

    def test_nothing_but_our_own(self) -> None:
        """Nobody is told of it, and nothing is sent for it; its digest is that of all."""
        self.assertEqual(told(self.interests.changes()), [(5, "$ATBUS.x", "", 1)])
        self.assertEqual(self.interests.match(("a",)), ())
        open_ones = Interests()
        open_ones.open(6, Side.BELOW)
        hear(open_ones, 6, ("a", "", 1), ("b", "q", 2), ("$ATBUS.x", "", 1))
        self.assertEqual(self.interests.digest_of(6), open_ones.digest_of(6))

    def test_step_by_step(self) -> None:
        """Plain interest is honoured first, then groups; and it can be taken back."""
        self.interests.changes()
        self.interests.honour(6, plain=True, groups=False)
        self.assertEqual(told(self.interests.changes()), [(5, "a", "", 1)])
        self.interests.honour(6, plain=True, groups=True)
        self.assertEqual(told(self.interests.changes()), [(5, "b", "q", 2)])
        self.assertEqual(self.interests.weight(Taker(6, Wanted("b", "q"))), 2)
        self.interests.honour(6, plain=False, groups=True)
        self.assertEqual(told(self.interests.changes()), [(5, "a", "", 0)])

    def test_it_moves_and_ends(self) -> None:
        """What was not honoured is not taken back either."""
        self.interests.move(6, Side.BESIDE)
        hear(self.interests, 6, ("a", "", 0))
        self.interests.close(6)
        self.assertEqual(len(self.interests), 0)
        self.assertEqual(self.interests.match(("$ATBUS", "x")), ())

    def test_what_is_our_own_is_told_first(self) -> None:
        """In a replay it comes before the rest, and first of all who can join."""
        joins = f"{BRIDGES}.k.1"
        for pattern in ("a", "$ATBUS.y", joins, "b"):
            self.interests.subscribe(pattern)
        [message] = self.interests.replay(6)
        patterns = [entry.subject for entry in message.entries]
        self.assertEqual(patterns, [joins, "$ATBUS.y", "a", "b"])

    def test_who_else_wants_it(self) -> None:
        """What only a neighbor wants is not wanted beside it."""
        self.interests.subscribe("$ATBUS.z")
        self.assertEqual(self.interests.wanted_beside(6, "$ATBUS."), ["$ATBUS.z"])
        self.assertFalse(self.interests.is_wanted_beside(6, "$ATBUS.x"))
        self.assertTrue(self.interests.is_wanted_beside(5, "$ATBUS.x"))
