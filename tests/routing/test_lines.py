"""The answer to a command, cut into parts and put together again."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.lines import AnswerParts, Part, cut_lines

_LINES = st.lists(st.one_of(st.binary(max_size=20), st.integers(0, 9_000).map(bytes)), max_size=30)


def joined(parts: list[tuple[int, Part]], bytes_max: int = 1_000_000) -> AnswerParts:
    """Take parts in, in the order given."""
    collected = AnswerParts(bytes_max)
    for place, part in parts:
        collected.add(place, part.lines, part.continues, part.last)
    return collected


class LinesTests(SynchronousTestCase):
    """Cutting and joining."""

    def test_an_empty_answer_is_one_part(self) -> None:
        """A command that has nothing to say is answered all the same."""
        self.assertEqual(list(cut_lines([])), [Part((), False, True)])

    def test_short_lines_share_a_part(self) -> None:
        """What fits one frame travels in one."""
        parts = list(cut_lines([b"one", b"", b"three"]))
        self.assertEqual(parts, [Part((b"one", b"", b"three"), False, True)])

    def test_a_long_line_is_continued(self) -> None:
        """A line longer than a frame goes on in the next part, and says so."""
        parts = list(cut_lines([b"x" * 5000, b"y"]))
        self.assertEqual([part.continues for part in parts], [False, True])
        self.assertEqual(joined(list(enumerate(parts))).lines(), [b"x" * 5000, b"y"])

    def test_a_part_has_a_bounded_number_of_lines(self) -> None:
        """Thousands of empty lines do not make a part that nobody may read."""
        for part in cut_lines([b""] * 5000):
            self.assertTrue(len(part.lines) <= limits.COMMAND_LINES_MAX)

    @settings(deadline=None)
    @given(_LINES, st.randoms(use_true_random=False))
    def test_parts_may_come_in_any_order_and_twice(
        self, lines: list[bytes], random: Random
    ) -> None:
        """Whatever happened to the parts under way, the lines come out as they went in."""
        parts = list(enumerate(cut_lines(lines)))
        shuffled = parts + random.sample(parts, random.randint(0, len(parts)))
        random.shuffle(shuffled)
        collected = joined(shuffled)
        self.assertTrue(collected.complete)
        self.assertEqual(collected.lines(), lines)
        for _, part in parts:
            size = sum(4 + len(line) for line in part.lines)
            self.assertTrue(size <= 3072, size)

    def test_without_a_part_it_is_not_complete(self) -> None:
        """An answer of which anything is missing is not taken for whole."""
        parts = list(enumerate(cut_lines([b"x" * 9000])))
        for missing in range(len(parts)):
            collected = joined([entry for entry in parts if entry[0] != missing])
            self.assertFalse(collected.complete)

    def test_an_answer_is_bounded(self) -> None:
        """An answer that is too long is refused, also one that consists of nothing for ever."""
        collected = AnswerParts(100)
        self.assertTrue(collected.add(0, [b"x" * 50], False, False))
        self.assertFalse(collected.add(1, [b"x" * 50], False, False))
        collected = AnswerParts(100)
        self.assertFalse(all(collected.add(place, [], False, False) for place in range(1000)))
