"""Fifty nodes that a process sends to, one of which stands still."""

from __future__ import annotations

import signal
import statistics

from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from atbus.node.config import NodeConfig
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from tests.extent import LONG, extent
from tests.processes.harness import PATIENCE_SECONDS, UP, NodeProcess, ProcessCase

RELAY, CRIER, STUCK = 0x20000, 0x20001, 0x20002
OTHERS = range(0x20100, 0x20100 + 49)
KEPT = 0.9
"""The share of its rate that each of the others keeps."""

#: Of messages, in each phase and to each: in the time that these take the link to the one that
#: stands still has not ended yet.
ROUNDS = extent(100, 250)

_RELAY = f"""
id = "{RELAY:#x}"
listen = ["unix://{{folder}}/relay.sock"]
subnets = ["0/16"]
drain_seconds = 3600
linger_seconds = 3600

[heartbeat]
seconds = 600

[limits]
queued_bytes_soft = 65_536
queued_bytes_hard = 262_144
"""
_LEAF = """
id = "{bus_id:#x}"
upstream = "unix://{{folder}}/relay.sock"
drain_seconds = 3600
linger_seconds = 3600

[heartbeat]
seconds = 600

[application]
callable = "tests.processes.crier:{program}"

[application.settings]
{settings}
"""


@implementer(IMessageReceiver)
class Ear:
    """Takes numbered messages, each of which has to be the next one."""

    def __init__(self) -> None:
        self.count = 0
        self.faults: list[tuple[int, int]] = []
        self._goal = 0
        self._reached: Deferred[None] = Deferred()

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take a message."""
        self.count += 1
        number = int(payload[: payload.index(b" ")])
        if number != self.count:
            self.faults.append((number, self.count))
        if self.count == self._goal:
            self._reached.callback(None)

    def until(self, goal: int) -> Deferred[None]:
        """Wait until so many have come."""
        self._goal, self._reached = goal, Deferred()
        if self.count >= goal:
            self._goal = 0
            self._reached.callback(None)
        return self._reached


class FiftyTests(ProcessCase):
    """
    A relay, a process that sends to fifty nodes as fast as forty-nine take it, and the fiftieth.

    The forty-nine are nodes of the test's own process, each with a socket of its own.
    """

    timeout = extent(900, 7200)

    async def listens(self, bus_id: int) -> Ear:
        """Start one of the forty-nine."""
        config = NodeConfig(id=bus_id, upstream=f"unix://{self.folder}/relay.sock")
        node = Node(config, self.reactor)
        self.addCleanup(node.stop)
        node.receiver = ear = Ear()
        await node.start()
        return ear

    def leaf(self, name: str, bus_id: int, program: str, settings: str = "") -> NodeProcess:
        """Start one that is a process."""
        text = _LEAF.format(bus_id=bus_id, program=program, settings=settings)
        return self.start(name, text)

    async def all_have(self, count: int) -> None:
        """Wait until each of the forty-nine has so many messages."""
        reached = gatherResults([ear.until(count) for ear in self.ears])

        def too_late(_: object, seconds: float) -> None:
            counts = [ear.count for ear in self.ears]
            raise AssertionError(f"{counts} after {seconds} s:\n{self.crier.output}")

        await reached.addTimeout(PATIENCE_SECONDS, self.reactor, too_late)

    async def phase(self) -> list[float]:
        """Let everybody get some messages; gives how many a second each did."""
        before = [ear.count for ear in self.ears]
        began = self.reactor.seconds()
        await self.all_have(max(before) + ROUNDS)
        took_seconds = self.reactor.seconds() - began
        pairs = zip(self.ears, before, strict=True)
        return [(ear.count - count) / took_seconds for ear, count in pairs]

    async def test_the_others_keep_their_rate(self) -> None:
        """
        While one of fifty stands still each of the others gets its messages at no less than nine
        tenths of the rate before, and none of those is refused.

        Scenario: D20
        """
        relay = self.start("relay", _RELAY)
        await relay.says(UP)
        stuck = self.leaf("stuck", STUCK, "hear")
        await stuck.says(UP)
        self.ears = [await self.listens(bus_id) for bus_id in OTHERS]
        settings = f"heeded = {list(OTHERS)}\nother = {STUCK}\nsize = 2000"
        crier = self.crier = self.leaf("crier", CRIER, "cry", settings)
        misses, has = f"{STUCK:#x} misses messages", f"{STUCK:#x} has its messages"
        await self.all_have(ROUNDS)
        calm, slow = [], []
        for _ in range(extent(1, 20)):
            calm.append(await self.phase())
            stuck.freeze()
            await crier.has_said_last(misses, has)
            slow.append(await self.phase())
            stuck.thaw()
            await crier.has_said_last(has, misses)
        self.assertEqual(await crier.stops(), -signal.SIGTERM)
        told = await crier.says(r"cried (\d+) times, refused (\d+), given up (\d+)")
        rounds, refused, given_up = map(int, told.groups())
        await self.all_have(rounds)
        self.assertEqual([ear.faults for ear in self.ears], [[]] * len(OTHERS))
        self.assertEqual(await stuck.stops(), -signal.SIGTERM)
        heard = int((await stuck.says(r"heard (\d+)"))[1])
        self.assertTrue(rounds - refused - given_up <= heard <= rounds - refused, told[0])
        self.assertNotRegex(crier.output, f"(?<!{STUCK:#x}) misses messages")
        self.check_rates(calm, slow)

    def check_rates(self, calm: list[list[float]], slow: list[list[float]]) -> None:
        """Compare what each had in the one kind of phases with what it had in the other."""
        pairs = zip(zip(*calm, strict=True), zip(*slow, strict=True), strict=True)
        kept = [statistics.mean(theirs) / statistics.mean(ours) for ours, theirs in pairs]
        if LONG:
            self.assertGreaterEqual(min(kept), KEPT, (calm, slow))
