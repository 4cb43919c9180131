"""Finding the patterns that match a subject."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.subjects.index import SubjectIndex, _Level
from atbus.subjects.pattern import matches, parse_pattern, parse_subject

TOKEN = st.sampled_from(["a", "b", "*"])
PATTERNS = st.builds(
    lambda tokens, rest: (*tokens, *rest),
    st.lists(TOKEN, max_size=4),
    st.sampled_from([("a",), ("*",), (">",)]),
)
SUBJECTS = st.lists(st.sampled_from(["a", "b", "c", "*", ">"]), min_size=1, max_size=6).map(tuple)
CHANGES = st.lists(st.tuples(st.booleans(), PATTERNS, st.integers(0, 3)), max_size=40)


def index_of(*patterns: str) -> SubjectIndex[str]:
    """Make an index in which each pattern is its own value."""
    index: SubjectIndex[str] = SubjectIndex()
    for pattern in patterns:
        index.add(parse_pattern(pattern), pattern)
    return index


def levels_of(index: SubjectIndex[int]) -> list[_Level[int]]:
    """List the levels of an index, without the top."""
    found = [index._top]
    for level in found:
        found.extend((level.below or {}).values())
    return found[1:]


class MatchTests(SynchronousTestCase):
    def test_all_that_match_and_no_others(self) -> None:
        """Literal tokens, one-token and rest wildcards are found together."""
        index = index_of("a.b", "a.*", "*.b", "a.>", ">", "a", "b.>", "a.b.c", "*")
        found = index.match(parse_subject("a.b"))
        self.assertEqual(sorted(found), ["*.b", ">", "a.*", "a.>", "a.b"])

    def test_a_published_wildcard_is_a_letter(self) -> None:
        """Publishing on ``a.*`` reaches who subscribed to it, once, and who subscribed to all."""
        index = index_of("a.*", "a.>", "a.b", ">", "a.*.>")
        for text in ("a.*", "a.>"):
            found = index.match(parse_subject(text, literal_wildcards=True))
            self.assertEqual(sorted(found), sorted(["a.*", "a.>", ">"]))

    def test_a_value_under_two_patterns_is_found_once(self) -> None:
        """Whoever subscribed twice is one."""
        index: SubjectIndex[int] = SubjectIndex()
        index.add(("a", "*"), 7)
        index.add(("*", "b"), 7)
        self.assertEqual(index.match(("a", "b")), (7,))

    def test_changes_are_seen_at_once(self) -> None:
        """What is remembered of earlier matches never hides a change."""
        index = index_of("a")
        self.assertEqual(index.match(("a",)), ("a",))
        self.assertTrue(index.add((">",), "all"))
        self.assertFalse(index.add((">",), "all"))
        self.assertEqual(sorted(index.match(("a",))), ["a", "all"])
        self.assertTrue(index.remove(("a",), "a"))
        self.assertFalse(index.remove(("a",), "a"))
        self.assertFalse(index.remove(("x", "y"), "a"))
        self.assertEqual(index.match(("a",)), ("all",))
        self.assertEqual(len(index), 1)

    def test_matches_are_remembered(self) -> None:
        """What is published on again is not looked for again, until the patterns change."""
        index = index_of("a.*", "a.b")
        walks: list[tuple[str, ...]] = []
        walk = index._walk

        def watched(subject: tuple[str, ...]) -> Iterator[str]:
            walks.append(subject)
            return walk(subject)

        self.patch(index, "_walk", watched)
        for _ in range(3):
            self.assertEqual(sorted(index.match(("a", "b"))), ["a.*", "a.b"])
        self.assertEqual(walks, [("a", "b")])
        index.remove(("a", "*"), "a.*")
        self.assertEqual((index.match(("a", "b")), len(walks)), (("a.b",), 2))

    def test_memory_of_matches_is_bounded(self) -> None:
        """Somebody who publishes on ever new subjects fills nothing."""
        index = index_of(">")
        for number in range(3 * limits.MATCHES_REMEMBERED_MAX):
            self.assertEqual(index.match((f"s{number}",)), (">",))
        self.assertLessEqual(len(index._remembered), limits.MATCHES_REMEMBERED_MAX)

    def test_nothing_stays_of_what_was_removed(self) -> None:
        """Subscriptions that come and go leave no memory behind."""
        index: SubjectIndex[int] = SubjectIndex()
        patterns = [("a", str(n), "c", ">") for n in range(100)]
        for pattern in patterns:
            index.add(pattern, 1)
        for pattern in patterns:
            index.remove(pattern, 1)
        self.assertEqual((len(index), index._top.below), (0, None))

    def test_a_long_pattern_takes_no_more_levels_than_a_short_one(self) -> None:
        """Who tells of patterns with many tokens of their own does not fill the memory by that."""
        index: SubjectIndex[int] = SubjectIndex()
        most = limits.SUBJECT_TOKENS_MAX
        # In pairs that part at the last token, which is the worst: a level more for each pair.
        patterns = [(*(f"{n // 2}-{at}" for at in range(most - 1)), str(n)) for n in range(100)]
        for pattern in patterns:
            index.add(pattern, 1)
        self.assertEqual(len(levels_of(index)), 150)
        for pattern in patterns[::2]:
            index.remove(pattern, 1)
        self.assertEqual(len(levels_of(index)), 50)
        for pattern in patterns[1::2]:
            self.assertEqual(index.match(pattern), (1,))

    def test_many_values_of_one_pattern(self) -> None:
        """They are found in the order in which they came, few and many, and go one by one."""
        index: SubjectIndex[int] = SubjectIndex()
        for number in range(20):
            self.assertTrue(index.add(("a",), number))
            self.assertFalse(index.add(("a",), number))
            self.assertEqual(index.match(("a",)), tuple(range(number + 1)))
        for number in range(20):
            self.assertTrue(index.remove(("a",), number))
            self.assertFalse(index.remove(("a",), number))
            self.assertEqual(index.match(("a",)), tuple(range(number + 1, 20)))
        self.assertEqual(levels_of(index), [])

    @given(CHANGES, st.lists(SUBJECTS, min_size=1, max_size=5))
    @settings(deadline=None, max_examples=300)
    def test_agrees_with_looking_at_each_pattern(
        self,
        changes: list[tuple[bool, tuple[str, ...], int]],
        subjects: list[tuple[str, ...]],
    ) -> None:
        """The index finds what comparing the subject with every pattern finds."""
        index: SubjectIndex[int] = SubjectIndex()
        model: set[tuple[tuple[str, ...], int]] = set()
        for adds, pattern, value in changes:
            if adds:
                self.assertEqual(index.add(pattern, value), (pattern, value) not in model)
                model.add((pattern, value))
            else:
                self.assertEqual(index.remove(pattern, value), (pattern, value) in model)
                model.discard((pattern, value))
            for subject in subjects:
                expected = {v for p, v in model if matches(p, subject)}
                found = index.match(subject)
                self.assertEqual((set(found), len(found)), (expected, len(expected)))
            for level in levels_of(index):
                self.assertTrue(level.tokens)
                self.assertTrue(level.values or (level.below and len(level.below) > 1))
        self.assertEqual(len(index), len(model))


class UnderTests(SynchronousTestCase):
    @given(CHANGES, st.lists(TOKEN | st.just(">"), max_size=4).map(tuple))
    def test_agrees_with_looking_at_each_pattern(
        self, changes: list[tuple[bool, tuple[str, ...], int]], beginning: tuple[str, ...]
    ) -> None:
        """What is under a beginning is under a pattern that has these tokens first, as they are."""
        index: SubjectIndex[int] = SubjectIndex()
        known: set[tuple[tuple[str, ...], int]] = set()
        for adds, pattern, value in changes:
            (index.add if adds else index.remove)(pattern, value)
            (known.add if adds else known.discard)((pattern, value))
        wanted = [value for pattern, value in known if pattern[: len(beginning)] == beginning]
        self.assertEqual(sorted(index.under(beginning)), sorted(wanted))

    def test_what_is_elsewhere_costs_nothing(self) -> None:
        """Nobody looks at patterns that begin otherwise, however many they are."""
        index = index_of("a.b.c", "a.b.*", "a.c", *(f"b.{number}" for number in range(1000)))
        index._top.below["b"].values = None  # type: ignore[index]
        self.assertEqual(sorted(index.under(("a", "b"))), ["a.b.*", "a.b.c"])
        with self.assertRaises(TypeError):
            list(index.under(()))
