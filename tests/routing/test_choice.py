"""Which upstream a node chooses among several."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.address import Address, Scheme
from atbus.routing.choice import rendezvous, spread, upstreams_by_labels
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder
from atbus.routing.table import Table
from atbus.wire.messages import NodeFlag

NODES = range(0x1000, 0x1000 + 2000)


def first_choices(candidates: list[int]) -> dict[int, int]:
    return {node: rendezvous(node, candidates)[0] for node in NODES}


class RendezvousTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.integers(0, 2**64 - 1), st.lists(st.integers(1, 2**64 - 1), max_size=8))
    def test_an_order_of_its_own(self, chooser: int, candidates: list[int]) -> None:
        """A node has each candidate once in its order, whichever way they were listed."""
        order = rendezvous(chooser, candidates)
        self.assertEqual(sorted(order), sorted(set(candidates)))
        self.assertEqual(rendezvous(chooser, reversed(candidates)), order)

    @settings(deadline=None)
    @given(st.integers(0, 2**64 - 1), st.sets(st.integers(1, 2**64 - 1), min_size=2, max_size=8))
    def test_one_less(self, chooser: int, candidates: set[int]) -> None:
        """When a candidate goes, the order of the others stays."""
        order = rendezvous(chooser, candidates)
        for gone in candidates:
            left = rendezvous(chooser, candidates - {gone})
            self.assertEqual(left, tuple(each for each in order if each != gone))

    def test_even_spread(self) -> None:
        """Two thousand nodes spread over four candidates, a quarter each within a tenth."""
        counts = Counter(first_choices([1, 2, 3, 4]).values())
        self.assertEqual(set(counts), {1, 2, 3, 4})
        for count in counts.values():
            self.assertLess(abs(count - 500), 50)

    def test_addresses_are_spread_as_well(self) -> None:
        """Nodes that know addresses alone spread over them, and stay when another one goes."""
        places = [Address(Scheme.IPV4, f"10.0.0.{number}", 7000) for number in range(4)]
        counts = Counter(spread(node, places)[0] for node in NODES)
        self.assertEqual(set(counts), set(places))
        for count in counts.values():
            self.assertLess(abs(count - 500), 50)
        for node in NODES[:50]:
            order = spread(node, reversed(places))
            order.remove(places[0])
            self.assertEqual(spread(node, places[1:]), order)

    def test_little_moves(self) -> None:
        """A fifth candidate takes its share from all four, and nobody else moves; when it goes
        everybody is where it was."""
        before, after = first_choices([1, 2, 3, 4]), first_choices([1, 2, 3, 4, 5])
        moved = {node for node in NODES if before[node] != after[node]}
        self.assertEqual({after[node] for node in moved}, {5})
        self.assertLess(abs(len(moved) - 400), 50)
        sources = Counter(before[node] for node in moved)
        for count in sources.values():
            self.assertLess(abs(count - 100), 40)

    def test_those_who_lose_theirs_spread(self) -> None:
        """Nodes whose upstream goes away spread over all that are left."""
        before = first_choices([1, 2, 3, 4])
        orphans = [node for node in NODES if before[node] == 4]
        homes = Counter(rendezvous(node, [1, 2, 3])[0] for node in orphans)
        for count in homes.values():
            self.assertLess(abs(count - len(orphans) / 3), 40)


class LabelTests(SynchronousTestCase):
    def test_who_can_be_upstream(self) -> None:
        """Nodes with all the labels can; not those that leave, are below us, or are ourselves."""
        table = Table(0x10)
        proxy = {"role": "proxy", "region": "eu"}
        claims = [
            Record(bus_id=0x10, labels=proxy, stamp=Stamp(1, 1)),
            Record(bus_id=0x1, labels=proxy),
            Record(bus_id=0x2, labels=proxy),
            Record(bus_id=0x3, labels={"role": "proxy", "region": "us"}),
            Record(bus_id=0x4, labels={"role": "proxy"}),
            Record(bus_id=0x5, labels=proxy, node_flags=NodeFlag.DRAINING),
            Record(bus_id=0x6, labels=proxy, upstream_id=0x10),
            Record(bus_id=0x7, labels=proxy, upstream_id=0x6),
        ]
        table.registry.claim(Feeder.ETCD, claims)
        found = [record.bus_id for record in upstreams_by_labels(table, proxy, 0x10)]
        self.assertEqual(tuple(found), rendezvous(0x10, [0x1, 0x2]))
        self.assertEqual(upstreams_by_labels(table, {"role": "x"}, 0x10), ())
