"""Whether a neighbor has heard what it was told, and how often it is told anew."""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects import bounds
from atbus.subjects.doubt import Doubt

RIGHT, WRONG = 7, 8


class PingTests(SynchronousTestCase):
    def test_two_in_a_row(self) -> None:
        """One wrong digest may have crossed a message; the same again, nothing told, cannot."""
        doubt = Doubt()
        self.assertFalse(doubt.pinged(WRONG, RIGHT))
        doubt.told()
        self.assertFalse(doubt.pinged(WRONG, RIGHT))
        self.assertFalse(doubt.pinged(WRONG + 1, RIGHT))
        self.assertTrue(doubt.pinged(WRONG + 1, RIGHT))

    def test_a_right_one_between(self) -> None:
        """A right digest ends the doubt."""
        doubt = Doubt()
        for digest in (WRONG, RIGHT, WRONG):
            self.assertFalse(doubt.pinged(digest, RIGHT))

    def replays(self, doubt: Doubt, count: int) -> list[int]:
        """Say after which of so many wrong pings everything was told anew, each time in vain."""
        found = []
        for number in range(1, count + 1):
            if doubt.pinged(WRONG, RIGHT):
                doubt.replayed()
                found.append(number)
        return found

    def test_replays_in_vain_become_rare(self) -> None:
        """Each waits twice as long as the one before, up to a bound."""
        longest = bounds.REPLAYS_PASSED_OVER_MAX
        when = self.replays(Doubt(), 20 * longest)
        apart = [after - before for before, after in pairwise(when)]
        self.assertEqual(apart[:5], [2, 3, 5, 9, 17])
        self.assertEqual(set(apart[8:]), {longest + 2})

    def test_one_that_helps(self) -> None:
        """After a right digest all is as in the beginning."""
        doubt = Doubt()
        self.replays(doubt, 500)
        self.assertFalse(doubt.pinged(RIGHT, RIGHT))
        self.assertEqual(self.replays(doubt, 4), [2, 4])


class AnswerTests(SynchronousTestCase):
    def test_one_difference_is_a_loss(self) -> None:
        """An answer has the digest of what was told before the question, or something is lost."""
        doubt = Doubt()
        doubt.asked(1, 5, RIGHT)
        self.assertFalse(doubt.answered(1, 5, RIGHT))
        doubt.asked(1, 6, RIGHT)
        self.assertTrue(doubt.answered(1, 6, WRONG))

    def test_only_the_answer_to_the_oldest_question_counts(self) -> None:
        """No other is looked at, nor one to a question before a replay, nor a second one."""
        doubt = Doubt()
        doubt.asked(1, 5, RIGHT)
        doubt.asked(1, 6, RIGHT)
        self.assertFalse(doubt.answered(1, 6, WRONG))
        self.assertFalse(doubt.answered(0, 5, WRONG))
        doubt.replayed()
        self.assertFalse(doubt.answered(1, 5, WRONG))
        doubt.asked(2, 5, RIGHT)
        self.assertFalse(doubt.answered(1, 5, WRONG))
        self.assertTrue(doubt.answered(2, 5, WRONG))
        self.assertFalse(doubt.answered(2, 5, WRONG))

    def test_answers_make_no_circle(self) -> None:
        """When a replay has not helped, no answer starts another one, until a digest is right."""
        doubt = Doubt()
        doubt.asked(1, 1, RIGHT)
        self.assertTrue(doubt.answered(1, 1, WRONG))
        doubt.replayed()
        for barrier in range(2, 100):
            doubt.asked(2, barrier, RIGHT)
            self.assertFalse(doubt.answered(2, barrier, WRONG))
        doubt.asked(2, 100, RIGHT)
        self.assertFalse(doubt.answered(2, 100, RIGHT))
        doubt.asked(2, 101, RIGHT)
        self.assertTrue(doubt.answered(2, 101, WRONG))

    def test_room(self) -> None:
        """Who says that it has room is told everything anew if it has missed something, once."""
        doubt = Doubt()
        self.assertFalse(doubt.has_room())
        doubt.asked(1, 1, RIGHT)
        self.assertTrue(doubt.answered(1, 1, WRONG))
        doubt.replayed()
        self.assertTrue(doubt.has_room())
        self.assertFalse(doubt.has_room())
