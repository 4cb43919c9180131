"""The table compared with a scan of everything, and what it never does."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import BusId, Subnet
from atbus.errors import Status
from atbus.routing.decision import Decision, Forward, Hold, Refuse
from atbus.routing.table import Neighbor, Position, Table, owned_subnets

# Few ids, so that ranges nest and hit often, and none that is the number of a status.
IDS = st.integers(257, 319)
SUBNETS = st.lists(st.builds(Subnet, IDS, st.integers(0, 5)), max_size=3)
NEIGHBORS = st.lists(
    st.tuples(
        st.builds(
            Neighbor,
            IDS.map(BusId),
            SUBNETS.map(tuple),
            st.sampled_from([Position.DOWNSTREAM, Position.PEER]),
        ),
        st.sampled_from([(), (True,), (True, False)]),
    ),
    max_size=6,
    unique_by=lambda each: each[0].bus_id,
)


def hop_of(decision: Decision) -> int | Status | None:
    match decision:
        case Forward(bus_id=bus_id) | Hold(bus_id=bus_id):
            return bus_id
        case Refuse(status=status):
            return status
        case _:
            return None


def naive_owner(
    neighbors: Sequence[Neighbor], own: Sequence[Subnet], target: int, exclude: Collection[int]
) -> int | Status | None:
    """Scan for the owner of the narrowest subnet; NO_ROUTE if that is us, None if nobody."""
    found: list[tuple[int, int, int]] = [
        (subnet.mask_bits, 0, each.bus_id)
        for each in neighbors
        for subnet in each.subnets
        if subnet.contains(target) and each.bus_id not in exclude
    ]
    found += [(subnet.mask_bits, 1, 0) for subnet in own if subnet.contains(target)]
    if not found:
        return None
    _, is_ours, bus_id = min(found)
    return Status.NO_ROUTE if is_ours else bus_id


class ModelTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(
        neighbors=NEIGHBORS,
        subnets=SUBNETS,
        removed=st.sets(IDS, max_size=3),
        target=IDS,
        exclude=st.frozensets(IDS, max_size=2),
        has_upstream=st.booleans(),
    )
    def test_like_a_linear_scan(
        self,
        *,
        neighbors: list[tuple[Neighbor, tuple[bool, ...]]],
        subnets: list[Subnet],
        removed: set[int],
        target: int,
        exclude: frozenset[int],
        has_upstream: bool,
    ) -> None:
        """After any registrations and removals a message goes where a scan of all ranges says."""
        own_id, upstream_id = 200, 201
        table = Table(own_id, subnets)
        for each, news in neighbors:
            table.add(each)
            for usable in news:
                table.set_usable(each.bus_id, usable)
        if has_upstream:
            table.add(Neighbor(BusId(upstream_id), (Subnet(upstream_id, 60),), Position.UPSTREAM))
            table.set_usable(upstream_id, True)
        for bus_id in removed:
            table.remove(bus_id)
        left = [each for each, _ in neighbors if each.bus_id not in removed]
        working = {each.bus_id for each, news in neighbors if news[-1:] == (True,)}
        cut_peers = {
            each.bus_id
            for each, news in neighbors
            if news[-1:] == (False,) and each.position is Position.PEER
        }
        is_neighbor = any(each.bus_id == target for each in left) and target not in exclude
        own = owned_subnets(own_id, subnets)
        hop: int | Status | None = target
        if not is_neighbor or target in cut_peers:
            owner = naive_owner(left, own, target, {*exclude, target})
            # A peer that is cut is bypassed, where there is somebody who has its range.
            if not is_neighbor or owner in working:
                hop = owner
        if has_upstream and (hop is None or hop in cut_peers):
            hop = upstream_id
        if hop is None:
            hop = Status.NO_ROUTE
        for _ in range(2):
            self.assertEqual(hop_of(table.next_hop(target, exclude=exclude)), hop)

    @settings(deadline=None)
    @given(
        neighbors=NEIGHBORS,
        target=st.integers(256, 320),
        came_from=IDS,
        exclude=st.frozensets(IDS, max_size=2),
        no_upstream=st.booleans(),
    )
    def test_never_back_and_never_excluded(
        self,
        *,
        neighbors: list[tuple[Neighbor, tuple[bool, ...]]],
        target: int,
        came_from: int,
        exclude: frozenset[int],
        no_upstream: bool,
    ) -> None:
        """
        Whatever is known, no message goes back to where it came from, to an excluded neighbor, or
        over a connection that is not usable.
        """
        table = Table(200, [Subnet(288, 5)])
        for each, news in neighbors:
            table.add(each)
            for usable in news:
                table.set_usable(each.bus_id, usable)
        decision = table.next_hop(
            target, came_from=came_from, exclude=exclude, no_upstream=no_upstream
        )
        if isinstance(decision, Forward | Hold):
            self.assertNotEqual(decision.bus_id, came_from)
            self.assertNotIn(decision.bus_id, exclude)
            self.assertEqual(table.is_usable(decision.bus_id), isinstance(decision, Forward))
            self.assertIs(decision.relation, table.relation_to(target))
