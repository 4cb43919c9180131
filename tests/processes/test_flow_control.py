"""Processes that stand still while others send to them."""

from __future__ import annotations

import json
import signal
from typing import Any

from atbus import limits
from tests.extent import extent, is_soon
from tests.processes.harness import UP, NodeProcess, ProcessCase

HUB, FROZEN, LIVELY = 0x300, 0x301, 0x302
HARD = 16_777_216
ALLOWED_SECONDS = 11.0
# So many messages to the one that is not frozen are as good as any number.
MANY = 10_000

_HUB = f"""
id = "{HUB:#x}"
listen = ["unix://{{folder}}/hub.sock"]
subnets = ["{HUB:#x}/8"]
record_events = "hub.events"

[limits]
queued_bytes_hard = {HARD}

[application]
callable = "tests.processes.flooder:flood"

[application.settings]
flooded = [{FROZEN}]
fed = [{LIVELY}]
per_tick = 40
size = 2000
"""
_LEAF = """
id = "{bus_id:#x}"
upstream = "unix://{{folder}}/hub.sock"
record_events = "{name}.events"

[application]
callable = "tests.processes.talker:listen"
"""


class FrozenTests(ProcessCase):
    """A node that sends to two others, one of which is stopped by a signal."""

    async def report(self, hub: NodeProcess) -> dict[str, Any]:
        """Wait for the next report of what it costs."""
        match = await hub.says(r"report (\{.*\})\n")
        return dict(json.loads(match[1]))

    def progress(self, reports: list[dict[str, Any]]) -> int:
        """Tell how many messages went to the lively one between the first report and the last."""
        first, last = (reports[place]["sent"][str(LIVELY)] for place in (0, -1))
        return int(last - first)

    def slowest(self, reports: list[dict[str, Any]]) -> float:
        """Tell how long 99 of 100 answers of the lively one took at most, in seconds."""
        took = sorted(seconds for report in reports for seconds in report["took"])
        self.assertTrue(took)
        return float(took[len(took) * 99 // 100])

    async def test_a_frozen_process(self) -> None:
        """
        It costs its sender no more than the limit, is named, and nobody else notices.

        When it goes on it gets everything that was accepted.

        Scenario: D19, D20
        """
        hub = self.start("hub", _HUB)
        await hub.says(UP)
        frozen, lively = (
            self.start(name, _LEAF.format(bus_id=bus_id, name=name))
            for name, bus_id in (("frozen", FROZEN), ("lively", LIVELY))
        )
        for process in (frozen, lively):
            await process.says("received")
        calm = [await self.report(hub) for _ in range(extent(10, 100))]
        frozen.freeze()
        begun = self.reactor.seconds()
        await hub.says(f"queued for slow {FROZEN:#x}|queued for slow 0x0*{FROZEN:x}")
        self.assertTrue(is_soon(self.reactor.seconds() - begun, ALLOWED_SECONDS))
        stuck = [await self.report(hub)]
        # Six seconds of them: after ten the link to the frozen one ends.
        many = extent(1, 30)
        while not (stuck[-1]["refused"] and self.progress(stuck) > MANY and len(stuck) >= many):
            stuck.append(await self.report(hub))
        stuck.append(await self.report(hub))
        frozen.thaw()
        base, slow = (self.slowest(reports) for reports in (calm, stuck))
        self.assertTrue(is_soon(slow, 2 * base), (base, slow))
        # Acknowledgements and pings go past the limit of what may wait, in less than a frame.
        queued = max(report["queued"].get(str(FROZEN), 0) for report in stuck)
        self.assertLessEqual(queued, HARD + limits.FRAME_BYTES)
        cost = stuck[-1]["resident"] - max(report["resident"] for report in calm)
        self.assertLessEqual(cost, HARD * 1.25)
        self.assertEqual(set(stuck[-1]["refused"]), {str(FROZEN)})
        await frozen.says("received")
        for process in (hub, frozen, lively):
            self.assertEqual(await process.stops(), -signal.SIGTERM)
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
