"""Next hops, relations and who may speak for whom, from static subnets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from atbus import limits
from atbus.busid import BusId, Subnet
from atbus.errors import LocalProtocolError, Status
from atbus.routing.decision import Decision, Deliver, Forward, Hold, Refuse
from atbus.routing.interfaces import IRouter
from atbus.routing.relation import Relation
from atbus.routing.table import Neighbor, Position, Table, owned_subnets

# A proxy in the middle of a tree: above it a region, below it two nodes, one of them a proxy
# again, beside it another region's proxy.
ME = 0x12340001
REGION = 0x12FF0001
LEAF = 0x12340010
PROXY_BELOW = 0x12340101
BEHIND_PROXY = 0x12340102
NOBODY = 0x12345678
SIBLING = 0x12350001
FAR = 0x22340001
BEHIND_FAR = 0x22340077
ABOVE = 0x99990001


def neighbor(bus_id: int, bits: int, position: Position) -> Neighbor:
    return Neighbor(BusId(bus_id), (Subnet(bus_id, bits),), position)


def proxy_table(*, upstream: bool = True) -> Table:
    table = Table(ME, [Subnet(ME, 16)])
    neighbors = [
        neighbor(LEAF, 0, Position.DOWNSTREAM),
        neighbor(PROXY_BELOW, 8, Position.DOWNSTREAM),
        neighbor(SIBLING, 0, Position.PEER),
        neighbor(FAR, 16, Position.PEER),
    ]
    if upstream:
        neighbors.append(neighbor(REGION, 24, Position.UPSTREAM))
    for each in neighbors:
        table.add(each)
        table.set_usable(each.bus_id, True)
    return table


def hop_of(decision: Decision) -> int | Status | None:
    match decision:
        case Forward(bus_id=bus_id):
            return bus_id
        case Refuse(status=status):
            return status
        case _:
            return None


class NextHopTests(SynchronousTestCase):
    def test_provides_the_contract(self) -> None:
        """The table is a router."""
        self.assertTrue(verifyObject(IRouter, proxy_table()))

    def test_each_way(self) -> None:
        """
        A message for a downstream, for what hangs below one, for a peer, for what hangs below one,
        and for the upstream goes straight there; everything else goes to the upstream.
        """
        table = proxy_table()
        self.assertIsInstance(table.next_hop(ME), Deliver)
        self.assertEqual(hop_of(table.next_hop(LEAF)), LEAF)
        self.assertEqual(hop_of(table.next_hop(PROXY_BELOW)), PROXY_BELOW)
        self.assertEqual(hop_of(table.next_hop(BEHIND_PROXY)), PROXY_BELOW)
        self.assertEqual(hop_of(table.next_hop(SIBLING)), SIBLING)
        self.assertEqual(hop_of(table.next_hop(BEHIND_FAR)), FAR)
        self.assertEqual(hop_of(table.next_hop(REGION)), REGION)
        self.assertEqual(hop_of(table.next_hop(0x12360001)), REGION)
        self.assertEqual(hop_of(table.next_hop(ABOVE)), REGION)

    def test_says_why(self) -> None:
        """Each answer carries the target's relation and the rule that decided, for people."""
        self.assertEqual(
            proxy_table().next_hop(BEHIND_PROXY),
            Forward(
                BusId(PROXY_BELOW),
                Relation.TRANSITIVE_DOWNSTREAM,
                "subnet 0x12340100/8 of 0x12340101",
            ),
        )

    def test_a_root_refuses_what_it_does_not_know(self) -> None:
        """
        A node without upstream refuses ids of its own range that nobody registered, and foreign
        ids, at once.

        Scenario: K10
        """
        table = Table(ME, [Subnet(ME, 16)])
        self.assertEqual(hop_of(table.next_hop(NOBODY)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(ABOVE)), Status.NO_ROUTE)

    def test_a_missing_child_is_not_sent_up(self) -> None:
        """
        What the upstream sends down for a child that is not here is refused, not sent back up, and
        so is anything else that would have to go back.

        Scenario: K19
        """
        table = proxy_table()
        self.assertEqual(hop_of(table.next_hop(NOBODY, came_from=REGION)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(NOBODY)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(ABOVE, came_from=REGION)), Status.LOOP)
        self.assertEqual(hop_of(table.next_hop(BEHIND_FAR, came_from=FAR)), Status.LOOP)
        self.assertEqual(hop_of(table.next_hop(LEAF, came_from=LEAF)), Status.LOOP)

    def test_siblings_through_the_upstream(self) -> None:
        """A child that knows only its upstream sends everything there, siblings and strangers."""
        table = Table(LEAF)
        table.add(neighbor(ME, 16, Position.UPSTREAM))
        table.set_usable(ME, True)
        self.assertEqual(hop_of(table.next_hop(PROXY_BELOW)), ME)
        self.assertEqual(hop_of(table.next_hop(ABOVE)), ME)

    def test_a_cut_peer_is_bypassed(self) -> None:
        """
        A sibling whose direct connection died, and what hangs below such a peer, are reached
        through the upstream at once, and directly again when the connection is back.

        Scenario: K21
        """
        table = proxy_table()
        table.set_usable(SIBLING, False)
        table.set_usable(FAR, False)
        self.assertEqual(hop_of(table.next_hop(SIBLING)), REGION)
        self.assertEqual(hop_of(table.next_hop(BEHIND_FAR)), REGION)
        self.assertIn("cut", table.next_hop(SIBLING).rule)
        table.set_usable(SIBLING, True)
        self.assertEqual(hop_of(table.next_hop(SIBLING)), SIBLING)
        table.remove(SIBLING)
        self.assertEqual(hop_of(table.next_hop(SIBLING)), REGION)

    def test_a_cut_peer_without_a_bypass(self) -> None:
        """Messages for a cut peer wait when there is no usable upstream, or it must not be used."""
        table = proxy_table()
        table.set_usable(SIBLING, False)
        waits = Hold(
            BusId(SIBLING),
            Relation.SAME_UPSTREAM_PEER,
            "direct neighbor, which has no data connection",
        )
        self.assertEqual(table.next_hop(SIBLING, no_upstream=True), waits)
        self.assertEqual(table.next_hop(SIBLING, exclude={REGION}), waits)
        table.set_usable(REGION, False)
        self.assertEqual(table.next_hop(SIBLING), waits)

    def test_a_cut_downstream_is_waited_for(self) -> None:
        """There is no second way to a downstream, so messages for it wait."""
        table = proxy_table()
        table.set_usable(PROXY_BELOW, False)
        decision = table.next_hop(BEHIND_PROXY)
        assert isinstance(decision, Hold)
        self.assertEqual(decision.bus_id, PROXY_BELOW)

    def test_a_new_neighbor_is_waited_for(self) -> None:
        """A neighbor whose first data connection is still being made is waited for."""
        table = proxy_table()
        newcomer = 0x12350002
        table.add(neighbor(newcomer, 0, Position.PEER))
        decision = table.next_hop(newcomer)
        assert isinstance(decision, Hold)
        self.assertEqual(decision.bus_id, newcomer)

    def test_a_lost_upstream(self) -> None:
        """
        When the upstream is gone, what was reachable only through it is refused at once; siblings
        with a direct connection and downstreams are still reached.

        Scenario: I8
        """
        table = proxy_table()
        table.remove(REGION)
        self.assertEqual(hop_of(table.next_hop(ABOVE)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(REGION)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(SIBLING)), SIBLING)
        self.assertEqual(hop_of(table.next_hop(LEAF)), LEAF)

    def test_exclusions(self) -> None:
        """
        Excluded neighbors are never the next hop, and a closed default route is not taken.

        Scenario: K27
        """
        table = proxy_table()
        self.assertEqual(
            hop_of(table.next_hop(SIBLING, exclude={SIBLING}, no_upstream=True)), Status.NO_ROUTE
        )
        self.assertEqual(hop_of(table.next_hop(SIBLING, exclude={SIBLING})), REGION)
        self.assertEqual(hop_of(table.next_hop(SIBLING, exclude={LEAF})), SIBLING)
        self.assertEqual(hop_of(table.next_hop(REGION, exclude={REGION})), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(ABOVE, exclude={REGION})), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(ABOVE, no_upstream=True)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(REGION, no_upstream=True)), REGION)
        self.assertEqual(hop_of(table.next_hop(LEAF, exclude={LEAF})), Status.NO_ROUTE)
        self.assertIsInstance(table.next_hop(ME, exclude={ME}, no_upstream=True), Deliver)
        self.assertEqual(hop_of(table.next_hop(0)), Status.NO_ROUTE)

    def test_the_narrowest_range_wins(self) -> None:
        """Of nested subnets the narrowest decides, and an excluded one gives way to the next."""
        table = Table(0x55)
        wide, middle, narrow = 0x10000001, 0x10010001, 0x10010101
        for bus_id, bits in ((wide, 24), (narrow, 8), (middle, 16)):
            table.add(neighbor(bus_id, bits, Position.PEER))
            table.set_usable(bus_id, True)
        self.assertEqual(hop_of(table.next_hop(0x10010177)), narrow)
        self.assertEqual(hop_of(table.next_hop(0x10017777)), middle)
        self.assertEqual(hop_of(table.next_hop(0x10777777)), wide)
        self.assertEqual(hop_of(table.next_hop(0x10010177, exclude={narrow, middle})), wide)

    def test_two_owners_of_one_range(self) -> None:
        """Should two neighbors claim the same range, the smaller id gets it, whoever came first."""
        for order in ((0x21, 0x22), (0x22, 0x21)):
            table = Table(0x55)
            for bus_id in order:
                table.add(neighbor(bus_id, 4, Position.PEER))
                table.set_usable(bus_id, True)
            self.assertEqual(hop_of(table.next_hop(0x2F)), 0x21)
            table.remove(0x21)
            self.assertEqual(hop_of(table.next_hop(0x2F)), 0x22)

    def test_a_wide_peer_takes_nothing_of_ours(self) -> None:
        """A peer with a range around ours is no upstream and gets no message for our own range."""
        table = Table(ME, [Subnet(ME, 16)])
        table.add(neighbor(REGION, 24, Position.PEER))
        table.set_usable(REGION, True)
        self.assertIsNone(table.upstream)
        self.assertEqual(hop_of(table.next_hop(NOBODY)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(ABOVE)), Status.NO_ROUTE)
        self.assertEqual(hop_of(table.next_hop(0x12990001)), REGION)


class SecondChanceTests(SynchronousTestCase):
    def test_through_the_upstream(self) -> None:
        """What a peer did not take goes through the upstream once."""
        second = proxy_table().alternative(BEHIND_FAR, FAR, LEAF)
        assert second is not None
        self.assertEqual(second.bus_id, REGION)

    def test_there_is_none(self) -> None:
        """
        Nothing is tried again that came from the upstream, failed there, is for the upstream
        itself, is for our own range, or must not use the upstream.
        """
        table = proxy_table()
        self.assertIsNone(table.alternative(BEHIND_FAR, FAR, REGION))
        self.assertIsNone(table.alternative(ABOVE, REGION))
        self.assertIsNone(table.alternative(REGION, FAR))
        self.assertIsNone(table.alternative(BEHIND_PROXY, PROXY_BELOW))
        self.assertIsNone(table.alternative(ME, FAR))
        self.assertIsNone(table.alternative(BEHIND_FAR, FAR, no_upstream=True))
        self.assertIsNone(proxy_table(upstream=False).alternative(BEHIND_FAR, FAR))
        table.set_usable(REGION, False)
        self.assertIsNone(table.alternative(BEHIND_FAR, FAR))


class RelationTests(SynchronousTestCase):
    def test_in_a_tree(self) -> None:
        """Relations follow from neighbors first, then from ranges."""
        table = proxy_table()
        expected = {
            ME: Relation.SELF,
            REGION: Relation.IMMEDIATE_UPSTREAM,
            ABOVE: Relation.TRANSITIVE_UPSTREAM,
            LEAF: Relation.IMMEDIATE_DOWNSTREAM,
            PROXY_BELOW: Relation.IMMEDIATE_DOWNSTREAM,
            BEHIND_PROXY: Relation.TRANSITIVE_DOWNSTREAM,
            NOBODY: Relation.TRANSITIVE_DOWNSTREAM,
            SIBLING: Relation.SAME_UPSTREAM_PEER,
            0x12360001: Relation.SAME_UPSTREAM_PEER,
            FAR: Relation.OTHER_UPSTREAM_PEER,
            BEHIND_FAR: Relation.OTHER_UPSTREAM_PEER,
            0: Relation.INVALID,
        }
        self.assertEqual({bus_id: table.relation_to(bus_id) for bus_id in expected}, expected)

    def test_of_a_root(self) -> None:
        """Without an upstream, peers share none, and what nobody claims has no relation."""
        table = proxy_table(upstream=False)
        self.assertIs(table.relation_to(SIBLING), Relation.OTHER_UPSTREAM_PEER)
        self.assertIs(table.relation_to(ABOVE), Relation.INVALID)
        self.assertIs(table.relation_to(REGION), Relation.INVALID)

    def test_children_of_a_node_with_two_ranges(self) -> None:
        """
        Everything inside either of a node's ranges is below it, nothing beyond their ends.

        Scenario: A14
        """
        table = Table(0x12345678, [Subnet(0x12345678, 16), Subnet(0x22345678, 16)])
        for inside in (0x12340000, 0x1234FFFF, 0x22340000, 0x2234FFFF):
            self.assertTrue(table.relation_to(inside).is_downstream)
        for outside in (0x1233FFFF, 0x12350000, 0x2233FFFF, 0x22350000):
            self.assertIs(table.relation_to(outside), Relation.INVALID)

    def test_a_node_without_ranges(self) -> None:
        """
        A node without ranges owns its own id and not the next one.

        Scenario: A16
        """
        table = Table(0x12345678)
        self.assertEqual(table.own_subnets, (Subnet(0x12345678, 0),))
        self.assertIs(table.relation_to(0x12345678), Relation.SELF)
        self.assertIs(table.relation_to(0x12345679), Relation.INVALID)

    def test_seen_from_a_temporary_node(self) -> None:
        """Everybody whom a temporary node dials is a peer of it."""
        table = Table(0)
        table.add(neighbor(ME, 16, Position.PEER))
        self.assertEqual(table.own_subnets, ())
        self.assertIs(table.relation_to(ME), Relation.OTHER_UPSTREAM_PEER)
        self.assertIs(table.relation_to(0), Relation.INVALID)


class SpeakingTests(SynchronousTestCase):
    def test_who_speaks_for_whom(self) -> None:
        """
        A neighbor speaks for itself; a downstream or peer also for its own range; the upstream for
        everybody outside ours.
        """
        table = proxy_table()
        self.assertTrue(table.may_speak(LEAF, LEAF))
        self.assertTrue(table.may_speak(PROXY_BELOW, BEHIND_PROXY))
        self.assertTrue(table.may_speak(FAR, BEHIND_FAR))
        self.assertTrue(table.may_speak(REGION, ABOVE))
        self.assertTrue(table.may_speak(REGION, FAR))
        self.assertTrue(table.may_speak(REGION, REGION))

    def test_who_does_not(self) -> None:
        """A child cannot send as its sibling, nor the upstream as a child; nobody sends as us."""
        table = proxy_table()
        self.assertFalse(table.may_speak(LEAF, BEHIND_PROXY))
        self.assertFalse(table.may_speak(PROXY_BELOW, NOBODY))
        self.assertFalse(table.may_speak(FAR, ABOVE))
        self.assertFalse(table.may_speak(REGION, LEAF))
        self.assertFalse(table.may_speak(NOBODY, NOBODY))
        wide = 0x12330001
        table.add(neighbor(wide, 24, Position.PEER))
        for each in (LEAF, SIBLING, FAR, REGION, wide):
            self.assertFalse(table.may_speak(each, ME))
            self.assertFalse(table.may_speak(each, 0))


class MoveTests(SynchronousTestCase):
    """A node that takes another upstream."""

    def moved(self) -> Table:
        """Make a table whose first peer has become the upstream."""
        table = proxy_table()
        table.change_upstream(FAR, [Subnet(FAR, 16)])
        return table

    def test_the_other_one_takes_its_place(self) -> None:
        """Everything else goes to the new one at once; the old one is reached directly."""
        table = self.moved()
        self.assertEqual(hop_of(table.next_hop(ABOVE)), FAR)
        self.assertEqual(hop_of(table.next_hop(REGION)), REGION)
        self.assertEqual(hop_of(table.next_hop(REGION + 1)), FAR)
        self.assertIs(table.relation_to(FAR), Relation.IMMEDIATE_UPSTREAM)
        self.assertEqual(table.upstream, neighbor(FAR, 16, Position.UPSTREAM))

    def test_the_old_one_still_speaks(self) -> None:
        """What others sent through it is still on its way."""
        table = self.moved()
        for source in (ABOVE, BEHIND_FAR, SIBLING, REGION):
            self.assertTrue(table.may_speak(REGION, source), hex(source))
        self.assertFalse(table.may_speak(REGION, LEAF))
        self.assertTrue(table.may_speak(FAR, ABOVE))

    def test_without_an_old_one(self) -> None:
        """A peer becomes the first upstream as well; nobody but a peer does."""
        table = proxy_table(upstream=False)
        table.change_upstream(SIBLING, ())
        self.assertEqual(hop_of(table.next_hop(ABOVE)), SIBLING)
        for bus_id in (LEAF, SIBLING, NOBODY):
            self.assertRaises(LocalProtocolError, table.change_upstream, bus_id, ())

    def test_its_connection_is_what_it_was(self) -> None:
        """A peer that is awaited yet is awaited as the upstream."""
        table = proxy_table()
        table.add(neighbor(NOBODY + (1 << 32), 0, Position.PEER))
        table.change_upstream(NOBODY + (1 << 32), ())
        self.assertIsInstance(table.next_hop(ABOVE), Hold)


class NeighborhoodTests(SynchronousTestCase):
    def test_adding_needs_no_ranges(self) -> None:
        """
        Neighbors without ranges are added in any order; one more time changes nothing but what is
        known of it; who is no neighbor cannot be removed.

        Scenario: A24
        """
        table = Table(1)
        for bus_id in (7, 3, 5):
            table.add(Neighbor(BusId(bus_id), (), Position.PEER))
        table.set_usable(3, True)
        table.add(neighbor(3, 0, Position.PEER))
        self.assertEqual([each.bus_id for each in table.neighbors], [3, 5, 7])
        self.assertEqual(table.get(3), neighbor(3, 0, Position.PEER))
        self.assertTrue(table.is_usable(3))
        self.assertIsNone(table.remove(4))
        self.assertEqual(len(table.neighbors), 3)

    def test_removing(self) -> None:
        """
        Removing says what was removed, routes shrink, a second removal finds nothing, and we
        ourselves cannot be removed.

        Scenario: A19, A26
        """
        table = proxy_table(upstream=False)
        removed = table.remove(PROXY_BELOW)
        assert removed is not None
        self.assertEqual(removed.bus_id, PROXY_BELOW)
        self.assertIsNone(table.remove(PROXY_BELOW))
        self.assertEqual(hop_of(table.next_hop(BEHIND_PROXY)), Status.NO_ROUTE)
        self.assertIsNone(table.remove(ME))
        self.assertIsInstance(table.next_hop(ME), Deliver)

    def test_smaller_ranges_after_an_update(self) -> None:
        """A neighbor that comes back with a smaller range gets no more what lay in the old."""
        table = proxy_table()
        table.add(neighbor(FAR, 4, Position.PEER))
        self.assertEqual(hop_of(table.next_hop(BEHIND_FAR)), REGION)
        self.assertEqual(hop_of(table.next_hop(FAR)), FAR)

    def test_a_known_node_becomes_the_upstream(self) -> None:
        """A peer that is taken as upstream is the default route and no more one of the ranges."""
        table = proxy_table(upstream=False)
        table.add(neighbor(FAR, 28, Position.UPSTREAM))
        self.assertEqual(table.upstream, neighbor(FAR, 28, Position.UPSTREAM))
        self.assertEqual(hop_of(table.next_hop(ABOVE)), FAR)
        self.assertIs(table.relation_to(BEHIND_FAR), Relation.SAME_UPSTREAM_PEER)

    def test_impossible_neighbors(self) -> None:
        """Neither we nor nobody nor a second upstream can be entered."""
        table = proxy_table()
        for each in (
            neighbor(ME, 0, Position.PEER),
            Neighbor(BusId(0), (), Position.PEER),
            neighbor(ABOVE, 32, Position.UPSTREAM),
        ):
            self.assertRaises(LocalProtocolError, table.add, each)

    def test_an_assigned_id(self) -> None:
        """A node that is given its id by the upstream owns it from then on."""
        table = Table(0)
        table.add(neighbor(ME, 16, Position.UPSTREAM))
        table.set_usable(ME, True)
        self.assertEqual(hop_of(table.next_hop(LEAF)), ME)
        table.renumber(LEAF)
        self.assertIsInstance(table.next_hop(LEAF), Deliver)
        self.assertEqual(table.own_subnets, (Subnet(LEAF, 0),))
        self.assertRaises(LocalProtocolError, table.renumber, ME)

    def test_the_version(self) -> None:
        """Every change that can change an answer is told by the version, and nothing else is."""
        table = proxy_table()
        before = table.version
        table.set_usable(LEAF, True)
        table.set_usable(ABOVE, True)
        table.remove(ABOVE)
        table.next_hop(ABOVE)
        self.assertEqual(table.version, before)
        table.set_usable(LEAF, False)
        self.assertGreater(table.version, before)

    def test_memory_is_bounded(self) -> None:
        """Messages for ever new targets do not make the table grow."""
        table = proxy_table()
        self.patch(limits, "COMPILED_TARGETS_MAX", 100)
        for target in range(1, 1000):
            self.assertEqual(hop_of(table.next_hop(target)), REGION)
        self.assertLessEqual(len(table._decisions), 100)


class OwnedSubnetTests(SynchronousTestCase):
    def test_the_own_id_is_always_owned(self) -> None:
        """Whatever a node announces, its own id belongs to it; a temporary node owns nothing."""
        self.assertEqual(owned_subnets(ME, []), (Subnet(ME, 0),))
        self.assertEqual(owned_subnets(ME, [Subnet(ME, 16)]), (Subnet(ME, 16),))
        self.assertEqual(owned_subnets(ME, [Subnet(FAR, 8)]), (Subnet(ME, 0), Subnet(FAR, 8)))
        self.assertEqual(owned_subnets(0, [Subnet(ME, 16)]), ())
