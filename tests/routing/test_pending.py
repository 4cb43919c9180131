"""Messages that wait for a connection."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.routing.pending import PendingQueue


def queue(bytes_max: int = 1000, count_max: int = 10) -> PendingQueue[str]:
    return PendingQueue(bytes_max, count_max, 8.0)


class PendingQueueTests(SynchronousTestCase):
    def test_the_byte_limit_is_exact(self) -> None:
        """
        Messages wait up to the last byte of the limit; one byte more is refused by name.

        Scenario: C6
        """
        waiting = queue(bytes_max=1023)
        results = [waiting.push("message", size, 0.0) for size in (256, 256, 256, 256, 255)]
        self.assertEqual(results, [None, None, None, Status.BUFFER_LIMIT, None])
        self.assertEqual((waiting.queued_bytes, len(waiting)), (1023, 4))
        self.assertEqual(waiting.push("message", 1, 0.0), Status.BUFFER_LIMIT)

    def test_the_count_limit_is_exact(self) -> None:
        """
        More messages than the limit are refused, and filling and draining leaves no trace.

        Scenario: C7
        """
        waiting = queue(count_max=3)
        results = [waiting.push("message", 1, 0.0) for _ in range(4)]
        self.assertEqual(results, [None, None, None, Status.BUFFER_LIMIT])
        waiting = queue(count_max=4)
        for _ in range(3):
            for size in (99, 28, 10, 7):
                waiting.push("message", size, 0.0)
            sizes = [waiting.queued_bytes]
            while waiting:
                waiting.take(1)
                sizes.append(waiting.queued_bytes)
            self.assertEqual(sizes, [144, 45, 17, 7, 0])

    def test_nothing_comes_out_of_an_empty_queue(self) -> None:
        """Taking from an empty queue, or more than it holds, is no error."""
        waiting = queue()
        self.assertEqual((waiting.take(), waiting.take(3), waiting.expire(99.0)), ([], [], []))
        waiting.push("a", 1, 0.0)
        self.assertEqual(waiting.take(5), ["a"])
        self.assertIsNone(waiting.deadline)

    def test_a_refused_message_changes_nothing(self) -> None:
        """What does not fit leaves the others, their size and their deadline as they were."""
        waiting = queue(bytes_max=10)
        waiting.push("a", 6, 1.0)
        self.assertEqual(waiting.push("b", 5, 2.0), Status.BUFFER_LIMIT)
        self.assertEqual((len(waiting), waiting.queued_bytes, waiting.deadline), (1, 6, 9.0))
        self.assertIsNone(waiting.push("c", 4, 3.0))
        self.assertEqual(waiting.take(), ["a", "c"])

    def test_an_empty_message_is_a_message(self) -> None:
        """A message without a byte waits in its place; only the count limits it."""
        waiting = queue(bytes_max=0, count_max=2)
        results = [waiting.push(item, 0, 0.0) for item in "abc"]
        self.assertEqual(results, [None, None, Status.BUFFER_LIMIT])
        self.assertEqual(waiting.take(), ["a", "b"])

    def test_order_is_kept_over_several_rounds(self) -> None:
        """Messages leave in the order in which they came, however many are taken at a time."""
        waiting = queue()
        for item in "abcde":
            waiting.push(item, 1, 0.0)
        taken = waiting.take(2)
        waiting.push("f", 1, 0.0)
        self.assertEqual(
            (taken, waiting.take(1), waiting.take()), (["a", "b"], ["c"], ["d", "e", "f"])
        )

    def test_some_are_picked(self) -> None:
        """Messages taken from the middle leave the others where they were, and their time."""
        waiting = queue(bytes_max=20)
        for number, item in enumerate("abcd"):
            waiting.push(item, number + 1, float(number))
        self.assertEqual(waiting.pick(lambda item: item in "ca"), ["a", "c"])
        self.assertEqual((list(waiting), waiting.queued_bytes), (["b", "d"], 6))
        self.assertEqual(waiting.deadline, 9.0)
        self.assertEqual(waiting.pick(lambda _: False), [])
        self.assertEqual(waiting.take(), ["b", "d"])

    def test_a_message_waits_its_time_and_no_longer(self) -> None:
        """A message that waited too long is handed out once to be refused; later ones stay."""
        waiting = queue()
        waiting.push("a", 3, 1.0)
        waiting.push("b", 4, 2.5)
        self.assertEqual(waiting.deadline, 9.0)
        self.assertEqual(waiting.expire(8.9), [])
        self.assertEqual(waiting.expire(9.0), ["a"])
        self.assertEqual(
            (waiting.expire(9.0), waiting.queued_bytes, waiting.deadline), ([], 4, 10.5)
        )
        self.assertEqual(waiting.take(), ["b"])

    def test_refuses_senseless_limits(self) -> None:
        """A queue in which nothing can wait for any time is a mistake of its maker."""
        self.assertRaises(ValueError, PendingQueue, -1, 1, 1.0)
        self.assertRaises(ValueError, PendingQueue, 1, -1, 1.0)
        self.assertRaises(ValueError, PendingQueue, 1, 1, 0.0)

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("push"), st.integers(0, 30)),
                st.tuples(st.just("take"), st.integers(0, 4)),
                st.tuples(st.just("pass"), st.integers(0, 12)),
                st.tuples(st.just("take all"), st.just(0)),
            ),
            max_size=40,
        )
    )
    def test_agrees_with_a_list(self, steps: list[tuple[str, int]]) -> None:
        """Whatever happens to it, a queue holds and counts what a plain list would."""
        waiting: PendingQueue[int] = PendingQueue(60, 5, 8.0)
        model: list[tuple[int, int, int]] = []
        now = 0
        for item, (step, amount) in enumerate(steps):
            if step == "push":
                fits = sum(size for _, size, _ in model) + amount <= 60 and len(model) < 5
                result = waiting.push(item, amount, now)
                self.assertEqual(result, None if fits else Status.BUFFER_LIMIT)
                model += [(item, amount, now + 8)] if fits else []
            elif step == "take":
                self.assertEqual(waiting.take(amount), [item for item, _, _ in model[:amount]])
                model = model[amount:]
            elif step == "take all":
                self.assertEqual(waiting.take(), [item for item, _, _ in model])
                model = []
            else:
                now += amount
                self.assertEqual(waiting.expire(now), [item for item, _, at in model if at <= now])
                model = [entry for entry in model if entry[2] > now]
            self.assertEqual(len(waiting), len(model))
            self.assertEqual(waiting.queued_bytes, sum(size for _, size, _ in model))
            self.assertEqual(waiting.deadline, model[0][2] if model else None)


class PortionTests(SynchronousTestCase):
    def test_a_portion_is_as_much_as_fits(self) -> None:
        """It ends at its bytes or at its count; one message goes however long it is."""
        waiting = queue()
        for item, size in zip("abcdef", (500, 10, 10, 20, 1, 1), strict=True):
            waiting.push(item, size, 0.0)
        self.assertEqual(waiting.take_portion(30, 5), ["a"])
        self.assertEqual(waiting.take_portion(39, 5), ["b", "c"])
        self.assertEqual((waiting.queued_bytes, len(waiting)), (22, 3))
        self.assertEqual(waiting.take_portion(30, 2), ["d", "e"])
        self.assertEqual(waiting.take_portion(0, 1), ["f"])
        self.assertEqual(waiting.take_portion(9, 9), [])

    def test_what_belongs_together(self) -> None:
        """What is not to be parted from the one before it goes with it."""
        waiting = queue()
        for item in "aBCdE":
            waiting.push(item, 10, 0.0)
        self.assertEqual(waiting.take_portion(10, 1, str.isupper), ["a", "B", "C"])
        self.assertEqual(waiting.take_portion(10, 1, str.isupper), ["d", "E"])

    def test_more_than_a_portion(self) -> None:
        """One message is no more than a portion; of several, bytes and count are looked at."""
        waiting = queue()
        waiting.push("a", 900, 0.0)
        self.assertFalse(waiting.is_more_than(10, 1))
        waiting.push("b", 10, 0.0)
        asked = [waiting.is_more_than(*each) for each in ((909, 9), (910, 2), (910, 1))]
        self.assertEqual(asked, [True, False, True])

    def test_half_of_what_may_is_long(self) -> None:
        """By bytes or by count."""
        waiting = queue(bytes_max=100, count_max=10)
        waiting.push("a", 50, 0.0)
        self.assertFalse(waiting.is_long)
        waiting.push("b", 1, 0.0)
        self.assertTrue(waiting.is_long)
        waiting.take()
        for _ in range(6):
            waiting.push("c", 0, 0.0)
        self.assertTrue(waiting.is_long)

    def test_room_for_what_was_on_its_way(self) -> None:
        """What passes has room besides, and no more than that."""
        waiting = queue(bytes_max=100)
        waiting.push("a", 100, 0.0)
        self.assertIs(waiting.push("b", 1, 0.0), Status.BUFFER_LIMIT)
        self.assertIsNone(waiting.push("b", 50, 0.0, behind_bytes=50))
        self.assertIs(waiting.push("c", 1, 0.0, behind_bytes=50), Status.BUFFER_LIMIT)
        self.assertEqual(waiting.queued_bytes, 150)
