"""Recognizing a publication that came before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.subjects.duplicates import Duplicates


class DuplicateTests(SynchronousTestCase):
    @given(st.lists(st.integers(1, 60), max_size=80))
    @settings(deadline=None)
    def test_each_number_once(self, sequences: list[int]) -> None:
        """In any order, each publication is new just once."""
        duplicates = Duplicates()
        seen: set[int] = set()
        for sequence in sequences:
            self.assertEqual(duplicates.is_new(7, 1, sequence), sequence not in seen)
            seen.add(sequence)

    @given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 90), st.integers(1, 5))))
    @settings(deadline=None)
    def test_several_at_once(self, runs: list[tuple[int, int, int]]) -> None:
        """Runs are new when each of them is newer than all before; else each is asked for."""
        at_once, one_by_one = Duplicates(), Duplicates()
        for epoch, first, count in runs:
            row = range(first, first + count)
            expected = [one_by_one.is_new(7, epoch, sequence) for sequence in row]
            if at_once.are_new(7, epoch, first, count):
                self.assertEqual(expected, [True] * count)
            else:
                found = [at_once.is_new(7, epoch, sequence) for sequence in row]
                self.assertEqual(found, expected)

    def test_publishers_are_told_apart(self) -> None:
        """The same number of another publisher is another publication."""
        duplicates = Duplicates()
        self.assertTrue(duplicates.is_new(7, 1, 1))
        self.assertTrue(duplicates.is_new(8, 1, 1))

    def test_a_new_life_begins_anew(self) -> None:
        """After a restart numbers begin again; what the old life sent is over."""
        duplicates = Duplicates()
        duplicates.is_new(7, 1, 100)
        self.assertTrue(duplicates.is_new(7, 2, 1))
        self.assertFalse(duplicates.is_new(7, 1, 101))
        self.assertFalse(duplicates.is_new(7, 2, 1))

    def test_what_is_too_old_to_be_told(self) -> None:
        """At most once comes first: what may have come before is not delivered again."""
        duplicates = Duplicates()
        last = limits.PUBLICATIONS_REMEMBERED_MAX
        self.assertTrue(duplicates.is_new(7, 1, 1 + last))
        self.assertFalse(duplicates.is_new(7, 1, 1))
        self.assertTrue(duplicates.is_new(7, 1, 2))
        self.assertTrue(duplicates.is_new(7, 1, 10 * last))
        self.assertFalse(duplicates.is_new(7, 1, 1 + last))
        self.assertTrue(duplicates.is_new(7, 1, 10 * last - 1))

    def test_memory_is_bounded(self) -> None:
        """The publishers that published last are remembered."""
        duplicates = Duplicates()
        count = limits.PUBLISHERS_REMEMBERED_MAX
        for source in range(1, count + 10):
            duplicates.is_new(source, 1, 1)
        self.assertEqual(len(duplicates._publishers), count)
        self.assertFalse(duplicates.is_new(count, 1, 1))

    def test_what_was_noted_is_known(self) -> None:
        """It can be asked whether something came, without noting that it does."""
        duplicates = Duplicates()
        duplicates.is_new(1, 1, 5)
        known = [duplicates.knows(*key) for key in [(1, 1, 5), (1, 1, 4), (1, 1, 6), (1, 2, 5)]]
        self.assertEqual(known, [True, False, False, False])
        self.assertFalse(duplicates.knows(2, 1, 5))
        self.assertTrue(duplicates.is_new(1, 1, 4))
