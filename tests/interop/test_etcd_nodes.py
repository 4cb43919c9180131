"""Nodes that find each other with nothing but etcd configured."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from atbus.cli.foreground import twistd
from atbus.discovery.etcd import packer
from atbus.errors import Status
from atbus.node.directory import EtcdPlaces
from atbus.node.node import Node
from atbus.routing.registry import NodeDown, NodeUp
from tests.interop.etcd_server import EtcdCase
from tests.interop.registry_nodes import HalvesContract, Inbox, NodesContract, RegistryNodes

ROOT = Path(__file__).resolve().parents[2]


class NodeCase(RegistryNodes, EtcdCase):
    """Nodes on unix sockets, in one etcd; they are stopped whatever happens."""

    registry = "etcd"

    def where(self) -> dict[str, Any]:
        return {"endpoints": self.urls, "prefix": self.prefix().decode(), "lease_seconds": 60}


class TwoNodesTests(NodeCase, NodesContract):
    """What nodes know of each other from etcd."""

    async def test_what_others_do_to_our_key_is_undone(self) -> None:
        """A record that somebody deletes by hand is there again at once."""
        first, second = self.node(0x71), self.node(0x72)
        await first.start()
        await second.start()
        await self.changes.until(lambda: self.knows(first, 0x72))
        news = self.news(first)
        (directory,) = second._parts.discovering._directories
        assert isinstance(directory, EtcdPlaces)
        key = self.prefix("topology/0x72")
        await directory._cluster.call("/v3/kv/deleterange", {"key": packer.encode(key)})
        await self.changes.until(
            lambda: (NodeDown, 0x72) in news and news[-1] == (NodeUp, 0x72)
        )


class HalfKnownTests(NodeCase, HalvesContract):
    """A node of which one key has arrived from etcd, and the other has not."""

    def write(self, node: Node, key: bytes, value: bytes) -> Awaitable[object]:
        (directory,) = node._parts.discovering._directories
        assert isinstance(directory, EtcdPlaces)
        request = {"key": packer.encode(key), "value": packer.encode(value)}
        return directory._cluster.call("/v3/kv/put", request)


class OutageTests(NodeCase):
    """An etcd that is not there."""

    async def test_traffic_does_not_notice(self) -> None:
        """
        While etcd is frozen, and while it is dead, nodes talk as before; then all is there again.

        Scenario: Q12
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
        server.thaw()
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
        """
        A node starts without its registry, and is announced later; unless it needs it to start.

        Scenario: U25
        """
        server = self.servers[0]
        server.kill()
        waiting = self.node(0x21, etcd={"start_seconds": 0.2})
        await waiting.start()
        needing = self.node(0x22, etcd={"start_seconds": 0.2, "required": True})
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

    async def test_who_was_killed_is_gone_with_its_lease(self) -> None:
        """A killed node's record goes with its lease, others are told, and its next life is in."""
        watching = self.node(0x11)
        await watching.start()
        config = self.folder / "killed.toml"
        config.write_text(
            f'id = "0x12"\nname = "killed"\n[discovery.etcd]\nendpoints = ["{self.urls[0]}"]\n'
            f'prefix = "{self.prefix().decode()}"\nlease_seconds = 2\n',
            encoding="utf-8",
        )
        command = [*twistd(), "-n", "--pidfile=", "atbus", "--config", str(config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def launch() -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL
            )
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            return process

        process = launch()
        await self.changes.until(lambda: self.knows(watching, 0x12))
        former = self.stamp(watching, 0x12)
        process.kill()
        process.wait()
        assert former is not None
        again = launch()
        # Also when the new life has begun within the same second of the calendar.
        await self.changes.until(lambda: self.is_later(watching, 0x12, former))
        news = self.news(watching)
        again.kill()
        again.wait()
        await self.changes.until(
            lambda: (NodeDown, 0x12) in news and not watching.services.get(0x12)
        )
