"""Knowing when the whole bus knows."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.barrier import Answer, Ask, Barriers, Known
from atbus.subjects.interest import Side
from tests.subjects.meadow import Meadow

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
            self.assertEqual(Barriers().asked(by, 9, SIDES), [Ask(bus_id, 1) for bus_id in others])

    def test_nobody_beyond(self) -> None:
        """A leaf answers at once."""
        self.assertEqual(Barriers().asked(1, 9, {1: Side.ABOVE}), [Answer(1, 9)])

    def test_a_neighbor_that_is_lost(self) -> None:
        """It holds up nobody, and its own questions are forgotten."""
        barriers = Barriers()
        barriers.ask(7, {1: Side.ABOVE, 4: Side.BELOW})
        barriers.asked(4, 9, SIDES)
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
