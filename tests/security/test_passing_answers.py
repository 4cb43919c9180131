"""Attacks by neighbors of a relay that ask others by way of it, and acknowledge next to nothing."""

from __future__ import annotations

from tests.node.crowd import LONG_BYTES, CrowdCase


class CrowdTests(CrowdCase):
    """Who stands beside them is answered."""

    def test_security_passing_answers(self) -> None:
        """
        Answers that pass have a bound for each neighbor and for all, which share it: who stands
        beside eight that acknowledge nothing is answered every time.
        """
        self.crowd(8)
        self.check(self.asked())

    def test_security_shared_passing_answers(self) -> None:
        """However many they are, one after the other, there is a part left for one more."""
        self.crowd(32)
        self.check(self.asked(one_by_one=True, acknowledge=True))

    def test_security_unanswered_questions(self) -> None:
        """So it is when long questions are kept on the way there, for short answers."""
        self.crowd(8, 10)
        self.check(self.asked(acknowledge=True, question_bytes=LONG_BYTES), 10)
