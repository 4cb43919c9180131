"""The page about the way from etcd to ZooKeeper: what it says, done while processes talk."""

from __future__ import annotations

import json
import os
import signal
import sys
from random import Random

from twisted.internet.utils import getProcessOutputAndValue

from atbus.channels.timers import MonotonicTimers
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.options import ClusterOptions
from atbus.discovery.etcd.records import EtcdRecordWatcher
from atbus.discovery.interfaces import IRecordWatcher
from atbus.discovery.zookeeper.options import SessionOptions
from atbus.discovery.zookeeper.records import ZooKeeperRecordWatcher
from atbus.discovery.zookeeper.session import Session
from atbus.testing.discovery import RecordingReceiver
from tests.chaos.case import ChaosCase, node_file, speech
from tests.documents import captioned_blocks, commands
from tests.interop.etcd_server import require_etcd, start_etcd
from tests.interop.zookeeper_server import require_zookeeper, start_zookeeper
from tests.processes.harness import ROOT, NodeProcess

PAGE = "howto/migrate-from-etcd-to-zookeeper.rst"

PREFIX = "/atbus/"

NODES = {"one": 0x20101, "two": 0x20102, "three": 0x20103}

_ETCD, _ZOOKEEPER = "http://10.0.0.1:2379", "10.0.0.1:2181"
"""Where the page has them."""


class PageTests(ChaosCase):
    """Three nodes that talk, an etcd and a ZooKeeper."""

    def setUp(self) -> None:
        super().setUp()
        require_etcd()
        require_zookeeper()
        (self.etcd,) = start_etcd(self.folder / "etcd")
        self.addCleanup(self.etcd.stop)
        (self.zookeeper,) = start_zookeeper(self.folder / "zookeeper")
        self.addCleanup(self.zookeeper.kill)
        self.timers = MonotonicTimers(self.reactor)
        self.addCleanup(self.timers.stop)
        self.both = self.here(captioned_blocks(PAGE)["both tables"])
        place = self.both.index("[discovery.zookeeper]")
        self.tables = self.both[:place], self.both, self.both[place:]

    def here(self, text: str) -> str:
        """Put the servers of this test in the place of those of the page."""
        return text.replace(_ETCD, self.etcd.url).replace(_ZOOKEEPER, self.zookeeper.address)

    def file(self, name: str, tables: str) -> str:
        """Write the file of a node that knows nothing but registries, and talks to the others."""
        others = [bus_id for other, bus_id in NODES.items() if other != name]
        return node_file(
            name,
            NODES[name],
            program="tests.chaos.registered:talk",
            settings=speech(*others, rate=100),
            listens=True,
            more=f'topology = "records"\nsubnets = []\ndirect_connections = true\n{tables}'
            f'[service]\ntype = "{name}"\n',
        )

    def readers(self) -> tuple[RecordingReceiver, RecordingReceiver]:
        """Begin to read what stands in both registries."""
        options = ClusterOptions(endpoints=(self.etcd.url,))
        cluster = EtcdCluster(options, self.reactor, self.timers, Random(1))
        self.addCleanup(cluster.close)
        which = SessionOptions(servers=(self.zookeeper.address,))
        session = Session(which, self.reactor, self.timers, Random(1).random)
        self.addCleanup(session.close)
        session.start()
        return (
            self.read(EtcdRecordWatcher(cluster, PREFIX, self.timers, Random(1))),
            self.read(ZooKeeperRecordWatcher(session, PREFIX, self.timers, Random(1).random)),
        )

    def read(self, watcher: IRecordWatcher) -> RecordingReceiver:
        """Begin to read."""
        receiver = RecordingReceiver(self.reactor)
        self.addCleanup(watcher.stop)
        watcher.start(receiver)
        return receiver

    async def holds(self, receiver: RecordingReceiver, *names: str) -> None:
        """Wait until just these nodes are in a registry, with what they offer."""
        wanted = {NODES[name] for name in names}
        await receiver.until(
            lambda: receiver.is_in_sync
            and set(receiver.records) == wanted
            and set(receiver.services) == wanted
        )

    async def look(self) -> None:
        """Give the commands of the page: each node is in both lists."""
        given = [
            "atbus discovery list --endpoint http://10.0.0.1:2379",
            "atbus discovery list --zookeeper 10.0.0.1:2181",
        ]
        self.assertEqual(given, commands(PAGE))
        for command in map(self.here, given):
            atbus, *words = command.split()
            self.assertEqual(atbus, "atbus")
            printed, said, code = await getProcessOutputAndValue(
                sys.executable,
                ["-m", "atbus", *words, "--timeout", "60", "-o", "json"],
                {**os.environ, "PYTHONPATH": str(ROOT)},
            )
            self.assertEqual(code, 0, said)
            rows = json.loads(printed)
            listed = {int(row["id"], 16): row["type"] for row in rows}
            self.assertEqual(listed, {bus_id: name for name, bus_id in NODES.items()})

    async def has_begun(self, process: NodeProcess) -> None:
        """Wait until a node is connected to all others, and is answered whatever it asks."""
        for bus_id in NODES.values():
            if bus_id != NODES[process.name]:
                await process.has_said_last(rf"knows {bus_id:#x} as \w+", "knows nobody")
        await process.says("received ")
        await self.is_settled(process)

    def reload(self, process: NodeProcess, tables: str) -> None:
        """Give a node another file, and tell it so."""
        self.write(f"{process.name}.toml", self.file(process.name, tables))
        process.kill(signal.SIGHUP)

    async def test_the_page(self) -> None:
        """
        Nodes are told of both registries, then of the second one alone, one after the other by
        ``SIGHUP``: no message is refused or lost, nobody is gone, nor what he offers, and at the
        end nobody needs the first one.
        """
        before, both, after = self.tables
        processes = await self.bring_up(*((name, self.file(name, before)) for name in NODES))
        in_etcd, in_zookeeper = self.readers()
        await self.holds(in_etcd, *NODES)
        for process in processes:
            await self.has_begun(process)
        talked = [len(process.output) for process in processes]
        moved: list[str] = []
        for process in processes:
            self.reload(process, both)
            moved.append(process.name)
            await self.holds(in_zookeeper, *moved)
            await process.says("received ")
        await self.holds(in_etcd, *NODES)
        await self.look()
        for process in processes:
            self.reload(process, after)
            moved.remove(process.name)
            await self.holds(in_etcd, *moved)
            await process.says("received ")
        await self.holds(in_zookeeper, *NODES)
        self.etcd.stop()
        for process in processes:
            process.forget()
            await process.says("received ")
        for process, since in zip(processes, talked, strict=True):
            self.assertNotIn("refused: ", process.output[since:])
            self.assertEqual(self.notes(process.name, "lost", "gone", "offers no more"), [])
        await self.stop_all(*processes)
        verdict = self.check()
        self.assertEqual((verdict.uncertain, verdict.unfinished), (0, ()), str(verdict))
