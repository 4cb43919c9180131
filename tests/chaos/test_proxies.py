"""Real proxies come and go while many nodes talk to many."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from twisted.logger import Logger

from tests.chaos.case import ChaosCase, node_file, speech
from tests.extent import extent, is_soon
from tests.processes.harness import UP, NodeProcess

CROSS = 0x1
PROXIES = {"p1": 0x11, "p2": 0x12, "p3": 0x13, "p4": 0x14}
LEAVES = {"a": 0x101, "b": 0x102, "c": 0x103, "d": 0x104}

PAUSE_SECONDS = 1.0
"""So long a sender is not heard at most, on a machine that has time."""

DRAIN_SECONDS = 20.0
"""So long a drain takes at most."""

_RECORDS = """topology = "records"
subnets = []
direct_connections = false
upstream_return_seconds = 2
"""


def proxy_file(name: str) -> str:
    """Write the file of a proxy."""
    more = f"{_RECORDS}proxy = true"
    return node_file(name, PROXIES[name], ["cross"], listens=True, more=more)


def leaf_file(name: str) -> str:
    """Write the file of a leaf: it talks to all others, and each prefers another proxy."""
    first = list(LEAVES).index(name)
    proxies = [*PROXIES][first:] + [*PROXIES][:first]
    others = [bus_id for other, bus_id in LEAVES.items() if other != name]
    settings = speech(*others, rate=extent(50, 1250), sizes=(20, 100, 1000))
    return node_file(name, LEAVES[name], proxies, settings=settings, more=_RECORDS)


class ProxyTests(ChaosCase):
    """A cross-region proxy, proxies below it, and leaves below those."""

    _log = Logger()

    def setUp(self) -> None:
        super().setUp()
        # When it is given up all that is on its way has arrived, whatever the machine does.
        self.environment["ATBUS_CHAOS_FLUSH_SECONDS"] = "30"

    async def begin(self, proxies: Sequence[str]) -> dict[str, NodeProcess]:
        """Start everything and wait until messages go all ways."""
        cross = node_file("cross", CROSS, listens=True, more=f"{_RECORDS}proxy = true")
        files = {"cross": cross, **{name: proxy_file(name) for name in proxies}}
        files |= {name: leaf_file(name) for name in LEAVES}
        processes = await self.bring_up(*files.items())
        running = dict(zip(files, processes, strict=True))
        await self.talk_on(running)
        return running

    async def talk_on(self, running: dict[str, NodeProcess]) -> None:
        """Wait until every leaf has received much that was sent after this."""
        for name in LEAVES:
            running[name].forget()
        for name in LEAVES:
            await running[name].says("received ")
            await running[name].says("received ")

    async def is_below(self, leaf: NodeProcess, proxy: str) -> None:
        """Wait until a leaf is below a proxy."""
        of = "is registered with its upstream "
        await leaf.has_said_last(f"{of}{PROXIES[proxy]:#x}\\b", of)

    async def end(self, running: dict[str, NodeProcess]) -> None:
        """Stop all, and look that nothing was lost, doubled or overtaken."""
        leaves = [running[name] for name in LEAVES]
        await self.stop_all(*leaves, *(p for p in running.values() if p not in leaves))
        verdict = self.check()
        self.assertEqual((verdict.uncertain, verdict.unfinished), (0, ()), str(verdict))
        pause = max(note["seconds"] for name in LEAVES for note in self.notes(name, "pause"))
        self._log.info(
            "{sent} messages, longest pause {pause:.3f} s", sent=verdict.sent, pause=pause
        )
        self.assertTrue(is_soon(pause, PAUSE_SECONDS), pause)

    async def drain(self, process: NodeProcess) -> None:
        """Drain a proxy: everybody below it moves."""
        process.forget()
        process.kill(signal.SIGUSR2)
        told = await process.says(r"is drained after ([\d.]+) s: \d+ nodes have moved(.*)")
        self._log.info("{name}: {told}", name=process.name, told=told[0])
        self.assertEqual(told[2].strip(), "", told[0])
        self.assertTrue(is_soon(float(told[1]), DRAIN_SECONDS), told[0])

    async def test_two_to_four_to_one(self) -> None:
        """Two proxies become four, then one, and nothing is lost, doubled or overtaken."""
        running = await self.begin(["p1", "p2"])
        for name in ("p3", "p4"):
            (running[name],) = await self.bring_up((name, proxy_file(name)))
        await self.is_below(running["c"], "p3")
        await self.is_below(running["d"], "p4")
        for name in ("p1", "p2", "p3"):
            await self.drain(running[name])
            await self.stop_all(running[name])
        for name in LEAVES:
            await self.is_below(running[name], "p4")
        await self.talk_on(running)
        await self.end(running)

    async def test_a_rolling_restart(self) -> None:
        """Each proxy is stopped and started again, and nothing is lost, doubled or overtaken."""
        running = await self.begin(["p1", "p2"])
        for name in ("p1", "p2") * extent(1, 20):
            await self.stop_all(running[name])
            await self.talk_on(running)
            running[name] = self.start(name)
            await running[name].says(UP)
            await self.is_below(running["a"], "p1")
            await self.is_below(running["b"], "p2")
        await self.end(running)

    async def test_a_proxy_is_killed(self) -> None:
        """Each message has one fate, and everybody talks on below the other proxy."""
        # A flush may have died with the proxy.
        del self.environment["ATBUS_CHAOS_FLUSH_SECONDS"]
        running = await self.begin(["p1", "p2"])
        for _ in range(extent(1, 100)):
            self.assertEqual(await running["p1"].stops(signal.SIGKILL), -signal.SIGKILL)
            await self.is_below(running["a"], "p2")
            await self.talk_on(running)
            running["p1"] = self.start("p1")
            await running["p1"].says(UP)
            await self.is_below(running["a"], "p1")
        await self.talk_on(running)
        leaves = [running[name] for name in LEAVES]
        await self.stop_all(*leaves, *(p for p in running.values() if p not in leaves))
        verdict = self.judge(PROXIES["p1"])
        self.assertEqual(
            (verdict.lost, verdict.orphaned, verdict.duplicated, verdict.corrupted), (0,) * 4
        )
        self.check_questions(*LEAVES, at_least=100)
