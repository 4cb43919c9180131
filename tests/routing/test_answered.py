"""What was answered once is not news a second time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.answered import AnsweredRanges

_ANSWERS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 12)), max_size=30
)


class AnsweredTests(SynchronousTestCase):
    """Ranges of sequences that had their answer."""

    def test_a_first_answer_is_news(self) -> None:
        """What nobody has answered yet is news, whole."""
        answered = AnsweredRanges(8)
        self.assertEqual(answered.add(7, 10, 5), [(10, 5)])

    def test_the_same_answer_again_is_none(self) -> None:
        """A second word about the same messages is no news, in whatever parts it comes."""
        answered = AnsweredRanges(8)
        answered.add(7, 10, 5)
        self.assertEqual(answered.add(7, 10, 5), [])
        self.assertEqual(answered.add(7, 12, 1), [])

    def test_a_wider_answer_is_news_for_the_rest(self) -> None:
        """An answer for a run of which parts are answered is news for the other parts only."""
        answered = AnsweredRanges(8)
        answered.add(7, 12, 1)
        answered.add(7, 14, 1)
        self.assertEqual(answered.add(7, 10, 8), [(10, 2), (13, 1), (15, 3)])

    def test_targets_do_not_mix(self) -> None:
        """Sequences count per target: the same number of another target is another message."""
        answered = AnsweredRanges(8)
        answered.add(7, 10, 5)
        self.assertEqual(answered.add(8, 10, 5), [(10, 5)])

    def test_consecutive_answers_cost_one_range(self) -> None:
        """A thousand messages answered one after the other are one range."""
        answered = AnsweredRanges(8)
        for sequence in range(1000):
            answered.add(7, sequence, 1)
        self.assertEqual(len(answered), 1)

    def test_memory_is_bounded_by_targets(self) -> None:
        """The target that was answered longest ago is forgotten first."""
        answered = AnsweredRanges(2)
        answered.add(1, 1, 1)
        answered.add(2, 1, 1)
        answered.add(3, 1, 1)
        self.assertEqual(len(answered), 2)
        self.assertEqual(answered.add(2, 1, 1), [])
        self.assertEqual(answered.add(1, 1, 1), [(1, 1)])

    def test_memory_is_bounded_within_a_target(self) -> None:
        """Of one target the lowest sequences are forgotten first."""
        answered = AnsweredRanges(2)
        for sequence in (1, 3, 5):
            answered.add(7, sequence, 1)
        self.assertEqual(len(answered), 2)
        self.assertEqual(answered.add(7, 5, 1), [])
        self.assertEqual(answered.add(7, 1, 1), [(1, 1)])

    @settings(deadline=None)
    @given(_ANSWERS)
    def test_each_message_is_news_once(self, answers: list[tuple[int, int, int]]) -> None:
        """However answers overlap, each message is in the news exactly the first time."""
        answered = AnsweredRanges(1000)
        seen: set[tuple[int, int]] = set()
        for target, first, count in answers:
            asked = {(target, n) for n in range(first, first + count)}
            told = [
                (target, n)
                for begin, length in answered.add(target, first, count)
                for n in range(begin, begin + length)
            ]
            self.assertEqual(set(told), asked - seen)
            self.assertEqual(len(told), len(set(told)))
            seen |= asked
