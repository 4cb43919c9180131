"""Answers that somebody waits for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, Status
from atbus.routing.answers import Expectations


def expecting(*deadlines: float) -> Expectations[int, str]:
    """Await an answer per deadline, with the keys 0, 1, 2 ... and the tokens "a", "b", "c" ..."""
    expectations: Expectations[int, str] = Expectations(1000)
    for key, deadline in enumerate(deadlines):
        expectations.add(key, chr(ord("a") + key), deadline)
    return expectations


class ExpectationsTests(SynchronousTestCase):
    def test_an_answer_finds_who_waits_for_it(self) -> None:
        """An answer ends the wait it belongs to, once, and no other."""
        waiting = expecting(5.0, 5.0)
        self.assertEqual(waiting.resolve(1), "b")
        self.assertIsNone(waiting.resolve(1))
        self.assertIsNone(waiting.resolve(7))
        self.assertEqual(waiting.resolve(0), "a")
        self.assertEqual((len(waiting), waiting.deadline), (0, None))

    def test_who_waits_is_looked_at(self) -> None:
        """Whoever is looked at waits on."""
        waiting = expecting(5.0)
        self.assertEqual((waiting.get(0), waiting.get(0), waiting.get(1)), ("a", "a", None))
        self.assertEqual((len(waiting), waiting.deadline), (1, 5.0))

    def test_each_wait_ends_at_its_own_deadline(self) -> None:
        """Waits of different length end at their time, the shortest first."""
        waiting = expecting(5.0, 3.0, 4.0, 3.0)
        self.assertEqual(waiting.deadline, 3.0)
        self.assertEqual(waiting.expire(2.9), [])
        self.assertEqual(waiting.expire(4.0), [(1, "b"), (3, "d"), (2, "c")])
        self.assertEqual((waiting.expire(4.0), waiting.deadline), ([], 5.0))

    def test_a_late_answer_finds_nobody(self) -> None:
        """After its deadline an answer is nobody's any more."""
        waiting = expecting(3.0)
        waiting.expire(3.0)
        self.assertIsNone(waiting.resolve(0))

    def test_an_answer_in_time_takes_its_deadline_along(self) -> None:
        """What was answered does not time out, and nobody is woken for it."""
        waiting = expecting(3.0, 4.0)
        waiting.resolve(0)
        self.assertEqual(waiting.deadline, 4.0)
        self.assertEqual(waiting.expire(9.0), [(1, "b")])

    def test_given_up(self) -> None:
        """What is over first makes room, among those that nobody has answered."""
        waiting = expecting(3.0, 5.0, 4.0)
        waiting.resolve(0)
        waiting.give_up()
        self.assertEqual((waiting.keys(), waiting.deadline), ([1], 5.0))
        waiting.give_up()
        waiting.give_up()
        self.assertEqual((len(waiting), waiting.deadline), (0, None))

    def test_a_key_may_be_used_again(self) -> None:
        """A second question under an old key has its own deadline, not the first one's."""
        waiting = expecting(3.0)
        waiting.resolve(0)
        waiting.add(0, "again", 8.0)
        self.assertEqual((waiting.deadline, waiting.expire(3.0)), (8.0, []))
        self.assertIn(0, waiting)
        self.assertEqual(waiting.expire(8.0), [(0, "again")])
        self.assertNotIn(0, waiting)

    def test_a_key_is_awaited_once(self) -> None:
        """To await two answers under one key is a fault of our own; the first stays."""
        waiting = expecting(3.0)
        self.assertRaises(LocalProtocolError, waiting.add, 0, "other", 4.0)
        self.assertEqual(waiting.expire(9.0), [(0, "a")])

    def test_the_count_is_bounded(self) -> None:
        """More answers than the limit are not awaited; each that comes makes room."""
        waiting: Expectations[int, str] = Expectations(2)
        self.assertEqual(
            [waiting.add(key, "", 1.0) for key in range(3)], [None, None, Status.BUFFER_LIMIT]
        )
        self.assertIsNone(waiting.resolve(2))
        waiting.resolve(0)
        self.assertIsNone(waiting.add(3, "", 1.0))

    def test_closing_ends_every_wait(self) -> None:
        """When the node closes, everybody who waits is handed out, in the order of asking."""
        waiting = expecting(5.0, 3.0, 4.0)
        waiting.resolve(2)
        self.assertEqual(waiting.clear(), [(0, "a"), (1, "b")])
        self.assertEqual(waiting._heap, [])
        self.assertEqual((waiting.clear(), len(waiting), waiting.deadline), ([], 0, None))

    def test_answered_questions_cost_no_memory(self) -> None:
        """A million quick answers with far deadlines leave no million empty places."""
        waiting = expecting(1e9)
        for key in range(1, 20_000):
            waiting.add(key, "", 1e6)
            waiting.resolve(key)
        self.assertLess(len(waiting._heap), 100)
        self.assertEqual(waiting.expire(1e9), [(0, "a")])

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("add"), st.integers(0, 9), st.integers(0, 20)),
                st.tuples(st.just("resolve"), st.integers(0, 9), st.just(0)),
                st.tuples(st.just("pass"), st.integers(0, 5), st.just(0)),
            ),
            max_size=60,
        )
    )
    def test_agrees_with_a_dict(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever is asked and answered, the same is awaited as by a plain dictionary."""
        waiting: Expectations[int, int] = Expectations(6)
        model: dict[int, tuple[int, int]] = {}
        now = 0
        for number, (step, key, seconds) in enumerate(steps):
            if step == "add" and key not in model:
                full = len(model) >= 6
                result = waiting.add(key, number, now + seconds)
                self.assertEqual(result, Status.BUFFER_LIMIT if full else None)
                model.update({} if full else {key: (now + seconds, number)})
            elif step == "resolve":
                self.assertEqual(waiting.resolve(key), model.pop(key, (0, None))[1])
            elif step == "pass":
                now += key
                due = sorted(entry for entry in model.values() if entry[0] <= now)
                self.assertEqual([token for _, token in waiting.expire(now)], [n for _, n in due])
                model = {key: entry for key, entry in model.items() if entry[0] > now}
            self.assertEqual(len(waiting), len(model))
            self.assertEqual(waiting.deadline, min((at for at, _ in model.values()), default=None))
