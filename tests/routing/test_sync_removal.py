"""What a route table forgets of what its neighbors have told, and when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.sync import RouteSync
from atbus.routing.sync_terms import Learn, TableMode
from tests.routing.route_talk import DOWN, OWN, PEER, UP, Talk, dead, gone, record


class RemovalTests(SynchronousTestCase):
    """Deaths, losses and graces."""

    def test_tombstones_end(self) -> None:
        """
        An old word that comes while the death is remembered is ignored; later nothing is left.

        Scenario: BB37
        """
        talk = Talk()
        talk.neighbor(2, UP, record(7, seq=4))
        talk.neighbor(3, DOWN, record(7, seq=4, upstream_id=3))
        talk.say(2, dead(7, 4))
        self.assertNotIn(7, talk.ids)
        self.assertEqual(talk.machine.tombstone_count, 1)
        talk.say(2, record(7, seq=3))
        talk.say(2, record(7, seq=4))
        self.assertNotIn(7, talk.ids)
        talk.say(2, record(7, seq=5))
        self.assertIn(7, talk.ids)
        talk.say(2, gone(7, 5))
        talk.say(3, gone(7, 4))
        talk.wait(limits.TOMBSTONE_SECONDS + 1)
        self.assertEqual((talk.ids, talk.machine.tombstone_count), ([2, 3], 0))
        self.assertIsNone(talk.machine.deadline)

    def test_a_death_that_nobody_shares_is_forgotten(self) -> None:
        """What a neighbor goes on telling against a tombstone is believed when that is gone."""
        talk = Talk()
        talk.neighbor(2, UP, record(7))
        talk.neighbor(3, PEER, record(7, upstream_id=3))
        talk.say(2, dead(7, 1))
        self.assertNotIn(7, talk.ids)
        talk.wait(limits.TOMBSTONE_SECONDS)
        self.assertEqual(talk.machine.known.tellers(7), (3,))

    def test_the_upstream_is_lost_twice(self) -> None:
        """
        Lost, regained half-way, lost again: after the grace nothing of either feed remains.

        Scenario: BB31
        """
        talk = Talk()
        talk.neighbor(2, UP, record(7), record(8))
        talk.lose(2)
        talk.wait(10)
        talk.available(2, UP)
        talk.answer(2, record(2), record(9), last=False)
        self.assertEqual(talk.ids, [2, 7, 8, 9])
        talk.lose(2)
        talk.wait(limits.PARENT_GRACE_SECONDS - 1)
        self.assertEqual(talk.ids, [2, 7, 8, 9])
        self.assertEqual(talk.machine.known.tellers(7), ())
        talk.wait(2)
        self.assertEqual(talk.ids, [])

    def test_the_upstream_is_lost_twice_and_a_node_has_come(self) -> None:
        """
        What the upstream has told before a node came here is no news when it is lost again.

        The node tells nothing of itself, so that what is said of it has the same stamp wherever it
        hangs.
        """
        talk = Talk()
        talk.neighbor(2, UP, record(9, 0, upstream_id=3), record(3, upstream_id=2))
        talk.lose(2)
        talk.available(9, DOWN, tells=False)
        talk.available(2, UP)
        talk.lose(2)
        self.assertEqual(self.place_of(9, talk), OWN)

    def place_of(self, bus_id: int, talk: Talk) -> int:
        """Say below whom a node hangs, for the table and for those who were told of changes."""
        (best,) = (each for each in talk.machine.known.records() if each.bus_id == bus_id)
        changes = [each.record for each in talk.learned if isinstance(each, Learn)]
        (*_, last) = (each for each in changes if each.bus_id == bus_id)
        self.assertEqual(last, best)
        return best.upstream_id

    def test_an_upstream_that_does_not_come_back(self) -> None:
        """A short break changes nothing; after a while the node says that it hangs below nobody."""
        talk = Talk()
        talk.neighbor(2, UP)
        talk.lose(2)
        talk.wait(limits.UPSTREAM_PATIENCE_SECONDS - 0.1)
        self.assertEqual(talk.machine.own.upstream_id, 2)
        talk.wait(0.2)
        self.assertEqual(talk.machine.own.upstream_id, 0)

    def test_a_short_break_of_who_asks_no_more(self) -> None:
        """
        A node that is told nothing any more says anew where it is: it cannot hear that it was taken
        for dead meanwhile.
        """
        talk = Talk(RouteSync(record(OWN), TableMode.AUTO))
        talk.neighbor(2, UP, record(7))
        talk.neighbor(3, PEER)
        talk.answer(2, record(2), record(7), snapshot_id=2)
        for alone in (False, True):
            stamp = talk.machine.own.stamp
            if alone:
                talk.lose(3)
            talk.lose(2)
            talk.wait(0.1)
            talk.available(2, UP)
            self.assertEqual(talk.machine.own.upstream_id, 2)
            self.assertEqual(talk.machine.own.stamp > stamp, alone)
            talk.answer(2, record(2), record(7), snapshot_id=3)

    def test_a_short_break_after_which_the_upstream_is_another_one(self) -> None:
        """Its next life cannot know that the former one has reported us dead."""
        for epoch in (1, 2):
            talk = Talk()
            talk.neighbor(2, UP, record(7))
            stamp = talk.machine.own.stamp
            talk.lose(2)
            talk.wait(0.1)
            talk.available(2, UP, epoch=epoch)
            self.assertEqual(talk.machine.own.upstream_id, 2)
            self.assertEqual(talk.machine.own.stamp > stamp, epoch == 2)

    def test_an_upstream_that_comes_back_as_a_peer(self) -> None:
        """
        A lost upstream that is a neighbor beside us first, and above us again over its next
        connection, is our upstream, whether that was a short break or not.
        """
        for seconds in (0.1, 2 * limits.UPSTREAM_PATIENCE_SECONDS):
            with self.subTest(seconds):
                talk = Talk()
                talk.neighbor(2, UP)
                talk.lose(2)
                talk.wait(0.1)
                talk.available(2, PEER)
                talk.wait(seconds)
                talk.available(2, UP)
                talk.wait(10)
                self.assertEqual(talk.machine.own.upstream_id, 2)

    def test_a_peer_that_becomes_the_upstream(self) -> None:
        """That a neighbor is above us now is told under a new stamp, though it was there before."""
        talk = Talk()
        talk.neighbor(2, PEER)
        talk.neighbor(3, PEER)
        talk.take(3)
        stamp = talk.machine.own.stamp
        talk.available(2, UP)
        talk.answer(2, record(2), snapshot_id=2)
        talk.wait(1)
        self.assertEqual(talk.machine.own.upstream_id, 2)
        self.assertGreater(talk.machine.own.stamp, stamp)
        self.assertEqual(talk.take(3)[-1], talk.machine.own)

    def test_the_next_upstream_replaces_the_last(self) -> None:
        """What a lost upstream has told ends with the snapshot of the next one."""
        talk = Talk()
        talk.neighbor(2, UP, record(7), record(8))
        talk.lose(2)
        talk.available(4, UP)
        talk.answer(4, record(4), record(7))
        self.assertEqual(talk.ids, [4, 7])

    def test_moving_before_leaving(self) -> None:
        """A node that has its next upstream before it leaves the last one keeps what it is told."""
        talk = Talk()
        talk.neighbor(2, UP, record(7), record(8))
        talk.available(4, UP)
        talk.answer(4, record(4), record(7))
        self.assertEqual(talk.machine.own.upstream_id, 4)
        talk.lose(2)
        talk.wait(5)
        self.assertEqual((talk.ids, talk.machine.own.upstream_id), ([4, 7], 4))

    def test_who_asks_nobody_forgets_its_last_upstream(self) -> None:
        """A leaf that moves knows its upstream and no other, whichever connection came first."""
        for mode in (TableMode.AUTO, TableMode.UPSTREAM, TableMode.OFF):
            talk = Talk(RouteSync(record(OWN), mode))
            talk.available(2, UP)
            talk.available(4, UP)
            talk.lose(2)
            self.assertEqual(talk.ids, [4])
            talk.lose(4)
            self.assertEqual(talk.ids, [4])
            talk.available(5, UP)
            self.assertEqual(talk.ids, [5])

    def test_a_downstream_leaves_in_good_order(self) -> None:
        """
        A node that says that it is dead, or has said goodbye, is dropped at once and reported once.

        Scenario: BB34
        """
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN, record(7, upstream_id=3))
        talk.available(4, DOWN, tells=False)
        talk.wait(1)
        talk.take(2)
        talk.say(3, dead(3, 2))
        talk.lose(3)
        talk.lose(4, in_order=True)
        talk.wait(5)
        self.assertEqual(talk.take(2), [gone(7, 1), dead(4, 0), dead(3, 2)])
        self.assertEqual(talk.ids, [2])

    def test_the_last_word_of_this_node(self) -> None:
        """
        A node that stops tells everybody so itself, once, and says nothing after that.

        Scenario: BB34
        """
        talk = Talk()
        talk.neighbor(2, UP)
        talk.neighbor(3, DOWN)
        talk.neighbor(4, PEER)
        talk.wait(1)
        talk.forget_sent()
        stamp = talk.machine.own.stamp
        talk.do(talk.machine.stop(talk.now))
        for bus_id in (2, 3, 4):
            self.assertEqual(talk.take(bus_id), [dead(OWN, stamp.seq + 1)])
        talk.lose(2)
        talk.wait(200)
        self.assertEqual((talk.sent, talk.machine.deadline), ([], None))
