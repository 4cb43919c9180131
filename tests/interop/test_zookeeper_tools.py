"""The commands that look into ZooKeeper, as people and programs run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

from twisted.internet.threads import deferToThread

from atbus.cli.outcome import ExitCode
from atbus.discovery.documents import Author
from atbus.discovery.zookeeper.announcer import ZooKeeperAnnouncer
from atbus.discovery.zookeeper.options import Access
from atbus.routing.services import Service
from atbus.testing.discovery import record_of
from tests.interop.test_zookeeper_records import SessionCase

ROOT = Path(__file__).resolve().parents[2]


class ToolTests(SessionCase):
    """``atbus discovery``."""

    async def atbus(self, *words: str, server: str | None = None) -> tuple[int, str, str]:
        """Run a command to its end."""
        environment = {
            **os.environ,
            "ATBUS_ZOOKEEPER": server or self.addresses[0],
            "PYTHONPATH": str(ROOT),
        }

        def run() -> tuple[int, str, str]:
            done = subprocess.run(
                [sys.executable, "-m", "atbus", *words],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            return done.returncode, done.stdout, done.stderr

        return await deferToThread(run)

    async def announced(self) -> None:
        """Announce two nodes, for one user."""
        session = self.session(
            session_seconds=10.0, user="me", password="geheim", access=Access.PRIVATE
        )
        for bus_id, name in ((1, "one"), (2, "two")):
            announcer = ZooKeeperAnnouncer(
                session, self.prefix_text, Author(name), self.timers, Random(1).random
            )
            self.addCleanup(announcer.stop, keep=True)
            record = record_of(bus_id, addresses=("unix:///x",), upstream_id=1 if bus_id > 1 else 0)
            await announcer.announce(record, Service(bus_id=bus_id, name=name, type="battle"))

    async def test_nodes_are_shown(self) -> None:
        """Who may look sees each node with what it says of itself; who may not is told so."""
        await self.announced()
        words = ("discovery", "list", "--prefix", self.prefix_text, "-o", "json")
        login = ("--user", "me", "--password", "geheim", "--timeout", "60")
        code, out, err = await self.atbus(*words, *login)
        self.assertEqual(code, 0, err)
        one, two = json.loads(out)
        self.assertEqual((one["id"], one["name"], one["type"]), ("0x1", "one", "battle"))
        self.assertEqual((two["upstream"], two["addresses"]), ("0x1", ["unix:///x"]))
        words = ("discovery", "watch", "--prefix", self.prefix_text, "--count", "4")
        code, out, err = await self.atbus(*words, *login)
        self.assertEqual(code, 0, err)
        self.assertIn("record 0x1 addresses=unix:///x\n", out)
        self.assertIn("service 0x2 name=two", out)
        code, out, err = await self.atbus(*words, "-o", "json", *login)
        self.assertEqual(code, 0, err)
        changes = [json.loads(line) for line in out.splitlines()]
        events = sorted((change["event"], change["id"]) for change in changes)
        both = [("record", "0x1"), ("record", "0x2"), ("service", "0x1"), ("service", "0x2")]
        self.assertEqual(events, both)
        code, _, err = await self.atbus(*words, "--timeout", "60")
        self.assertEqual(code, ExitCode.REFUSED, err)

    async def test_nobody_there_is_told_by_a_code(self) -> None:
        """A server that is not there ends a command after its patience, with the code for that."""
        words = ("discovery", "list", "--timeout", "0.5", "-o", "json")
        code, out, _ = await self.atbus(*words, server="127.0.0.1:1")
        self.assertEqual(code, ExitCode.NOBODY, out)
        self.assertEqual(json.loads(out)["error"]["error"], "CONNECT_FAILED")
        code, _, err = await self.atbus(*words, server="nonsense:")
        self.assertEqual(code, ExitCode.USAGE, err)
