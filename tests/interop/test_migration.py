"""A bus that moves from one registry to another while it works."""

from __future__ import annotations

from typing import Any

from atbus.node.node import Node
from atbus.routing.registry import NodeDown
from tests.interop.etcd_server import EtcdCase
from tests.interop.registry_nodes import Inbox, RegistryNodes
from tests.interop.zookeeper_server import one_zookeeper

IDS = (0x11, 0x12, 0x13)


class BothCase(RegistryNodes, EtcdCase):
    """Nodes, an etcd and a ZooKeeper."""

    registry = "etcd"

    def setUp(self) -> None:
        super().setUp()
        self.zookeeper = one_zookeeper(type(self))

    def where(self) -> dict[str, Any]:
        return {}


class MigrationTests(BothCase):
    """From one to the other."""

    def setUp(self) -> None:
        super().setUp()
        self.nodes: dict[int, Node] = {}

    async def restart(self, bus_id: int, *registries: str) -> Node:
        """Start a node, in place of the one that there is, with these registries."""
        if bus_id in self.nodes:
            await self.nodes[bus_id].stop()
        prefix = self.prefix().decode()
        tables: dict[str, dict[str, Any]] = {
            "etcd": {"endpoints": self.urls, "prefix": prefix, "lease_seconds": 60},
            "zookeeper": {"servers": [self.zookeeper.address], "prefix": prefix},
        }
        node = self.node(bus_id, **{name: tables[name] for name in registries})
        node.receiver = Inbox(self.changes)
        await node.start()
        self.nodes[bus_id] = node
        return node

    def is_known(self, node: Node) -> bool:
        """Tell whether a node knows all others as they are now, and what they offer."""
        known = {record.bus_id: record.addresses for record in node.records()}
        as_they_are = all(
            known.get(bus_id) == tuple(map(str, other.addresses))
            for bus_id, other in self.nodes.items()
        )
        return as_they_are and self.knows(node, *IDS)

    async def everybody_talks(self) -> None:
        """Wait until each node knows each other one, and send messages between all of them."""
        await self.changes.until(lambda: all(map(self.is_known, self.nodes.values())))
        for node in self.nodes.values():
            for other in IDS:
                if other != node.bus_id:
                    await node.deliver(other, b"still here")

    async def test_nodes_move_one_after_the_other(self) -> None:
        """
        From etcd over both to ZooKeeper: at each step all nodes know each other and talk, and who
        does not restart is never gone.
        """
        for bus_id in IDS:
            await self.restart(bus_id, "etcd")
        await self.everybody_talks()
        for registries in (("etcd", "zookeeper"), ("zookeeper",)):
            for bus_id in IDS:
                others = [self.nodes[other] for other in IDS if other != bus_id]
                news = [self.news(other) for other in others]
                services = [self.services_gone(other) for other in others]
                await self.restart(bus_id, *registries)
                await self.everybody_talks()
                gone = {
                    about
                    for told in news
                    for kind, about in told
                    if kind is NodeDown and about != bus_id
                }
                self.assertEqual(gone, set())
                self.assertEqual(set().union(*services) - {bus_id}, set())
        self.servers[0].kill()
        await self.everybody_talks()


class TwoOwnersTests(BothCase):
    """What no registry can see."""

    async def test_one_id_in_both(self) -> None:
        """
        Of two nodes that have one id, each in another registry, one is believed by all who look
        into both: the newer record counts, and the service that was told first, until it is gone.
        """
        prefix = self.prefix().decode()
        etcd = {"endpoints": self.urls, "prefix": prefix, "lease_seconds": 60}
        zookeeper = {"servers": [self.zookeeper.address], "prefix": prefix}
        watching = self.node(0x21, etcd=etcd, zookeeper=zookeeper)
        await watching.start()

        def believed() -> tuple[str | None, str]:
            labels = [each.label("who") for each in watching.records() if each.bus_id == 0x22]
            service = watching.services.get(0x22)
            return labels[0] if labels else None, service.name if service else ""

        first = self.node(0x22, etcd=etcd, name="first", labels={"who": "first"})
        await first.start()
        await self.changes.until(lambda: believed() == ("first", "first"))
        second = self.node(
            0x22, etcd={}, zookeeper=zookeeper, name="second", labels={"who": "second"}
        )
        await second.start()
        await self.changes.until(lambda: believed() == ("second", "first"))
        await first.stop()
        await self.changes.until(lambda: believed() == ("second", "second"))
        await second.stop()
        await self.changes.until(lambda: believed() == (None, ""))
