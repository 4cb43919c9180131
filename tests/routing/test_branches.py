"""What those that stand below a node have in common."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import BusId
from atbus.routing.decision import Forward
from atbus.routing.relation import Relation
from atbus.routing.table import Neighbor, Position, Table
from tests.routing.test_table_records import CHILD, ME, PEER, STRANGER, UP, hop_of, table_of

NEIGHBORS = {UP: Position.UPSTREAM, CHILD: Position.DOWNSTREAM, PEER: Position.PEER}


class BranchTests(SynchronousTestCase):
    def test_decided_once(self) -> None:
        """All that is below one neighbor goes there by one decision, however deep it stands."""
        deep = [(bus_id + 1, bus_id) for bus_id in range(0x100, 0x120)]
        wide = [(bus_id, 0x110) for bus_id in range(0x200, 0x220)]
        places = [(ME, UP), (PEER, UP), (0x100, PEER), *deep, *wide]
        table = table_of(*places, neighbors=NEIGHBORS)
        targets = [bus_id for bus_id, _ in places[2:]]
        Random(1).shuffle(targets)
        decisions = {id(table.next_hop(target)) for target in targets}
        self.assertEqual(len(decisions), 1)
        below = Forward(BusId(PEER), Relation.OTHER_UPSTREAM_PEER, "record: below neighbor 0x30")
        self.assertEqual(table.next_hop(targets[0]), below)

    def test_siblings_and_their_children(self) -> None:
        """Who has the same upstream as we is a sibling, and what is below it is not."""
        table = table_of((ME, UP), (0x50, UP), (0x51, 0x50), (0x52, UP), neighbors=NEIGHBORS)
        for target, relation in (
            (0x51, Relation.OTHER_UPSTREAM_PEER),
            (0x50, Relation.SAME_UPSTREAM_PEER),
            (0x52, Relation.SAME_UPSTREAM_PEER),
        ):
            decision = table.next_hop(target)
            assert isinstance(decision, Forward)
            self.assertEqual((decision.bus_id, decision.relation), (UP, relation))

    def test_those_above_us(self) -> None:
        """Who is above us is no stranger, though the way there is the same."""
        table = table_of((ME, UP), (UP, 5), (5, 4), (4, 3), (7, 4), neighbors=NEIGHBORS)
        for target, relation in (
            (7, Relation.OTHER_UPSTREAM_PEER),
            (5, Relation.TRANSITIVE_UPSTREAM),
            (4, Relation.TRANSITIVE_UPSTREAM),
        ):
            decision = table.next_hop(target)
            assert isinstance(decision, Forward)
            self.assertEqual((decision.bus_id, decision.relation), (UP, relation))

    def test_news_count_at_once(self) -> None:
        """A neighbor that comes on the way to others, or goes, is noticed for all of them."""
        table = table_of((ME, UP), (0x50, UP), (0x51, 0x50), (0x52, 0x51), neighbors=NEIGHBORS)
        self.assertEqual([hop_of(table.next_hop(each)) for each in (0x52, 0x51)], [UP, UP])
        table.add(Neighbor(BusId(0x50), (), Position.PEER))
        table.set_usable(0x50, True)
        self.assertEqual([hop_of(table.next_hop(each)) for each in (0x52, 0x51)], [0x50, 0x50])
        table.remove(0x50)
        self.assertEqual([hop_of(table.next_hop(each)) for each in (0x52, 0x51)], [UP, UP])

    def test_without_an_id(self) -> None:
        """A temporary node sends upwards what is for anybody, whatever the records say."""
        table = Table(0)
        table.add(Neighbor(BusId(UP), (), Position.UPSTREAM))
        table.set_usable(UP, True)
        for target in (0x51, 0x52):
            self.assertEqual(hop_of(table.next_hop(target)), UP)

    def test_too_deep(self) -> None:
        """In a tree deeper than messages reach it does not matter what was asked before."""
        deepest = 0x1000 + 3 * limits.CHAIN_NODES_MAX
        below = [(bus_id, bus_id - 1) for bus_id in range(deepest, 0x1000, -1)]
        table = table_of((ME, UP), (0x1000, CHILD), (CHILD, ME), *below, neighbors=NEIGHBORS)
        everybody = list(range(0x1000, deepest + 1))
        alone = {each: table.next_hop(each, exclude={STRANGER}) for each in everybody}
        self.assertEqual(len({hop_of(decision) for decision in alone.values()}), 2)
        for seed in range(3):
            table.set_usable(PEER, bool(seed % 2))
            Random(seed).shuffle(everybody)
            for each in everybody:
                self.assertEqual(table.next_hop(each), alone[each], f"{each:#x}")
