"""What announcers write, counted: a thousand nodes on a simulated clock."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.choice import rendezvous
from atbus.routing.record import Record, Stamp
from atbus.routing.services import Service
from atbus.testing.clock import HeapClock
from tests.discovery.memory_registry import MemoryAnnouncer, MemoryRegistry

PROXIES = 10


class FleetCase(SynchronousTestCase):
    """Ten proxies, and many nodes below them."""

    count = 100

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.registry = MemoryRegistry()
        self.announcers: dict[int, MemoryAnnouncer] = {}
        self.records: dict[int, Record] = {}
        self.proxies = list(range(1, PROXIES + 1))
        for bus_id in self.proxies:
            self.announce(Record(bus_id=bus_id, stamp=Stamp(1, 1)))
        for bus_id in range(0x1000, 0x1000 + self.count):
            self.announce(self.below(bus_id, Stamp(1, 1)))
        self.clock.advance(1.0)
        self.registry.writes.clear()

    def below(self, bus_id: int, stamp: Stamp) -> Record:
        """Describe a node below the proxy that it prefers."""
        upstream_id = rendezvous(bus_id, self.proxies)[0]
        return Record(bus_id=bus_id, upstream_id=upstream_id, stamp=stamp)

    def announce(self, record: Record) -> Deferred[None]:
        """Announce a node, as it does whenever it looks at itself."""
        bus_id = record.bus_id
        if bus_id not in self.announcers:
            made = MemoryAnnouncer(self.registry, f"node-{bus_id}", self.clock)
            self.announcers[bus_id] = made
            self.addCleanup(made.stop)
        self.records[bus_id] = record
        service = Service(bus_id=bus_id, name=f"node-{bus_id}", type="battle")
        return self.announcers[bus_id].announce(record, service)

    def settle(self) -> None:
        """Let every node see where it hangs now, and say so."""
        for bus_id, record in list(self.records.items()):
            if bus_id >= 0x1000 and record.upstream_id not in self.proxies:
                moved = self.below(bus_id, Stamp(1, record.stamp.seq + 1))
                self.announce(moved)
            else:
                self.announce(record)
        self.clock.advance(1.0)


class CrashTests(FleetCase):
    """A thousand nodes."""

    count = 1_000

    def test_a_crash_is_told_by_those_who_move(self) -> None:
        """When a proxy dies, those below it write their record once; nobody writes a service."""
        below = [each for each in self.records.values() if each.upstream_id == 7]
        self.proxies.remove(7)
        self.settle()
        self.assertEqual(self.registry.count("topology"), len(below))
        self.assertEqual(self.registry.count("service"), 0)
        self.assertLess(len(below), self.count / 5)
        self.assertEqual(set(self.registry.writes.values()), {1})


class ChangeTests(FleetCase):
    """What is written of what nodes say, and what is not."""

    def test_who_says_the_same_writes_nothing(self) -> None:
        """Nodes that announce again and again what they have announced write nothing."""
        for _ in range(3):
            self.settle()
        self.assertEqual(self.registry.writes.total(), 0)

    def test_another_proxy_changes_no_other_key(self) -> None:
        """One more proxy is two keys, its own; not one service of others is written."""
        self.proxies.append(PROXIES + 1)
        self.announce(Record(bus_id=PROXIES + 1, stamp=Stamp(1, 1)))
        self.settle()
        self.assertEqual((self.registry.count("topology"), self.registry.count("service")), (1, 1))

    def test_what_changes_and_changes_back_is_not_written(self) -> None:
        """What a node says for a moment only, as while its upstream flutters, nobody reads."""
        waiting = []
        for record in list(self.records.values()):
            waiting.append(self.announce(attrs.evolve(record, labels={"upstream": "away"})))
            self.clock.advance(0.0001)
            self.announce(record)
        self.clock.advance(1.0)
        self.assertEqual(self.registry.writes.total(), 0)
        for announced in waiting:
            # What was asked for last is there.
            self.successResultOf(announced)

    def test_changes_close_together_are_one_write(self) -> None:
        """Ten changes of each node within a quarter of a second are one write of each."""
        for step in range(10):
            for record in list(self.records.values()):
                self.announce(attrs.evolve(record, labels={"step": str(step)}))
            self.clock.advance(0.02)
        self.clock.advance(1.0)
        self.assertEqual(self.registry.count("topology"), self.count + PROXIES)
        self.assertEqual(self.registry.count("service"), 0)


class FormerLifeTests(SynchronousTestCase):
    """A node that finds what a former life of it has announced."""

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.registry = MemoryRegistry()
        self.found: list[int] = []

    def announcer(self, name: str, process: str) -> MemoryAnnouncer:
        """Make who announces one life of a node, and notes the epochs of others that it finds."""
        made = MemoryAnnouncer(self.registry, name, self.clock, process)
        made.on_outlived(lambda record: self.found.append(record.stamp.epoch))
        self.addCleanup(made.stop, keep=True)
        return made

    def test_its_epoch_is_told(self) -> None:
        """The record of a life that ended badly is overwritten, and its epoch is told, once."""
        first = self.announcer("node", "first")
        self.successResultOf(first.announce(Record(bus_id=7, stamp=Stamp(40, 3))))
        first.stop(keep=True)
        self.assertEqual(self.found, [])
        second = self.announcer("node", "second")
        self.successResultOf(second.announce(Record(bus_id=7, stamp=Stamp(40, 1))))
        self.assertEqual(self.found, [40])
        second.announce(Record(bus_id=7, stamp=Stamp(41, 2)))
        self.clock.advance(1.0)
        self.assertEqual(self.found, [40])

    def test_not_that_of_this_life(self) -> None:
        """What this very process has announced is no former life of it."""
        first = self.announcer("node", "one")
        self.successResultOf(first.announce(Record(bus_id=7, stamp=Stamp(40, 3))))
        again = self.announcer("node", "one")
        self.successResultOf(again.announce(Record(bus_id=7, stamp=Stamp(40, 4))))
        self.assertEqual(self.found, [])

    def test_what_makes_no_sense(self) -> None:
        """A former record that cannot be read is overwritten as well."""
        first = self.announcer("node", "first")
        self.successResultOf(first.announce(Record(bus_id=7, stamp=Stamp(40, 3))))
        ((key, entry),) = self.registry.entries.items()
        assert entry.value is not None
        self.registry.put(key, entry.value.replace(b'"epoch":40', b'"epoch":"x"'))
        second = self.announcer("node", "second")
        self.successResultOf(second.announce(Record(bus_id=7, stamp=Stamp(40, 1))))
        self.assertEqual(self.found, [])
