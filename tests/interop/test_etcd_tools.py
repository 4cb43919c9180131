"""The commands that look into etcd, as people and programs run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.threads import deferToThread

from atbus.cli.outcome import ExitCode
from atbus.discovery.documents import Author
from atbus.discovery.etcd.announcer import EtcdAnnouncer
from atbus.routing.services import Service
from atbus.testing.discovery import record_of
from tests.interop.etcd_server import free_ports
from tests.interop.test_etcd_cluster import ClusterCase

ROOT = Path(__file__).resolve().parents[2]


class ToolTests(ClusterCase):
    """``atbus etcd`` and ``atbus discovery``."""

    async def atbus(self, *words: str, url: str | None = None) -> tuple[int, str, str]:
        """Run a command to its end."""
        # No command is given up because the machine is slow.
        words = (*words[:2], "--timeout", "60", *words[2:])
        environment = {**os.environ, "ATBUS_ETCD": url or self.urls[0], "PYTHONPATH": str(ROOT)}

        def run() -> tuple[int, str, str]:
            done = subprocess.run(
                [sys.executable, "-m", "atbus", *words],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            return done.returncode, done.stdout, done.stderr

        return await deferToThread(run)

    async def told(self, *words: str) -> Any:
        """Run a command that prints one JSON value."""
        code, out, err = await self.atbus(*words, "-o", "json")
        self.assertEqual(code, 0, err)
        return json.loads(out)

    async def announced(self) -> str:
        """Announce two nodes, and give their prefix."""
        prefix = self.prefix().decode()
        cluster = self.cluster(lease_seconds=60)
        for bus_id, name in ((1, "one"), (2, "two")):
            announcer = EtcdAnnouncer(
                cluster, prefix, Author(name), self.timers, Random(1).random
            )
            self.addCleanup(announcer.stop, keep=True)
            record = record_of(bus_id, addresses=("unix:///x",), upstream_id=1 if bus_id > 1 else 0)
            await announcer.announce(record, Service(bus_id=bus_id, name=name, type="battle"))
        return prefix

    async def test_members_are_listed(self) -> None:
        """Each server of the cluster is a row with its name and where it is asked."""
        (member,) = await self.told("etcd", "members")
        self.assertEqual(member["urls"], list(self.urls))
        code, out, _ = await self.atbus("etcd", "members")
        self.assertEqual((code, out.split()[0]), (0, "ID"))

    async def test_leases_are_listed(self) -> None:
        """The keys of a node are bound to one lease, whose time is told."""
        (lease,) = await self.told("etcd", "lease", await self.announced())
        self.assertEqual(len(lease["keys"]), 4)
        self.assertEqual(lease["granted_seconds"], 60)
        self.assertLessEqual(lease["left_seconds"], 60)

    async def test_nodes_are_listed(self) -> None:
        """Each node is a row with what it says of itself and what it offers."""
        one, two = await self.told("discovery", "list", "--prefix", await self.announced())
        self.assertEqual((one["id"], one["name"], one["type"]), ("0x1", "one", "battle"))
        self.assertEqual((two["upstream"], two["addresses"]), ("0x1", ["unix:///x"]))

    async def test_changes_are_shown(self) -> None:
        """What there is comes first; with a count the command ends after so many changes."""
        prefix = await self.announced()
        code, out, _ = await self.atbus("etcd", "watch", prefix, "--count", "4", "-o", "json")
        self.assertEqual(code, 0)
        changes = [json.loads(line) for line in out.splitlines()]
        self.assertEqual({change["event"] for change in changes}, {"is"})
        self.assertEqual(changes[-1]["key"], f"{prefix}topology/0x2")
        words = ("discovery", "watch", "--prefix", prefix, "--count", "4")
        code, out, _ = await self.atbus(*words)
        self.assertEqual(code, 0)
        self.assertIn("record 0x1 name=one type=battle addresses=unix:///x\n", out)
        code, out, _ = await self.atbus(*words, "-o", "json")
        self.assertEqual(code, 0)
        changes = [json.loads(line) for line in out.splitlines()]
        events = sorted((change["event"], change["id"]) for change in changes)
        both = [("record", "0x1"), ("record", "0x2"), ("service", "0x1"), ("service", "0x2")]
        self.assertEqual(events, both)
        self.assertEqual({change["type"] for change in changes}, {"battle"})

    async def test_nobody_there_is_told_by_a_code(self) -> None:
        """A server that is not there ends a command at once, with the code for that."""
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        for words in (("etcd", "members"), ("etcd", "watch", "/"), ("discovery", "list")):
            code, out, _ = await self.atbus(*words, "-o", "json", url=url)
            self.assertEqual(code, ExitCode.NOBODY, out)
            self.assertEqual(json.loads(out)["error"]["error"], "CONNECT_FAILED")
        code, _, err = await self.atbus("etcd", "members", url="nonsense")
        self.assertEqual(code, ExitCode.USAGE, err)
