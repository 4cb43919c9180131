"""
Nodes that share memory and are told to stop, killed and frozen: lanes keep what sockets promise.

Every node reads and writes lanes, one each way with each neighbor. The tests are those of nodes
that talk over sockets, with the same judge; before something happens data has taken a lane.
"""

from __future__ import annotations

import signal

from tests.chaos import test_freeze, test_kill, test_stop
from tests.chaos.case import PROGRAMS, ChaosCase, node_file, speech
from tests.chaos.test_kill import ONE, RELAY, TWO
from tests.chaos.test_stop import NORTH, ROOT, SOUTH, A, B, C
from tests.extent import extent
from tests.processes.harness import NodeProcess

SHM = "[shm]\nlanes_max = 16\n"

# With whom each node of `test_stop` has lanes, one each way.
NEIGHBORS = {
    "root": (NORTH, SOUTH),
    "north": (ROOT, A, B),
    "south": (ROOT, C),
    "a": (NORTH,),
    "b": (NORTH,),
    "c": (SOUTH,),
}


def shared(text: str) -> str:
    """Let the node of a configuration listen in shared memory, and say what its data takes."""
    if "listen = [" in text:
        text = text.replace("listen = [", 'listen = ["shm://auto", ')
    else:
        text = text.replace("record_events", 'listen = ["shm://auto"]\nrecord_events', 1)
    # Enough for a lane each way, however large the messages are.
    text = text.replace("rate = 200", "rate = 600")
    text = text.replace("[application]", f"{SHM}[application]")
    return text.replace(f'"{PROGRAMS}:', '"tests.chaos.sharing:')


class SharingCase(ChaosCase):
    """A bus whose nodes all share memory."""

    def setUp(self) -> None:
        super().setUp()
        # Data changes between lanes and streams. When an order is given up all that is on its way
        # has arrived, whatever the machine does.
        self.environment["ATBUS_CHAOS_FLUSH_SECONDS"] = "30"

    def start(self, name: str, config: str | None = None, *arguments: str) -> NodeProcess:
        """Start a process that shares memory."""
        return super().start(name, None if config is None else shared(config), *arguments)

    async def takes_memory(self, *processes: NodeProcess, to: int | None = None) -> None:
        """Wait until what nodes send, to anybody or to one neighbor, takes shared memory."""
        peer = "0x" if to is None else f"{to:#x}$"
        for process in processes:
            wanted, other = f"(?m:data takes shm to {peer})", f"(?m:data takes unix to {peer})"
            await process.has_said_last(wanted, f"{other}|has lost {peer[:-1]}")

    async def is_answered(self, process: NodeProcess) -> None:
        """Wait until a node is answered, and what it sends takes shared memory again."""
        await super().is_answered(process)
        await self.takes_memory(process)

    def check_lanes(self, *names: str) -> None:
        """Look that data went to nodes and from them through lanes, and no wake-up was missed."""
        for name in names:
            taken = {note["scheme"] for note in self.notes(name, "channel")}
            self.assertIn("shm", taken, name)
            for note in self.notes(name, "statistics"):
                self.assertEqual(note["missed_wakeups"], 0, name)


class GracefulTests(SharingCase, test_stop.GracefulTests):
    """Whoever is told to stop loses nothing of what is in its lanes, those of both ways."""

    async def begin(self) -> dict[str, NodeProcess]:
        """Start everything and wait until there is a lane each way between all neighbors."""
        running = await super().begin()
        for name, neighbors in NEIGHBORS.items():
            for bus_id in neighbors:
                await self.takes_memory(running[name], to=bus_id)
        return running

    def judge_all(self) -> None:
        """Look that each message arrived or was refused by name, and how they went."""
        super().judge_all()
        self.check_lanes(*test_stop.FILES)


class FrozenTests(SharingCase, test_freeze.FrozenTests):
    """Who stands still is given up with its lanes, and returns to new ones."""

    async def _talk(self, *processes: NodeProcess) -> None:
        await super()._talk(*processes)
        await self.takes_memory(*processes)


class KilledTests(SharingCase, test_kill.KilledEndTests):
    """Who is killed leaves lanes: what is in them is read, or uncertain."""

    async def test_a_relay_is_killed_again_and_again(self) -> None:
        """
        What was in the lanes to a killed relay is uncertain, each message of it once, and what was
        in those from it arrives; when it is back data takes lanes again.
        """
        speaks = {ONE: speech(TWO), TWO: speech(ONE)}
        relay, one, two = await self.bring_up(
            ("relay", node_file("relay", RELAY, listens=True)),
            ("one", node_file("one", ONE, ["relay"], settings=speaks[ONE])),
            ("two", node_file("two", TWO, ["relay"], settings=speaks[TWO])),
        )
        for _ in range(extent(3, 50)):
            await self.takes_memory(one, two)
            await one.says("received ")
            self.assertEqual(await relay.stops(signal.SIGKILL), -signal.SIGKILL)
            (relay,) = await self.bring_up(("relay", None))
            await self.is_answered(one)
            await self.is_answered(two)
        await self.stop_all(one, two, relay)
        self.check(RELAY)
        self.check_uncertain(one=ONE, two=TWO, relay=RELAY)
        self.check_questions("one", "two", at_least=1)
        self.check_lanes("one", "two", "relay")
