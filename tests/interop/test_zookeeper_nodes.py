"""Nodes that find each other with nothing but ZooKeeper configured."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from atbus.cli.foreground import twistd
from atbus.errors import Status
from atbus.node.directory import ZooKeeperPlaces
from atbus.node.node import Node
from atbus.routing.registry import NodeDown
from tests.interop.registry_nodes import HalvesContract, Inbox, NodesContract, RegistryNodes
from tests.interop.zookeeper_server import ZooKeeperCase

ROOT = Path(__file__).resolve().parents[2]


class NodeCase(RegistryNodes, ZooKeeperCase):
    """Nodes on unix sockets, in one ZooKeeper; they are stopped whatever happens."""

    registry = "zookeeper"

    def where(self) -> dict[str, Any]:
        return {"servers": self.addresses, "prefix": self.prefix_text, "session_seconds": 10}


class TwoNodesTests(NodeCase, NodesContract):
    """What nodes know of each other from ZooKeeper."""

    async def test_what_others_do_to_our_place_is_undone(self) -> None:
        """A record that somebody deletes by hand is there again at once."""
        first, second = self.node(0x71), self.node(0x72)
        await first.start()
        await second.start()
        await self.changes.until(lambda: self.knows(first, 0x72))
        (directory,) = second._parts.discovering._directories
        assert isinstance(directory, ZooKeeperPlaces)
        client, place = directory._session.client, f"{self.prefix_text}topology/0x72"
        _, stat = await client.read(place)
        (announcer,) = directory.announcers.values()
        assert announcer._topology is not None
        announcer._topology.written.add(self.changes.note)
        await client.delete(place, stat.version)
        await self.changes.until(lambda: announcer.fence > stat.created)
        await self.changes.until(lambda: self.knows(first, 0x72))

    async def test_proxies_find_each_other(self) -> None:
        """
        Two proxies that know nothing but the registry connect when there are messages for it, and
        what hangs below one reaches what hangs below the other.
        """
        proxies = [
            self.node(base, proxy=True, subnets=[(0, 8)]) for base in (0x100, 0x200)
        ]
        for proxy in proxies:
            await proxy.start()
        await self.changes.until(lambda: self.knows(proxies[0], 0x200))
        leaves = [
            self.node(
                proxy.bus_id + 1,
                upstream=str(proxy.addresses[0]),
                direct_connections=False,
                zookeeper={"watch": False},
            )
            for proxy in proxies
        ]
        for leaf in leaves:
            await leaf.start()
        await self.changes.until(lambda: self.knows(proxies[0], 0x201))
        proxies[1].receiver = Inbox(self.changes)
        await proxies[0].deliver(0x200, b"hello")
        inbox = leaves[1].receiver = Inbox(self.changes)
        await leaves[0].deliver(0x201, b"across")
        self.assertEqual(inbox.payloads, [b"across"])


class HalfKnownTests(NodeCase, HalvesContract):
    """A node of which one place has arrived from ZooKeeper, and the other has not."""

    async def write(self, node: Node, key: bytes, value: bytes) -> None:
        (directory,) = node._parts.discovering._directories
        assert isinstance(directory, ZooKeeperPlaces)
        client, place = directory._session.client, key.decode()
        await client.make_folder(place.rpartition("/")[0])
        await client.create(place, value)


class OutageTests(NodeCase):
    """A ZooKeeper that is not there."""

    def where(self) -> dict[str, Any]:
        return super().where() | {"session_seconds": 6}

    async def test_traffic_does_not_notice(self) -> None:
        """
        While ZooKeeper is frozen, and while it is dead, nodes talk as before; then all is there
        again, and nothing twice.
        """
        first, second = self.node(0x11), self.node(0x12)
        inbox = second.receiver = Inbox(self.changes)
        await first.start()
        await second.start()
        await self.changes.until(lambda: self.knows(first, 0x12))
        await first.deliver(0x12, b"before")
        server = self.servers[0]
        server.freeze()
        for number in range(50):
            await first.deliver(0x12, b"%d" % number)
        await self.changes.until(lambda: not first.discovery_in_sync, "the silence is noticed")
        self.assertTrue(self.knows(first, 0x12))
        server.thaw()
        await self.changes.until(lambda: bool(first.discovery_in_sync and self.knows(first, 0x12)))
        server.kill()
        await self.changes.until(lambda: not first.discovery_in_sync)
        for number in range(50):
            await first.deliver(0x12, b"%d" % number)
        self.assertEqual(len(inbox.payloads), 101)
        self.assertTrue(self.knows(first, 0x12))
        server.start()
        third = self.node(0x13)
        await third.start()
        await self.changes.until(lambda: self.knows(third, 0x11, 0x12), "announced again")
        self.assertEqual(len(third.records()), 3)

    async def test_a_start_does_not_wait_for_ever(self) -> None:
        """A node starts without its registry, and is announced later; unless it needs it."""
        server = self.servers[0]
        server.kill()
        waiting = self.node(0x21, zookeeper={"start_seconds": 0.2})
        await waiting.start()
        needing = self.node(0x22, zookeeper={"start_seconds": 0.2, "required": True})
        refused = await self.refusal(needing.start())
        self.assertIs(refused.status, Status.TIMEOUT)
        server.start()
        self.assertTrue(server.wait())
        watching = self.node(0x23)
        await watching.start()
        await self.changes.until(lambda: self.knows(watching, 0x21))

    async def test_a_stop_does_not_wait_for_it_either(self) -> None:
        """A node stops though its registry is frozen, and stays so."""
        node = self.node(0x31)
        await node.start()
        server = self.servers[0]
        server.freeze()
        try:
            await node.stop()
        finally:
            server.thaw()


class KilledTests(NodeCase):
    """A node whose process is killed."""

    def launch(self) -> subprocess.Popen[bytes]:
        """Start a node in a process of its own."""
        config = self.folder / "killed.toml"
        config.write_text(
            'id = "0x12"\nname = "killed"\n[discovery.zookeeper]\n'
            f'servers = ["{self.addresses[0]}"]\nprefix = "{self.prefix_text}"\n'
            "session_seconds = 2\n",
            encoding="utf-8",
        )
        process = subprocess.Popen(
            [*twistd(), "-n", "--pidfile=", "atbus", "--config", str(config)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    async def test_who_was_killed_is_gone_with_its_session(self) -> None:
        """A killed node's record goes with its session, others are told; its next life is in."""
        watching = self.node(0x11)
        await watching.start()
        process = self.launch()
        await self.changes.until(lambda: self.knows(watching, 0x12))
        former = self.stamp(watching, 0x12)
        process.kill()
        process.wait()
        assert former is not None
        again = self.launch()
        # Also when the new life has begun within the same second of the calendar.
        await self.changes.until(lambda: self.is_later(watching, 0x12, former))
        news = self.news(watching)
        again.kill()
        again.wait()
        await self.changes.until(
            lambda: (NodeDown, 0x12) in news and not watching.services.get(0x12)
        )

    async def test_who_dies_during_an_outage_leaves_nothing(self) -> None:
        """A node that is killed while ZooKeeper is dead is gone soon after that is there again."""
        watching = self.node(0x11)
        await watching.start()
        process = self.launch()
        await self.changes.until(lambda: self.knows(watching, 0x12))
        server = self.servers[0]
        server.kill()
        process.kill()
        process.wait()
        news = self.news(watching)
        server.start()
        await self.changes.until(
            lambda: (NodeDown, 0x12) in news and not watching.services.get(0x12)
        )
        await self.changes.until(lambda: bool(watching.discovery_in_sync))
        self.assertTrue(self.knows(watching, 0x11))
