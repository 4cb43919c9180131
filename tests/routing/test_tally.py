"""Who has said that nobody has got a question."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.tally import Tallies


def counting(branches: int | None, count_max: int = 10) -> Tallies[str]:
    """Count for question 1, until second 5."""
    tallies: Tallies[str] = Tallies(count_max)
    tallies.add(1, "nobody", 5.0, branches)
    return tallies


class TallyTests(SynchronousTestCase):
    """What is counted of one question."""

    def test_the_last_branch(self) -> None:
        """When each branch has said so the token comes, once."""
        tallies = counting(3)
        self.assertEqual([tallies.said(1, node) for node in (7, 8, 9)], [None, None, "nobody"])
        self.assertEqual((tallies.said(1, 9), tallies.said(1, 6), len(tallies)), (None, None, 0))

    def test_one_that_says_it_twice(self) -> None:
        """A second word of one node is no second branch."""
        tallies = counting(2)
        self.assertEqual([tallies.said(1, node) for node in (7, 7, 7)], [None] * 3)
        self.assertEqual(tallies.said(1, 8), "nobody")

    def test_what_is_found_here(self) -> None:
        """Each time that something has come back in vain is one branch."""
        tallies = counting(3)
        self.assertEqual([tallies.said(1), tallies.said(1, 7), tallies.said(1, 7)], [None] * 3)
        self.assertEqual(tallies.said(1), "nobody")

    def test_another_question(self) -> None:
        """A word about what is not counted is nothing."""
        tallies = counting(1)
        self.assertIsNone(tallies.said(2, 7))
        self.assertIsNone(tallies.went(2, 1))
        self.assertEqual(tallies.said(1, 7), "nobody")

    def test_words_that_come_before_it_is_known_how_many(self) -> None:
        """How many branches there are may be known last."""
        tallies = counting(None)
        self.assertEqual([tallies.said(1, 7), tallies.said(1, 8)], [None, None])
        self.assertEqual(tallies.went(1, 2), "nobody")

    def test_no_branch(self) -> None:
        """Where somebody has it for certain nothing is counted; where nobody was found all is."""
        tallies = counting(None)
        self.assertIsNone(tallies.went(1, 0))
        self.assertEqual(len(tallies), 0)
        tallies = counting(None)
        self.assertIsNone(tallies.said(1))
        self.assertEqual(tallies.went(1, 0), "nobody")

    def test_its_time(self) -> None:
        """When its time is over no word ends it."""
        tallies = counting(2)
        self.assertEqual(tallies.deadline, 5.0)
        self.assertIsNone(tallies.said(1, 7))
        tallies.expire(4.9)
        self.assertEqual(len(tallies), 1)
        tallies.expire(5.0)
        self.assertEqual((tallies.said(1, 8), len(tallies), tallies.deadline), (None, 0, None))

    def test_as_many_as_there_may_be(self) -> None:
        """Of more than there is room for the one whose time is over first is forgotten."""
        tallies = counting(1, count_max=2)
        tallies.add(2, "two", 5.0, 1)
        tallies.add(3, "three", 5.0, 1)
        self.assertEqual((len(tallies), tallies.said(1, 7)), (2, None))
        self.assertEqual(tallies.said(2, 7), "two")
        tallies.add(4, "four", 5.0, 1)
        self.assertEqual((len(tallies), tallies.said(3, 7)), (2, "three"))
        tallies.add(5, "five", 9.0, 1)
        tallies.add(6, "six", 9.0, 1)
        self.assertEqual((tallies.said(4, 7), tallies.deadline), (None, 9.0))
        tallies.clear()
        self.assertEqual((len(tallies), tallies.said(5, 7)), (0, None))

    @settings(deadline=None)
    @given(
        st.integers(1, 6),
        st.lists(st.one_of(st.none(), st.integers(1, 6)), max_size=20),
    )
    def test_any_order(self, branches: int, words: list[int | None]) -> None:
        """It ends with the word that makes as many nodes, and findings here, as branches."""
        tallies = counting(branches)
        heard: list[int | None] = []
        for word in words:
            before = len({each for each in heard if each}) + heard.count(None)
            heard.append(word)
            after = len({each for each in heard if each}) + heard.count(None)
            is_last = before < branches <= after
            self.assertEqual(tallies.said(1, word), "nobody" if is_last else None)
