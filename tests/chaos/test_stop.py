"""Nodes of every kind that are told to stop, while everybody talks."""

from __future__ import annotations

import signal

from tests.chaos.case import ChaosCase, node_file, speech
from tests.extent import extent
from tests.processes.harness import NodeProcess

ROOT = 0x20000
NORTH, SOUTH = 0x20100, 0x20200
A, B, C = NORTH + 1, NORTH + 2, SOUTH + 1
LEAVES = ("a", "b", "c")
SIZES = (20, 1000, 20, 1000, 20, 1000, 100000)



FILES = {
    "root": node_file("root", ROOT, listens=True, more='subnets = ["0/16"]'),
    "north": node_file("north", NORTH, ["root"], listens=True),
    "south": node_file("south", SOUTH, ["root"], listens=True),
    "a": node_file("a", A, ["north"], settings=speech(B, C, rate=200, sizes=SIZES)),
    "b": node_file("b", B, ["north"], settings=speech(C, rate=200, sizes=SIZES)),
    "c": node_file("c", C, ["south"], settings=speech(A, B, rate=200, sizes=SIZES)),
}


class GracefulTests(ChaosCase):
    """A root, two proxies and three leaves; whoever is told to stop loses nothing."""

    async def begin(self) -> dict[str, NodeProcess]:
        """Start everything and wait until messages go all ways."""
        processes = await self.bring_up(*FILES.items())
        running = dict(zip(FILES, processes, strict=True))
        for name in LEAVES:
            await running[name].says("received ")
            await running[name].says("received ")
        return running

    def judge_all(self) -> None:
        """Look that each message arrived or was refused by name."""
        verdict = self.check()
        self.assertEqual((verdict.lost, verdict.uncertain, verdict.unfinished), (0, 0, ()))
        self.assertEqual(self.uncertain_by().total(), 0)
        self.check_questions(*LEAVES, at_least=1)

    async def test_one_kind_after_the_other(self) -> None:
        """A leaf, a proxy and the root stop and come back while the others talk."""
        running = await self.begin()
        for name in ("b", "south", "root") * extent(1, 10):
            await self.stop_all(running[name])
            await self.is_refused(running["a"])
            (running[name],) = await self.bring_up((name, None))
            await self.is_answered(running["a"])
            for leaf in LEAVES:
                await running[leaf].says("received ")
        await self.stop_all(*reversed(running.values()))
        self.judge_all()

    async def test_all_at_once(self) -> None:
        """Everybody is told to stop in the same moment; what nobody takes any more is refused."""
        for _ in range(extent(1, 10)):
            running = await self.begin()
            for process in running.values():
                process.kill(signal.SIGTERM)
            for process in running.values():
                self.assertEqual(await process.ends(), -signal.SIGTERM)
            self.judge_all()
