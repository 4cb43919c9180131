"""A relay in a small container, with two hundred registered neighbors that are hostile."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from atbus.testing.memory_group import MemoryGroup
from tests.chaos.case import ChaosCase, node_file, speech
from tests.chaos.foes import FOES_MAX, ONE, RELAY, TWO
from tests.extent import extent, is_soon
from tests.processes.harness import NodeProcess

CONTAINER_BYTES = 256 * 2**20
SAID_BYTES = 2**17
PROGRAMS = ("endure", "listen", "speak")
#: How many times each kind says that much.
TIMES = extent(1, 20)
#: How long nobody may be heard of whom another one waits for; the aim of the long form.
SILENT_SECONDS = 5.0
SMALL = """
subnets = ["0/24"]
[limits]
interest_bytes = 4_194_304
[compression]
algorithms = ["deflate"]
"""
#: What is there instead of patience, on a machine that does other things as well.
PATIENT = "[heartbeat]\nseconds = 600"


def most_bytes(process: NodeProcess) -> int:
    """Read how much memory a process has had at most."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(text.split("VmHWM:")[1].split()[0]) * 1024


class HordeTests(ChaosCase):
    """Each of them does one thing without end, in nineteen ways."""

    async def test_many_hostile_neighbors(self) -> None:
        """
        In a container of 256 MiB, where who takes more is killed, the relay lives and serves: all
        that two others say to each other arrives, and what was refused is named and counted.
        """
        group = MemoryGroup.make(CONTAINER_BYTES)
        if group is None:
            # It may be root's and yet not to be had: in a container of somebody else's.
            raise SkipTest("this needs a control group for memory, which root may make")
        self.addCleanup(group.remove)
        # Cleanups run in turn from the last: its processes have ended when it goes.
        self.addCleanup(self._end_all)
        endure, listen, speak = (f"tests.chaos.besieged:{each}" for each in PROGRAMS)
        small = node_file("relay", RELAY, listens=True, more=SMALL, program=endure)
        two_file = node_file("two", TWO, ["relay"], program=listen, more=PATIENT)
        says = speech(TWO, rate=100, more="patience = 3600")
        one_file = node_file("one", ONE, ["relay"], program=speak, settings=says, more=PATIENT)
        relay, two = await self.bring_up(("relay", small), ("two", two_file))
        (one,) = await self.bring_up(("one", one_file))
        await one.says("sent 1000")
        group.add(relay.pid)
        words = (sys.executable, "-m", "tests.chaos.horde", str(self.folder / "relay.sock"))
        horde = self.run_program("horde", *words, str(FOES_MAX), str(SAID_BYTES))
        await horde.says(f"{FOES_MAX} are registered")
        one.forget()
        # Who was cut off again and again is kept out, so this comes once.
        await horde.says("each kind has said")
        await relay.says("each kind of refusal was counted")
        for _ in range(TIMES):
            await one.says("sent ")
        await two.says("received ")
        self.assertLess(most_bytes(relay), CONTAINER_BYTES)
        # What waits by now would take minutes among them, where the machine is a slow one.
        await horde.stops()
        self.assertEqual(await one.stops(), -15)
        self.assertEqual(await two.stops(), -15)
        await self.stop_all(relay)
        self.check()
        self.check_pair()
        # It is one of the refusals that were counted, and named.
        self.assertIn("were compressed to", relay.output)

    def check_pair(self) -> None:
        """Look that everything was answered, and nobody silent for long."""
        (asked,) = self.notes("one", "asked")
        # The last ones were asked when it was told to stop.
        self.assertEqual(set(asked["ended"]) - {"OK", "CLOSING"}, set(), asked)
        (said,) = self.notes("one", "statistics")
        self.assertEqual(set(said["refused"]) - {"CLOSING"}, set(), said)
        (pause,) = self.notes("two", "pause")
        self.assertTrue(is_soon(pause["seconds"], SILENT_SECONDS), pause)
