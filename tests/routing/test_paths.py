"""The path of a message through many nodes, each with a table of its own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import Status
from atbus.routing.admission import judge
from atbus.routing.applicant import Admit, Applicant, OwnNode, Registered
from atbus.routing.decision import Deliver, Forward, Refuse
from atbus.routing.relation import Relation
from atbus.routing.table import Neighbor, Position, Table

# Two trees: region - proxy - leaf, and a second region.
REGION = 0x1100
PROXY_A, PROXY_B = 0x1110, 0x1120
LEAF_A1, LEAF_A2, LEAF_B1 = 0x1111, 0x1112, 0x1121
OTHER_REGION = 0x2100
OTHER_LEAF = 0x2101
BITS = {REGION: 8, PROXY_A: 4, PROXY_B: 4, OTHER_REGION: 8}
UPSTREAMS = {
    PROXY_A: REGION,
    PROXY_B: REGION,
    LEAF_A1: PROXY_A,
    LEAF_A2: PROXY_A,
    LEAF_B1: PROXY_B,
    OTHER_LEAF: OTHER_REGION,
}


class Bus:
    """
    Nodes that register with each other as admission lets them, and forward as their tables say.

    :param subnets: The mask bits of each node.
    :param upstreams: The configured upstream of those that have one.
    """

    def __init__(self, subnets: dict[int, int], upstreams: dict[int, int]) -> None:
        nodes = {*subnets, *upstreams, *upstreams.values()}
        self.upstreams = upstreams
        self.tables = {
            node: Table(node, [Subnet(node, subnets.get(node, 0))]) for node in sorted(nodes)
        }
        for node in sorted(upstreams):
            assert self.connect(node, upstreams[node])

    def connect(self, dialer: int, listener: int) -> bool:
        """Register two nodes with each other; True when both wanted to."""
        verdicts = [
            self._judge(one, other, is_dialer=one == dialer)
            for one, other in ((listener, dialer), (dialer, listener))
        ]
        if None in verdicts:
            return False
        for node, known in zip((listener, dialer), verdicts, strict=True):
            assert known is not None
            self.tables[node].add(known)
            self.tables[node].set_usable(known.bus_id, True)
        return True

    def _judge(self, node: int, peer: int, *, is_dialer: bool) -> Neighbor | None:
        table = self.tables[node]
        to_upstream = is_dialer and self.upstreams.get(node) == peer
        verdict = judge(
            OwnNode(bus_id=node, subnets=table.own_subnets),
            [
                Registered(bus_id=each.bus_id, subnets=each.subnets, position=each.position)
                for each in table.neighbors
            ],
            Applicant(
                bus_id=peer,
                subnets=self.tables[peer].own_subnets,
                dialled=is_dialer,
                to_upstream=to_upstream,
            ),
        )
        if not isinstance(verdict, Admit):
            return None
        return Neighbor(verdict.bus_id, verdict.subnets, verdict.position)

    def path(self, source: int, target: int) -> list[int | Status]:
        """Follow a message: all nodes that it visits, and a status where one of them gives up."""
        visited: list[int | Status] = [source]
        here, came_from = source, None
        for _ in range(limits.HOPS):
            decision = self.tables[here].next_hop(target, came_from=came_from)
            match decision:
                case Deliver():
                    return visited
                case Refuse(status=status):
                    return [*visited, status]
                case Forward(bus_id=bus_id):
                    if not self.tables[bus_id].may_speak(here, source):
                        return [*visited, bus_id, Status.SOURCE_REFUSED]
                    visited.append(bus_id)
                    here, came_from = bus_id, here
        return [*visited, Status.HOP_LIMIT]


class PathTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bus = Bus(BITS, UPSTREAMS)

    def test_along_the_tree(self) -> None:
        """
        Parent and child talk directly, siblings through their parent, a grandchild and its uncle
        through the parent between, nodes of different trees not at all until the roots connect.

        Scenario: CC1
        """
        path = self.bus.path
        self.assertEqual(path(PROXY_A, LEAF_A1), [PROXY_A, LEAF_A1])
        self.assertEqual(path(LEAF_A1, PROXY_A), [LEAF_A1, PROXY_A])
        self.assertEqual(path(LEAF_A1, LEAF_A2), [LEAF_A1, PROXY_A, LEAF_A2])
        self.assertEqual(path(LEAF_A1, PROXY_B), [LEAF_A1, PROXY_A, REGION, PROXY_B])
        self.assertEqual(path(LEAF_A1, LEAF_B1), [LEAF_A1, PROXY_A, REGION, PROXY_B, LEAF_B1])
        self.assertEqual(path(LEAF_A1, OTHER_LEAF), [LEAF_A1, PROXY_A, REGION, Status.NO_ROUTE])
        self.assertTrue(self.bus.connect(REGION, OTHER_REGION))
        self.assertEqual(
            path(LEAF_A1, OTHER_LEAF), [LEAF_A1, PROXY_A, REGION, OTHER_REGION, OTHER_LEAF]
        )
        self.assertTrue(self.bus.connect(LEAF_A1, LEAF_A2))
        self.assertEqual(path(LEAF_A1, LEAF_A2), [LEAF_A1, LEAF_A2])

    def test_a_peer_shortens_the_way(self) -> None:
        """Two connected proxies pass on between their children, and fall back when cut."""
        self.assertTrue(self.bus.connect(PROXY_A, PROXY_B))
        direct = [LEAF_A1, PROXY_A, PROXY_B, LEAF_B1]
        self.assertEqual(self.bus.path(LEAF_A1, LEAF_B1), direct)
        self.bus.tables[PROXY_A].set_usable(PROXY_B, False)
        around = [LEAF_A1, PROXY_A, REGION, PROXY_B, LEAF_B1]
        self.assertEqual(self.bus.path(LEAF_A1, LEAF_B1), around)

    def test_where_a_message_ends_that_nobody_wants(self) -> None:
        """The node in whose range the missing target lies gives up, and the root for all others."""
        self.assertEqual(
            self.bus.path(LEAF_A1, 0x1129), [LEAF_A1, PROXY_A, REGION, PROXY_B, Status.NO_ROUTE]
        )
        self.assertEqual(self.bus.path(LEAF_A1, 0x111F), [LEAF_A1, PROXY_A, Status.NO_ROUTE])
        self.assertEqual(
            self.bus.path(LEAF_A1, 0x9999), [LEAF_A1, PROXY_A, REGION, Status.NO_ROUTE]
        )

    def test_no_connection_across_generations(self) -> None:
        """A node does not connect to the upstream of its upstream, nor to a child of its child."""
        self.assertFalse(self.bus.connect(LEAF_A1, REGION))
        self.assertFalse(self.bus.connect(REGION, LEAF_A1))

    def test_relations_are_mutual(self) -> None:
        """Who is below one node has that node above it, across all pairs of a tree."""
        tree = [REGION, PROXY_A, PROXY_B, LEAF_A1, LEAF_A2, LEAF_B1]
        for one in tree:
            for other in tree:
                down = self.bus.tables[one].relation_to(other)
                up = self.bus.tables[other].relation_to(one)
                if down is Relation.IMMEDIATE_DOWNSTREAM:
                    self.assertIs(up, Relation.IMMEDIATE_UPSTREAM)
                elif down is Relation.TRANSITIVE_DOWNSTREAM:
                    self.assertIs(up, Relation.TRANSITIVE_UPSTREAM)


# A tree of 4 + 4 + 4 bits: each digit of an id chooses a child, zeros end it.
NODES = st.builds(
    lambda digits: sum(digit << shift for digit, shift in zip(digits, (8, 4, 0), strict=True)),
    st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)),
).filter(lambda node: node & 0xF0 or not node & 0xF)


def upstream_of(node: int) -> int | None:
    if node & 0xF:
        return node & 0xFF0
    return node & 0xF00 if node & 0xF0 else None


def bits_of(node: int) -> int:
    if node & 0xF:
        return 0
    return 4 if node & 0xF0 else 8


def grow(leaves: set[int]) -> Bus:
    nodes = set(leaves)
    for node in leaves:
        above = upstream_of(node)
        while above is not None:
            nodes.add(above)
            above = upstream_of(above)
    upstreams = {node: above for node in nodes if (above := upstream_of(node)) is not None}
    return Bus({node: bits_of(node) for node in nodes}, upstreams)


class AnyTreeTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(
        leaves=st.sets(NODES, min_size=2, max_size=6),
        links=st.lists(st.tuples(NODES, NODES), max_size=5),
        cut=st.booleans(),
    )
    def test_everybody_is_reached(
        self, *, leaves: set[int], links: list[tuple[int, int]], cut: bool
    ) -> None:
        """
        In any tree with any peer links that admission lets in, nodes under one root reach each
        other without passing a node twice, also when all the peer links are cut; nobody is taken
        for somebody who may not speak.
        """
        bus = grow(leaves)
        for one, other in links:
            known = bus.tables
            if one in known and other in known and one != other and not known[one].get(other):
                bus.connect(one, other)
        for table in bus.tables.values() if cut else ():
            for each in table.neighbors:
                if each.position is Position.PEER:
                    table.set_usable(each.bus_id, False)
        for source in bus.tables:
            for target in bus.tables:
                if source & 0xF00 == target & 0xF00:
                    path = bus.path(source, target)
                    self.assertEqual(path[-1], target)
                    self.assertEqual(len(set(path)), len(path))
