"""Next hops by records, and by records and static subnets together."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import BusId, Subnet
from atbus.errors import Status
from atbus.routing.decision import Decision, Deliver, Forward, Hold, Refuse
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder
from atbus.routing.relation import Relation
from atbus.routing.table import Neighbor, Position, Table

ME, UP, CHILD, PEER = 0x10, 0x1, 0x20, 0x30
STRANGER = 0x9999
NEIGHBORS = {UP: Position.UPSTREAM, CHILD: Position.DOWNSTREAM, PEER: Position.PEER}


def table_of(
    *pairs: tuple[int, int], neighbors: dict[int, Position] | None = None, own_bits: int = 0
) -> Table:
    """Make the table of `ME` with neighbors that are usable, and records of who is below whom."""
    table = Table(ME, [Subnet(ME, own_bits)] if own_bits else [])
    for bus_id, position in (neighbors or {}).items():
        table.add(Neighbor(BusId(bus_id), (), position))
        table.set_usable(bus_id, True)
    told(table, *pairs)
    return table


def told(table: Table, *pairs: tuple[int, int]) -> None:
    """Tell a table who is below whom."""
    for bus_id, upstream_id in pairs:
        record = Record(bus_id=bus_id, upstream_id=upstream_id, stamp=Stamp(1, 1))
        table.registry.claim(Feeder.SYNC, [record])


def hop_of(decision: Decision) -> int | Status:
    match decision:
        case Forward(bus_id=bus_id) | Hold(bus_id=bus_id):
            return bus_id
        case Refuse(status=status):
            return status
        case Deliver():
            return ME


class RecordRouteTests(SynchronousTestCase):
    """What records say of a target, and of who may speak for it."""

    def test_down_through_the_child(self) -> None:
        """
        What is below us goes to the child on the way down, from wherever it comes.

        Scenario: K6
        """
        table = table_of((ME, UP), (CHILD, ME), (0x21, CHILD), (0x22, 0x21), neighbors=NEIGHBORS)
        decision = table.next_hop(0x22)
        assert isinstance(decision, Forward)
        self.assertEqual(decision.bus_id, CHILD)
        self.assertIs(decision.relation, Relation.TRANSITIVE_DOWNSTREAM)
        self.assertIn("child 0x20 on the way down", decision.rule)

    def test_a_cut_peer_that_has_moved(self) -> None:
        """A neighbor without data connection that is below another one is reached through that."""
        neighbors = {PEER: Position.PEER, 0x31: Position.PEER}
        table = table_of((0x31, PEER), neighbors=neighbors)
        self.assertEqual(hop_of(table.next_hop(0x31)), 0x31)
        table.set_usable(0x31, False)
        self.assertEqual(hop_of(table.next_hop(0x31)), PEER)
        table.set_usable(PEER, False)
        self.assertIsInstance(table.next_hop(0x31), Hold)

    def test_who_is_between_us_and_a_node_below(self) -> None:
        """They are named from below; nobody is of a node that is not below us, nor of our own."""
        table = table_of((ME, UP), (CHILD, ME), (0x21, CHILD), (0x22, 0x21), (PEER, UP))
        self.assertEqual(table.line_of(0x22), (0x22, 0x21, CHILD))
        self.assertEqual(table.line_of(CHILD), (CHILD,))
        for bus_id in (ME, UP, PEER, STRANGER):
            self.assertEqual(table.line_of(bus_id), (), hex(bus_id))

    def test_up_the_chain(self) -> None:
        """
        What is above us goes to our upstream.

        Scenario: K7
        """
        table = table_of((ME, UP), (UP, 0x2), neighbors=NEIGHBORS)
        decision = table.next_hop(0x2)
        assert isinstance(decision, Forward)
        self.assertEqual(decision.bus_id, UP)
        self.assertIs(decision.relation, Relation.TRANSITIVE_UPSTREAM)

    def test_proxy_mesh(self) -> None:
        """What is below a connected peer goes to that peer, the nearest of several above it."""
        neighbors = {**NEIGHBORS, 0x31: Position.PEER}
        table = table_of((ME, UP), (PEER, UP), (0x31, PEER), (0x32, 0x31), neighbors=neighbors)
        self.assertEqual(hop_of(table.next_hop(0x32)), 0x31)
        self.assertEqual(hop_of(table.next_hop(0x32, exclude={0x31})), PEER)
        self.assertEqual(hop_of(table.next_hop(0x32, exclude={0x31, PEER})), UP)
        self.assertEqual(
            hop_of(table.next_hop(0x32, exclude={0x31, PEER}, no_upstream=True)), Status.NO_ROUTE
        )
        self.assertEqual(hop_of(table.next_hop(0x32, came_from=0x31)), Status.LOOP)

    def test_below_us_and_not_here(self) -> None:
        """What is below us through somebody who is not here is not sent to the upstream."""
        table = table_of((ME, UP), (0x40, ME), (0x41, 0x40), neighbors=NEIGHBORS)
        for target in (0x40, 0x41):
            decision = table.next_hop(target)
            assert isinstance(decision, Refuse)
            self.assertIs(decision.status, Status.NO_ROUTE)
            self.assertIn("0x40, which is not here", decision.rule)
            self.assertIsNone(table.alternative(target, 0x99))

    def test_below_us_with_a_way_around_the_child(self) -> None:
        """A node below us that is connected directly serves what is below it, also when the child
        above it is gone."""
        table = table_of((CHILD, ME), (PEER, CHILD), (0x31, PEER), neighbors={PEER: Position.PEER})
        self.assertEqual(hop_of(table.next_hop(0x31)), PEER)

    def test_moved(self) -> None:
        """One record that changes sends everything below it the new way."""
        table = table_of((ME, UP), (CHILD, ME), (0x50, CHILD), (0x51, 0x50), neighbors=NEIGHBORS)
        before = table.version
        self.assertEqual(hop_of(table.next_hop(0x51)), CHILD)
        told(table, (PEER, UP), (0x50, PEER))
        self.assertEqual(hop_of(table.next_hop(0x51)), PEER)
        self.assertGreater(table.version, before)

    def test_unknown_goes_by_subnets(self) -> None:
        """Of a node without a record the static subnets decide, as if there were no records."""
        table = table_of((ME, UP), (CHILD, ME), neighbors=NEIGHBORS, own_bits=4)
        self.assertEqual(hop_of(table.next_hop(0x15)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(0x999)), UP)
        self.assertIs(table.relation_to(0x15), Relation.TRANSITIVE_DOWNSTREAM)
        self.assertIs(table.relation_to(0x999), Relation.TRANSITIVE_UPSTREAM)

    def test_a_record_is_stronger_than_a_subnet(self) -> None:
        """A node inside our subnets whose record says that it is elsewhere is sought there."""
        table = table_of((ME, UP), (PEER, UP), (0x15, PEER), neighbors=NEIGHBORS, own_bits=4)
        self.assertEqual(hop_of(table.next_hop(0x15)), PEER)
        self.assertIs(table.relation_to(0x15), Relation.OTHER_UPSTREAM_PEER)
        self.assertTrue(table.may_speak(PEER, 0x15))
        self.assertTrue(table.may_speak(UP, 0x15))

    def test_records_lead_to_subnets(self) -> None:
        """Where a chain of records ends with somebody unknown, the subnets decide about that
        one."""
        table = table_of((0x90, 0x15), (0x91, 0x65), neighbors={UP: Position.UPSTREAM}, own_bits=4)
        table.add(Neighbor(BusId(0x60), (Subnet(0x60, 4),), Position.PEER))
        table.set_usable(0x60, True)
        self.assertEqual(hop_of(table.next_hop(0x90)), Status.NO_ROUTE)
        self.assertIs(table.relation_to(0x90), Relation.TRANSITIVE_DOWNSTREAM)
        self.assertEqual(hop_of(table.next_hop(0x91)), 0x60)
        self.assertTrue(table.may_speak(0x60, 0x91))
        self.assertFalse(table.may_speak(UP, 0x90))
        told(table, (ME, UP))
        self.assertIs(table.relation_to(0x90), Relation.TRANSITIVE_DOWNSTREAM)

    def test_relations_by_records(self) -> None:
        """Neighbors and others stand where their records say; our upstream and our downstreams
        where they have registered."""
        table = table_of(
            (ME, UP), (PEER, UP), (0x31, PEER), (UP, 0x2), (CHILD, 0x77), neighbors=NEIGHBORS
        )
        for target, relation in (
            (UP, Relation.IMMEDIATE_UPSTREAM),
            (CHILD, Relation.IMMEDIATE_DOWNSTREAM),
            (PEER, Relation.SAME_UPSTREAM_PEER),
            (0x31, Relation.OTHER_UPSTREAM_PEER),
            (0x2, Relation.TRANSITIVE_UPSTREAM),
            (ME, Relation.SELF),
            (0, Relation.INVALID),
        ):
            self.assertIs(table.relation_to(target), relation, hex(target))

    def test_fallbacks_of_relations(self) -> None:
        """
        Connected nodes of which no record tells are upstream or peers all the same.

        Scenario: N11
        """
        table = Table(ME)
        table.add(Neighbor(BusId(UP), (), Position.UPSTREAM))
        table.add(Neighbor(BusId(PEER), (), Position.PEER))
        self.assertIs(table.relation_to(UP), Relation.IMMEDIATE_UPSTREAM)
        self.assertIs(table.relation_to(PEER), Relation.OTHER_UPSTREAM_PEER)
        alone = Table(0)
        alone.add(Neighbor(BusId(PEER), (), Position.PEER))
        self.assertIs(alone.relation_to(PEER), Relation.OTHER_UPSTREAM_PEER)
        self.assertIs(alone.relation_to(0x99), Relation.INVALID)

    def test_children_and_strangers(self) -> None:
        """
        Our children are immediate downstreams, we are ourselves, and others are nobody.

        Scenario: N10
        """
        table = table_of((ME, 0), (CHILD, ME), neighbors={CHILD: Position.DOWNSTREAM})
        self.assertIs(table.relation_to(CHILD), Relation.IMMEDIATE_DOWNSTREAM)
        self.assertIs(table.relation_to(ME), Relation.SELF)
        self.assertIs(table.relation_to(0x99), Relation.INVALID)

    def test_who_may_speak(self) -> None:
        """A neighbor speaks for what is below it by record; the upstream for all but what is below
        us."""
        table = table_of(
            (ME, UP), (CHILD, ME), (0x21, CHILD), (PEER, UP), (0x31, PEER), neighbors=NEIGHBORS
        )
        for neighbor, source, allowed in (
            (CHILD, 0x21, True),
            (PEER, 0x21, False),
            (UP, 0x21, False),
            (PEER, 0x31, True),
            (CHILD, 0x31, False),
            (UP, 0x31, True),
            (UP, 0x999, True),
            (PEER, 0x999, False),
            (PEER, UP, False),
            (UP, ME, False),
        ):
            self.assertIs(table.may_speak(neighbor, source), allowed, (neighbor, source))


class _Naive:
    """The rules, obeyed by looking everything up from the start."""

    def __init__(self) -> None:
        self.upstreams: dict[int, int] = {}
        self.positions: dict[int, Position] = {}

    def above(self, bus_id: int) -> list[int]:
        way = []
        while bus_id := self.upstreams.get(bus_id, 0):
            way.append(bus_id)
        return way

    def hop(self, target: int, exclude: Collection[int], no_upstream: bool) -> int | Status:
        usable = [bus_id for bus_id in self.positions if bus_id not in exclude]
        upstream = next((b for b, p in self.positions.items() if p is Position.UPSTREAM), None)
        default: int | Status = Status.NO_ROUTE
        if upstream is not None and not no_upstream and upstream not in exclude:
            default = upstream
        if target == ME:
            return ME
        if target in usable:
            return target
        if target not in self.upstreams:
            return default if target // 8 != ME // 8 else Status.NO_ROUTE
        chain = self.above(target)
        if ME in chain:
            between = chain[: chain.index(ME)]
            for each in [*between[-1:], *between]:
                if each in usable:
                    return each
            return Status.NO_ROUTE
        for each in chain:
            if each == upstream and each in usable:
                return default
            if each in usable:
                return each
        top = chain[-1] if chain else target
        if top not in self.upstreams and top // 8 == ME // 8:
            return Status.NO_ROUTE
        return default


# Ids of two blocks of eight; that of `ME` is its subnet.
_IDS = st.sampled_from([*range(0x10, 0x18), *range(0x40, 0x44)])
_OTHERS = _IDS.filter(lambda each: each != ME)


class _TableMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = Table(ME, [Subnet(ME, 3)])
        self.model = _Naive()

    @rule(chain=st.lists(_IDS, min_size=2, max_size=6, unique=True))
    def place_chain(self, chain: list[int]) -> None:
        for upstream_id, bus_id in itertools.pairwise(chain):
            self.place(bus_id, upstream_id)

    @rule(bus_id=_IDS, upstream_id=_IDS | st.just(0))
    def place(self, bus_id: int, upstream_id: int) -> None:
        if upstream_id == bus_id or bus_id in self.model.above(upstream_id):
            return
        told(self.table, (bus_id, upstream_id))
        self.model.upstreams[bus_id] = upstream_id

    @rule(bus_id=_IDS)
    def forget(self, bus_id: int) -> None:
        self.table.registry.withdraw(Feeder.SYNC, [bus_id])
        self.model.upstreams.pop(bus_id, None)

    @rule(bus_id=_OTHERS, position=st.sampled_from(Position))
    def register(self, bus_id: int, position: Position) -> None:
        others = [p for b, p in self.model.positions.items() if b != bus_id]
        if position is Position.UPSTREAM and Position.UPSTREAM in others:
            return
        self.table.add(Neighbor(BusId(bus_id), (), position))
        self.table.set_usable(bus_id, True)
        self.model.positions[bus_id] = position

    @rule(bus_id=_OTHERS)
    def leave(self, bus_id: int) -> None:
        self.table.remove(bus_id)
        self.model.positions.pop(bus_id, None)

    @rule(
        wanted=_IDS,
        exclude=st.frozensets(_OTHERS, max_size=3),
        no_upstream=st.booleans(),
        came_from=_OTHERS,
    )
    def ask(
        self, *, wanted: int, exclude: frozenset[int], no_upstream: bool, came_from: int
    ) -> None:
        for avoided in (frozenset[int](), exclude):
            for closed in (False, no_upstream):
                expected = self.model.hop(wanted, avoided, closed)
                decision = self.table.next_hop(wanted, exclude=avoided, no_upstream=closed)
                assert hop_of(decision) == expected, decision
                back = self.table.next_hop(
                    wanted, exclude=avoided, no_upstream=closed, came_from=came_from
                )
                assert hop_of(back) == (Status.LOOP if expected == came_from else expected)
                if isinstance(decision, Forward):
                    assert decision.relation is self.table.relation_to(wanted)

    @rule(everybody=st.permutations([*range(0x10, 0x18), *range(0x40, 0x44)]))
    def ask_all(self, everybody: list[int]) -> None:
        """What others were asked for before changes no answer, and no reason."""
        for wanted in everybody:
            alone = self.table.next_hop(wanted, exclude={STRANGER})
            assert self.table.next_hop(wanted) == alone


class ModelTests(SynchronousTestCase):
    def test_like_the_rules_one_by_one(self) -> None:
        """Whatever registers, moves and leaves, each message goes where the rules say, applied one
        by one from the start."""
        run_state_machine_as_test(
            _TableMachine,
            settings=settings(deadline=None, max_examples=60, stateful_step_count=50),
        )
