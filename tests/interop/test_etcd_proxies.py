"""Proxies that find each other with nothing but etcd configured: real processes."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from atbus.cli.foreground import twistd
from atbus.errors import AtbusError
from atbus.node.node import Node
from tests.interop.test_etcd_nodes import ROOT, NodeCase
from tests.interop.waiting import PATIENCE_SECONDS


class ProxyTests(NodeCase):
    """A group of proxies."""

    def launch(self, bus_id: int) -> subprocess.Popen[bytes]:
        """Start a proxy; all of them are told the same, but for the id and where to listen."""
        config = self.folder / f"{bus_id:x}.toml"
        config.write_text(
            f"""
            id = "{bus_id:#x}"
            name = "proxy-{bus_id:x}"
            listen = ["unix://{self.folder}/{bus_id:x}.sock"]
            proxy = true
            topology = "records"
            labels = {{ role = "proxy", group = "eu" }}
            peer_labels = {{ role = "proxy", group = "eu" }}
            [discovery.etcd]
            endpoints = ["{self.urls[0]}"]
            prefix = "{self.prefix().decode()}"
            lease_seconds = 2
            """,
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

    async def neighbors(self, asking: Node, proxy: int) -> set[int]:
        """Ask a proxy to whom it is connected."""
        try:
            lines = await asking.command(proxy, b"atbus.nodes", timeout=5)
        except AtbusError:
            # It is not connected to us either, or not any more.
            return set()
        told: list[dict[str, Any]] = json.loads(lines[0])
        return {int(each["id"], 16) for each in told} - {asking.bus_id}

    async def meshed(self, asking: Node, *proxies: int) -> None:
        """Wait until each proxy is connected to all others, and to nobody else."""
        deadline = self.timers.seconds() + PATIENCE_SECONDS
        told: list[set[int]] = []
        while self.timers.seconds() < deadline:
            told = [await self.neighbors(asking, proxy) for proxy in proxies]
            if told == [{*proxies} - {proxy} for proxy in proxies]:
                return
            await self.passes(0.1)
        self.fail(f"no mesh: {told}")

    async def test_a_group_meshes_and_takes_in_another(self) -> None:
        """
        Proxies that are told where etcd is connect each to each; one more needs no change of them.

        One that is killed is told of by etcd, and comes back as it left.
        """
        asking = self.node(0x99, peer_labels={"role": "proxy"})
        await asking.start()
        processes = [self.launch(number) for number in (0x10, 0x20)]
        await self.changes.until(lambda: self.knows(asking, 0x10, 0x20))
        await self.meshed(asking, 0x10, 0x20)
        self.launch(0x30)
        await self.changes.until(lambda: self.knows(asking, 0x30))
        await self.meshed(asking, 0x10, 0x20, 0x30)
        processes[0].kill()
        processes[0].wait()
        await self.meshed(asking, 0x20, 0x30)
        self.launch(0x10)
        await self.meshed(asking, 0x10, 0x20, 0x30)
