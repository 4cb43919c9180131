"""Processes that run out of descriptors, memory and disk."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest

from atbus import limits
from atbus.subjects.cost import cost_of
from atbus.testing.memory_group import MemoryGroup
from tests.chaos.case import RESUME_SECONDS, ChaosCase, node_file, speech
from tests.chaos.programs import machine_seconds
from tests.extent import extent
from tests.processes.harness import NodeProcess

RELAY, ONE, TWO, LATE, GREEDY = 0x20100, 0x20101, 0x20102, 0x20103, 0x20104
SPARE_DESCRIPTORS = 8
SPARE_BYTES = 48 * 2**20
CONTAINER_BYTES = 256 * 2**20
INTEREST_BYTES = extent(4 * 2**20, limits.INTEREST_BYTES)
RETRY = "[retry]\ninitial_seconds = 0.05\nseconds_max = 0.2"


def files(relay: str) -> tuple[tuple[str, str], ...]:
    """Write the files of a relay with some more lines, and of two nodes that talk through it."""
    return (
        ("relay", node_file("relay", RELAY, listens=True, more=relay)),
        ("one", node_file("one", ONE, ["relay"], settings=speech(TWO))),
        ("two", node_file("two", TWO, ["relay"], settings=speech(ONE))),
    )


class DescriptorTests(ChaosCase):
    """A relay all of whose descriptors are taken by strangers."""

    async def test_no_descriptor_is_left(self) -> None:
        """
        Who is there stays and is served; who comes is let in within a second of there being room.

        The log has a line about it, not one for each who came.
        """
        relay, one, two = await self.bring_up(*files("[limits]\nhandshake_seconds = 3600"))
        await one.says("received ")
        most = self.count_descriptors(relay) + SPARE_DESCRIPTORS
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (most, most))
        began = machine_seconds()
        strangers = [self.knock() for _ in range(100)]
        await relay.says("EMFILE encountered")
        late = self.start("late", node_file("late", LATE, ["relay"], more=RETRY))
        await late.says("ends a connection to ")
        for process in (one, two):
            await process.says("received ")
            await process.says("received ")
        for stranger in strangers:
            stranger.close()
        released = machine_seconds()
        await late.says("is registered with its upstream")
        self.check_soon("late", released, self.notes("late", "up")[0]["at"], RESUME_SECONDS)
        await self.stop_all(late, one, two, relay)
        self.check()
        self.check_questions("one", "two", at_least=1)
        for name in ("one", "two", "relay"):
            ends = {note["status"] for note in self.notes(name, "link ended")}
            self.assertEqual(ends - {"GOODBYE", "STOPPED"}, set())
        # One in an interval: of each try to accept there would be three.
        intervals = (machine_seconds() - began) / limits.LOG_INTERVAL_SECONDS
        self.assertLessEqual(relay.output.count("EMFILE"), 2 + intervals)

    def count_descriptors(self, process: NodeProcess) -> int:
        """Count what a process has open."""
        return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))

    def knock(self) -> socket.socket:
        """Connect to the relay as one who has nothing to say."""
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.addCleanup(stranger.close)
        with contextlib.suppress(BlockingIOError):
            stranger.connect(str(self.folder / "relay.sock"))
        return stranger


class MemoryTests(ChaosCase):
    """A relay that may use little more memory than it does at the beginning."""

    async def test_little_memory(self) -> None:
        """A receiver that stands still and two hundred strangers do not exhaust it."""

        def confine(relay: NodeProcess) -> None:
            most = int(self.status_of(relay, "VmSize")) * 1024 + SPARE_BYTES
            resource.prlimit(relay.pid, resource.RLIMIT_AS, (most, most))

        await self.starve(confine)

    async def test_a_container_of_little_memory(self) -> None:
        """In a container of 256 MiB, where who takes more is killed, it lives and serves."""
        group = MemoryGroup.make(CONTAINER_BYTES)
        if group is None:
            # It may be root's and yet not to be had: in a container of somebody else's.
            raise SkipTest("this needs a control group for memory, which root may make")
        self.addCleanup(group.remove)
        # Cleanups run in turn from the last: its processes have ended when it goes.
        self.addCleanup(self._end_all)
        await self.starve(lambda relay: group.add(relay.pid), INTEREST_BYTES)

    async def starve(
        self, confine: Callable[[NodeProcess], None], interest_bytes: int = 0
    ) -> None:
        """
        Have a relay that was confined meet everybody who wants its memory.

        :param interest_bytes: What it may keep of subjects; a neighbor wants more, unless it is 0.
        """
        # Nobody is given up, however long the others take to fill its queue.
        more = "[heartbeat]\nseconds = 600"
        if interest_bytes:
            more += f"\n[limits]\ninterest_bytes = {interest_bytes}"
        relay, one, two = await self.bring_up(*files(more))
        await one.says("received ")
        await two.says("received ")
        confine(relay)
        guests: list[NodeProcess] = []
        if interest_bytes:
            count = interest_bytes // cost_of(".".join(["x" * 15] * 16)) * 5 // 4
            settings, program = f"count = {count}", "tests.chaos.greedy:want"
            greedy = node_file("greedy", GREEDY, ["relay"], program=program, settings=settings)
            guests += await self.bring_up(("greedy", greedy))
            await relay.says(f"{GREEDY:#x} wants more subjects than may be kept")
        two.freeze()
        for _ in range(200):
            self.half_a_frame()
        # It hears of the full queue first, not that an answer is late.
        speaks = speech(TWO, rate=2000, sizes=[20_000], more="patience = 3600")
        bulk = node_file("bulk", LATE, ["relay"], settings=speaks)
        (bulk_process,) = await self.bring_up(("bulk", bulk))
        await bulk_process.says("refused: B")
        await bulk_process.says("sent 5000")
        two.thaw()
        for process in (one, two):
            await process.says("received ")
        await bulk_process.says("answered again")
        self.assertLess(int(self.status_of(relay, "VmHWM")) * 1024, CONTAINER_BYTES)
        await self.stop_all(*guests, bulk_process, one, two, relay)
        self.check()
        self.check_questions("one", "two", "bulk", at_least=1)

    def status_of(self, process: NodeProcess, key: str) -> str:
        """Read what the kernel says of a process."""
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith(f"{key}:"))

    def half_a_frame(self) -> None:
        """Connect to the relay and begin a frame as long as anything may be."""
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stranger.connect(str(self.folder / "relay.sock"))
        stranger.setblocking(False)
        self.addCleanup(stranger.close)
        with contextlib.suppress(OSError):
            stranger.send((1 << 26).to_bytes(4, "little") + bytes(200_000))
