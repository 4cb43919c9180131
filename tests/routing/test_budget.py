"""The bytes of a node, and who may have how many of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.budget import Budget

MOST = 80_000


class BudgetTests(SynchronousTestCase):
    def fill(self, count: int) -> list[int]:
        """Let so many queues take what they get, in small steps; what each has in the end."""
        budget = Budget(MOST)
        accounts = [budget.open() for _ in range(count)]
        for _ in range(MOST // 10):
            for account in accounts:
                if account.held_bytes + 10 <= budget.free_bytes:
                    account.hold(account.held_bytes + 10)
        self.assertLessEqual(budget.used_bytes + count * budget.grant_bytes, MOST)
        return [account.held_bytes for account in accounts]

    def test_each_may_have_what_is_left(self) -> None:
        """One queue gets half of what there is, four get a fifth each: as much is always left."""
        usable = MOST * 7 // 8
        for count in (1, 2, 4, 50):
            held = self.fill(count)
            share = usable // (count + 1)
            self.assertTrue(all(share - 20 <= each <= share + 10 for each in held), held)

    def test_what_is_given_back_is_free_again(self) -> None:
        """A queue that is empty, or closed, takes nothing from the others."""
        budget = Budget(MOST)
        one = budget.open()
        one.hold(50_000)
        self.assertEqual(budget.free_bytes, 20_000)
        one.hold(1_000)
        self.assertEqual(budget.free_bytes, 69_000)
        one.close()
        one.hold(5)
        one.close()
        self.assertEqual((budget.free_bytes, budget.used_bytes), (70_000, 0))

    def test_another_size(self) -> None:
        """A budget that becomes smaller than what is held has nothing free, and then again some."""
        budget = Budget(MOST)
        one = budget.open()
        one.hold(50_000)
        budget.resize(MOST // 2)
        self.assertEqual((budget.free_bytes, budget.grant_bytes), (0, MOST // 128))
        one.hold(5_000)
        self.assertEqual(budget.free_bytes, MOST // 2 * 7 // 8 - 5_000)

    def test_grants_are_kept_back(self) -> None:
        """What queues may take before they say so is never more than was kept back for it."""
        budget = Budget(MOST)
        for count in range(1, 100):
            budget.open()
            self.assertLessEqual(count * budget.grant_bytes, MOST // 8)

    def test_something_long(self) -> None:
        """
        What is longer than a usual share fits while the budget has room, or holds next to nothing;
        then nothing else of that length does.
        """
        budget = Budget(MOST)
        one, two = budget.open(), budget.open()
        self.assertTrue(two.has_room(MOST * 2))
        one.hold(MOST // 8)
        self.assertTrue(two.has_room(MOST * 2))
        two.hold(MOST * 2)
        self.assertFalse(one.has_room(1))
        two.hold(0)
        one.hold(MOST // 8 + 1)
        self.assertFalse(two.has_room(MOST * 2))
        one.hold(20_000)
        self.assertTrue(two.has_room(50_000))
        self.assertFalse(two.has_room(50_001))

    def test_held_ahead(self) -> None:
        """
        Among many, one that grows may hold more than it has until it says what it has; together
        they hold hardly anything so, however many they are.
        """
        budget = Budget(MOST)
        accounts = [budget.open() for _ in range(1_000)]
        ahead = [account.hold_ahead() for account in accounts]
        self.assertEqual(ahead[0], MOST // 8 // 8)
        self.assertGreater(min(ahead[:20]), budget.grant_bytes * 8)
        self.assertEqual([account.held_bytes for account in accounts], ahead)
        self.assertLessEqual(budget.used_bytes, budget.little_bytes)
        accounts[0].hold(100)
        self.assertEqual(budget.used_bytes, sum(ahead[1:]) + 100)
        for account in accounts:
            account.close()
        self.assertEqual((budget.used_bytes, accounts[0].hold_ahead()), (0, 0))

    def test_nothing_is_held_ahead(self) -> None:
        """Few queues have grants that are as long, and none holds ahead what others might need."""
        few = Budget(MOST)
        self.assertEqual(few.open().hold_ahead(), 0)
        many = Budget(MOST)
        one, other = [many.open() for _ in range(1_000)][:2]
        one.hold(many.little_bytes)
        self.assertEqual((other.hold_ahead(), one.hold_ahead()), (0, 0))
        self.assertEqual(many.used_bytes, many.little_bytes)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30_000)), max_size=80))
    def test_never_exceeded(self, asked: list[tuple[int, int]]) -> None:
        """Queues that take no more than their allowance and a grant stay within the budget."""
        budget = Budget(MOST)
        accounts = [budget.open() for _ in range(6)]
        for place, wanted in asked:
            account = accounts[place]
            granted = account.held_bytes + budget.grant_bytes
            account.hold(min(wanted, max(account.held_bytes, budget.free_bytes)))
            self.assertLessEqual(max(account.held_bytes, granted), MOST)
            self.assertLessEqual(budget.used_bytes, MOST * 7 // 8 + budget.grant_bytes)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(-30_000, 30_000)), max_size=80))
    def test_there_is_always_a_grant(self, steps: list[tuple[int, int]]) -> None:
        """
        Whoever holds less than a grant may grow to it whatever others hold, and all that queues
        have taken, whether they have said so or not, stays within the budget.
        """
        budget = Budget(MOST)
        accounts = [budget.open() for _ in range(6)]
        rooms = [0] * 6
        for place, wanted in steps:
            account = accounts[place]
            # What was taken since the last look is said, and what is allowed is looked up.
            held = account.held_bytes
            account.hold(max(0, held + min(wanted, rooms[place])))
            spare = budget.allowed_bytes - account.held_bytes
            rooms[place] = max(0, min(spare, budget.grant_bytes))
            self.assertLessEqual(budget.used_bytes + sum(rooms), MOST)
            self.assertGreaterEqual(budget.allowed_bytes, budget.grant_bytes)

    def test_queues_that_grow_together(self) -> None:
        """Many that fill all there is in one turn leave room for the one that holds nothing."""
        budget = Budget(MOST)
        accounts = [budget.open() for _ in range(20)]
        accounts[0].hold(0)
        for account in accounts[1:]:
            account.hold(MOST * 7 // 8 // 20 + budget.grant_bytes)
        self.assertEqual(budget.free_bytes, 0)
        self.assertEqual(budget.allowed_bytes, budget.grant_bytes)
