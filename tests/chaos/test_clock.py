"""Processes whose clock is set, an hour forward and an hour back."""

from __future__ import annotations

import signal
import sys

from atbus.testing.wall_clock import WallClock, what_is_missing
from tests.chaos.case import ChaosCase, need, node_file, speech
from tests.chaos.programs import ASK_SECONDS, PATIENCE_SECONDS
from tests.extent import extent
from tests.processes.harness import NodeProcess

RELAY, HOST, GUEST = 0x20100, 0x20101, 0x20102
LATEST_SECONDS = 1.0
# A step of the clock is longer than all of them.
BEATS = "[heartbeat]\nseconds = 0.5\ntolerance = 200"


class ClockTests(ChaosCase):
    """A relay, a node with a process of its own, and one in a program that runs on wall time."""

    def setUp(self) -> None:
        super().setUp()
        missing = what_is_missing()
        need(missing is None, str(missing))
        self.clock = WallClock(self.folder)
        self.environment = dict(self.clock.environment)

    async def test_the_clock_is_set(self) -> None:
        """Nobody is given up, nothing ends early or late, whoever's clock is set by an hour."""
        (relay,) = await self.bring_up(
            ("relay", node_file("relay", RELAY, program="listen", listens=True, more=BEATS))
        )
        host = self.start("host", self.file("host", HOST))
        self.write("guest.toml", self.file("guest", GUEST))
        words = (sys.executable, "-m", "tests.chaos.guest", "guest.toml")
        guest = self.run_program("guest", *words)
        askers = (host, guest)
        for process in askers:
            # What is set before that is no change to it.
            await process.says("looks at the clock")
        for turn in range(extent(2, 20)):
            hours = (1, 0, -1, 0)[turn % 4]
            self.clock.set(hours * 3600)
            await self.go_on(*askers)
        self.assertEqual(await host.stops(), -signal.SIGTERM)
        self.assertEqual(await guest.stops(), 0)
        await self.stop_all(relay)
        self.check()
        for name in ("relay", "host", "guest"):
            self.assertEqual(self.notes(name, "early"), [])
            ends = {note["status"] for note in self.notes(name, "link ended")}
            self.assertEqual(ends - {"GOODBYE", "STOPPED"}, set())
        for name in ("host", "guest"):
            for note in self.notes(name, "timed out"):
                self.assertGreaterEqual(note["seconds"], PATIENCE_SECONDS)
                began = note["at"] - note["seconds"]
                latest = PATIENCE_SECONDS + LATEST_SECONDS
                self.check_soon(name, began, note["at"], latest)
        self.check_questions("host", "guest", at_least=1)

    def file(self, name: str, bus_id: int) -> str:
        """Write the file of a node that asks."""
        speaks = speech(RELAY, rate=200)
        return node_file(name, bus_id, ["relay"], program="ask", settings=speaks, more=BEATS)

    async def go_on(self, *askers: NodeProcess) -> None:
        """Wait until everybody has seen the new time, and questions of after that have ended."""
        for process in askers:
            await process.says("the clock was set by -?1 h")
        for process in askers:
            for _ in range(int(PATIENCE_SECONDS / ASK_SECONDS) + 1):
                await process.says("timed out")
