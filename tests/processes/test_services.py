"""Processes that choose each other by what they offer, with nothing but their bus."""

from __future__ import annotations

import signal

from tests.processes.harness import UP, NodeProcess, ProcessCase

PROXY = """
id = "ID"
subnets = ["ID/8"]
listen = ["unix://{folder}/ID.sock"]
"""

RETRY = """
[retry]
initial_seconds = 0.02
seconds_max = 0.05
"""

ROOT = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/root.sock"]
"""

SEEKER = """
id = "0x10101"
upstream = "unix://{folder}/0x10100.sock"
[application]
callable = "tests.processes.witness:seek"
settings = { type = "battle" }
"""

BATTLE = """
id = "ID"
name = "NAME"
upstream = "unix://{folder}/0x10200.sock"
[service]
type = "battle"
[application]
callable = "tests.processes.witness:count"
"""


class ServiceTests(ProcessCase):
    """A root, two proxies below it, and leaves below those; no registry."""

    async def proxy(self, bus_id: str) -> NodeProcess:
        """Start a proxy."""
        up = 'upstream = "unix://{folder}/root.sock"\n'
        proxy = self.start(bus_id, up + PROXY.replace("ID", bus_id))
        await proxy.says(UP)
        return proxy

    def battle(self, bus_id: str, name: str) -> NodeProcess:
        """Start a node that offers battles, below the second proxy."""
        text = BATTLE.replace("ID", bus_id).replace("NAME", name)
        return self.start(name, text + RETRY)

    async def test_who_was_killed_is_chosen_by_nobody(self) -> None:
        """
        Who offers something is found at the other end of the bus, and reached by what it offers.

        It is gone there when it was killed; another one is found in its place, and it again when
        it is back. Who stops in good order is gone as well.
        """
        root = self.start("root", ROOT)
        await root.says(UP)
        await self.proxy("0x10100")
        await self.proxy("0x10200")
        seekers = [self.start("seeker", SEEKER)]
        seekers.append(self.start("other", SEEKER.replace("0x10101", "0x10102")))
        for seeker in seekers:
            await seeker.says(UP)
        first = self.battle("0x10201", "first")
        await self.chosen(seekers, first, "0x10201")
        await first.stops(signal.SIGKILL)
        for seeker in seekers:
            await seeker.says("first is gone, left: None")
        second = self.battle("0x10202", "second")
        await self.chosen(seekers, second, "0x10202")
        await second.stops()
        for seeker in seekers:
            await seeker.says("second is gone, left: None")
        await self.chosen(seekers, self.battle("0x10201", "first"), "0x10201")

    async def test_a_killed_proxy_takes_its_services_with_it(self) -> None:
        """What is below a killed proxy is gone with it, and found again when the proxy is back."""
        root = self.start("root", ROOT)
        await root.says(UP)
        await self.proxy("0x10100")
        second = await self.proxy("0x10200")
        seeker = self.start("seeker", SEEKER)
        await seeker.says(UP)
        battle = self.battle("0x10201", "first")
        await self.chosen([seeker], battle, "0x10201")
        await second.stops(signal.SIGKILL)
        await seeker.says("first is gone, left: None")
        await self.proxy("0x10200")
        await self.chosen([seeker], battle, "0x10201")

    async def chosen(self, seekers: list[NodeProcess], battle: NodeProcess, bus_id: str) -> None:
        """Wait until a node is found by all, and has got a message from each of them."""
        for seeker in seekers:
            await seeker.says(f"found {battle.name}, chose {bus_id}\n")
        for _ in seekers:
            await battle.says("got you were chosen")
