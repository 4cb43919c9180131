"""What several registries say of the same thing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.precedence import Precedence


class PrecedenceTests(SynchronousTestCase):
    """Whose word counts."""

    def test_the_first_one_counts(self) -> None:
        """
        Who spoke first of an id counts until he takes it back; then who spoke next does.

        Scenario: U15
        """
        said: Precedence[int, str] = Precedence()
        self.assertIsNone(said.counts(1))
        self.assertEqual(said.say("a", 1, "one of a"), "one of a")
        self.assertEqual(said.say("b", 1, "one of b"), "one of a")
        self.assertEqual(said.say("b", 1, "another of b"), "one of a")
        self.assertEqual(said.say("a", 1, "one of a again"), "one of a again")
        self.assertEqual(said.say("c", 1, "one of c"), "one of a again")
        self.assertEqual(said.say("a", 1, None), "another of b")
        # Who comes back is the last.
        self.assertEqual(said.say("a", 1, "one of a"), "another of b")
        self.assertEqual((said.keys_of("a"), said.keys_of("x")), ([1], []))
        for who in "bca":
            left = said.say(who, 1, None)
        self.assertIsNone(left)
        self.assertIsNone(said.say("a", 1, None))

    def test_a_newer_state_counts_before_an_older(self) -> None:
        """Of one thing the newest state counts, whoever says it; two things are not compared."""

        def is_newer(one: tuple[str, int], other: tuple[str, int]) -> bool:
            return one[0] == other[0] and one[1] > other[1]

        said: Precedence[int, tuple[str, int]] = Precedence(is_newer)
        said.say("a", 1, ("node", 1))
        self.assertEqual(said.say("b", 1, ("node", 2)), ("node", 2))
        self.assertEqual(said.say("c", 1, ("other", 9)), ("node", 2))
        self.assertEqual(said.say("a", 1, ("node", 2)), ("node", 2))
        self.assertEqual(said.say("a", 1, None), ("node", 2))
        self.assertEqual(said.say("b", 1, None), ("other", 9))
