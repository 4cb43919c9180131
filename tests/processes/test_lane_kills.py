"""A node that shares memory with another is killed: the other goes on."""

from __future__ import annotations

from typing import Any

from atbus.errors import Status, Undeliverable
from tests.extent import is_soon
from tests.node.bus import CHILD, ROOT, Keeper
from tests.processes.lanes import LaneCase, lanes_of, spawn

FREE_SECONDS = 0.5
"""Within this time after a death its lanes are free."""


class KillTests(LaneCase):
    """The other node is a process."""

    async def test_the_writer_is_killed(self) -> None:
        """
        What a killed writer had committed arrives, without a gap, and its lane is free within half
        a second.
        """
        self.diaries = {}
        path = f"unix://{self.directory}/root.sock"
        root = await self.node(ROOT, listen=[path, "shm://auto"], subnets=[(0, 16)])
        root.receiver = Keeper()
        process = spawn(self, "write", path)
        await self.until(lambda: any(lane.channel.moved_bytes for lane in lanes_of(root)))
        await self.until(lambda: len(self.received(root)) > 1000)
        process.kill()
        killed = self.reactor.seconds()
        await self.until(lambda: not list(lanes_of(root)))
        self.assertTrue(is_soon(self.reactor.seconds() - killed, FREE_SECONDS))
        numbers = [int(payload.split()[0]) for payload in self.received(root)]
        self.assertEqual(numbers, list(range(len(numbers))))
        await self.until(lambda: CHILD not in root.endpoints)

    async def test_the_reader_is_killed(self) -> None:
        """
        When the reader is killed, its writer is told what is uncertain, nothing else is lost
        without a name, and it goes on as soon as there is a reader again.
        """
        self.diaries = {}
        path = f"unix://{self.directory}/root.sock"
        process = spawn(self, "read", path)
        options = {"listen": ["shm://auto"], "retry_seconds_max": 0.25}
        child = await self.node(CHILD, upstream=path, **options)
        fates: list[Any] = []
        child.events.on_forward_response.observe(fates.append)
        while self.used(child) != "shm":
            for _ in range(20):
                child.send(ROOT, b"x" * 1000)
            await self.pause(0.02)
        for _ in range(200):
            child.send(ROOT, b"x" * 1000)
        process.kill()
        killed = self.reactor.seconds()
        await self.until(lambda: not list(lanes_of(child)))
        self.assertTrue(is_soon(self.reactor.seconds() - killed, FREE_SECONDS))
        spawn(self, "read", path)
        fate = None
        while fate is None:
            try:
                fate = await child.deliver(ROOT, b"again", timeout=1)
            except Undeliverable:
                await self.pause(0.1)
        self.assertIs(fate.status, Status.OK)
        named = {Status.UNCERTAIN, Status.OK, Status.TIMEOUT, Status.NOT_CONNECTED, Status.CLOSING}
        self.assertLessEqual({each.status for each in fates}, named)
