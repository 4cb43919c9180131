"""
Buses of real processes to which something happens.

What a test needs that the machine may not have (root, a tool) is asked for by `need`: without it
the test is skipped, or fails where everything has to be there (``ATBUS_REQUIRE_SERVERS=1``).
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SkipTest

from atbus.testing.checker import Verdict
from tests.extent import extent, is_soon
from tests.processes.harness import UP, NodeProcess, ProcessCase

PROGRAMS = "tests.chaos.programs"

RESUME_SECONDS = 1.0
"""Within this time after the end of a socket messages pass again, another way being there."""


def need(there: object, what: str) -> None:
    """
    Skip a test for which something is missing, or let it fail where nothing may be.

    :param there: Whether it is there.
    :param what: What is missing.
    """
    if not there:
        if os.environ.get("ATBUS_REQUIRE_SERVERS") == "1":
            raise AssertionError(f"this needs {what}")
        raise SkipTest(f"this needs {what}")


def node_file(
    name: str,
    bus_id: int,
    upstreams: Sequence[str] = (),
    *,
    program: str = "",
    settings: str = "",
    listens: bool = False,
    more: str = "",
) -> str:
    """
    Write the configuration of a node that talks over unix sockets in the test's folder.

    :param name: Its name, also that of its socket and its records.
    :param upstreams: The names of its upstreams, or whole addresses.
    :param program: A function of `tests.chaos.programs`, or ``module:function``; one with settings
        speaks by default, one without watches.
    :param settings: Its settings, TOML inside of braces.
    :param listens: Whether others may register with it; it answers for the 256 ids of its range.
    :param more: Further lines; those before the first table belong to the node itself.
    """
    places = [name if "://" in name else f"unix://{{folder}}/{name}.sock" for name in upstreams]
    lines = [f'name = "{name}"', f'id = "{bus_id:#x}"', f'record_events = "{name}.events"']
    # A stop is never cut short, however slow the machine.
    lines += ["drain_seconds = 3600", "linger_seconds = 3600"]
    if places:
        lines.append(f"upstreams = {json.dumps(places)}")
    if listens:
        lines.append(f'listen = ["unix://{{folder}}/{name}.sock"]')
        lines += [] if "subnets" in more else ['subnets = ["0/8"]']
    program = program or ("speak" if settings else "watch")
    program = program if ":" in program else f"{PROGRAMS}:{program}"
    lines += [more, "[application]", f'callable = "{program}"']
    lines += [f"settings = {{ {settings} }}"]
    return "\n".join(lines)


def speech(
    *targets: int, rate: int = 500, sizes: Sequence[int] = (20, 100, 1000), more: str = ""
) -> str:
    """
    Write the settings of a program that talks.

    :param targets: To whom, in turn.
    :param rate: How many messages in a second; it says five times in a second what it received.
    :param sizes: How long they are, in turn, bytes.
    :param more: Further settings.
    """
    flow = f"targets = {list(targets)}, rate = {rate}, sizes = {list(sizes)}"
    return f"{flow}, every = {max(1, rate // 5)}{more and ', '}{more}"


class ChaosCase(ProcessCase):
    """A bus of processes that keep notes; all their messages are accounted for at the end."""

    timeout = extent(1800, 7200)

    async def bring_up(self, *names_and_files: tuple[str, str | None]) -> list[NodeProcess]:
        """Start processes together; each pair is a name and its configuration."""
        processes = [self.start(name, text) for name, text in names_and_files]
        for process in processes:
            await process.says(UP)
        return processes

    async def is_refused(self, process: NodeProcess) -> None:
        """Wait until what a node asks is refused; it may have been before."""
        await process.has_said_last("refused: ", "answered again")

    async def is_answered(self, process: NodeProcess) -> None:
        """Wait until what a node asks, and was refused, is answered."""
        await process.has_said_last("answered again", "refused: ")

    async def is_settled(self, process: NodeProcess) -> None:
        """
        Wait until whatever a node has asked before now has ended, and it is answered.

        What was asked while everybody was still coming may end much later, and badly.
        """
        tells = r"asked until (\d+), ended until (\d+)"
        process.forget()
        asked = int((await process.says(tells))[1])
        while int((await process.says(tells))[2]) < asked:
            continue
        if "refused: " in process.output:
            await self.is_answered(process)

    async def stop_all(self, *processes: NodeProcess) -> None:
        """Stop processes in good order, one after the other."""
        for process in processes:
            self.assertEqual(await process.stops(), -signal.SIGTERM, process.name)

    def notes(self, name: str, *kinds: str) -> list[dict[str, Any]]:
        """Read the notes of some kinds of a node, in their order."""
        path = self.folder / f"{name}.notes"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [note for line in lines if (note := json.loads(line))["what"] in kinds]

    def uncertain_by(self) -> Counter[int]:
        """Count the messages that were told as uncertain, by the node that said so."""
        counts: Counter[int] = Counter()
        for path in self.folder.glob("*.events"):
            for line in path.read_text(encoding="utf-8").splitlines():
                if '"UNCERTAIN"' in line:
                    event = json.loads(line)
                    if event["event"] == "fate":
                        counts[int(event["gave_up_at"], 16)] += event["count"]
        return counts

    def check_silences(self, name: str, seconds: float) -> None:
        """Look that a node heard again soon after its links had ended, each time."""
        began = None
        for note in self.notes(name, "link ended", "heard"):
            if note["what"] == "link ended":
                began = note["at"] if began is None else began
            elif began is not None:
                self.check_soon(name, began, note["at"], seconds)
                began = None

    def check_returned(self, began: float, seconds: float, *names: str, frozen: str) -> None:
        """
        Look that nodes heard again soon after a process was let go on.

        :param began: When it was, by the machine's clock.
        :param frozen: Its name; that it was late itself is no excuse.
        """
        for name in names:
            heard = [note["at"] for note in self.notes(name, "heard") if note["at"] > began]
            # It may have been away and back again before.
            for first in heard[:1]:
                self.check_soon(name, began, first, seconds, frozen)

    def check_soon(
        self, name: str, began: float, ended: float, seconds: float, frozen: str = ""
    ) -> None:
        """
        Compare a time, unless the machine held up somebody's loop meanwhile.

        Only ``make chaos`` does: a machine that has other things to do need not hold up a loop to
        be slow.
        """
        names = {path.stem for path in self.folder.glob("*.notes")} - {frozen}
        late = [note for each in names for note in self.notes(each, "late")]
        if not any(began < note["at"] < ended + note["seconds"] for note in late):
            self.assertTrue(is_soon(ended - began, seconds), f"{name}, {began} to {ended}")

    def check_questions(self, *names: str, at_least: int) -> None:
        """Look that every ``deliver`` and ``request`` ended, and that there were enough of them."""
        total = 0
        for name in names:
            for note in self.notes(name, "asked"):
                self.assertEqual(sum(note["ended"].values()), note["asked"], note)
                total += note["asked"]
        self.assertGreaterEqual(total, at_least)

    def check_uncertain(self, **holders: int) -> None:
        """
        Look that no node called more uncertain than was unacknowledged when its links ended.

        :param holders: The names of the nodes that may have said so, and their ids.
        """
        unacknowledged: Counter[int] = Counter()
        for name, bus_id in holders.items():
            ends = self.notes(name, "link ended")
            unacknowledged[bus_id] += sum(note["unacknowledged"] for note in ends)
        excess = self.uncertain_by() - unacknowledged
        self.assertEqual(excess, Counter(), unacknowledged)

    def check(self, *killed: int) -> Verdict:
        """Judge, and look that the bus kept its promises and no log shows a defect."""
        verdict = self.judge(*killed)
        self.assertTrue(verdict.ok, str(verdict))
        for process in self.processes:
            self.assertNotIn("Traceback", process.output, process.name)
        return verdict
