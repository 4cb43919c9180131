"""Processes that stand still, and go on when others have given them up."""

from __future__ import annotations

from tests.chaos.case import ChaosCase, node_file, speech
from tests.chaos.programs import machine_seconds
from tests.extent import extent
from tests.processes.harness import NodeProcess

RELAY, ONE, TWO = 0x20100, 0x20101, 0x20102
RETURN_SECONDS = 5.0
BEATS = "[heartbeat]\nseconds = 1\ntolerance = 2"



FILES = (
    ("relay", node_file("relay", RELAY, listens=True, more=BEATS)),
    ("one", node_file("one", ONE, ["relay"], settings=speech(TWO), more=BEATS)),
    ("two", node_file("two", TWO, ["relay"], settings=speech(ONE), more=BEATS)),
)


class FrozenTests(ChaosCase):
    """A relay and two nodes that talk to each other through it."""

    async def test_a_relay_stands_still(self) -> None:
        """Whoever is connected to it misses it, and is back within five seconds when it goes on."""
        relay, one, two = await self.bring_up(*FILES)
        await self._talk(one, two)
        for _ in range(extent(2, 30)):
            relay.freeze()
            for process in (one, two):
                await process.says("has lost 0x20100: HEARTBEAT_LOST")
            await self._go_on(relay, "one", "two")
            await self._talk(one, two)
        await self.stop_all(one, two, relay)
        self.check()
        self.check_uncertain(one=ONE, two=TWO, relay=RELAY)
        self.check_questions("one", "two", at_least=1)

    async def test_a_node_stands_still(self) -> None:
        """
        The relay gives it up and says what became of its messages; it returns within five seconds.

        What it had sent and read in its former life is neither lost silently nor told twice.
        """
        relay, one, two = await self.bring_up(*FILES)
        await self._talk(one, two)
        for _ in range(extent(2, 30)):
            two.freeze()
            await relay.says("has lost 0x20102: HEARTBEAT_LOST")
            await self.is_refused(one)
            await self._go_on(two, "two")
            await self.is_answered(one)
            await self._talk(one, two)
        await self.stop_all(one, two, relay)
        self.check()
        self.check_uncertain(one=ONE, two=TWO, relay=RELAY)
        self.check_questions("one", "two", at_least=1)

    async def test_another_process_takes_its_place(self) -> None:
        """
        A new process with the id of one that stands still takes over; the old one is refused.

        Scenario: H16
        """
        relay, one, two = await self.bring_up(*FILES)
        await self._talk(one, two)
        two.freeze()
        text = node_file("next", TWO, ["relay"], settings=speech(ONE), more=BEATS)
        (successor,) = await self.bring_up(("next", text))
        await self._talk(one, successor)
        two.thaw()
        await two.says("ID_CONFLICT: .* the other side refused: ")
        await self._talk(one, successor)
        await self.stop_all(two, one, successor, relay)
        verdict = self.check()
        self.assertEqual(verdict.unfinished, ())
        self.check_uncertain(one=ONE, two=TWO, relay=RELAY, next=TWO)
        self.check_questions("one", "two", "next", at_least=1)

    async def _talk(self, *processes: NodeProcess) -> None:
        """Wait until each of some nodes receives messages."""
        for process in processes:
            await process.says("received ")

    async def _go_on(self, frozen: NodeProcess, *names: str) -> None:
        """Let a process go on, and wait until others hear again, soon."""
        began = machine_seconds()
        frozen.thaw()
        for process in self.processes:
            if process.name in names:
                await process.says("messages pass again")
        self.check_returned(began, RETURN_SECONDS, *names, frozen=frozen.name)
