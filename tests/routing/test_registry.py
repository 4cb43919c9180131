"""Records of several feeders in one registry."""

from __future__ import annotations

import time

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import (
    Change,
    Feeder,
    NodeChanged,
    NodeDown,
    NodeUp,
    RecordRefused,
    Registry,
)
from atbus.routing.relation import Relation


def record(bus_id: int, upstream_id: int = 0, epoch: int = 1, seq: int = 1) -> Record:
    """Make a record that its node has stamped."""
    return Record(bus_id=bus_id, upstream_id=upstream_id, stamp=Stamp(epoch, seq))


class RegistryTests(SynchronousTestCase):
    def test_up_changed_down(self) -> None:
        """A node comes up with its first record, changes with news and goes with its last claim."""
        registry = Registry()
        one, two = record(1), record(1, 5, seq=2)
        self.assertEqual(registry.claim(Feeder.SYNC, [one]), [NodeUp(one, Feeder.SYNC)])
        self.assertEqual(registry.claim(Feeder.SYNC, [one]), [])
        self.assertEqual(registry.claim(Feeder.SYNC, [two]), [NodeChanged(two, Feeder.SYNC, one)])
        self.assertEqual((registry.get(1), len(registry), list(registry)), (two, 1, [two]))
        self.assertEqual(registry.withdraw(Feeder.SYNC, [1]), [NodeDown(two)])
        self.assertEqual(registry.withdraw(Feeder.SYNC, [1]), [])
        self.assertEqual((registry.get(1), registry.feeder_of(1), len(registry)), (None, None, 0))

    def test_version(self) -> None:
        """The version grows with every change, and with nothing else."""
        registry = Registry()
        for feeder, is_claim, is_news in (
            (Feeder.SYNC, True, True),
            (Feeder.ETCD, True, False),
            (Feeder.ETCD, False, False),
            (Feeder.STATIC, False, False),
            (Feeder.SYNC, False, True),
        ):
            before = registry.version
            if is_claim:
                registry.claim(feeder, [record(1)])
            else:
                registry.withdraw(feeder, [1])
            self.assertEqual(registry.version > before, is_news)

    def test_each_feeder_withdraws_its_own(self) -> None:
        """What one feeder withdraws stays while another claims it."""
        registry = Registry()
        registry.claim(Feeder.ETCD, [record(1)])
        registry.claim(Feeder.ZOOKEEPER, [record(1)])
        self.assertEqual(registry.withdraw(Feeder.STATIC, [1]), [])
        changes = registry.withdraw(Feeder.ETCD, [1])
        self.assertEqual(changes, [NodeChanged(record(1), Feeder.ZOOKEEPER, record(1))])
        self.assertEqual(registry.claims_on(1), {Feeder.ZOOKEEPER: record(1)})
        self.assertEqual(registry.withdraw(Feeder.ZOOKEEPER, [1]), [NodeDown(record(1))])

    def test_content_by_stamp_reachability_by_feeder(self) -> None:
        """The largest stamp says what a node is, whoever brought it; the nearest feeder says how it
        is reached."""
        registry = Registry()
        old, new = record(1, 5, seq=3), record(1, 6, seq=4)
        registry.claim(Feeder.SYNC, [old])
        self.assertEqual(registry.claim(Feeder.ETCD, [new]), [NodeChanged(new, Feeder.SYNC, old)])
        self.assertEqual(registry.tree.upstream_of(1), 6)
        registry.claim(Feeder.LIVE, [Record(bus_id=1, stamp=Stamp(1, 0), upstream_id=7)])
        self.assertEqual((registry.get(1), registry.feeder_of(1)), (new, Feeder.LIVE))
        newest = Record(bus_id=1, stamp=Stamp(2, 0), upstream_id=7)
        registry.claim(Feeder.LIVE, [newest])
        self.assertEqual(registry.get(1), newest)

    def test_equal_stamps(self) -> None:
        """Of two claims of one age that of the nearer feeder counts, whichever comes first."""
        near = Record(bus_id=1, labels={"from": "etcd"})
        far = Record(bus_id=1, labels={"from": "file"})
        for order in ((near, far), (far, near)):
            registry = Registry()
            for each in order:
                registry.claim(Feeder.ETCD if each is near else Feeder.STATIC, [each])
            self.assertEqual(registry.get(1), near)

    def test_last_word_of_a_feeder(self) -> None:
        """Within one feeder the last word counts, even when it is older than the word before."""
        registry = Registry()
        registry.claim(Feeder.SYNC, [record(1, 5, seq=9), record(1, 6, seq=2)])
        self.assertEqual(registry.get(1), record(1, 6, seq=2))

    def test_about_itself_a_node_knows_best(self) -> None:
        """Nobody overrules what a node says of itself."""
        registry = Registry()
        registry.claim(Feeder.OWN, [record(1, 5)])
        registry.claim(Feeder.SYNC, [record(1, 6, epoch=9)])
        self.assertEqual((registry.get(1), registry.tree.upstream_of(1)), (record(1, 5), 5))

    def test_a_peer_that_registers_is_not_moved(self) -> None:
        """That a peer has registered says nothing about its upstream; what was known of that
        stays."""
        registry = Registry()
        registry.claim(Feeder.STATIC, [Record(bus_id=1, upstream_id=5)])
        registered = Record(bus_id=1, stamp=Stamp(3, 0), labels={"a": "b"})
        registry.claim(Feeder.LIVE, [registered])
        self.assertEqual(registry.get(1), attrs.evolve(registered, upstream_id=5))
        self.assertEqual(registry.tree.upstream_of(1), 5)
        registry.withdraw(Feeder.STATIC, [1])
        self.assertEqual(registry.get(1), registered)
        self.assertFalse(registry.tree.is_placed(1))

    def test_move_keeps_the_rest(self) -> None:
        """
        A node that only says that it has another upstream keeps its labels and addresses.

        Scenario: N12
        """
        registry = Registry()
        full = Record(bus_id=1, stamp=Stamp(1, 1), labels={"a": "b"}, addresses=("unix:///x",))
        registry.claim(Feeder.SYNC, [full])
        registry.claim(Feeder.SYNC, [attrs.evolve(full, upstream_id=5, stamp=Stamp(1, 2))])
        known = registry.get(1)
        assert known is not None
        self.assertEqual((known.labels, known.addresses), (full.labels, full.addresses))

    def test_replace(self) -> None:
        """A feeder that begins anew withdraws what it does not repeat; others' claims stay."""
        registry = Registry()
        registry.claim(Feeder.ETCD, [record(1), record(2), record(3)])
        registry.claim(Feeder.STATIC, [record(1)])
        changes = registry.replace(Feeder.ETCD, [record(2), record(4)])
        self.assertEqual(
            changes,
            [
                NodeChanged(record(1), Feeder.STATIC, record(1)),
                NodeDown(record(3)),
                NodeUp(record(4), Feeder.ETCD),
            ],
        )
        self.assertEqual(registry.claimed_by(Feeder.ETCD), (record(2), record(4)))

    def test_which_records_travel(self) -> None:
        """Neighbors are told what came over the bus; what came from a directory or a file stays."""
        self.assertEqual(
            [feeder for feeder in Feeder if feeder.travels],
            [Feeder.OWN, Feeder.LIVE, Feeder.SYNC],
        )
        self.assertEqual(str(Feeder.ZOOKEEPER), "zookeeper")

    def test_every_record(self) -> None:
        """
        All records can be gone through, and a reader can stop where it wants.

        Scenario: N6
        """
        registry = Registry()
        registry.claim(Feeder.ETCD, [record(1), record(2, 1), record(3, 1)])
        self.assertEqual({each.bus_id for each in registry}, {1, 2, 3})
        first = next(iter(registry))
        self.assertIn(first.bus_id, registry)

    def test_full(self) -> None:
        """Beyond the bound no further node becomes known, and those that are known can change."""
        registry = Registry(records_max=2)
        changes = registry.claim(Feeder.SYNC, [record(1), record(2), record(1), record(3)])
        self.assertEqual(len(registry), 2)
        refused = [each for each in changes if isinstance(each, RecordRefused)]
        self.assertEqual(
            [(each.record, each.status) for each in refused], [(record(3), Status.BUFFER_LIMIT)]
        )
        self.assertEqual(registry.claims_on(3), {})
        changes = registry.claim(Feeder.SYNC, [record(2, 7, seq=2)])
        self.assertEqual(len(changes), 1)
        registry.withdraw(Feeder.SYNC, [1])
        self.assertEqual(len(registry.claim(Feeder.SYNC, [record(3)])), 1)
        self.assertIn(3, registry)


class CircleTests(SynchronousTestCase):
    """Records that contradict each other."""

    def test_refused_and_made_good(self) -> None:
        """
        A record that would put its node above itself is refused a place, by name; when the other
        record of the circle has changed, the node moves without being told again.

        Scenario: K9
        """
        registry = Registry()
        registry.claim(Feeder.SYNC, [record(1), record(2, 1)])
        changed = record(1, 2, seq=2)
        changes = registry.claim(Feeder.SYNC, [changed])
        refused = [each for each in changes if isinstance(each, RecordRefused)]
        self.assertEqual([each.status for each in refused], [Status.LOOP])
        self.assertIn("0x1 below 0x2", refused[0].detail)
        self.assertEqual((registry.get(1), registry.tree.upstream_of(1)), (changed, 0))
        registry.claim(Feeder.SYNC, [record(2, 9, seq=2)])
        self.assertEqual(registry.tree.chain_of(1), (2, 9))

    def test_chain_of_refusals(self) -> None:
        """One move can make room for several."""
        registry = Registry()
        registry.claim(Feeder.SYNC, [record(1), record(2, 1), record(3, 2)])
        registry.claim(Feeder.SYNC, [record(1, 2, seq=2)])
        registry.claim(Feeder.SYNC, [record(2, 3, seq=2)])
        registry.claim(Feeder.SYNC, [record(3, 7, seq=2)])
        self.assertEqual(registry.tree.chain_of(1), (2, 3, 7))

    def test_a_withdrawn_record_has_no_place_to_go(self) -> None:
        """What is withdrawn while it waits for its place is not placed later."""
        registry = Registry()
        registry.claim(Feeder.SYNC, [record(1), record(2, 1)])
        registry.claim(Feeder.SYNC, [record(1, 2, seq=2)])
        registry.withdraw(Feeder.SYNC, [1])
        registry.claim(Feeder.SYNC, [record(2, 9, seq=2)])
        self.assertFalse(registry.tree.is_placed(1))


class _Machine(RuleBasedStateMachine):
    """Compare with a table of all claims that is searched from the start for each question."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.claims: dict[tuple[Feeder, int], Record] = {}
        self.seen: dict[int, Record] = {}

    def watch(self, changes: list[Change]) -> None:
        for change in changes:
            match change:
                case NodeUp(record=now):
                    assert now.bus_id not in self.seen
                    self.seen[now.bus_id] = now
                case NodeChanged(record=now, former=former):
                    assert self.seen[now.bus_id] == former
                    self.seen[now.bus_id] = now
                case NodeDown(record=last):
                    assert self.seen.pop(last.bus_id) == last

    @rule(
        feeder=st.sampled_from(Feeder),
        bus_id=st.integers(1, 6),
        upstream_id=st.integers(0, 6),
        stamp=st.builds(Stamp, st.integers(0, 2), st.integers(0, 2)),
    )
    def claim(self, feeder: Feeder, bus_id: int, upstream_id: int, stamp: Stamp) -> None:
        if upstream_id == bus_id:
            upstream_id = 0
        made = Record(bus_id=bus_id, upstream_id=upstream_id, stamp=stamp, host=feeder.name)
        self.claims[feeder, bus_id] = made
        self.watch(self.registry.claim(feeder, [made]))

    @rule(feeder=st.sampled_from(Feeder), bus_id=st.integers(1, 6))
    def withdraw(self, feeder: Feeder, bus_id: int) -> None:
        self.claims.pop((feeder, bus_id), None)
        self.watch(self.registry.withdraw(feeder, [bus_id]))

    @invariant()
    def same_answers(self) -> None:
        for bus_id in range(1, 7):
            said = {f: r for (f, about), r in sorted(self.claims.items()) if about == bus_id}
            known = self.registry.get(bus_id)
            assert (known is None) == (not said)
            assert known == self.seen.get(bus_id)
            assert self.registry.claims_on(bus_id) == said
            if known is None:
                continue
            assert self.registry.feeder_of(bus_id) is min(said)
            best = said.get(Feeder.OWN) or max(said.values(), key=lambda each: each.stamp)
            assert (known.stamp, known.host) == (best.stamp, best.host)
            if self.registry.tree.is_placed(bus_id):
                # Where it says, or where it stood when that made a circle.
                way = self.registry.tree.chain_of(bus_id)
                assert bus_id not in way


class ModelTests(SynchronousTestCase):
    def test_like_a_search_from_the_start(self) -> None:
        """Whatever is claimed and withdrawn by whom, the answers are those of a naive search, and
        the changes tell the whole story."""
        run_state_machine_as_test(
            _Machine, settings=settings(deadline=None, max_examples=60, stateful_step_count=40)
        )


class SizeTests(SynchronousTestCase):
    def test_a_hundred_thousand_records(self) -> None:
        """
        A feed of 100,000 records in batches costs a few seconds of a processor at most, and
        questions about pairs of a tree six deep do not notice how many there are.

        Scenario: N13
        """
        registry = Registry()
        records = [record(place, place // 7) for place in range(1, 100_001)]
        began = time.process_time()
        for first in range(0, len(records), 1_000):
            registry.claim(Feeder.SYNC, records[first : first + 1_000])
        self.assertLess(time.process_time() - began, 5)
        self.assertEqual(len(registry), 100_000)
        began = time.process_time()
        kinds = {
            registry.tree.relation_between(one, other).relation
            for one in range(1, 100_000, 997)
            for other in range(1, 100_000, 991)
        }
        self.assertLess(time.process_time() - began, 5)
        self.assertIn(Relation.OTHER_UPSTREAM_PEER, kinds)
