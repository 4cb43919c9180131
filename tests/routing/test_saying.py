"""Who is told next, and how much in one turn."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing import saying
from atbus.routing.batch import Batch
from atbus.routing.bounds import (
    PARTING_SECONDS,
    ROUTE_FINDINGS_MAX,
    ROUTE_WORDS_TOLD_IN_TURN,
)
from atbus.routing.record import Record
from atbus.routing.telling import Telling
from atbus.wire.messages import SubscribeResponse
from tests.routing.route_talk import DOWN, OWN, PEER, UP, Talk, gone, record

_FIRST, _NEIGHBOR = 100_000, 100
MANY = 1_000
IDS = range(_FIRST, _FIRST + MANY)
# A word that is the same for the next neighbor costs a sixteenth each of the three times that it is
# compared: when it is looked at, put in order and said.
_SHARED_IN_TURN = 16 * ROUTE_WORDS_TOLD_IN_TURN // 3


def table_of(words: list[object]) -> dict[int, Record]:
    """Give what a neighbor knows that was told these words."""
    table: dict[int, Record] = {}
    for word in words:
        if isinstance(word, Record):
            table[word.bus_id] = word
        else:
            del table[word.bus_id]  # type: ignore[attr-defined]
    return table


class SayingTests(SynchronousTestCase):
    """Many neighbors."""

    def hub(self, count: int, *words: Record) -> Talk:
        """Have an upstream, and leaves that have been told everything."""
        talk = Talk()
        talk.neighbor(2, UP, *words)
        for each in range(_NEIGHBOR, _NEIGHBOR + count):
            talk.neighbor(each, DOWN)
        talk.wait(1)
        return talk

    def turn(self, talk: Talk) -> list[tuple[int, Batch]]:
        """Let one turn pass; give what was said to whom."""
        at = len(talk.sent)
        talk.do(talk.machine.tick(talk.now))
        return [(to, said) for to, said in talk.sent[at:] if isinstance(said, Batch)]

    def turns(self, talk: Talk) -> list[list[tuple[int, Batch]]]:
        """Let turns pass while something is left over."""
        found = []
        while (deadline := talk.machine.deadline) is not None and deadline <= talk.now:
            found.append(self.turn(talk))
        return found

    def learn(self, talk: Talk, seq: int = 1) -> None:
        """Let many nodes come from above at once, and wait until they are to be told of."""
        talk.forget_sent()
        talk.say(2, *[record(each, seq, upstream_id=2) for each in IDS])
        self.turns(talk)
        deadline = talk.machine.deadline
        assert deadline is not None
        talk.now = deadline

    def test_little_in_one_turn(self) -> None:
        """A thousand nodes that come are told to a hundred neighbors in turns, and all of them."""
        talk = self.hub(100)
        self.learn(talk)
        turns = self.turns(talk)
        self.assertGreater(len(turns), 3)
        for said in turns[1:]:
            words = sum(len(batch.words) for _, batch in said)
            self.assertLessEqual(words, _SHARED_IN_TURN + 2 * MANY)
        for each in range(_NEIGHBOR, _NEIGHBOR + 100):
            ids = [word.bus_id for word in talk.take(each)]
            self.assertEqual(ids, [*IDS])

    def test_found_out_once(self) -> None:
        """What a hundred neighbors are told is found out as often as for twenty, and said once."""
        looked_up = [0]
        wanted = Telling.wanted

        def count(*arguments: object) -> Record | None:
            looked_up[0] += 1
            return wanted(*arguments)  # type: ignore[arg-type]

        self.patch(Telling, "wanted", count)
        found = []
        for neighbors in (20, 100):
            talk = self.hub(neighbors)
            looked_up[0] = 0
            self.learn(talk)
            self.turns(talk)
            found.append(looked_up[0])
            batches = {id(said) for _, said in talk.sent if isinstance(said, Batch)}
            self.assertEqual(len(batches), 1)
        self.assertEqual(found[0], found[1])
        self.assertLessEqual(found[1], 6 * MANY)

    def test_who_tells_of_a_node_is_not_told_of_it(self) -> None:
        """Of what one neighbor has told all others are told, and it is not told itself."""
        talk = self.hub(20)
        talk.forget_sent()
        teller = _NEIGHBOR + 7
        talk.say(teller, *[record(each, upstream_id=teller) for each in IDS])
        talk.wait(1)
        self.assertEqual(talk.take(teller), [])
        for each in (2, _NEIGHBOR, _NEIGHBOR + 8, _NEIGHBOR + 19):
            self.assertEqual([word.bus_id for word in talk.take(each)], [*IDS])

    def test_changes_meanwhile(self) -> None:
        """What changes while some have been told is told as it is then, and to them once more."""
        talk = self.hub(100)
        self.learn(talk)
        self.turn(talk)
        early = {to for to, said in talk.sent if isinstance(said, Batch)}
        self.assertTrue(0 < len(early) < 100)
        changed = record(IDS[5], 2, upstream_id=2)
        talk.say(2, changed, gone(IDS[6], 1))
        talk.wait(1)
        for each in range(_NEIGHBOR, _NEIGHBOR + 100):
            words = talk.take(each)
            self.assertEqual(words.count(record(IDS[5], upstream_id=2)), each in early)
            self.assertEqual(words.count(changed), 1)
            self.assertEqual(words.count(gone(IDS[6], 1)), each in early)
            self.assertEqual(len(table_of([*words])), MANY - 1)

    def test_gone_meanwhile(self) -> None:
        """Who leaves before its turn is told nothing, and nobody else misses anything."""
        talk = self.hub(100)
        self.learn(talk)
        self.turn(talk)
        leaving = _NEIGHBOR + 99
        talk.lose(leaving, in_order=True)
        self.turns(talk)
        talk.wait(1)
        self.assertFalse(talk.take(leaving))
        self.assertEqual(len(table_of([*talk.take(leaving - 1)[:MANY]])), MANY)

    def test_on_the_other_side_meanwhile(self) -> None:
        """Who is no downstream any more before its turn is told what a peer is told."""
        talk = self.hub(100)
        everything = talk.take(_NEIGHBOR + 99)
        self.learn(talk)
        self.turn(talk)
        mover = _NEIGHBOR + 99
        talk.say(mover, record(mover, 2, upstream_id=3))
        talk.wait(5)
        known = set(table_of([*everything, *talk.take(mover)]))
        self.assertEqual(known, {OWN, *range(_NEIGHBOR, _NEIGHBOR + 99)})

    def test_asked_meanwhile(self) -> None:
        """Who asks for everything in the middle is answered, and then told each node once."""
        talk = self.hub(100)
        talk.wait(5)
        self.learn(talk)
        self.turn(talk)
        asking = _NEIGHBOR + 99
        talk.subscribe(asking)
        talk.wait(1)
        said = [message for to, message in talk.sent if to == asking]
        self.assertEqual(said[0], SubscribeResponse(source=OWN, snapshot_id=2))
        words = [word for each in said[1:] for word in each.words]  # type: ignore[union-attr]
        self.assertEqual(len(words), len(set(words)))
        self.assertEqual(set(table_of(words)), {OWN, 2, *range(_NEIGHBOR, asking), *IDS})

    def test_all_ask_at_once(self) -> None:
        """A hundred that ask in one turn are told everything in turns, one batch after another."""
        talk = self.hub(100, *[record(each) for each in range(_FIRST, _FIRST + 4_000)])
        talk.wait(5)
        talk.forget_sent()
        for each in range(_NEIGHBOR, _NEIGHBOR + 100):
            talk.slow.add(each)
            talk.subscribe(each)
        told = dict.fromkeys(range(_NEIGHBOR, _NEIGHBOR + 100), 0)
        # Five batches of what comes from above, and one of the leaves, for each lacks another one.
        while min(told.values()) < 6:
            said = self.turn(talk)
            words = sum(len(batch.words) for _, batch in said)
            self.assertLessEqual(words, 16 * ROUTE_WORDS_TOLD_IN_TURN + 2 * MANY)
            told = {each: len(talk.batches(each)) for each in told}
            # Whoever asked first was told two batches before the last one asked.
            self.assertLessEqual(max(told.values()) - min(told.values()), 2)
            if not said:
                for each in told:
                    talk.do(talk.machine.sent(each, talk.now))
        for each in told:
            batches = talk.batches(each)
            self.assertEqual([batch.last for batch in batches], [False] * 5 + [True])
            self.assertEqual(sum(len(batch.words) for batch in batches), 2 + 4_000 + 99)

    def test_one_after_the_other_asks(self) -> None:
        """What has come before the next one asks is told behind what is in order already."""
        talk = self.hub(3, *[record(each) for each in range(_FIRST, _FIRST + 2_000)])
        wholes = talk.machine._telling._saying.sharing._wholes
        late = range(_NEIGHBOR + 3, _NEIGHBOR + 20)
        found = []
        for each in late:
            talk.neighbor(each, DOWN)
            found.append(wholes[True])
        talk.wait(0.01)
        self.assertEqual(len(set(map(id, found))), 1)
        talk.say(2, record(late[0] + 10_000, upstream_id=2), gone(_FIRST, 1))
        talk.wait(1)
        for each in range(_NEIGHBOR, _NEIGHBOR + 20):
            table = table_of([*talk.take(each)])
            self.assertEqual(set(table), {OWN, *talk.ids} - {each})

    def test_a_slow_one_keeps_nobody_waiting(self) -> None:
        """A link that takes no more is passed over, without turns that do nothing."""
        talk = self.hub(3)
        talk.slow.add(_NEIGHBOR)
        for seq in range(2, 6):
            talk.say(2, record(2, seq))
            talk.wait(6)
        deadline = talk.machine.deadline
        self.assertTrue(deadline is None or deadline > talk.now)
        self.assertEqual(talk.take(_NEIGHBOR + 1)[-1], record(2, 5))
        talk.take(_NEIGHBOR)
        talk.slow.clear()
        talk.do(talk.machine.sent(_NEIGHBOR, talk.now))
        self.assertEqual(talk.take(_NEIGHBOR), [record(2, 5)])

    def test_has_left_before_its_turn(self) -> None:
        """Who moves away while others are told of it is not withdrawn above before its time."""
        self.patch(saying, "ROUTE_WORDS_TOLD_IN_TURN", 1)
        talk = Talk()
        above = (2, 4, 6)
        for each in above:
            talk.neighbor(each, PEER)
        talk.neighbor(3, DOWN, record(7, upstream_id=3))
        talk.wait(1)
        talk.forget_sent()
        talk.say(3, record(7, 2, upstream_id=3))
        deadline = talk.machine.deadline
        assert deadline is not None
        talk.now = deadline
        while not talk.sent:
            self.turn(talk)
        talk.say(4, record(7, 3, upstream_id=4))
        talk.wait(PARTING_SECONDS - 0.1)
        self.assertEqual(talk.take(6), [])
        talk.wait(0.2)
        self.assertEqual([word.bus_id for word in talk.take(6)], [7])

    def test_few_findings_are_kept(self) -> None:
        """What was found out for others is forgotten again, the oldest first."""
        talk = self.hub(2, *[record(each) for each in range(_FIRST, _FIRST + 20_000)])
        findings = talk.machine._telling._saying.sharing._findings
        self.assertEqual(len(findings), ROUTE_FINDINGS_MAX)
