"""Nodes that find each other through a real etcd."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from random import Random

from twisted.internet.defer import Deferred, DeferredList

from atbus.discovery import bounds
from atbus.discovery.documents import Author, topology_key, write_record
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.announcer import EtcdAnnouncer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.records import EtcdRecordWatcher
from atbus.discovery.interfaces import DiscoveryChange, IAnnouncer, IRecordWatcher
from atbus.errors import DiscoveryConflict
from atbus.routing.record import Stamp
from atbus.routing.services import Service
from atbus.testing.discovery import DiscoveryContract, RecordingReceiver, record_of
from tests.interop.test_etcd_cluster import ClusterCase


class EtcdRecordCase(ClusterCase):
    """Announcers and watchers in one etcd."""

    def setUp(self) -> None:
        super().setUp()
        #: Those of the announcers.
        self.clusters: list[EtcdCluster] = []
        #: The processes that live.
        self.alive: set[str] = set()

    def make_announcer(self, identity: str) -> IAnnouncer:
        cluster = self.cluster()
        self.clusters.append(cluster)
        # Each life of a node is another process; none of those before is alive.
        author = Author(identity, str(len(self.clusters)))
        made = EtcdAnnouncer(
            cluster,
            self.prefix_text,
            author,
            self.timers,
            Random(1).random,
            is_alive=lambda process: process in self.alive,
        )
        self.addCleanup(made.stop, keep=True)
        return made

    def make_watcher(self) -> IRecordWatcher:
        made = EtcdRecordWatcher(self.cluster(), self.prefix_text, self.timers, Random(1))
        self.addCleanup(made.stop)
        return made

    def write(self, key: bytes, value: bytes) -> Awaitable[object]:
        return self.put(self.cluster(), key, value, 0)

    def lose(self) -> None:
        self.servers[0].kill()

    def restore(self) -> None:
        self.servers[0].start()
        self.assertTrue(self.servers[0].wait())

    def lives(self, number: int) -> None:
        self.alive.add(str(number))

    @property
    def prefix_text(self) -> str:
        return self.prefix().decode()

    def watch(self) -> RecordingReceiver:
        receiver = RecordingReceiver(self.reactor)
        self.make_watcher().start(receiver)
        return receiver


class EtcdContractTests(EtcdRecordCase, DiscoveryContract):
    """etcd keeps the contract of registries."""


class TwinTests(EtcdRecordCase):
    """A second process with the configuration of the first."""

    async def test_a_twin_that_is_alive_is_another(self) -> None:
        """
        Two processes that say to be the same node: the second is told that the first is alive.

        Scenario: R9, U25
        """
        await self.make_announcer("same").announce(record_of(1))
        self.lives(1)
        with self.assertRaises(DiscoveryConflict) as caught:
            await self.make_announcer("same").announce(record_of(1))
        self.assertEqual(caught.exception.owner, "same")


class ManyTests(EtcdRecordCase):
    """Many nodes in one registry."""

    async def test_a_move_changes_no_service(self) -> None:
        """When a hundred nodes get another upstream, each record is written once and no service."""
        cluster, prefix, count = self.cluster(lease_seconds=60), self.prefix_text, 100
        announcers = [
            EtcdAnnouncer(cluster, prefix, Author(str(number)), self.timers, Random(number).random)
            for number in range(1, count + 1)
        ]
        for announcer in announcers:
            self.addCleanup(announcer.stop, keep=True)

        async def announce(stamp: Stamp, upstream_id: int) -> None:
            for number, announcer in enumerate(announcers, 1):
                record = record_of(number, stamp=stamp, upstream_id=upstream_id)
                service = Service(bus_id=number, name=str(number), type="battle")
                announcing.append(announcer.announce(record, service))
            await DeferredList(announcing)

        async def writes(folder: str) -> list[int]:
            found = await cluster.range(packer.prefix_range(f"{prefix}{folder}/".encode()))
            return [item.version for item in found.items]

        announcing: list[Deferred[None]] = []
        await announce(Stamp(1, 1), 0x1000)
        await announce(Stamp(1, 2), 0x2000)
        self.assertEqual(await writes("topology"), [2] * count)
        self.assertEqual(await writes("service"), [1] * count)

    async def test_a_large_registry_is_read_in_turns(self) -> None:
        """
        Two thousand records are taken a hundred at a time, and the changes after them later.

        So it is when they are there at the start, and when they come all at once with a watch.
        """
        cluster, total = self.cluster(), 2_000
        await self.put_many(cluster, range(1, total // 2 + 1))
        receiver = RecordingReceiver(self.reactor)
        sizes: list[int] = []
        writing: list[Deferred[None]] = []
        recorded = receiver.discovered

        def discovered(changes: Sequence[DiscoveryChange]) -> None:
            sizes.append(len(changes))
            if len(sizes) == 1:
                # The snapshot is still being taken.
                more = self.put_many(cluster, range(total // 2 + 1, total + 1))
                writing.append(Deferred.fromCoroutine(more))
            recorded(changes)

        receiver.discovered = discovered  # type: ignore[method-assign]
        self.make_watcher().start(receiver)
        await receiver.until(lambda: len(receiver.records) == total)
        # The watcher may hear of the last records before the writer is answered.
        await writing[0]
        self.assertEqual(max(sizes), bounds.REGISTRY_ENTRIES_PER_TURN)
        # The changes came after all of the snapshot.
        self.assertEqual(set(list(receiver.records)[: total // 2]), set(range(1, total // 2 + 1)))

    async def put_many(self, cluster: EtcdCluster, bus_ids: Iterable[int]) -> None:
        """Write records of many nodes, a hundred in one transaction."""
        puts = [
            {
                "request_put": {
                    "key": packer.encode(topology_key(self.prefix_text, bus_id)),
                    "value": packer.encode(write_record(record_of(bus_id), Author("x"))),
                }
            }
            for bus_id in bus_ids
        ]
        for begin in range(0, len(puts), 100):
            await cluster.call("/v3/kv/txn", {"success": puts[begin : begin + 100]})


class LeaseTests(EtcdRecordCase):
    """A lease that somebody has ended."""

    async def test_a_lost_lease_means_gone_and_back(self) -> None:
        """Whoever loses its lease is told as gone, and as soon as it has another one as back."""
        receiver = self.watch()
        announcer = self.make_announcer("a")
        await announcer.announce(record_of(1), Service(bus_id=1, name="one"))
        await receiver.until(lambda: bool(receiver.services))
        cluster = self.clusters[0]
        await cluster.call("/v3/lease/revoke", {"ID": str(cluster.lease.id)})
        await receiver.until(lambda: not receiver.records)
        await receiver.until(lambda: bool(receiver.services))
        self.assertEqual(list(receiver.records), [1])
