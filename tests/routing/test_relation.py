"""How nodes stand to each other in the tree of upstreams."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.relation import Related, Relation, Tree

# Few, so that circles are tried often.
IDS = st.integers(1, 9)


def forest(*pairs: tuple[int, int]) -> Tree:
    """Place nodes below others."""
    tree = Tree()
    for bus_id, upstream_id in pairs:
        assert tree.place(bus_id, upstream_id)
    return tree


class RelationTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Relations are printed by the names that libatbus's users know."""
        self.assertEqual(
            [str(relation) for relation in Relation],
            [
                "Self",
                "ImmediateUpstream",
                "TransitiveUpstream",
                "ImmediateDownstream",
                "TransitiveDownstream",
                "SameUpstreamPeer",
                "OtherUpstreamPeer",
                "Invalid",
            ],
        )

    def test_directions(self) -> None:
        """A node other than ourselves that we know is above, below or beside us, and only that."""
        for relation in Relation:
            directions = [relation.is_upstream, relation.is_downstream, relation.is_peer]
            is_elsewhere = relation not in (Relation.SELF, Relation.INVALID)
            self.assertEqual(sum(directions), int(is_elsewhere), str(relation))


class TreeTests(SynchronousTestCase):
    """What a tree says of two nodes."""

    def test_every_relation(self) -> None:
        """
        In a forest of two trees each pair has the relation and the next hop of libatbus.

        Scenario: N3
        """
        tree = forest((1, 0), (2, 1), (3, 2), (4, 1), (10, 0))
        for one, other, relation, hop in (
            (0, 1, Relation.INVALID, 0),
            (1, 0, Relation.INVALID, 0),
            (1, 9999, Relation.INVALID, 0),
            (9999, 1, Relation.INVALID, 0),
            (1, 1, Relation.SELF, 1),
            (2, 1, Relation.IMMEDIATE_UPSTREAM, 1),
            (1, 2, Relation.IMMEDIATE_DOWNSTREAM, 2),
            (3, 1, Relation.TRANSITIVE_UPSTREAM, 2),
            (1, 3, Relation.TRANSITIVE_DOWNSTREAM, 2),
            (2, 4, Relation.SAME_UPSTREAM_PEER, 1),
            (1, 10, Relation.OTHER_UPSTREAM_PEER, 10),
            (2, 10, Relation.OTHER_UPSTREAM_PEER, 1),
            (3, 4, Relation.OTHER_UPSTREAM_PEER, 2),
            (10, 3, Relation.OTHER_UPSTREAM_PEER, 3),
        ):
            for _ in range(2):
                self.assertEqual(tree.relation_between(one, other), Related(relation, hop))

    def test_four_levels(self) -> None:
        """
        From nothing but "the upstream of A is B" every relation in a tree of four levels follows.

        Scenario: CC2
        """
        tree = forest(
            *((place, place // 3) for place in range(1, 41)),
        )
        for one in range(1, 41):
            for other in range(1, 41):
                above_one, above_other = _climb(one), _climb(other)
                if one == other:
                    expected = Relation.SELF
                elif other in above_one:
                    near = above_one[0] == other
                    expected = Relation.IMMEDIATE_UPSTREAM if near else Relation.TRANSITIVE_UPSTREAM
                elif one in above_other:
                    near = above_other[0] == one
                    expected = (
                        Relation.IMMEDIATE_DOWNSTREAM if near else Relation.TRANSITIVE_DOWNSTREAM
                    )
                elif above_one and above_other and above_one[0] == above_other[0]:
                    expected = Relation.SAME_UPSTREAM_PEER
                else:
                    expected = Relation.OTHER_UPSTREAM_PEER
                self.assertIs(tree.relation_between(one, other).relation, expected)

    def test_one_report_moves_a_subtree(self) -> None:
        """
        When one node gets another upstream, all that is below it is reached the new way, without
        a word about any of them.

        Scenario: CC3
        """
        tree = forest((1, 0), (2, 1), (3, 1), (4, 2), (5, 4))
        self.assertEqual(tree.relation_between(1, 5), Related(Relation.TRANSITIVE_DOWNSTREAM, 2))
        self.assertTrue(tree.place(4, 3))
        self.assertEqual(tree.relation_between(1, 5), Related(Relation.TRANSITIVE_DOWNSTREAM, 3))
        self.assertEqual(tree.relation_between(5, 3).relation, Relation.TRANSITIVE_UPSTREAM)
        self.assertEqual(tree.relation_between(2, 5).relation, Relation.OTHER_UPSTREAM_PEER)

    def test_moves_and_removals(self) -> None:
        """
        A node that moves leaves its former upstream; one that goes while others are below it stays
        known as their upstream.

        Scenario: N1, N4
        """
        tree = forest((1, 0), (10, 0), (2, 1), (3, 2))
        self.assertTrue(tree.place(2, 10))
        self.assertEqual((tree.downstreams_of(1), tree.downstreams_of(10)), ((), (2,)))
        tree.remove(2)
        self.assertEqual(tree.downstreams_of(10), ())
        self.assertIn(2, tree)
        self.assertFalse(tree.is_placed(2))
        self.assertEqual(tree.upstream_of(3), 2)
        tree.remove(10)
        self.assertNotIn(10, tree)
        tree.remove(10)

    def test_known_by_name_only(self) -> None:
        """
        A node that was only named as an upstream is known as long as somebody is below it; one that
        was placed itself stays.

        Scenario: N5
        """
        tree = forest((2, 1))
        self.assertIn(1, tree)
        self.assertEqual(tree.relation_between(2, 1).relation, Relation.IMMEDIATE_UPSTREAM)
        tree.remove(2)
        self.assertNotIn(1, tree)
        tree.place(2, 1)
        tree.place(1, 0)
        tree.remove(2)
        self.assertIn(1, tree)

    def test_list_of_those_below(self) -> None:
        """
        Those below a node are listed in the order in which they came, without those that left; the
        list is the reader's to keep, whatever happens meanwhile.

        Scenario: N2
        """
        tree = forest((1, 0))
        self.assertEqual(tree.downstreams_of(1), ())
        tree.place(3, 1)
        tree.place(2, 1)
        for bus_id in tree.downstreams_of(1):
            tree.remove(bus_id)
            break
        self.assertEqual(tree.downstreams_of(1), (2,))

    def test_circles(self) -> None:
        """
        A place that would put a node above itself is refused and changes nothing, also when the
        circle leads through a node that was only named.

        Scenario: K9, N9
        """
        tree = forest((2, 1), (3, 2))
        before = tree.version
        self.assertFalse(tree.place(1, 2))
        self.assertFalse(tree.place(1, 3))
        self.assertFalse(tree.place(1, 1))
        self.assertFalse(tree.place(2, 3))
        self.assertEqual((tree.version, tree.upstream_of(2)), (before, 1))
        self.assertTrue(tree.place(3, 1))
        self.assertTrue(tree.place(2, 3))

    def test_the_same_again(self) -> None:
        """A place that is taken already is no change."""
        tree = forest((2, 1))
        before = tree.version
        self.assertTrue(tree.place(2, 1))
        self.assertEqual(tree.version, before)

    def test_depth(self) -> None:
        """Nobody stands deeper than messages reach, and no walk is longer."""
        tree = Tree()
        for bus_id in range(1, limits.CHAIN_NODES_MAX + 1):
            self.assertTrue(tree.place(bus_id, bus_id - 1))
        deepest = limits.CHAIN_NODES_MAX
        self.assertTrue(tree.place(deepest + 1, deepest))
        self.assertFalse(tree.place(deepest + 2, deepest + 1))
        self.assertEqual(len(tree.chain_of(deepest + 1)), limits.CHAIN_NODES_MAX)
        # A subtree that is moved down can be deeper than a node that is placed.
        self.assertTrue(tree.place(1, 1000))
        for _ in range(2):
            for bus_id in (deepest, deepest + 1):
                self.assertLessEqual(len(tree.chain_of(bus_id)), limits.CHAIN_NODES_MAX)

    def test_remembered_chains_are_bounded(self) -> None:
        """What is remembered to be quick does not grow without end."""
        self.patch(limits, "CHAINS_REMEMBERED_IDS_MAX", 50)
        tree = forest(*((place, place // 2) for place in range(1, 1000)))
        for _ in range(2):
            for place in range(1, 1000):
                self.assertEqual(list(tree.chain_of(place)), _halve(place))
                kept = sum(1 + len(chain) for chain in tree._chains.values())
                self.assertLessEqual(kept, 51)


def _climb(place: int) -> list[int]:
    above = []
    while place // 3:
        place //= 3
        above.append(place)
    return above


def _halve(place: int) -> list[int]:
    above = []
    while place // 2:
        place //= 2
        above.append(place)
    return above


@attrs.define
class _Naive:
    """A tree that is a list of facts, searched from the start for each question."""

    upstreams: dict[int, int] = attrs.field(factory=dict)

    def above(self, bus_id: int) -> list[int]:
        way = []
        while bus_id := self.upstreams.get(bus_id, 0):
            way.append(bus_id)
        return way

    def knows(self, bus_id: int) -> bool:
        return bus_id in self.upstreams or bus_id in self.upstreams.values()

    def relation(self, one: int, other: int) -> Related:
        if not (self.knows(one) and self.knows(other)):
            return Related(Relation.INVALID, 0)
        above_one, above_other = self.above(one), self.above(other)
        up_one = above_one[0] if above_one else 0
        if one == other:
            return Related(Relation.SELF, other)
        if other == up_one:
            return Related(Relation.IMMEDIATE_UPSTREAM, other)
        if above_other[:1] == [one]:
            return Related(Relation.IMMEDIATE_DOWNSTREAM, other)
        if up_one and above_other[:1] == [up_one]:
            return Related(Relation.SAME_UPSTREAM_PEER, up_one)
        if other in above_one:
            return Related(Relation.TRANSITIVE_UPSTREAM, up_one)
        if one in above_other:
            way = [other, *above_other]
            return Related(Relation.TRANSITIVE_DOWNSTREAM, way[way.index(one) - 1])
        return Related(Relation.OTHER_UPSTREAM_PEER, up_one or other)


class _TreeMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree()
        self.model = _Naive()

    @rule(bus_id=IDS, upstream_id=st.integers(0, 9))
    def place(self, bus_id: int, upstream_id: int) -> None:
        circle = upstream_id == bus_id or bus_id in self.model.above(upstream_id)
        assert self.tree.place(bus_id, upstream_id) is not circle
        if not circle:
            self.model.upstreams[bus_id] = upstream_id

    @rule(bus_id=IDS)
    def remove(self, bus_id: int) -> None:
        self.tree.remove(bus_id)
        self.model.upstreams.pop(bus_id, None)

    @rule(one=IDS, other=IDS)
    def ask(self, one: int, other: int) -> None:
        assert self.tree.relation_between(one, other) == self.model.relation(one, other)

    @invariant()
    def same_facts(self) -> None:
        for bus_id in range(1, 10):
            assert (bus_id in self.tree) == self.model.knows(bus_id)
            assert list(self.tree.chain_of(bus_id)) == self.model.above(bus_id)
            below = {each for each, up in self.model.upstreams.items() if up == bus_id}
            assert set(self.tree.downstreams_of(bus_id)) == below


class ModelTests(SynchronousTestCase):
    def test_like_a_search_from_the_start(self) -> None:
        """Whatever is placed, moved and removed, all answers are those of a naive search."""
        run_state_machine_as_test(
            _TreeMachine, settings=settings(deadline=None, max_examples=60, stateful_step_count=40)
        )
