"""Networks that are bad: they slice, delay, cut on one side only, and break."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)

from atbus.testing.toxic import Direction, ToxicRelay
from tests.chaos.case import RESUME_SECONDS, ChaosCase, node_file, speech
from tests.chaos.programs import machine_seconds
from tests.extent import extent
from tests.processes.harness import NodeProcess

RELAY, ONE, TWO = 0x20100, 0x20101, 0x20102
BEAT_SECONDS = 0.5
BEATS = f"[heartbeat]\nseconds = {BEAT_SECONDS}\ntolerance = 2"
# They reach everybody, but what slices and delays them takes its time as well.
PATIENT_BEATS = f"[heartbeat]\nseconds = {BEAT_SECONDS}\ntolerance = 200"
# Three heartbeats, and what it takes to look at them.
DOWN_SECONDS = 3 * BEAT_SECONDS + 0.5



class BadNetworkTests(ChaosCase):
    """Two nodes that talk to each other through a relay, one of them over a bad network."""

    bad: ToxicRelay

    async def bus(
        self, *, tcp: bool = False, rate: int = 500, beats: str = BEATS
    ) -> tuple[NodeProcess, ...]:
        """Start a relay and two nodes, and put the bad network before the first one."""
        text = node_file("relay", RELAY, listens=True, more=beats)
        text = text.replace('relay.sock"]', 'relay.sock", "ipv4://127.0.0.1:0"]')
        relay = self.start("relay", text)
        port = int((await relay.says(r"ipv4://127\.0\.0\.1:(\d+);"))[1])
        address = await (self._over_tcp(port) if tcp else self._over_unix())
        one = node_file("one", ONE, [address], settings=speech(TWO, rate=rate), more=beats)
        two = node_file("two", TWO, ["relay"], settings=speech(ONE, rate=rate), more=beats)
        processes = await self.bring_up(("one", one), ("two", two))
        for process in processes:
            await process.says("received ")
        return (*processes, relay)

    async def _over_unix(self) -> str:
        path = str(self.folder / "bad.sock")
        target = UNIXClientEndpoint(self.reactor, str(self.folder / "relay.sock"))
        self.bad = ToxicRelay(self.reactor, UNIXServerEndpoint(self.reactor, path), target)
        await self.bad.start()
        self.addCleanup(self.bad.stop)
        return f"unix://{path}"

    async def _over_tcp(self, port: int) -> str:
        near = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        target = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        self.bad = ToxicRelay(self.reactor, near, target)
        address: Any = await self.bad.start()
        self.addCleanup(self.bad.stop)
        return f"ipv4://127.0.0.1:{address.port}"

    async def end(self, *processes: NodeProcess) -> None:
        """Stop everything, and look at what everybody wrote."""
        await self.stop_all(*processes)
        self.check()
        self.check_uncertain(one=ONE, two=TWO, relay=RELAY)
        self.check_questions("one", "two", at_least=1)

    async def test_one_byte_at_a_time(self) -> None:
        """Bytes that come one by one, and late, are messages all the same; nobody is given up."""
        for tcp in (False, True):
            one, two, relay = await self.bus(tcp=tcp, rate=20, beats=PATIENT_BEATS)
            self.bad.slice_bytes = 1
            for _ in range(extent(3, 100)):
                for process in (one, two):
                    await process.says("received ")
            self.bad.slice_bytes = None
            self.bad.latency_seconds = 0.3
            for _ in range(extent(3, 100)):
                for process in (one, two):
                    await process.says("received ")
            await self.end(one, two, relay)
            for name in ("one", "two", "relay"):
                ends = {note["status"] for note in self.notes(name, "link ended")}
                self.assertEqual(ends - {"GOODBYE", "STOPPED"}, set())
            await self.bad.stop()

    async def test_a_connection_that_is_half_open(self) -> None:
        """What one side says does not arrive: both soon know that the link is down, and go on."""
        one, two, relay = await self.bus()
        ways = ((Direction.TO_TARGET,), (Direction.FROM_TARGET,), tuple(Direction))
        for turn in range(extent(3, 60)):
            began = machine_seconds()
            self.bad.hold(*ways[turn % 3])
            await relay.says("the loss of 0x20101 is noted")
            await one.says("the loss of 0x20100 is noted")
            await self.is_refused(two)
            for name in ("one", "relay"):
                lost = [note["at"] for note in self.notes(name, "lost") if note["at"] > began]
                # It may have been lost before.
                for first in lost[:1]:
                    self.check_soon(name, began, first, DOWN_SECONDS)
            self.bad.let_go(*Direction)
            await one.says("messages pass again")
            await self.is_answered(two)
        await self.end(one, two, relay)

    async def test_connections_break(self) -> None:
        """A connection that is reset takes with it what was unacknowledged; another one follows."""
        one, two, relay = await self.bus(tcp=True)
        for _ in range(extent(5, 200)):
            self.bad.reset()
            await one.says("messages pass again")
            await one.says("received ")
        await self.end(one, two, relay)
        self.check_silences("one", RESUME_SECONDS)
