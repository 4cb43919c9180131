"""A configuration that changes while its node is in a registry."""

from __future__ import annotations

from random import Random
from typing import Any

from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.options import ClusterOptions
from atbus.discovery.etcd.packer import KeyValue
from atbus.errors import ConfigurationError
from atbus.node.directory import EtcdPlaces, ZooKeeperPlaces
from atbus.node.node import Node
from atbus.node.reload import Reload, reconfigure
from atbus.routing.registry import Feeder, NodeDown
from atbus.routing.services import Filter
from tests.interop.etcd_server import EtcdCase
from tests.interop.registry_nodes import Inbox, RegistryNodes
from tests.interop.test_etcd_cluster import lock
from tests.interop.zookeeper_server import one_zookeeper


class ReloadCase(RegistryNodes, EtcdCase):
    """Nodes in an etcd, and a ZooKeeper to which they can go."""

    registry = "etcd"

    def setUp(self) -> None:
        super().setUp()
        self.zookeeper = one_zookeeper(type(self))

    def where(self) -> dict[str, Any]:
        return self.etcd("a/")

    def etcd(self, place: str, **more: Any) -> dict[str, Any]:
        """Name a place in etcd."""
        # The old place is given up when the new one is there, not when time is over.
        given = {"endpoints": self.urls, "lease_seconds": 60, "start_seconds": 3_600}
        return given | {"prefix": self.prefix(place).decode()} | more

    def zoo(self, place: str, **more: Any) -> dict[str, Any]:
        """Name a place in ZooKeeper."""
        given = {"servers": [self.zookeeper.address], "session_seconds": 60, "start_seconds": 3_600}
        return given | {"prefix": self.prefix(place).decode()} | more

    def change(self, node: Node, **options: Any) -> Reload:
        """Give a node a configuration with other options."""
        return reconfigure(node, node.config.replace(**options))

    async def meet(self, *nodes: Node) -> None:
        """Wait until nodes know each other, and what they offer, and nothing is being given up."""
        ids = [node.bus_id for node in nodes]
        for node in nodes:
            await self.changes.until(lambda it=node: self.knows(it, *ids))  # type: ignore[misc]
        await self.sees(lambda: not any(node._parts.discovering._leaving for node in nodes))

    async def pair(self, **options: Any) -> tuple[Node, Node]:
        """Start two nodes that know each other."""
        first, second = self.node(0x11, **options), self.node(0x12, **options)
        await first.start()
        await second.start()
        await self.meet(first, second)
        return first, second

    def gone(self, news: list[tuple[type[object], int]]) -> list[int]:
        """Tell who has gone meanwhile."""
        return [about for kind, about in news if kind is NodeDown]


class UserReloadTests(RegistryNodes, EtcdCase):
    """An etcd that wants to know who asks."""

    registry = "etcd"

    def where(self) -> dict[str, Any]:
        return {"endpoints": self.urls, "prefix": self.prefix().decode(), "start_seconds": 0}

    async def test_another_password(self) -> None:
        """A node whose password is wrong is announced when it is told another one."""
        options = ClusterOptions(endpoints=self.urls)
        cluster = EtcdCluster(options, self.reactor, self.timers, Random(1))
        self.addCleanup(cluster.close)
        await lock(cluster)
        node = self.node(0x11, etcd={"user": "root", "password": "guess"})
        await node.start()
        self.assertEqual(node.discovery_in_sync, set())
        table = self.where() | {"user": "root", "password": "secret"}
        reconfigure(node, node.config.replace(etcd=table))
        await self.changes.until(lambda: self.knows(node, 0x11) and bool(node.discovery_in_sync))


class ReloadTests(ReloadCase):
    """Each test is named for the option that changes."""

    async def test_etcd(self) -> None:
        """
        A node that goes to another prefix is gone in the old one at once, and forgets it; when the
        other has followed, both know each other again and talk.
        """
        first, second = await self.pair()
        news = self.news(first)
        change = self.change(second, etcd=self.etcd("b/"))
        self.assertEqual(change, Reload(frozenset({"etcd"}), frozenset()))
        await self.changes.until(lambda: self.gone(news) == [0x12])
        await self.changes.until(lambda: first.services.get(0x12) is None)
        await self.changes.until(lambda: not self.knows(second, 0x11))
        self.change(first, etcd=self.etcd("b/"))
        await self.meet(first, second)
        inbox = second.receiver = Inbox(self.changes)
        await first.deliver(0x12, b"here")
        self.assertEqual(inbox.payloads, [b"here"])

    async def test_zookeeper(self) -> None:
        """
        From etcd over both to ZooKeeper, and there with another session: nobody is ever gone, nor
        is what he offers, and nothing is left behind.
        """
        nodes = await self.pair(service={"type": "chat"})
        news = [self.news(node) for node in nodes]
        services = [self.services_gone(node) for node in nodes]
        steps: list[dict[str, Any]] = [
            {"zookeeper": self.zoo("z/")},
            {"etcd": {}},
            {"zookeeper": self.zoo("z/", session_seconds=50)},
        ]
        for options in steps:
            for node in nodes:
                change = self.change(node, **options)
                self.assertEqual(change.applied, set(options))
            await self.meet(*nodes)
            await self.sees(lambda: all(map(self.has_zookeeper, nodes)))
            for node in nodes:
                chosen = [node.select(Filter(type="chat")) for _ in nodes]
                self.assertEqual(sorted(each.bus_id for each in chosen if each), [0x11, 0x12])
        self.assertEqual([self.gone(told) for told in news], [[], []])
        self.assertEqual(services, [[], []])
        for node in nodes:
            (directory,) = node._parts.discovering._directories
            assert isinstance(directory, ZooKeeperPlaces)
            self.assertEqual(directory._session.begun, 1)
        asking = self.node(0x13)
        await asking.start()
        await self.changes.until(lambda: self.knows(asking, 0x13))
        self.assertEqual([record.bus_id for record in asking.records()], [0x13])

    def has_zookeeper(self, node: Node) -> bool:
        """Tell whether ZooKeeper has told a node of the other one, and what both of them offer."""
        discovering = node._parts.discovering
        said = discovering._records.get(Feeder.ZOOKEEPER)
        other = 0x11 + 0x12 - node.bus_id
        offered = {
            key
            for speaker in discovering._speakers.values()
            if speaker.feeder is Feeder.ZOOKEEPER
            for key in discovering._offers.keys_of(speaker.who)
        }
        is_known = said is not None and said.counts(other) is not None
        return is_known and offered >= {0x11, 0x12}

    async def test_service(self) -> None:
        """What a node offers is something else, for those who know it from etcd."""
        first, second = await self.pair()
        self.assertIsNone(first.select(Filter(type="chat")))
        self.change(second, service={"type": "chat"})
        await self.changes.until(lambda: first.select(Filter(type="chat")) is not None)


class SamePlaceTests(ReloadCase):
    """Another way to the same place."""

    async def stored(self, node: Node) -> KeyValue:
        """Look at the record of a node, as it stands in etcd."""
        (directory,) = node._parts.discovering._directories
        assert isinstance(directory, EtcdPlaces)
        key = self.prefix(f"a/topology/{node.bus_id:#x}")
        found = await directory._cluster.get(key)
        assert found is not None
        return found

    async def test_another_lease(self) -> None:
        """The record goes over to the new lease; its owner is the same, and nobody sees it go."""
        first, second = await self.pair()
        news, before = self.news(first), await self.stored(second)
        self.change(second, etcd=self.etcd("a/", lease_seconds=50))
        await self.meet(first, second)
        after = await self.stored(second)
        self.assertNotEqual(before.lease, after.lease)
        self.assertEqual(before.create_revision, after.create_revision)
        leases = await self.leases(second)
        self.assertNotIn(before.lease, leases)
        self.assertIn(after.lease, leases)
        self.assertEqual(self.gone(news), [])

    async def leases(self, node: Node) -> set[int]:
        """List the leases that there are."""
        (directory,) = node._parts.discovering._directories
        assert isinstance(directory, EtcdPlaces)
        answer = await directory._cluster.call("/v3/lease/leases", {})
        return {packer.read_number(each, "ID") for each in packer.read_objects(answer, "leases")}

    async def test_what_has_not_changed_is_left_alone(self) -> None:
        """A reload of something else, or of the same, has no new lease and writes nothing."""
        first, second = await self.pair()
        before = await self.stored(second)
        self.change(second, hops=9, etcd=self.etcd("a/"))
        await self.meet(first, second)
        after = await self.stored(second)
        self.assertEqual(
            (before.lease, before.mod_revision), (after.lease, after.mod_revision)
        )

    async def test_servers_that_are_not_there(self) -> None:
        """
        A node that is sent to servers that do not answer stays known, and still knows the others;
        sent back, it is as it was.
        """
        first, second = await self.pair()
        news = self.news(first)
        self.change(second, etcd=self.etcd("a/", endpoints=["http://127.0.0.1:9"]))
        self.assertEqual(second.discovery_in_sync, set())
        third = self.node(0x13)
        await third.start()
        await self.meet(first, third)
        self.assertTrue(self.knows(first, 0x12))
        self.assertTrue(self.knows(second, 0x11))
        self.change(second, etcd=self.etcd("a/"))
        await self.changes.until(lambda: self.knows(second, 0x11, 0x12, 0x13))
        self.assertEqual(self.gone(news), [])

    async def test_no_registry_at_all(self) -> None:
        """The last registry stays until the node is made anew, and so does none; it is named."""
        first, second = await self.pair()
        change = self.change(second, etcd={}, hops=9)
        self.assertEqual(change, Reload(frozenset({"hops"}), frozenset({"etcd"})))
        self.assertEqual(second.config.etcd, self.node(0x14).config.etcd)
        self.assertTrue(self.knows(first, 0x12))
        alone = self.node(0x15, listen=[])
        self.change(alone, etcd={})
        await alone.start()
        change = self.change(alone, zookeeper=self.zoo("z/"))
        self.assertEqual(change, Reload(frozenset(), frozenset({"zookeeper"})))

    async def test_a_file_that_cannot_be_used(self) -> None:
        """A certificate that is none is refused with the name of its option; nothing changes."""
        first, second = await self.pair()
        before = second.config
        for registry, table in (
            ("etcd", self.etcd("b/", ca_file="/no/such/file")),
            ("zookeeper", self.zoo("b/", ca_file="/no/such/file")),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                self.change(second, **{registry: table})
            self.assertIn(f"{registry}.ca_file: ", str(caught.exception))
        self.assertIs(second.config, before)
        self.assertTrue(self.knows(first, 0x12))
        third = self.node(0x13, etcd={"ca_file": "/no/such/file"})
        with self.assertRaises(ConfigurationError):
            await third.start()

    async def test_a_stop_in_the_middle(self) -> None:
        """A node that is stopped while it goes over leaves nothing, in neither place."""
        first, second = await self.pair()
        news = self.news(first)
        self.change(second, etcd=self.etcd("b/", endpoints=["http://127.0.0.1:9"]))
        await second.stop()
        await self.changes.until(lambda: self.gone(news) == [0x12])
