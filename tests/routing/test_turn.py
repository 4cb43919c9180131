"""How much of the route table changes in one turn of the reactor."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.batch import Batch
from atbus.routing.bounds import ROUTE_WORDS_IN_TURN
from atbus.routing.sync_terms import Delayed, Forget
from atbus.routing.turn import Turn
from atbus.wire.messages import SubscribeResponse
from tests.routing.route_talk import DOWN, OWN, UP, Talk, record

MANY = 10_000
_FIRST = 10
IDS = range(_FIRST, _FIRST + MANY)


def turns(talk: Talk) -> list[int]:
    """Let everything be done that is left over; give how much the program heard in each turn."""
    heard = []
    while (deadline := talk.machine.deadline) is not None and deadline <= talk.now:
        talk.learned.clear()
        talk.do(talk.machine.tick(talk.now))
        heard.append(len(talk.learned))
    return heard


class TurnTests(SynchronousTestCase):
    """What one turn may change."""

    def test_over_when_all_is_spent(self) -> None:
        """A part that is longer than what was left ends the turn; the next one has all again."""
        turn = Turn(words=10)
        self.assertFalse(turn.is_over)
        turn.spend(9)
        self.assertFalse(turn.is_over)
        turn.spend(4)
        self.assertTrue(turn.is_over)
        turn.begin()
        self.assertEqual(turn.left, 10)


class TableTests(SynchronousTestCase):
    """A table of ten thousand nodes, which comes and goes at once."""

    def table(self) -> Talk:
        """Have a downstream with ten thousand nodes below it, and an upstream that is told."""
        talk = Talk()
        talk.available(9, UP)
        talk.subscribe(9)
        talk.answer(9, record(9))
        talk.neighbor(2, DOWN, *[record(each, upstream_id=2) for each in IDS])
        turns(talk)
        talk.wait(1)
        talk.learned.clear()
        talk.forget_sent()
        return talk

    def test_read_in_turns(self) -> None:
        """A table that is told at once is learned in order, so many nodes a turn, undelayed."""
        talk = Talk()
        talk.available(2, DOWN)
        talk.hear(2, SubscribeResponse(source=2, snapshot_id=1))
        words = [record(2, upstream_id=OWN), *[record(each, upstream_id=2) for each in IDS]]
        batches = [tuple(words[at : at + 1_000]) for at in range(0, len(words), 1_000)]
        for index, part in enumerate(batches):
            last = part is batches[-1]
            talk.hear(2, Batch(words=part, snapshot_id=1, index=index, last=last))
        self.assertEqual(talk.ids, [2, *IDS[: ROUTE_WORDS_IN_TURN - 1]])
        self.assertEqual(talk.machine.digest_of(2), 0)
        heard = turns(talk)
        self.assertLessEqual(max(heard), ROUTE_WORDS_IN_TURN)
        self.assertLessEqual(len(heard), MANY // ROUTE_WORDS_IN_TURN + 2)
        self.assertEqual(talk.ids, [2, *IDS])
        self.assertNotEqual(talk.machine.digest_of(2), 0)
        self.assertFalse([each for each in talk.other if isinstance(each, Delayed)])

    def test_two_tell_at_once(self) -> None:
        """Two neighbors that tell much share the turns: neither waits until the other is done."""
        talk = Talk()
        for bus_id, first in ((2, 10_000), (3, 20_000)):
            told = [record(each, upstream_id=bus_id) for each in range(first, first + 2_000)]
            talk.neighbor(bus_id, DOWN, *told)
        for _ in range(8):
            talk.do(talk.machine.tick(talk.now))
        for first in (10_000, 20_000):
            count = sum(first <= each < first + 2_000 for each in talk.ids)
            self.assertGreaterEqual(count, 3 * ROUTE_WORDS_IN_TURN)

    def test_forgotten_in_turns(self) -> None:
        """A neighbor with ten thousand nodes leaves: so many are forgotten a turn, itself last."""
        talk = self.table()
        talk.lose(2, in_order=True)
        first = talk.learned
        self.assertLessEqual(len(first), ROUTE_WORDS_IN_TURN + 1)
        self.assertEqual(first[:2], [Forget(2), Forget(IDS[-1])])
        self.assertIn(_FIRST, talk.ids)
        heard = turns(talk)
        self.assertLessEqual(max(heard), ROUTE_WORDS_IN_TURN)
        self.assertLessEqual(len(heard), MANY // ROUTE_WORDS_IN_TURN + 2)
        self.assertEqual(talk.ids, [9])
        talk.wait(5)
        self.assertEqual({word.bus_id for word in talk.take(9)} - {OWN}, {2, *IDS})

    def test_not_repeated(self) -> None:
        """What a new snapshot leaves out goes so many a turn; what is told meanwhile stays."""
        talk = self.table()
        talk.hear(2, Batch(words=(record(2, upstream_id=OWN),), snapshot_id=2, last=True))
        self.assertLessEqual(len(talk.learned), ROUTE_WORDS_IN_TURN)
        self.assertEqual(talk.machine.digest_of(2), 0)
        left = next(each for each in talk.ids if each in IDS)
        talk.say(2, record(left, seq=2, upstream_id=2))
        self.assertLessEqual(max(turns(talk)), ROUTE_WORDS_IN_TURN)
        self.assertEqual(talk.ids, [2, 9, left])
        self.assertNotEqual(talk.machine.digest_of(2), 0)

    def test_back_before_all_is_forgotten(self) -> None:
        """Who is back at once is not told of its own nodes, and those it is without now go."""
        talk = self.table()
        talk.lose(2, in_order=True)
        talk.available(2, DOWN)
        talk.subscribe(2)
        kept = IDS[:100]
        talk.answer(
            *(2, record(2, epoch=2, upstream_id=OWN)),
            *[record(each, upstream_id=2) for each in kept],
        )
        turns(talk)
        talk.wait(5)
        self.assertEqual(talk.ids, [2, 9, *kept])
        self.assertFalse({word.bus_id for word in talk.take(2)} & set(IDS))
        self.assertNotEqual(talk.machine.digest_of(2), 0)

    def test_vouched_for_at_once(self) -> None:
        """Ten thousand nodes whose upstream is named last are believed so many a turn."""
        talk = Talk()
        talk.neighbor(2, DOWN, *[record(each, upstream_id=5) for each in IDS])
        turns(talk)
        self.assertEqual(talk.ids, [2])
        talk.learned.clear()
        talk.say(2, record(5, upstream_id=2))
        self.assertLessEqual(len(talk.learned), ROUTE_WORDS_IN_TURN)
        self.assertLessEqual(max(turns(talk)), ROUTE_WORDS_IN_TURN)
        self.assertEqual(talk.ids, [2, 5, *IDS])

    def test_gone_before_it_is_believed(self) -> None:
        """A neighbor that is gone before all it told was believed leaves nothing behind."""
        talk = Talk()
        talk.neighbor(2, DOWN, *[record(each, upstream_id=5) for each in IDS])
        turns(talk)
        talk.say(2, record(5, upstream_id=2))
        talk.do(talk.machine.tick(talk.now))
        self.assertLess(len(talk.ids), MANY // 2)
        talk.lose(2, in_order=True)
        turns(talk)
        self.assertEqual(talk.ids, [])
        self.assertEqual(talk.machine.known.carriers, {})
