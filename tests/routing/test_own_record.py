"""What is said about this node by others."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.record import Record, Stamp
from atbus.routing.sync_terms import LostId
from tests.routing.route_talk import OWN, UP, Talk, dead, record


class OwnRecordTests(SynchronousTestCase):
    """What is said about this node by others."""

    def test_a_node_hears_its_own_death(self) -> None:
        """
        It says that it lives, with a larger stamp, and at most once a second.

        Scenario: BB16
        """
        talk = Talk()
        talk.neighbor(2, UP)
        talk.wait(10)
        talk.forget_sent()
        for seq in (2, 3, 4, 5):
            talk.say(2, dead(OWN, seq))
        talk.wait(3)
        stamps = [each.stamp for each in talk.take(2) if isinstance(each, Record)]
        self.assertEqual(stamps[-1], Stamp(1, 6))
        self.assertLessEqual(len(stamps), 2)

    def test_an_old_death_is_no_news(self) -> None:
        """A death under an older stamp than ours needs no answer."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.wait(10)
        talk.forget_sent()
        talk.say(2, dead(OWN, 1))
        talk.wait(3)
        self.assertEqual(talk.sent, [])

    def test_another_process_has_our_id(self) -> None:
        """
        The older of two processes with one id says so, once, and claims the id no more.

        Scenario: BB17
        """
        talk = Talk()
        talk.neighbor(2, UP)
        talk.wait(10)
        talk.forget_sent()
        talk.say(2, record(OWN, seq=1, epoch=2), record(OWN, seq=2, epoch=2))
        talk.wait(3)
        self.assertEqual(
            [each for each in talk.other if isinstance(each, LostId)],
            [LostId("1.2", Stamp(2, 1))],
        )
        self.assertEqual(talk.sent, [])
        talk.say(2, dead(OWN, 3, epoch=2))
        talk.wait(3)
        self.assertEqual([each.stamp for each in talk.take(2)], [Stamp(2, 4)])

    def test_a_liar_cannot_make_stamps_run_out(self) -> None:
        """A death under the largest stamp of an epoch is answered in the next epoch."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.say(2, dead(OWN, 2**64 - 1))
        talk.wait(3)
        self.assertEqual(talk.machine.own.stamp, Stamp(2, 1))
