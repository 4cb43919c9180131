"""Messages of 64 MiB among small ones, between processes."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.chaos.case import ChaosCase, node_file, speech
from tests.extent import extent
from tests.processes.harness import NodeProcess

RELAY, ONE, TWO, THREE = 0x20100, 0x20101, 0x20102, 0x20103
MEBIBYTE = 2**20
LARGE_BYTES = 64 * MEBIBYTE
# What a relay may need for a message that it passes on: its queue twice over, and some scraps.
RELAY_BYTES = 32 * MEBIBYTE
LARGE = f"[limits]\nmessage_bytes_max = {LARGE_BYTES}"


def hauls(count: int) -> str:
    """Write the settings of a node that sends large messages to TWO and small ones to THREE."""
    haul = f"haul = {TWO}, haul_bytes = {LARGE_BYTES}, hauls = {count}"
    return speech(THREE, rate=200, more=haul)


class LargeTests(ChaosCase):
    """A relay and three nodes; one sends to the others."""

    async def begin(self, count: int) -> list[NodeProcess]:
        """Start everything; the node that sends comes last, for it sends at once."""
        three = speech(ONE, rate=200)
        listening = await self.bring_up(
            ("relay", node_file("relay", RELAY, listens=True, more=LARGE)),
            ("two", node_file("two", TWO, ["relay"], program="listen", more=LARGE)),
            ("three", node_file("three", THREE, ["relay"], settings=three)),
        )
        one = node_file("one", ONE, ["relay"], program="haul", settings=hauls(count), more=LARGE)
        return [*listening, *await self.bring_up(("one", one))]

    async def test_small_ones_pass_large_ones(self) -> None:
        """Small messages of another flow go on while large ones travel; the relay stays small."""
        relay, two, three, one = await self.begin(extent(2, 50))
        before = self.memory_of(relay)
        for left in range(extent(2, 50) - 1, -1, -1):
            await one.says(f"hauled, {left} left")
        await three.says("received ")
        grown = self.memory_of(relay) - before
        await self.stop_all(one, three, two, relay)
        verdict = self.check()
        self.assertEqual((verdict.lost, verdict.uncertain), (0, 0))
        for note in self.notes("one", "hauled"):
            self.assertGreater(note["answers"], 0, note)
        self.assertLess(grown, RELAY_BYTES)

    async def test_a_sender_dies_in_the_middle(self) -> None:
        """What had arrived of its message is let go when the rest does not come."""
        relay, two, three, one = await self.begin(1000)
        await two.says("half a message is here")
        self.assertEqual(await one.stops(signal.SIGKILL), -signal.SIGKILL)
        await two.says("no half messages are here")
        await self.stop_all(three, two, relay)
        self.check(ONE)

    def memory_of(self, process: NodeProcess) -> int:
        """Read the most memory that a process has had, bytes."""
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
