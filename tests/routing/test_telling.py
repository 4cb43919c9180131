"""How often neighbors are told, and how much at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing import bounds
from atbus.routing.batch import Removal, Word
from atbus.routing.sync_terms import Forget, Learn
from tests.routing.route_talk import DOWN, OWN, PEER, UP, Talk, dead, gone, record


def ends_in(words: list[Word]) -> list[tuple[int, bool]]:
    """Give of each word, which has to be of an end, whose it is, and whether it is a death."""
    return [(word.bus_id, word.dead) for word in words if isinstance(word, Removal)]


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

    def test_whose_messages_pass_is_told_of_at_once(self) -> None:
        """A node in whose name something is passed on does not wait for others either."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN)
        talk.wait(1)
        talk.take(2)
        talk.say(3, record(7, upstream_id=3), record(8, upstream_id=3))
        self.assertEqual(talk.take(2), [])
        self.assertTrue(talk.machine.hurry(7, talk.now))
        talk.do(talk.machine.tick(talk.now))
        self.assertEqual(talk.take(2), [record(7, upstream_id=3)])
        self.assertFalse(talk.machine.hurry(7, talk.now))
        self.assertFalse(talk.machine.hurry(9, talk.now))
        talk.wait(1)
        self.assertEqual(talk.take(2), [record(8, upstream_id=3)])

    def test_who_flaps_is_not_told_of_sooner_for_its_messages(self) -> None:
        """A node that changes all the time waits for its turn, whatever it sends."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN)
        talk.wait(1)
        talk.take(2)
        for seq in range(1, 50):
            talk.say(3, record(7, seq=seq, upstream_id=3))
            if talk.machine.hurry(7, talk.now):
                talk.do(talk.machine.tick(talk.now))
        self.assertEqual(len(talk.take(2)), limits.ROUTE_CHANGES_AT_ONCE)

    def test_who_has_moved_away_is_spoken_for_a_little_longer(self) -> None:
        """
        That a node is below somebody else now is told above when that one has had time to say so.

        Whoever is below is told of it at once.
        """
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(4, PEER)
        talk.neighbor(5, DOWN)
        talk.neighbor(3, DOWN)
        talk.wait(1)
        talk.forget_sent()
        moved = record(3, seq=2, upstream_id=4)
        talk.say(3, moved)
        self.assertEqual(talk.take(5), [moved])
        talk.say(4, moved)
        talk.wait(bounds.PARTING_SECONDS - 0.01)
        self.assertEqual((talk.take(2), talk.take(4)), ([], []))
        talk.wait(0.02)
        self.assertEqual(ends_in(talk.take(2)), [(3, False)])
        self.assertLess(bounds.PARTING_SECONDS, bounds.QUIET_SECONDS)

    def test_who_comes_back_has_never_been_away(self) -> None:
        """A node that is below us again before it was told that it left has only changed."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(4, PEER)
        talk.neighbor(3, DOWN)
        talk.wait(1)
        talk.forget_sent()
        talk.say(3, record(3, seq=2, upstream_id=4))
        talk.wait(0.1)
        back = record(3, seq=3, upstream_id=OWN)
        talk.say(3, back)
        talk.wait(5)
        self.assertEqual(talk.take(2), [back])

    def test_who_dies_after_a_move_is_not_spoken_for(self) -> None:
        """A node that has moved, and is known nowhere any more, is told of like any other."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(4, PEER)
        talk.neighbor(3, DOWN)
        talk.wait(1)
        talk.forget_sent()
        talk.say(3, record(3, seq=2, upstream_id=4))
        talk.say(3, dead(3, 2))
        talk.wait(0.1)
        self.assertEqual(ends_in(talk.take(2)), [(3, True)])

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
        talk.wait(0)
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
