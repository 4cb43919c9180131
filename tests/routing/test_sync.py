"""One route table and its neighbors, word by word."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import Status
from atbus.routing.batch import Batch, kept_bytes
from atbus.routing.bounds import ROUTE_HEARD_BYTES
from atbus.routing.subscription import Stage
from atbus.routing.sync import RouteSync
from atbus.routing.sync_terms import Ignored, TableMode
from atbus.wire.messages import SubscribeRequest, SubscribeResponse
from tests.routing.route_talk import DOWN, OWN, PEER, UP, Talk, dead, gone, record


class SubscribeTests(SynchronousTestCase):
    """Asking and being asked."""

    def test_asks_whoever_is_available(self) -> None:
        """
        A neighbor is asked as soon as it is available, on whichever side it is, and not before.

        Scenario: BB2
        """
        for position in (UP, DOWN, PEER):
            talk = Talk()
            self.assertEqual(talk.sent, [])
            talk.available(2, position)
            self.assertEqual(talk.sent, [(2, SubscribeRequest(source=OWN))])

    def test_tells_nothing_before_it_is_asked(self) -> None:
        """
        A neighbor that has not asked is told nothing, whatever happens.

        Scenario: BB2
        """
        talk = Talk()
        talk.available(2, DOWN)
        talk.neighbor(3, DOWN)
        talk.wait(10)
        self.assertEqual(talk.take(2), [])

    def test_an_early_request_is_answered_late(self) -> None:
        """Who asks before it is available to us is answered when it is."""
        talk = Talk()
        talk.subscribe(2)
        self.assertEqual(talk.sent, [])
        talk.available(2, DOWN)
        self.assertEqual(talk.take(2), [talk.machine.own])

    def test_a_snapshot_comes_in_batches(self) -> None:
        """
        N records are told in N / 1000 batches, rounded up; only the last one says so.

        Scenario: BB1
        """
        for count in (1, 999, 1000, 1001, 4_500):
            talk = Talk()
            talk.neighbor(2, DOWN, *[record(each, upstream_id=2) for each in range(10, 8 + count)])
            talk.wait(0)
            talk.available(3, UP)
            talk.subscribe(3)
            if count == 1:
                talk = Talk()
                talk.available(3, UP)
                talk.subscribe(3)
            self.assertIn((3, SubscribeResponse(source=OWN, snapshot_id=1)), talk.sent)
            talk.wait(0)
            batches = talk.batches(3)
            self.assertEqual(len(batches), -(-count // 1000))
            self.assertEqual([each.index for each in batches], list(range(len(batches))))
            self.assertEqual([each.last for each in batches], [*[False] * (len(batches) - 1), True])
            self.assertEqual(sum(len(each.words) for each in batches), count)

    def test_a_change_during_a_snapshot_comes_after_it(self) -> None:
        """
        What changes while five batches are on their way arrives behind them, and is right.

        Scenario: BB4
        """
        talk = Talk()
        talk.neighbor(2, DOWN, *[record(each, upstream_id=2) for each in range(10, 4_508)])
        talk.wait(0)
        talk.slow.add(3)
        talk.available(3, UP)
        talk.subscribe(3)
        talk.say(2, record(10, seq=2, upstream_id=2), gone(4_500, 1), record(9, upstream_id=2))
        for _ in range(20):
            talk.wait(0.1)
            talk.do(talk.machine.sent(3, talk.now))
        batches = talk.batches(3)
        self.assertEqual([each.is_snapshot for each in batches], [*[True] * 5, False])
        table = {}
        for word in talk.take(3):
            table[word.bus_id] = word
        self.assertEqual(table[10], record(10, seq=2, upstream_id=2))
        self.assertEqual(table[9], record(9, upstream_id=2))
        self.assertNotIn(4_500, table)

    def test_asking_again_begins_again(self) -> None:
        """A repeated request is answered with a new snapshot, at most once a second."""
        talk = Talk()
        talk.available(3, UP)
        talk.subscribe(3)
        talk.subscribe(3)
        talk.subscribe(3)
        self.assertEqual([each.snapshot_id for each in talk.batches(3)], [1])
        talk.wait(1)
        self.assertEqual([each.snapshot_id for each in talk.batches(3)], [1, 2])

    def test_an_old_snapshot_is_not_looked_at(self) -> None:
        """Batches of another snapshot than the promised one, or out of turn, are dropped."""
        talk = Talk()
        talk.available(2, UP)
        talk.hear(2, Batch(words=(record(7),)))
        talk.hear(2, SubscribeResponse(source=2, snapshot_id=5))
        talk.hear(2, Batch(words=(record(8),), snapshot_id=4))
        talk.hear(2, Batch(words=(record(9),), snapshot_id=5, index=1))
        self.assertEqual(talk.ids, [])
        talk.hear(2, Batch(words=(record(10),), snapshot_id=5))
        talk.hear(2, Batch(words=(record(11),), snapshot_id=5))
        talk.hear(2, Batch(words=(record(12),), snapshot_id=5, index=1, last=True))
        talk.hear(2, Batch(words=(record(13),), snapshot_id=5, last=True))
        self.assertEqual(talk.ids, [2, 10, 12])
        self.assertIn(Ignored(2, Status.OUT_OF_TURN, 1), talk.other)

    def test_the_teller_may_begin_anew(self) -> None:
        """A snapshot that was not asked for replaces what was told before."""
        talk = Talk()
        talk.neighbor(2, UP, record(7), record(8))
        talk.hear(2, Batch(words=(record(2), record(8)), snapshot_id=2, last=True))
        self.assertEqual(talk.ids, [2, 8])

    def test_a_node_that_does_not_tell_is_listed(self) -> None:
        """
        A neighbor without route tables, or that refuses, is known and told of as it registered.

        Scenario: BB23
        """
        talk = Talk()
        talk.neighbor(3, UP)
        talk.available(2, DOWN, tells=False)
        talk.available(4, DOWN)
        talk.hear(4, SubscribeResponse(source=4, status=Status.NOT_ADMITTED))
        talk.wait(0.1)
        told = {word.bus_id: word for word in talk.take(3)}
        self.assertEqual(told[2], record(2, seq=0, upstream_id=OWN))
        self.assertEqual(told[4], record(4, seq=0, upstream_id=OWN))
        self.assertNotIn((2, SubscribeRequest(source=OWN)), talk.sent)
        self.assertIs(talk.machine.stage_of(4), Stage.REFUSED)

    def test_a_silent_teller_is_listed_after_a_second(self) -> None:
        """Who was asked and is silent is listed after a second; its own word replaces that."""
        talk = Talk()
        talk.available(2, DOWN)
        talk.wait(0.9)
        self.assertEqual(talk.ids, [])
        talk.wait(0.2)
        self.assertEqual(talk.machine.known.get(2), record(2, seq=0, upstream_id=OWN))
        talk.answer(2, record(2, seq=4, upstream_id=OWN))
        self.assertEqual(talk.machine.known.get(2), record(2, seq=4, upstream_id=OWN))

    def test_switched_off(self) -> None:
        """
        With the table off nobody is asked, and who asks is refused.

        Scenario: BB23
        """
        talk = Talk(RouteSync(record(OWN), TableMode.OFF))
        talk.available(2, UP)
        self.assertEqual(talk.sent, [])
        talk.subscribe(2)
        self.assertEqual(
            talk.sent, [(2, SubscribeResponse(source=OWN, status=Status.NOT_ADMITTED))]
        )

    def test_a_leaf_asks_when_it_has_others(self) -> None:
        """By itself a node asks nobody; with the first downstream or peer it asks all."""
        talk = Talk(RouteSync(record(OWN), TableMode.AUTO))
        talk.available(2, UP)
        self.assertEqual(talk.sent, [])
        talk.available(3, PEER)
        asked = [to for to, message in talk.sent if isinstance(message, SubscribeRequest)]
        self.assertEqual(sorted(asked), [2, 3])

    def test_a_leaf_that_wants_to_know_after_all(self) -> None:
        """Who wants everything later asks those who are there, once, and is told."""
        talk = Talk(RouteSync(record(OWN), TableMode.AUTO))
        talk.available(2, UP)
        for _ in range(2):
            talk.do(talk.machine.want(TableMode.FULL, talk.now))
        self.assertEqual(talk.sent, [(2, SubscribeRequest(source=OWN))])
        talk.do(talk.machine.want(TableMode.AUTO, talk.now))
        talk.lose(2, in_order=True)
        talk.available(2, UP)
        self.assertEqual(len(talk.sent), 1)

    def test_a_leaf_that_wants_no_table_tells_of_itself(self) -> None:
        """With ``upstream`` a node asks nobody, and answers who asks."""
        talk = Talk(RouteSync(record(OWN), TableMode.UPSTREAM))
        talk.available(2, UP)
        talk.available(3, PEER)
        self.assertEqual(talk.sent, [])
        talk.subscribe(2)
        self.assertEqual(talk.take(2), [talk.machine.own])
        self.assertEqual(talk.ids, [2, 3])

    def test_another_connection_of_the_same_neighbor(self) -> None:
        """When the control connection is replaced all is asked for again; nothing is lost."""
        talk = Talk()
        talk.neighbor(2, UP, record(7), record(8))
        talk.slow.add(2)
        talk.learned.clear()
        talk.forget_sent()
        talk.available(2, UP)
        self.assertEqual(talk.sent, [(2, SubscribeRequest(source=OWN))])
        talk.answer(2, record(2), record(7), record(8), snapshot_id=2)
        self.assertEqual((talk.ids, talk.learned), ([2, 7, 8], []))


class FeedTests(SynchronousTestCase):
    """What is believed of what neighbors tell."""

    def test_the_last_word_of_a_feed_counts(self) -> None:
        """
        A feed that falls back to an older stamp and then withdraws leaves no ghost.

        Scenario: BB30
        """
        talk = Talk()
        talk.neighbor(2, UP, record(7, seq=5))
        talk.neighbor(3, DOWN)
        talk.wait(1)
        talk.take(3)
        talk.say(2, record(7, seq=3))
        talk.wait(1)
        self.assertEqual(talk.take(3), [record(7, seq=3)])
        talk.say(2, gone(7, 3))
        talk.wait(1)
        self.assertEqual(talk.take(3), [gone(7, 3)])
        self.assertNotIn(7, talk.ids)

    def test_between_feeds_the_larger_stamp_counts(self) -> None:
        """The newer record wins whoever brings it; without its feed the older one is back."""
        talk = Talk()
        talk.neighbor(2, UP, record(7, seq=5))
        talk.neighbor(3, PEER, record(7, seq=6, upstream_id=3))
        self.assertEqual(talk.machine.known.tellers(7), (3,))
        talk.say(3, gone(7, 6))
        self.assertEqual(talk.machine.known.get(7), record(7, seq=5))

    def test_a_node_without_a_stamp_is_where_it_was_said_to_be_last(self) -> None:
        """
        A node that tells nothing of itself and has moved is looked for at its new place only.

        Nothing in its record says which place is newer: two proxies have listed it, each below it.

        Scenario: BB23
        """
        talk = Talk()
        talk.neighbor(2, UP, record(7, seq=0, upstream_id=4))
        talk.neighbor(3, PEER, record(7, seq=0, upstream_id=3))
        talk.neighbor(5, DOWN)
        moved = record(7, seq=0, upstream_id=3)
        self.assertEqual(talk.machine.known.get(7), moved)
        self.assertEqual(talk.machine.known.tellers(7), (3,))
        talk.say(2, moved)
        self.assertEqual(talk.machine.known.tellers(7), (3, 2))
        talk.say(3, gone(7, 0))
        self.assertEqual(talk.machine.known.get(7), moved)
        back = record(7, seq=0, upstream_id=4)
        talk.say(2, back)
        talk.wait(1)
        self.assertEqual(talk.machine.known.get(7), back)
        self.assertEqual(talk.take(5)[-1], back)

    def test_a_neighbor_without_a_stamp_does_not_hide_its_upstream(self) -> None:
        """Who is connected to a node that tells nothing still believes the proxy that lists it."""
        talk = Talk()
        talk.neighbor(2, UP, record(7, seq=0, upstream_id=4))
        talk.available(7, PEER, tells=False)
        self.assertEqual(talk.machine.known.get(7), record(7, seq=0, upstream_id=4))
        talk.say(2, gone(7, 0))
        self.assertEqual(talk.machine.known.get(7), record(7, seq=0))

    def test_only_what_is_below_may_be_told_of(self) -> None:
        """A downstream and a peer are believed about what is below them; the rest is counted."""
        for position in (DOWN, PEER):
            talk = Talk()
            talk.neighbor(2, position, record(7, upstream_id=2), record(8, upstream_id=99))
            self.assertEqual(talk.ids, [2, 7])
            self.assertIn(Ignored(2, Status.SOURCE_REFUSED, 1), talk.other)
            talk.say(2, dead(8, 9), dead(12, 9))
            self.assertEqual(talk.machine.tombstone_count, 0)

    def test_who_is_above_may_come_later(self) -> None:
        """A node is believed as soon as the one above it was told of, however deep."""
        talk = Talk()
        talk.neighbor(2, DOWN, record(9, upstream_id=8), record(8, upstream_id=7))
        self.assertEqual(talk.ids, [2])
        talk.say(2, record(7, upstream_id=2))
        self.assertEqual(talk.ids, [2, 7, 8, 9])

    def test_a_full_table_takes_nobody_in(self) -> None:
        """What one table holds is bounded; more is not taken, and counted."""
        self.patch(limits, "ROUTE_RECORDS_MAX", 3)
        talk = Talk()
        talk.neighbor(2, UP, *[record(each) for each in range(10, 20)])
        self.assertEqual(len(talk.ids), 3)
        self.assertEqual(talk.other.count(Ignored(2, Status.BUFFER_LIMIT, 1)), 8)
        self.assertEqual(talk.machine.digest_of(2), 0)

    def test_what_is_heard_has_a_bound(self) -> None:
        """What all neighbors tell together is bounded too; more of it is not taken, and counted."""
        self.patch(limits, "ROUTE_HEARD_MAX", 5)
        talk = Talk()
        for neighbor in (2, 3):
            talk.neighbor(neighbor, UP, *[record(each) for each in range(10, 14)])
        self.assertEqual(talk.ids, [2, 3, 10, 11, 12, 13])
        left_out = sum(
            each.count
            for each in talk.other
            if isinstance(each, Ignored) and each.status is Status.BUFFER_LIMIT
        )
        self.assertGreater(left_out, 0)

    def test_what_is_heard_may_take_so_much_memory(self) -> None:
        """Long records fill it sooner; what was known of a node goes if its news has no room."""
        talk = Talk()
        hearing = talk.machine._hearing
        self.assertEqual(hearing.heard_bytes_max, ROUTE_HEARD_BYTES)
        talk.neighbor(2, UP, *[record(each) for each in range(10, 14)])
        self.assertEqual(talk.ids, [2, 10, 11, 12, 13])
        hearing.heard_bytes_max = 5 * kept_bytes(record(10))
        long = attrs.evolve(record(10, 2), addresses=("ipv4://10.0.0.9:1",))
        talk.say(2, long, record(14))
        self.assertEqual(talk.ids, [2, 11, 12, 13, 14])
        self.assertEqual(talk.other.count(Ignored(2, Status.BUFFER_LIMIT, 1)), 1)
        talk.say(2, gone(11, 1), gone(12, 1))
        talk.say(2, long)
        self.assertEqual(talk.ids, [2, 10, 13, 14])

    def test_a_lost_batch_is_noticed_by_the_digest(self) -> None:
        """Two pings with the same wrong digest, and nothing told between them: all is told anew."""
        talk = Talk()
        talk.neighbor(2, UP, record(7))
        self.assertNotEqual(talk.machine.digest_of(2), 0)
        talk.wait(5)
        talk.forget_sent()
        for digest, snapshots in ((0, 0), (12, 0), (13, 0), (13, 1), (13, 1)):
            talk.do(talk.machine.compare(2, digest, talk.now))
            self.assertEqual(len(talk.batches(2)), snapshots)

    def test_equal_digests_are_fine(self) -> None:
        """What one side has told and what the other has heard have the same digest."""
        teller = Talk()
        teller.neighbor(2, UP)
        teller.neighbor(3, DOWN, record(7, upstream_id=3))
        teller.wait(1)
        hearer = Talk(RouteSync(record(2, seq=0), TableMode.FULL))
        hearer.available(OWN, DOWN)
        hearer.answer(OWN, *teller.take(2))
        for _ in range(4):
            effects = teller.machine.compare(2, hearer.machine.digest_of(OWN), teller.now)
            self.assertEqual(effects, [])
