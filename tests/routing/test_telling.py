"""How often neighbors are told, and how much at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.sync_terms import Forget, Learn
from tests.routing.route_talk import DOWN, OWN, PEER, UP, Talk, dead, gone, record


class GatheringTests(SynchronousTestCase):
    """How often neighbors are told."""

    def test_many_changes_are_one(self) -> None:
        """
        A hundred changes of a node within 50 ms leave as one word with the last stamp.

        Scenario: BB35
        """
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN)
        talk.neighbor(4, PEER)
        talk.wait(1)
        talk.forget_sent()
        for seq in range(2, 102):
            talk.say(3, record(3, seq=seq, upstream_id=OWN))
            talk.now += 0.0004
        talk.wait(1)
        self.assertEqual(talk.take(2), [record(3, seq=101, upstream_id=OWN)])
        self.assertEqual(talk.take(4), [record(3, seq=101, upstream_id=OWN)])

    def test_an_addition_and_a_death_leave_the_death(self) -> None:
        """
        A change that is followed by a death within 50 ms leaves only the death.

        Scenario: BB35
        """
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN, record(7, upstream_id=3))
        talk.wait(1)
        talk.take(2)
        talk.say(3, record(7, seq=2, upstream_id=3))
        talk.say(3, dead(7, 2))
        talk.say(3, record(8, upstream_id=3), dead(8, 1))
        talk.wait(1)
        self.assertEqual(talk.take(2), [dead(7, 2)])

    def test_who_moves_is_told_of_at_once(self) -> None:
        """A node that changes its place is not kept waiting."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN, record(7, upstream_id=3), record(8, upstream_id=3))
        talk.wait(1)
        talk.take(2)
        talk.say(3, record(7, seq=2, upstream_id=8))
        self.assertEqual(talk.take(2), [record(7, seq=2, upstream_id=8)])

    def test_a_node_that_flaps_is_told_of_now_and_then(self) -> None:
        """A node that changes each second costs a link at most two words in ten seconds."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN)
        for seq in range(2, 122):
            talk.say(3, record(3, seq=seq, upstream_id=OWN))
            talk.wait(1)
            if seq == 62:
                talk.take(2)
        self.assertLessEqual(len(talk.take(2)), 12)
        talk.wait(10)
        self.assertEqual(talk.machine.known.get(3), record(3, seq=121, upstream_id=OWN))
        told = talk.take(2)
        self.assertEqual(told, [record(3, seq=121, upstream_id=OWN)])

    def test_a_slow_neighbor_is_told_everything_anew(self) -> None:
        """
        Too many changes for a clogged link are forgotten; it gets a new snapshot, and is right.

        Scenario: BB22
        """
        talk = Talk()
        many = range(10, 9_100)
        talk.neighbor(2, UP, *[record(each) for each in many])
        talk.neighbor(3, DOWN)
        talk.wait(1)
        talk.forget_sent()
        talk.slow.add(3)
        for seq in (2, 3):
            talk.say(2, *[record(each, seq=seq) for each in many])
            talk.wait(1)
        self.assertEqual(len(talk.batches(3)), limits.ROUTE_BATCHES_AHEAD_MAX)
        for _ in range(30):
            talk.do(talk.machine.sent(3, talk.now))
            talk.wait(0.1)
        self.assertTrue(any(each.is_snapshot for each in talk.batches(3)))
        table = {word.bus_id: word for word in talk.take(3)}
        self.assertEqual({table[each] for each in many}, {record(each, seq=3) for each in many})

    def test_a_batch_fits_its_frame(self) -> None:
        """A snapshot of long records comes in more batches, each within the frame of the link."""
        talk = Talk()
        talk.neighbor(2, UP, *[record(each) for each in range(10, 2_000)])
        talk.available(3, DOWN)
        talk.subscribe(3)
        self.assertEqual(len(talk.batches(3)), 2)

    def test_news_are_told_to_the_program(self) -> None:
        """The program hears of each node once when it comes, and once when it goes."""
        talk = Talk()
        talk.neighbor(2, UP, record(7))
        talk.neighbor(3, PEER, record(7, upstream_id=3))
        talk.say(3, gone(7, 1))
        talk.say(2, gone(7, 1))
        about = [each for each in talk.learned if each in (Learn(record(7)), Forget(7))]
        self.assertEqual(about, [Learn(record(7)), Forget(7)])
