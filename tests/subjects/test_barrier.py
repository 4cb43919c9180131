"""Knowing when the whole bus knows."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.subjects import bounds
from atbus.subjects.barrier import Answer, Ask, Barriers, Known
from atbus.subjects.cost import cost_of
from atbus.subjects.interest import Side, Wanted
from atbus.wire.messages import Interest, InterestAck, InterestEntry, InterestRefusal
from tests.subjects.meadow import Meadow

A, B = Wanted("a"), Wanted("b", "q")
FULL = InterestRefusal(Status.BUFFER_LIMIT, 9, "full")
SIDES = {1: Side.ABOVE, 2: Side.BESIDE, 4: Side.BELOW, 5: Side.BELOW}


class BarrierTests(SynchronousTestCase):
    def test_alone(self) -> None:
        """A node without neighbors is the whole bus."""
        self.assertEqual(Barriers().ask(7, {}), [Known(7)])

    def test_everybody_has_to_answer(self) -> None:
        """The last answer is the one that counts; a second one from the same node is not."""
        barriers = Barriers()
        effects = barriers.ask(7, {1: Side.ABOVE, 4: Side.BELOW})
        self.assertEqual(effects, [Ask(1, 1), Ask(4, 1)])
        self.assertEqual(barriers.answered(1, 1), [])
        self.assertEqual(barriers.answered(1, 1), [])
        self.assertEqual(barriers.answered(4, 2), [])
        self.assertEqual(barriers.answered(4, 1), [Known(7)])
        self.assertEqual((barriers.answered(4, 1), len(barriers)), ([], 0))

    def test_the_way_of_a_question(self) -> None:
        """It goes where interest goes: from below to all others, from above and beside down."""
        for by, others in ((4, [1, 2, 5]), (1, [4, 5]), (2, [4, 5])):
            effects = Barriers().asked(Answer(by, 9), SIDES)
            self.assertEqual(effects, [Ask(bus_id, 1) for bus_id in others])

    def test_nobody_beyond(self) -> None:
        """A leaf answers at once."""
        self.assertEqual(Barriers().asked(Answer(1, 9), {1: Side.ABOVE}), [Answer(1, 9)])

    def test_a_neighbor_that_is_lost(self) -> None:
        """It holds up nobody, and its own questions are forgotten."""
        barriers = Barriers()
        barriers.ask(7, {1: Side.ABOVE, 4: Side.BELOW})
        barriers.asked(Answer(4, 9), SIDES)
        self.assertEqual(barriers.answered(1, 1), [])
        self.assertEqual(barriers.lost(4), [Known(7)])
        self.assertEqual(len(barriers), 0)
        self.assertEqual(barriers.lost(4), [])

    def test_nobody_wants_to_know_any_more(self) -> None:
        """A question can be taken back."""
        barriers = Barriers()
        barriers.ask(7, SIDES)
        barriers.forget(7)
        self.assertEqual((len(barriers), barriers.answered(1, 1)), (0, []))

    def test_then_everybody_reaches_it(self) -> None:
        """Once the answer is there, a publication from anywhere reaches the subscriber."""
        meadow = Meadow(seed=3)
        meadow.add(1)
        for bus_id, upstream in ((2, 1), (3, 1), (21, 2), (22, 2), (31, 3)):
            meadow.add(bus_id, upstream)
        meadow.peer(2, 3)
        meadow.settle()
        node = meadow.nodes[21]
        node.subscribe("a")
        node.ask(5)
        sent: list[tuple[int, int]] = []

        def publish_when_known() -> None:
            if node.known and not sent:
                sent.extend(one.publish("a") for one in meadow.nodes.values())

        meadow.settle(publish_when_known)
        self.assertEqual(node.known, [5])
        self.assertEqual(sorted(node.plain), sorted(sent))
        self.assertEqual(len(sent), 6)


class TogetherTests(SynchronousTestCase):
    """What several ask at once is asked once for all of them."""

    def test_the_next_one_is_for_all(self) -> None:
        """While a question is out those who ask the same wait; then one goes to all for them."""
        barriers = Barriers()
        first = barriers.asked(Answer(4, 9), SIDES)
        self.assertEqual(first, [Ask(1, 1), Ask(2, 1), Ask(5, 1)])
        self.assertEqual(barriers.asked(Answer(5, 7), SIDES), [])
        self.assertEqual(barriers.asked(Answer(4, 10), SIDES), [])
        self.assertEqual(barriers.ask(3, SIDES), [])
        self.assertEqual(len(barriers), 4)
        barriers.answered(1, 1)
        barriers.answered(5, 1)
        asks = [Ask(bus_id, 2) for bus_id in SIDES]
        self.assertEqual(barriers.answered(2, 1), [Answer(4, 9), *asks])
        for bus_id in (1, 2, 4):
            self.assertEqual(barriers.answered(bus_id, 2), [])
        done = [Answer(5, 7), Answer(4, 10), Known(3)]
        self.assertEqual((barriers.answered(5, 2), len(barriers)), (done, 0))

    def test_one_alone_is_not_asked_himself(self) -> None:
        """Where just one waits he is the only one who is not asked."""
        barriers = Barriers()
        barriers.asked(Answer(4, 9), {1: Side.ABOVE, 4: Side.BELOW})
        barriers.asked(Answer(4, 10), {1: Side.ABOVE, 4: Side.BELOW})
        self.assertEqual(barriers.answered(1, 1), [Answer(4, 9), Ask(1, 2)])

    def test_something_else(self) -> None:
        """What is about something else, or comes from another side, waits for nobody."""
        barriers = Barriers()
        barriers.asked(Answer(4, 9), SIDES)
        self.assertEqual(len(barriers.asked(Answer(5, 7), SIDES, (A,))), 3)
        self.assertEqual(len(barriers.asked(Answer(5, 8), SIDES, (B,))), 3)
        # Otherwise two proxies that ask each other would wait for each other.
        self.assertEqual(barriers.asked(Answer(1, 7), SIDES), [Ask(4, 4), Ask(5, 4)])
        # From above and from beside it goes the same way.
        self.assertEqual(barriers.asked(Answer(2, 7), SIDES), [])

    def test_refused(self) -> None:
        """A refusal is for those for whom the question was out; the others are asked for anew."""
        barriers = Barriers()
        for number in range(3):
            barriers.asked(Answer(4 + number % 2, number), SIDES, (A,))
        effects = barriers.answered(1, 1, FULL)
        self.assertEqual(effects[0], Answer(4, 0, refusal=FULL))
        self.assertEqual(effects[1:], [Ask(bus_id, 2, (A,)) for bus_id in SIDES])
        refused = [Answer(5, 1, refusal=FULL), Answer(4, 2, refusal=FULL)]
        self.assertEqual((barriers.answered(1, 2, FULL), len(barriers)), (refused, 0))
        self.assertEqual((barriers._owed, barriers._questions, barriers._held), ({}, {}, {}))

    def test_refused_by_one_of_them(self) -> None:
        """What a neighbor does not keep is no matter of its own question, which goes out again."""
        barriers = Barriers()
        for number, by in enumerate((4, 4, 5)):
            barriers.asked(Answer(by, number), SIDES, (A,))
        for place in (1, 2, 5):
            barriers.answered(place, 1)
        effects = barriers.answered(4, 2, FULL)
        self.assertEqual(effects[0], Answer(5, 2, refusal=FULL))
        self.assertEqual(effects[1:], [Ask(bus_id, 3, (A,)) for bus_id in (1, 2, 5)])
        refused = barriers.answered(5, 3, FULL)
        self.assertEqual((refused, len(barriers)), ([Answer(4, 1, refusal=FULL)], 0))

    def test_who_is_lost(self) -> None:
        """With who asked goes what he asked, and nothing else; a new neighbor is asked as well."""
        sides = dict(SIDES)
        barriers = Barriers()
        barriers.asked(Answer(4, 9), sides)
        barriers.asked(Answer(4, 10), sides)
        barriers.asked(Answer(5, 7), sides)
        del sides[4]
        sides[6] = Side.BELOW
        self.assertEqual((barriers.lost(4), len(barriers)), ([], 1))
        barriers.answered(1, 1)
        barriers.answered(2, 1)
        self.assertEqual(barriers.answered(5, 1), [Ask(1, 2), Ask(2, 2), Ask(6, 2)])
        self.assertEqual((barriers.lost(5), len(barriers)), ([], 0))
        self.assertEqual((barriers._owed, barriers._open, barriers._questions), ({}, {}, {}))
        # Also when it waits for the next question.
        sides = {1: Side.ABOVE, 4: Side.BELOW}
        barriers.ask(3, sides)
        barriers.ask(4, sides)
        barriers.forget(4)
        barriers.answered(1, 3)
        self.assertEqual((barriers.answered(4, 3), len(barriers)), ([Known(3)], 0))

    def test_each_is_known_everywhere(self) -> None:
        """In any tree with peers, whoever asks the same when: what is confirmed is everywhere."""
        for seed in range(25):
            meadow = Meadow(seed)
            draw = meadow.random
            meadow.add(1)
            for bus_id in range(2, 10):
                meadow.add(bus_id, draw.randrange(1, bus_id))
            below_root = [each for each, above in meadow.upstream.items() if above == 1]
            if len(below_root) > 1:
                meadow.peer(*draw.sample(below_root, 2))
            meadow.settle()
            sent: dict[int, list[tuple[int, int]]] = {}
            asked: list[int] = []

            def look(
                meadow: Meadow = meadow,
                sent: dict[int, list[tuple[int, int]]] = sent,
                asked: list[int] = asked,
            ) -> None:
                rest = [each for each in meadow.nodes if each not in asked]
                if rest and meadow.random.random() < 0.3:
                    asked.append(rest[0])
                    meadow.nodes[rest[0]].subscribe(f"a.{rest[0]}")
                    meadow.nodes[rest[0]].ask(1)
                for bus_id, node in meadow.nodes.items():
                    if 1 in node.known and bus_id not in sent:
                        # Who is a hop too far from a peer cannot reach it at all.
                        publishers = [
                            each
                            for each in meadow.nodes.values()
                            if bus_id in meadow.reach(each.bus_id)
                        ]
                        sent[bus_id] = [each.publish(f"a.{bus_id}") for each in publishers]

            meadow.nodes[9].ask(2)
            meadow.settle(look)
            for bus_id, node in meadow.nodes.items():
                if bus_id in asked:
                    self.assertEqual(sorted(node.plain), sorted(sent[bus_id]), (seed, bus_id))
                self.assertEqual(len(node.barriers), 0)
            self.assertGreater(len(asked), 4, seed)


class RefusalTests(SynchronousTestCase):
    def test_what_it_is_about_goes_along(self) -> None:
        """A question is passed on with what it is about."""
        barriers = Barriers()
        self.assertEqual(barriers.ask(7, {1: Side.ABOVE}, (A, B)), [Ask(1, 1, (A, B))])
        effects = barriers.asked(Answer(1, 9), SIDES, (A,))
        self.assertEqual(effects, [Ask(4, 2, (A,)), Ask(5, 2, (A,))])

    def test_refused_here(self) -> None:
        """Who refuses answers at once and asks nobody."""
        barriers = Barriers()
        answer = Answer(4, 9, refusal=FULL)
        self.assertEqual((barriers.asked(answer, SIDES, (A,)), len(barriers)), ([answer], 0))

    def test_refused_beyond(self) -> None:
        """A refusal is passed on as it is; others are not waited for, what they say is too late."""
        barriers = Barriers()
        barriers.asked(Answer(4, 9, generation=3, digest=77), SIDES, (A,))
        effects = barriers.answered(2, 1, FULL)
        self.assertEqual(effects, [Answer(4, 9, generation=3, digest=77, refusal=FULL)])
        self.assertEqual((barriers.answered(1, 1), len(barriers)), ([], 0))
        barriers.ask(7, SIDES, (A,))
        self.assertEqual(barriers.answered(1, 2, FULL), [Known(7, FULL)])
        self.assertEqual(barriers.answered(2, 2, FULL), [])

    def test_asked_again(self) -> None:
        """Who may not have got the questions gets those that it has not answered."""
        barriers = Barriers()
        barriers.ask(7, {1: Side.ABOVE, 2: Side.BESIDE}, (A,))
        barriers.ask(8, {1: Side.ABOVE})
        barriers.ask(9, {2: Side.BESIDE})
        barriers.answered(1, 2)
        self.assertEqual(barriers.again(1), [Ask(1, 1, (A,))])
        self.assertEqual(barriers.answered(1, 1), [])
        self.assertEqual(barriers.again(1), [])


class BoundTests(SynchronousTestCase):
    def test_questions_at_once(self) -> None:
        """A neighbor has so many, with what they are about, and others as many of their own."""
        self.patch(bounds, "QUESTIONS_BYTES", 1 << 40)
        barriers = Barriers()
        count = bounds.QUESTIONS_MAX // 3
        for barrier in range(count):
            self.assertTrue(barriers.may_ask(4, (A, B), 1))
            barriers.asked(Answer(4, barrier), SIDES, (A, B))
        self.assertTrue(barriers.may_ask(4, (), 1))
        self.assertFalse(barriers.may_ask(4, (A,), 1))
        self.assertTrue(barriers.may_ask(5, (A,), 1))
        # Answered, refused: each makes room.
        for place in (1, 2, 5):
            barriers.answered(place, 1)
        self.assertTrue(barriers.may_ask(4, (A, B), 1))
        barriers.asked(Answer(4, count), SIDES, (A, B))
        self.assertFalse(barriers.may_ask(4, (A, B), 1))
        barriers.answered(1, 2, FULL)
        self.assertTrue(barriers.may_ask(4, (A, B), 1))
        barriers.lost(4)
        self.assertEqual((len(barriers), barriers._asked), (0, {}))

    def test_all_neighbors_share_the_memory(self) -> None:
        """One may have half of it, the next one half of the rest; each answer makes room."""
        cost = bounds.QUESTION_BYTES * 2 + bounds.QUESTION_WAIT_BYTES * 3
        self.patch(bounds, "QUESTIONS_BYTES", 100 * cost)
        barriers = Barriers()
        for by, most in ((4, 50), (5, 25)):
            asked = 0
            while barriers.may_ask(by, (A,), 3):
                barriers.asked(Answer(by, asked), SIDES, (A,))
                asked += 1
            self.assertEqual(asked, most)
        for place in SIDES:
            barriers.answered(place, 1)
        self.assertEqual(barriers._held, {4: 49 * cost, 5: 25 * cost})
        barriers.lost(4)
        self.assertTrue(barriers.may_ask(5, (A,), 3))
        barriers.lost(5)
        self.assertEqual((barriers._held, barriers._held_bytes), ({}, 0))


class RowTests(SynchronousTestCase):
    """A row of four nodes, each below the one before; the first keeps little."""

    def row(self, count: int) -> Meadow:
        """Let the first node have room for so many patterns with names of one letter."""
        meadow = Meadow(seed=5)
        for bus_id in (1, 2, 3, 4):
            meadow.add(bus_id, bus_id - 1 or None)
        meadow.nodes[1].interests.room.bytes_max = count * cost_of("a") + 5
        meadow.settle()
        return meadow

    def test_three_hops_away(self) -> None:
        """The refusal comes back with the name of who refused; what is known is not refused."""
        meadow = self.row(2)
        node = meadow.nodes[4]
        for ticket, pattern in enumerate(("a", "b", "c"), start=1):
            node.subscribe(pattern)
            node.ask(ticket, Wanted(pattern))
        meadow.settle()
        self.assertEqual(node.known, [1, 2])
        self.assertEqual(node.refused, [(3, 1, Status.BUFFER_LIMIT)])

    def test_a_part_of_what_is_told_at_once(self) -> None:
        """Of many that are told together only those that are refused are not confirmed."""
        meadow = self.row(3)
        node = meadow.nodes[4]
        names = "abcdefgh"
        for name in names:
            node.interests.subscribe(name)
        for ticket, name in enumerate(names, start=1):
            node.ask(ticket, Wanted(name))
        meadow.settle()
        self.assertEqual(sorted(names[ticket - 1] for ticket in node.known), list("abc"))
        self.assertEqual(sorted(names[ticket - 1] for ticket, _, _ in node.refused), list("defgh"))

    def test_somebody_else_wants_too_much(self) -> None:
        """That others' patterns are refused is no matter of a question about one that is known."""
        meadow = self.row(3)
        meadow.nodes[3].subscribe("a")
        for name in "bcdefgh":
            meadow.nodes[4].subscribe(name)
        meadow.settle()
        meadow.nodes[3].ask(7, Wanted("a"))
        # ... and what somebody else has told before, and was refused, is refused also to this one.
        meadow.nodes[3].subscribe("h")
        meadow.nodes[3].ask(8, Wanted("h"))
        meadow.settle()
        self.assertEqual(meadow.nodes[3].known, [7])
        self.assertEqual(meadow.nodes[3].refused, [(8, 1, Status.BUFFER_LIMIT)])

    def test_asked_again_when_there_is_room(self) -> None:
        """The question brings what it is about, so the second one is enough."""
        meadow = self.row(1)
        node = meadow.nodes[4]
        node.subscribe("a")
        node.subscribe("b")
        node.ask(1, Wanted("b"))
        meadow.settle()
        node.unsubscribe("a")
        node.ask(2, Wanted("b"))
        meadow.settle()
        self.assertEqual((node.known, [ticket for ticket, _, _ in node.refused]), ([2], [1]))
        self.assertTrue(meadow.nodes[1].interests.match(("b",)))

    def test_what_is_no_pattern_to_somebody(self) -> None:
        """Who cannot read what it is asked of says so."""
        meadow = self.row(9)
        interests = meadow.nodes[1].interests
        question = Interest(barrier=3, entries=(entry("a..b"),))
        interests.heard(2, question)
        self.assertIs(interests.missed(2, question), Status.MALFORMED_FRAME)
        # What is withdrawn meanwhile is not missed.
        question = Interest(barrier=3, entries=(entry("a", 0),))
        self.assertIs(interests.missed(2, question), None)

    def test_a_loss_is_repaired_before_the_answer(self) -> None:
        """What a link has lost is told anew on the next answer; that counts when it is known."""
        for name in "ab":
            meadow = self.row(9)
            node = meadow.nodes[3]
            node.subscribe("a")
            meadow.lose(3, 2)
            node.subscribe("b")
            generation = node.interests.replay(4)[0].generation
            node.ask(1, *([Wanted(name)] if name == "b" else []))
            answers: list[bool] = []

            def look(meadow: Meadow = meadow, answers: list[bool] = answers) -> None:
                if meadow.nodes[3].known and not answers:
                    answers.append(bool(meadow.nodes[1].interests.match(("a",))))

            meadow.settle(look)
            self.assertEqual((node.known, answers, node.repairs), ([1], [True], 1))
            self.assertEqual(node.interests.replay(4)[0].generation, generation + 1)
            self.assertEqual(meadow.nodes[2].repairs, 0)

    def test_a_repair_that_does_not_help(self) -> None:
        """Who refuses is told anew once, however often it is asked; then its answers count."""
        meadow = self.row(1)
        node = meadow.nodes[2]
        node.subscribe("a")
        node.subscribe("b")
        for ticket in range(1, 50):
            node.ask(ticket)
            node.ask(ticket + 100, Wanted("b"))
            meadow.settle()
        self.assertEqual(node.known, list(range(1, 50)))
        self.assertEqual(len(node.refused), 49)
        self.assertEqual(node.repairs, 1)

    def test_an_answer_of_an_earlier_release(self) -> None:
        """It has generation 0, and its digest says nothing, for it may be of any moment."""
        meadow = self.row(9)
        interests = meadow.nodes[2].interests
        interests.question(1, 5, ())
        self.assertFalse(interests.answered(1, InterestAck(barrier=5, digest=1)))
        self.assertTrue(interests.answered(1, InterestAck(generation=1, barrier=5, digest=1)))


def entry(pattern: str, weight: int = 1) -> InterestEntry:
    """Write what is wanted."""
    return InterestEntry(subject=pattern, weight=weight)
