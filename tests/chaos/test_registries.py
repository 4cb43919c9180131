"""Registries that stand still and die while processes that found each other there talk."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

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
from tests.chaos.programs import machine_seconds
from tests.extent import extent
from tests.interop.etcd_server import EtcdServer, require_etcd, start_etcd
from tests.interop.zookeeper_server import ZooKeeperServer, require_zookeeper, start_zookeeper
from tests.processes.harness import UP, NodeProcess

if TYPE_CHECKING:
    _Case = ChaosCase
else:
    _Case = object

ONE, TWO, IDLE, VICTIM = 0x20101, 0x20102, 0x20103, 0x20104
LIVING = {ONE, TWO, IDLE}

PREFIX = "/chaos/"

LEASE_SECONDS = extent(2, 10)
"""How long a registry keeps what it does not hear of."""

AWAY_LINES = extent(12, 600)
"""A registry is away for as long as it takes to receive so often a fifth of a second's messages."""

BACK_SECONDS = 15.0
"""So long after a registry all is announced again."""

STALE_SECONDS = LEASE_SECONDS + 5.0
"""So long after a registry nobody is in it twice, and nobody who is not there."""

BUSY_SHARE = 0.2
"""A node that only looks for its registry has a smaller share of a processor."""


def processor_seconds(process: NodeProcess) -> float:
    """Read how long a process has had a processor."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class RegistryTests(_Case):
    """
    Two processes that talk, one that does nothing and one that is killed, in a registry.

    Mixed into a case that has the registry.
    """

    server: EtcdServer | ZooKeeperServer

    _log = Logger()

    def table(self) -> str:
        """
        Say to a node where the registry is.

        :returns: A table of its configuration.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def reader(self, timers: IReactorTime) -> IRecordWatcher:
        """
        Make one who reads what is there.

        :param timers: The clock.
        :returns: It; closed by the test.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def read(self) -> RecordingReceiver:
        """Begin to read what is there."""
        timers = MonotonicTimers(self.reactor)
        self.addCleanup(timers.stop)
        receiver, watcher = RecordingReceiver(self.reactor), self.reader(timers)
        self.addCleanup(watcher.stop)
        watcher.start(receiver)
        return receiver

    def file(self, name: str, bus_id: int, *targets: int) -> tuple[str, str]:
        """Write the file of a node that knows nothing but the registry."""
        more = f'topology = "records"\nsubnets = []\ndirect_connections = true\n{self.table()}'
        program = f"tests.chaos.registered:{'speak' if targets else 'watch'}"
        settings = speech(*targets) if targets else ""
        text = node_file(
            name, bus_id, program=program, settings=settings, listens=True, more=more
        )
        return name, text

    async def test_it_stands_still_and_dies(self) -> None:
        """
        Nobody who talks notices, whoever only waits has little work, and when the registry is back
        everybody is in it once; who was killed meanwhile, or before, is not.
        """
        receiver = self.read()
        one, two, idle, victim = await self.bring_up(
            self.file("one", ONE, TWO),
            self.file("two", TWO, ONE),
            self.file("idle", IDLE),
            self.file("victim", VICTIM),
        )
        await self.is_complete(receiver, VICTIM)
        for process in (one, two):
            await process.says("received ")
            await self.is_settled(process)
        talked = len(one.output), len(two.output)
        await self.dies_alone(victim, idle, receiver)
        victim = self.start("victim")
        await victim.says(UP)
        await self.is_complete(receiver, VICTIM)
        for _ in range(extent(1, 5)):
            await self.is_away(self.server.freeze, one, two, idle)
            await victim.stops(signal.SIGKILL)
            began = machine_seconds()
            self.server.thaw()
            await self.is_back(began, receiver, one, idle)
            await self.is_away(self.server.kill, one, two, idle)
            self.server.start()
            began = machine_seconds()
            await self.is_back(began, receiver, one, idle)
            victim = self.start("victim")
            await victim.says(UP)
            await self.is_complete(receiver, VICTIM)
        await self.stop_all(victim)
        await self.is_complete(receiver)
        # Somebody who has seen nothing of all this finds the same.
        await self.is_complete(self.read())
        for process, before in zip((one, two), talked, strict=True):
            await process.says("received ")
            self.assertNotIn("refused: ", process.output[before:])
            self.assertEqual(self.notes(process.name, "lost"), [], process.name)
        await self.stop_all(one, two, idle)
        verdict = self.check(VICTIM)
        unfinished = {bus_id for bus_id, _ in verdict.unfinished}
        self.assertEqual((verdict.uncertain, unfinished), (0, {VICTIM}), str(verdict))
        self.check_questions("one", "two", at_least=100)

    async def is_complete(self, receiver: RecordingReceiver, *more: int) -> None:
        """Wait until those who live are there, with what they offer, and nobody else."""
        wanted = LIVING | set(more)
        await receiver.until(
            lambda: receiver.is_in_sync
            and set(receiver.records) == wanted
            and set(receiver.services) == wanted
        )

    async def dies_alone(
        self, victim: NodeProcess, idle: NodeProcess, receiver: RecordingReceiver
    ) -> None:
        """Kill a node while the registry is well: others are told when its lease is over."""
        idle.forget()
        began = machine_seconds()
        await victim.stops(signal.SIGKILL)
        await idle.says(f"{VICTIM:#x} has gone")
        await self.is_complete(receiver)
        gone = next(note for note in self.notes("idle", "gone") if note["about"] == VICTIM)
        self._log.info("gone after {seconds:.2f} s", seconds=gone["at"] - began)
        self.check_soon("idle", began, gone["at"], LEASE_SECONDS + 2)

    async def is_away(
        self, begin: Callable[[], None], one: NodeProcess, two: NodeProcess, idle: NodeProcess
    ) -> None:
        """Let the registry be away for a while: messages go on, and nobody is busy with it."""
        begin()
        began, had = machine_seconds(), processor_seconds(idle)
        await self.talk(AWAY_LINES, one, two)
        await idle.has_said_last("the registry is away", "the registry is there")
        seconds, spent = machine_seconds() - began, processor_seconds(idle) - had
        self._log.info("away for {seconds:.1f} s: {spent:.2f} s", seconds=seconds, spent=spent)
        self.assertLess(spent, BUSY_SHARE * seconds)

    async def talk(self, lines: int, *processes: NodeProcess) -> None:
        """Let messages pass, each line a hundred of them that somebody has received."""
        for process in processes:
            process.forget()
        for _ in range(lines):
            for process in processes:
                await process.says("received ")

    async def is_back(
        self, began: float, receiver: RecordingReceiver, one: NodeProcess, idle: NodeProcess
    ) -> None:
        """Wait until all is in the registry again, and who was killed is not, and stays so."""
        await idle.has_said_last("the registry is there", "the registry is away")
        await self.is_complete(receiver)
        # A lease that has ended meanwhile is found out by who has it: all may have gone once more.
        await self.talk(round(LEASE_SECONDS * 5), one)
        await self.is_complete(receiver)
        changed = max(note["at"] for note in self.notes("idle", "come", "registry"))
        self._log.info("back after {seconds:.2f} s", seconds=changed - began)
        self.check_soon("idle", began, changed, BACK_SECONDS)
        gone = max(note["at"] for note in self.notes("idle", "gone"))
        self._log.info("nothing stale after {seconds:.2f} s", seconds=gone - began)
        self.check_soon("idle", began, gone, STALE_SECONDS)


class EtcdTests(RegistryTests, ChaosCase):
    """An etcd."""

    server: EtcdServer

    def setUp(self) -> None:
        super().setUp()
        require_etcd()
        (self.server,) = start_etcd(self.folder / "etcd")
        self.addCleanup(self.server.stop)

    def table(self) -> str:
        return (
            f'[discovery.etcd]\nendpoints = ["{self.server.url}"]\nprefix = "{PREFIX}"\n'
            f"lease_seconds = {LEASE_SECONDS}\nrequest_seconds = {extent(1, 3)}\n"
        )

    def reader(self, timers: IReactorTime) -> IRecordWatcher:
        options = ClusterOptions(endpoints=(self.server.url,))
        cluster = EtcdCluster(options, self.reactor, timers, Random(1))
        self.addCleanup(cluster.close)
        return EtcdRecordWatcher(cluster, PREFIX, timers, Random(1))


class ZooKeeperTests(RegistryTests, ChaosCase):
    """A ZooKeeper."""

    server: ZooKeeperServer

    def setUp(self) -> None:
        super().setUp()
        require_zookeeper()
        (self.server,) = start_zookeeper(self.folder / "zookeeper")
        self.addCleanup(self.server.kill)

    def table(self) -> str:
        return (
            f'[discovery.zookeeper]\nservers = ["{self.server.address}"]\nprefix = "{PREFIX}"\n'
            f"session_seconds = {LEASE_SECONDS}\n"
        )

    def reader(self, timers: IReactorTime) -> IRecordWatcher:
        options = SessionOptions(servers=(self.server.address,))
        session = Session(options, self.reactor, timers, Random(1).random)
        self.addCleanup(session.close)
        session.start()
        return ZooKeeperRecordWatcher(session, PREFIX, timers, Random(1).random)
