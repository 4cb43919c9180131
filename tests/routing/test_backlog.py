"""What waits for a link, by destination."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.backlog import Backlog

NORTH, SOUTH, EAST = 1, 2, 3


class BacklogTests(SynchronousTestCase):
    def test_order_is_kept_for_a_destination(self) -> None:
        """What came first for a destination leaves first."""
        backlog: Backlog[str] = Backlog()
        for item in "abc":
            backlog.push(NORTH, item, 10)
        self.assertEqual(backlog.take(15), ["a", "b"])
        self.assertEqual((len(backlog), backlog.queued_bytes, backlog.bytes_of(NORTH)), (1, 10, 10))
        self.assertEqual(backlog.take(1), ["c"])
        self.assertEqual((backlog.busy, backlog.take(100)), (False, []))

    def test_destinations_take_turns(self) -> None:
        """One with much to send costs another at most its turn."""
        backlog: Backlog[int] = Backlog()
        for _ in range(100):
            backlog.push(NORTH, NORTH, 30_000)
        for _ in range(2):
            backlog.push(SOUTH, SOUTH, 30_000)
        taken = backlog.take(10_000_000)
        self.assertEqual(taken[:8], [NORTH, NORTH, NORTH, SOUTH, SOUTH, NORTH, NORTH, NORTH])
        self.assertEqual(len(taken), 102)

    def test_a_turn_goes_on_where_it_was_interrupted(self) -> None:
        """Taking in small pieces gives the same shares as taking at once."""
        backlog: Backlog[int] = Backlog()
        for _ in range(50):
            backlog.push(NORTH, NORTH, 10_000)
            backlog.push(SOUTH, SOUTH, 1_000)
        taken = [item for _ in range(30) for item in backlog.take(9_000)]
        north = taken.count(NORTH) * 10_000
        self.assertTrue(150_000 <= north <= 260_000, taken)

    def test_a_paused_destination_waits_alone(self) -> None:
        """What is paused stays, in order, and nobody waits for it."""
        backlog: Backlog[str] = Backlog()
        backlog.push(NORTH, "a", 1)
        backlog.pause(NORTH)
        backlog.pause(SOUTH)
        backlog.push(SOUTH, "x", 1)
        backlog.push(EAST, "y", 1)
        backlog.push(NORTH, "b", 1)
        self.assertEqual((backlog.is_free(NORTH), backlog.is_free(4)), (False, True))
        self.assertEqual(backlog.take(100), ["y"])
        self.assertFalse(backlog.ready)
        self.assertTrue(backlog.busy)
        self.assertTrue(backlog.resume(NORTH))
        self.assertEqual(backlog.take(100), ["a", "b"])
        self.assertEqual(backlog.waiting_for(SOUTH), ["x"])
        backlog.resume(SOUTH)
        backlog.resume(SOUTH)
        self.assertEqual(backlog.take(100), ["x"])
        self.assertFalse(backlog.resume(EAST))
        self.assertEqual((backlog.busy, backlog.paused), (False, frozenset()))

    def test_everything_may_be_paused(self) -> None:
        """While a backlog is shut nothing leaves it, whatever it is for."""
        backlog: Backlog[str] = Backlog()
        backlog.push(NORTH, "a", 1)
        backlog.close()
        self.assertEqual((backlog.take(9), backlog.ready, backlog.busy), ([], False, True))
        self.assertEqual([backlog.is_free(d) for d in (NORTH, SOUTH)], [False, False])
        backlog.open()
        self.assertEqual(backlog.take(9), ["a"])

    def test_a_barrier_leaves_behind_all_before_it(self) -> None:
        """A FLUSH goes when everything that was there before it has gone, also what is paused."""
        backlog: Backlog[str] = Backlog()
        backlog.push(NORTH, "a", 1)
        backlog.pause(SOUTH)
        backlog.push(SOUTH, "x", 1)
        backlog.push_barrier("flush", 1)
        backlog.push(NORTH, "b", 1)
        self.assertEqual(backlog.take(100), ["a", "b"])
        self.assertFalse(backlog.ready)
        backlog.resume(SOUTH)
        backlog.push(SOUTH, "y", 1)
        self.assertEqual(backlog.take(1), ["x", "flush"])
        self.assertEqual(backlog.take(1), ["y"])
        backlog.push_barrier("alone", 1)
        self.assertTrue(backlog.ready)
        self.assertEqual(backlog.take(1), ["alone"])

    def test_a_barrier_behind_some(self) -> None:
        """It waits for some destinations, and for others it does not; the last word for it, too."""
        backlog: Backlog[str] = Backlog()
        for destination, item in ((NORTH, "a"), (SOUTH, "b"), (EAST, "c")):
            backlog.pause(destination)
            backlog.push(destination, item, 1)
        backlog.push_barrier("flush", 1, (NORTH, SOUTH))
        backlog.push_barrier("last", 1)
        backlog.push_barrier("free", 1, (5, 6))
        self.assertTrue(backlog.ready)
        self.assertEqual(backlog.take(100), ["free"])
        backlog.resume(NORTH)
        self.assertEqual(backlog.take(100), ["a"])
        backlog.push(NORTH, "later", 1)
        self.assertEqual(backlog.take(100), ["later"])
        backlog.resume(EAST)
        self.assertEqual(backlog.take(100), ["c"])
        self.assertFalse(backlog.ready)
        backlog.resume(SOUTH)
        self.assertEqual(backlog.take(100), ["b", "flush", "last"])
        self.assertEqual((len(backlog), backlog.queued_bytes, backlog.ready), (0, 0, False))

    def test_a_share_is_what_is_left(self) -> None:
        """A destination that is stuck can have half of the room; two get a third each."""
        backlog: Backlog[int] = Backlog()
        room = 9_000
        while backlog.has_share(NORTH, 100, room - backlog.queued_bytes):
            backlog.push(NORTH, 0, 100)
        self.assertEqual(backlog.bytes_of(NORTH), 4_500)
        backlog.take_all()
        for destination in (NORTH, SOUTH) * 100:
            if backlog.has_share(destination, 100, room - backlog.queued_bytes):
                backlog.push(destination, 0, 100)
        self.assertEqual([backlog.bytes_of(d) for d in (NORTH, SOUTH)], [3_000, 3_000])

    def test_everything_at_once(self) -> None:
        """When the link ends all comes out, in the order in which it came in."""
        backlog: Backlog[str] = Backlog()
        backlog.pause(NORTH)
        for destination, item in ((NORTH, "a"), (SOUTH, "b"), (NORTH, "c")):
            backlog.push(destination, item, 1)
        backlog.push_barrier("d", 1)
        backlog.push(SOUTH, "e", 1)
        self.assertEqual(backlog.take_all(), ["a", "b", "c", "d", "e"])
        self.assertEqual((len(backlog), backlog.queued_bytes, backlog.take(9)), (0, 0, []))
        backlog.push(NORTH, "f", 1)
        self.assertEqual(backlog.take(9), [])


class BacklogModel(RuleBasedStateMachine):
    """Whatever is pushed, paused and taken: order per destination, nothing lost, sizes right."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog: Backlog[tuple[int, int]] = Backlog()
        self.waiting: dict[int, list[tuple[int, int]]] = {d: [] for d in range(4)}
        self.paused: set[int] = set()
        self.number = 0

    @rule(destination=st.integers(0, 3))
    def push(self, destination: int) -> None:
        """Let something wait."""
        self.number += 1
        item = (destination, self.number)
        self.backlog.push(destination, item, self.number)
        self.waiting[destination].append(item)

    @rule(destination=st.integers(0, 3))
    def pause(self, destination: int) -> None:
        """Pause a destination."""
        self.backlog.pause(destination)
        self.paused.add(destination)

    @rule(destination=st.integers(0, 3))
    def resume(self, destination: int) -> None:
        """Resume a destination."""
        waits = self.backlog.resume(destination)
        self.paused.discard(destination)
        assert waits == bool(self.waiting[destination])

    @rule(bytes_max=st.integers(1, 60))
    def take(self, bytes_max: int) -> None:
        """Take some: the oldest of each, nothing that is paused, and something if anything may."""
        free = any(self.waiting[d] for d in range(4) if d not in self.paused)
        taken = self.backlog.take(bytes_max)
        assert bool(taken) == free
        for item in taken:
            assert item[0] not in self.paused
            assert self.waiting[item[0]].pop(0) == item
        assert sum(number for _, number in taken[:-1]) < bytes_max

    @invariant()
    def sizes(self) -> None:
        """Count and bytes are those of what waits."""
        items = [item for waiting in self.waiting.values() for item in waiting]
        assert len(self.backlog) == len(items)
        assert self.backlog.busy == bool(items or self.paused)
        assert self.backlog.queued_bytes == sum(number for _, number in items)
        for destination, waiting in self.waiting.items():
            assert self.backlog.waiting_for(destination) == waiting
            free = not waiting and destination not in self.paused
            assert self.backlog.is_free(destination) == free


class ModelTests(SynchronousTestCase):
    def test_agrees_with_lists(self) -> None:
        """The backlog does what a list per destination would do."""
        case = BacklogModel.TestCase
        case.settings = settings(deadline=None, max_examples=60)
        case("runTest").debug()

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 90_000)), max_size=60))
    def test_nobody_starves(self, pushed: list[tuple[int, int]]) -> None:
        """While several destinations wait, none gets more than a turn ahead of another."""
        backlog: Backlog[tuple[int, int]] = Backlog()
        for destination, size_bytes in pushed:
            backlog.push(destination, (destination, size_bytes), size_bytes)
        sent = dict.fromkeys(range(4), 0)
        left = {d: sum(size for each, size in pushed if each == d) for d in range(4)}
        while backlog:
            for destination, size_bytes in backlog.take(1):
                sent[destination] += size_bytes
                left[destination] -= size_bytes
            waiting = [sent[d] for d in range(4) if left[d]]
            if len(waiting) > 1:
                self.assertLessEqual(max(waiting) - min(waiting), 65_536 + 2 * 90_000)
