"""What a subject is, and what a pattern is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import ID_MAX
from atbus.errors import SubjectError
from atbus.subjects.pattern import (
    check_queue,
    covers,
    inbox_of,
    inbox_owner,
    matches,
    overlaps,
    parse_pattern,
    parse_subject,
)

TOKENS = st.sampled_from(["a", "b", "ab", "a*", "*b", ">b", "é"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=5).map(tuple)
PATTERNS = st.tuples(
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4),
    st.sampled_from([[], [">"]]),
).map(lambda parts: (*parts[0], *parts[1]))


def match(pattern: str, subject: str) -> bool:
    """Match two texts."""
    return matches(parse_pattern(pattern), parse_subject(subject))


class PatternTests(SynchronousTestCase):
    def test_any_stands_for_one_token(self) -> None:
        """A star is just one token: not none, not two."""
        self.assertTrue(match("orders.*.new", "orders.eu.new"))
        self.assertFalse(match("orders.*.new", "orders.new"))
        self.assertFalse(match("orders.*", "orders.eu.new"))
        self.assertFalse(match("*", "orders.eu"))

    def test_rest_stands_for_one_or_more(self) -> None:
        """What ends with > matches everything below, but not the beginning alone."""
        self.assertTrue(match("orders.>", "orders.eu"))
        self.assertTrue(match("orders.>", "orders.eu.new"))
        self.assertFalse(match("orders.>", "orders"))
        self.assertTrue(match(">", "orders"))
        self.assertTrue(match("*.>", "orders.eu.new"))
        self.assertFalse(match("*.>", "orders"))

    def test_wildcards_inside_a_token_are_letters(self) -> None:
        """Only a token of its own is a wildcard."""
        self.assertTrue(match("foo*.bar", "foo*.bar"))
        self.assertFalse(match("foo*.bar", "foox.bar"))
        self.assertEqual(parse_pattern("a.>b.c"), ("a", ">b", "c"))

    def test_case_matters(self) -> None:
        """Subjects differ when their letters differ in case."""
        self.assertFalse(match("Orders", "orders"))

    @given(SUBJECTS)
    @settings(deadline=None)
    def test_everything_matches_itself(self, subject: tuple[str, ...]) -> None:
        """A subject is a pattern, and of itself alone."""
        text = ".".join(subject)
        self.assertTrue(match(text, text))
        self.assertTrue(match(">", text))
        self.assertFalse(match(text, text + ".more"))


class PatternPairTests(SynchronousTestCase):
    """Patterns and other patterns."""

    def test_covers(self) -> None:
        """A pattern covers another one when it stands for every subject of it."""
        for pattern, narrower in (
            (">", "a.*.>"),
            ("a.>", "a.b.>"),
            ("a.>", "a.*"),
            ("a.*", "a.b"),
            ("*.b", "a.b"),
            ("a.*.>", "a.*.*"),
            ("a", "a"),
        ):
            one, other = parse_pattern(pattern), parse_pattern(narrower)
            self.assertTrue(covers(one, other), (pattern, narrower))
            self.assertEqual(covers(other, one), one == other, (pattern, narrower))

    def test_covers_nothing_else(self) -> None:
        """A pattern that stands for some of the subjects of another one does not cover it."""
        for pattern, other in (("a.b", "a.*"), ("*.b", "a.*"), ("a.*", "a.>"), ("a", "a.>")):
            self.assertFalse(covers(parse_pattern(pattern), parse_pattern(other)), pattern)

    def test_overlaps(self) -> None:
        """Two patterns overlap when one subject can match both."""
        for one, other, expected in (
            ("a.*", "*.b", True),
            ("a.>", "*.b.c", True),
            (">", "x", True),
            ("a.b", "a.c", False),
            ("a.*", "a", False),
            ("a.>", "a", False),
            ("a.*.c", "a.b.d", False),
        ):
            tokens = parse_pattern(one), parse_pattern(other)
            self.assertIs(overlaps(*tokens), expected, (one, other))
            self.assertIs(overlaps(*reversed(tokens)), expected, (other, one))

    @given(PATTERNS, PATTERNS, SUBJECTS)
    @settings(deadline=None)
    def test_both_agree_with_matching(
        self, one: tuple[str, ...], other: tuple[str, ...], subject: tuple[str, ...]
    ) -> None:
        """What covers matches wherever the other one does; what does not overlap never does."""
        if matches(one, subject) and matches(other, subject):
            self.assertTrue(overlaps(one, other))
        if covers(one, other) and matches(other, subject):
            self.assertTrue(matches(one, subject))


class FaultTests(SynchronousTestCase):
    def test_patterns_that_are_none(self) -> None:
        """An error shows the text and says what is wrong with it."""
        for text, fault in (
            ("", "empty"),
            (".a", "empty"),
            ("a.", "empty"),
            ("a..b", "empty"),
            ("a.>.b", "last token"),
            (">.>", "last token"),
            ("a b", "white space"),
            ("a\tb", "white space"),
            ("a\r\nPUB b 0", "white space"),
            ("a\x00", "control"),
            ("a\x7f", "control"),
            ("a\u2003b", "white space"),
            ("\ud800", "surrogate"),
            ("x" * (limits.SUBJECT_BYTES + 1), "256 bytes"),
            (".".join("a" * (limits.SUBJECT_TOKENS_MAX + 1)), "17 tokens"),
        ):
            error = self.assertRaises(SubjectError, parse_pattern, text)
            self.assertEqual(error.text, text)
            self.assertIn(fault, str(error))

    def test_the_longest(self) -> None:
        """What is just at a bound is allowed."""
        parse_pattern("x" * limits.SUBJECT_BYTES)
        parse_pattern(".".join("a" * limits.SUBJECT_TOKENS_MAX))

    def test_subjects_are_literal(self) -> None:
        """Whoever publishes on a pattern is told; for NATS clients it is text."""
        for text in ("a.*", ">", "*.b"):
            error = self.assertRaises(SubjectError, parse_subject, text)
            self.assertIn("only a pattern", str(error))
            self.assertEqual(parse_subject(text, literal_wildcards=True), tuple(text.split(".")))

    def test_inboxes(self) -> None:
        """The inbox of a node has one name; what differs from it by a letter is anybody's."""
        for bus_id in (1, 0xAB12, ID_MAX):
            self.assertEqual(inbox_owner(inbox_of(bus_id, 7)), bus_id)
        token = f"{7:016x}"
        for text in (
            f"_INBOX.0.{token}",
            f"_INBOX.0ab.{token}",
            f"_INBOX.AB.{token}",
            f"_INBOX.0xab.{token}",
            f"_INBOX.+a.{token}",
            f"_INBOX.a_b.{token}",
            f"_INBOX.{ID_MAX + 1:x}.{token}",
            f"_INBOX.ab.{token}0",
            f"_INBOX.ab.{token}.0",
            f"_INBOX.ab{token}",
            f"_INBOXX.ab.{token}",
            f"_inbox.ab.{token}",
            f"a._INBOX.ab.{token}",
        ):
            self.assertEqual(inbox_owner(text), 0, text)

    def test_queue_groups(self) -> None:
        """A queue group may be called anything that is one word."""
        self.assertEqual(check_queue("workers.*"), "workers.*")
        for name in ("", "two words", "x" * 256):
            error = self.assertRaises(SubjectError, check_queue, name)
            self.assertEqual(error.text, name)
