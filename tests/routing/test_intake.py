"""How fast a neighbor is read that tells of nodes without end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import RecordError, Status
from atbus.routing import intake as intake_module
from atbus.routing.batch import Batch, from_message, kept_bytes, to_message
from atbus.routing.bounds import (
    ROUTE_WAITING_BYTES,
    ROUTE_WAITING_BYTES_LEAST,
    ROUTE_WORDS_BURST,
    ROUTE_WORDS_IN_TURN,
    ROUTE_WORDS_PER_SECOND,
    ROUTE_WORDS_WAITING_MAX,
)
from atbus.routing.intake import Intake, Shelf, Told
from atbus.routing.record import Record
from atbus.routing.sync_terms import Delayed, Ignored
from atbus.routing.turn import Turn
from atbus.wire.messages import RouteBatch, RouteRecord, SubscribeRequest
from tests.routing.route_talk import DOWN, OWN, Talk, gone, record


def told_words(count: int) -> tuple[Record, ...]:
    """Make so many words."""
    return tuple(record(10 + each) for each in range(count))


def told(count: int) -> Told:
    """Make a batch of so many words."""
    return Batch(words=told_words(count))


class IntakeTests(SynchronousTestCase):
    """What waits, and when it is read."""

    def test_a_burst_is_read_at_once_and_more_at_the_rate(self) -> None:
        """Ten words are read as they come; each further one waits until it is paid for."""
        intake = Intake(burst=10, rate=2.0, waiting_max=100)
        messages = [told(1) for _ in range(14)]
        for message in messages:
            self.assertEqual(intake.put(message), 0)
        read = list(intake.read(100.0, Turn()))
        self.assertEqual(len(read), 10)
        times = []
        while (deadline := intake.deadline) is not None:
            times.append(deadline)
            read += intake.read(deadline, Turn())
        self.assertEqual(times, [100.5, 101.0, 101.5, 102.0])
        self.assertEqual([id(each) for each in read], [id(each) for each in messages])
        self.assertFalse(intake.waits)

    def test_messages_without_words_cost_one(self) -> None:
        """Who sends empty batches does not send them for nothing."""
        intake = Intake(burst=3, rate=1.0, waiting_max=100)
        for _ in range(5):
            intake.put(Batch(words=()))
        self.assertEqual(len(list(intake.read(0.0, Turn()))), 3)

    def test_a_long_batch_is_paid_afterwards(self) -> None:
        """A batch that is longer than the burst is read, and the next one waits the longer."""
        intake = Intake(burst=10, rate=1.0, waiting_max=100)
        intake.put(told(30))
        self.assertEqual(len(list(intake.read(0.0, Turn()))), 1)
        intake.put(told(1))
        self.assertEqual(intake.deadline, 21.0)

    def test_looked_into_when_read(self) -> None:
        """Of a thousand records on the wire those of one turn are looked into, and in order."""
        looked = []

        def look(message: RouteBatch) -> tuple[Batch, list[RecordError]]:
            looked.append(len(message.records))
            return from_message(message)

        self.patch(intake_module, "from_message", look)
        batch = Batch(words=told_words(1_000), snapshot_id=2, index=3, last=True)
        intake = Intake()
        self.assertEqual(intake.put(to_message(batch, source=5)), 0)
        self.assertEqual(looked, [])
        read: list[Told] = []
        while intake.waits:
            before = len(looked)
            read += intake.read(100.0, Turn())
            self.assertEqual(looked[before:], [ROUTE_WORDS_IN_TURN])
        parts = Intake()
        parts.put(batch)
        self.assertEqual(read, list(parts.read(100.0, Turn(1_000))))

    def test_an_empty_batch_on_the_wire(self) -> None:
        """A batch without records is one message, and the end of a snapshot if it says so."""
        intake = Intake(burst=3, rate=1.0, waiting_max=100)
        batch = Batch(words=(), snapshot_id=1, last=True)
        for _ in range(5):
            intake.put(to_message(batch, source=5))
        self.assertEqual(list(intake.read(0.0, Turn())), [batch] * 3)

    def test_too_much_is_thrown_away_until_all_is_paid(self) -> None:
        """More than may wait is counted and dropped; it begins anew with all its tokens."""
        intake = Intake(burst=10, rate=1.0, waiting_max=20)
        intake.put(told(10))
        self.assertEqual(len(list(intake.read(0.0, Turn()))), 1)
        self.assertEqual([intake.put(told(10)) for _ in range(4)], [0, 0, 30, 10])
        self.assertEqual(list(intake.read(5.0, Turn())), [])
        self.assertEqual(intake.deadline, 10.0)
        self.assertFalse(intake.begins_anew(9.0))
        self.assertTrue(intake.begins_anew(10.0))
        self.assertFalse(intake.waits)

    def test_all_neighbors_share_the_memory(self) -> None:
        """
        One may have half of it, the next one half of the rest; what is too much of one is thrown
        away and gives its room back, and a usual change has room beside anybody.
        """
        self.assertEqual(Shelf().bytes_max, ROUTE_WAITING_BYTES)
        word_bytes = kept_bytes(record(10))
        shelf = Shelf(bytes_max=1_000 * word_bytes)
        one, other, late = (Intake(burst=1, rate=0.001, shelf=shelf) for _ in range(3))
        self.assertEqual([one.put(told(100)) for _ in range(5)], [0, 0, 0, 0, 0])
        self.assertEqual([other.put(told(100)) for _ in range(3)], [0, 0, 300])
        self.assertEqual(one.put(told(100)), 600)
        self.assertEqual(shelf.held_bytes, 0)
        full = Intake(burst=1, rate=0.001, shelf=Shelf(bytes_max=word_bytes))
        few = ROUTE_WAITING_BYTES_LEAST // word_bytes
        self.assertEqual([full.put(told(few)), full.put(told(1))], [0, few + 1])
        self.assertEqual([late.put(told(100)) for _ in range(4)], [0, 0, 0, 0])
        self.assertEqual(len(list(late.read(0.0, Turn()))), 1)
        self.assertEqual(shelf.held_bytes, 300 * word_bytes)
        late.begin()
        self.assertEqual(shelf.held_bytes, 0)

    def test_who_has_much_of_it_tells_no_more_for_a_while(self) -> None:
        """It is said before anything is thrown away."""
        shelf = Shelf(bytes_max=1_000 * kept_bytes(record(10)))
        intake = Intake(burst=1, rate=0.001, shelf=shelf)
        said = []
        while not intake.flooded:
            intake.put(told(100))
            said.append(intake.is_long)
        self.assertEqual(said, [False, False, False, True, True, True])

    def test_a_neighbor_is_named_once(self) -> None:
        """It is named again only when it has been within its rate for long enough."""
        intake = Intake(burst=10, rate=1.0, waiting_max=20)
        self.assertEqual((intake.name(), intake.name()), (True, False))
        intake.put(told(10))
        self.assertEqual(len(list(intake.read(100.0, Turn()))), 1)
        self.assertTrue(intake.name())
        intake.put(told(1))
        self.assertEqual(len(list(intake.read(105.0, Turn()))), 1)
        self.assertFalse(intake.name())


class HastyNeighborTests(SynchronousTestCase):
    """A route table beside a neighbor that tells too much."""

    def test_a_full_table_waits_for_nothing(self) -> None:
        """Ten thousand nodes are learned without the passing of time, turn by turn, twice."""
        talk = Talk()
        words = [record(each, upstream_id=2) for each in range(10, 10_009)]
        talk.neighbor(2, DOWN, *words)
        talk.wait(0)
        self.assertEqual(len(talk.ids), 10_000)
        talk.hear(2, Batch(words=(record(2, upstream_id=OWN), *words), snapshot_id=2, last=True))
        talk.wait(0)
        self.assertEqual(talk.other, [])

    def test_a_region_moves_twice(self) -> None:
        """
        That ten thousand nodes are gone and back elsewhere is read at once; a second time within
        the five seconds that a bus may take.
        """
        talk = Talk()
        talk.neighbor(2, DOWN)
        talk.wait(ROUTE_WORDS_BURST / ROUTE_WORDS_PER_SECOND)
        members = range(10, 10_009)
        talk.say(2, *[record(each, 1, upstream_id=2) for each in members])
        talk.wait(ROUTE_WORDS_BURST / ROUTE_WORDS_PER_SECOND)
        for seq in (2, 4):
            talk.say(2, *[gone(each, seq) for each in members])
            talk.say(2, *[record(each, seq + 1, upstream_id=2) for each in members])
            talk.wait(0)
            self.assertEqual(len(talk.ids) == 10_000, seq == 2)
            self.assertEqual(any(isinstance(each, Delayed) for each in talk.other), seq == 4)
        talk.wait(5)
        self.assertEqual(len(talk.ids), 10_000)
        self.assertEqual({talk.machine.known.best[each].stamp.seq for each in members}, {5})

    def test_what_exceeds_the_rate_is_read_later(self) -> None:
        """The last word counts in the end, the neighbor is named once, and no repair is asked."""
        talk = Talk()
        talk.neighbor(2, DOWN)
        last = ROUTE_WORDS_BURST // 1000 + 4
        for seq in range(1, last + 1):
            talk.say(2, *[record(each, seq, upstream_id=2) for each in range(10, 1_010)])
            talk.wait(0)
        talk.say(2, gone(10, last))
        delayed = [each for each in talk.other if isinstance(each, Delayed)]
        self.assertEqual([each.is_first for each in delayed], [True, *[False] * (len(delayed) - 1)])
        self.assertEqual({each.bus_id for each in delayed}, {2})
        self.assertIn(10, talk.ids)
        self.assertEqual(talk.machine.digest_of(2), 0)
        talk.wait(5_000 / ROUTE_WORDS_PER_SECOND)
        self.assertNotIn(10, talk.ids)
        self.assertEqual(talk.machine.known.best[11].stamp.seq, last)
        self.assertNotEqual(talk.machine.digest_of(2), 0)

    def test_a_flood_ends_with_a_new_snapshot(self) -> None:
        """Who tells more than can wait is not read for a while, then asked for everything."""
        talk = Talk()
        talk.neighbor(2, DOWN)
        talk.neighbor(3, DOWN)
        talk.forget_sent()
        words = [record(each, upstream_id=2) for each in range(10, 1_010)]
        for _ in range((ROUTE_WORDS_BURST + ROUTE_WORDS_WAITING_MAX) // 1000 + 2):
            talk.say(2, *words)
            talk.wait(0)
        ignored = [each for each in talk.other if isinstance(each, Ignored)]
        whose = {(each.bus_id, each.status) for each in ignored}
        self.assertEqual(whose, {(2, Status.BUFFER_LIMIT)})
        talk.say(3, record(5_000, upstream_id=3))
        talk.wait(0)
        self.assertIn(5_000, talk.ids)
        talk.wait(ROUTE_WORDS_BURST / ROUTE_WORDS_PER_SECOND - 0.1)
        self.assertNotIn((2, SubscribeRequest(source=OWN)), talk.sent)
        talk.wait(1)
        self.assertEqual(talk.sent.count((2, SubscribeRequest(source=OWN))), 1)
        talk.answer(2, record(2, upstream_id=OWN), record(10, 7, upstream_id=2), snapshot_id=2)
        talk.wait(0)
        self.assertEqual(talk.ids, [2, 3, 10, 5_000])
        self.assertEqual(talk.machine.known.best[10].stamp.seq, 7)

    def test_what_waits_goes_with_the_link(self) -> None:
        """Nothing that a lost neighbor has told too fast is read after its loss."""
        talk = Talk()
        talk.neighbor(2, DOWN)
        for seq in range(1, ROUTE_WORDS_BURST // 1000 + 4):
            talk.say(2, *[record(each, seq, upstream_id=2) for each in range(10, 1_010)])
            talk.wait(0)
        talk.lose(2, in_order=True)
        talk.wait(60)
        self.assertNotIn(10, talk.ids)

    def test_a_bad_record_in_a_later_part(self) -> None:
        """A record about nobody is counted when its part is read; what stands behind it counts."""
        talk = Talk()
        talk.neighbor(2, DOWN)
        good = [record(each, upstream_id=2).to_entry() for each in range(10, 610)]
        bad = RouteRecord(bus_id=0, epoch=1, seq=1)
        talk.other.clear()
        talk.hear(2, RouteBatch(source=2, records=(*good[:400], bad, *good[400:])))
        self.assertEqual(talk.other, [])
        talk.wait(0)
        self.assertEqual(talk.other, [Ignored(2, Status.MALFORMED_FRAME, 1)])
        self.assertEqual(talk.ids, [2, *range(10, 610)])
