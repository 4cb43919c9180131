"""Nodes that were asked to share memory and cannot: they run all the same, and say why."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

from atbus.channels.lane import CHECKED_WHOLE
from atbus.errors import Status
from atbus.node.node import Node
from tests.node.bus import CHILD, ROOT, Keeper
from tests.processes.lanes import LaneCase, lanes_of


class SharingTests(LaneCase):
    """A root that listens in shared memory, and a child."""

    def setUp(self) -> None:
        super().setUp()
        self.diaries = {}

    async def state_of(self, node: Node) -> str:
        """Give what a node tells of itself."""
        [line] = await node.command(node.bus_id, b"atbus.status")
        state: str = json.loads(line)["shared_memory"]
        return state

    async def works_without(self, place: str, reason: str) -> None:
        """See that a node starts without shared memory, says why, once, and sends and receives."""
        path = f"unix://{self.directory}/root.sock"
        root = await self.node(ROOT, listen=[place, path], subnets=[(0, 16)])
        child = await self.node(CHILD, upstream=path, listen=[place])
        root.receiver = Keeper()
        self.assertIs((await child.deliver(ROOT, b"over the socket")).status, Status.OK)
        for node in (root, child):
            lanes_of(node).sweep()
            [(status, detail)] = self.diaries[node].of("on_error")
            self.assertIs(status, Status.POLICY_DENIED)
            self.assertTrue(detail.startswith("memory is not shared: "), detail)
            self.assertIn(reason, detail)
            self.assertIn(reason, await self.state_of(node))
            self.assertEqual(list(lanes_of(node)), [])
        self.assertEqual([address.scheme.value for address in root.addresses], ["unix"])

    async def test_another_processor(self) -> None:
        """
        On a processor of weaker memory order both nodes start, and name the key that shares memory
        all the same.
        """
        self.patch(platform, "machine", lambda: "aarch64")
        await self.works_without("shm://auto", "shm.weak_memory = true")

    async def test_a_name(self) -> None:
        """An address with a name is left out as well."""
        self.patch(platform, "machine", lambda: "aarch64")
        await self.works_without("shm://lanes", "aarch64")

    async def test_a_system_without_memory(self) -> None:
        """Where no memory without a name can be made it is the same."""

        def fails(*_: Any) -> int:
            raise OSError(1, "not permitted")

        self.patch(os, "memfd_create", fails)
        await self.works_without("shm://auto", "not permitted")

    async def test_asked_for_all_the_same(self) -> None:
        """
        With ``shm.weak_memory`` there is nothing to say, and lanes are offered, of which each frame
        is checked whole.
        """
        self.patch(platform, "machine", lambda: "aarch64")
        path = f"unix://{self.directory}/root.sock"
        options: dict[str, Any] = {"shm_weak_memory": True}
        root = await self.node(ROOT, listen=[path, "shm://auto"], subnets=[(0, 16)], **options)
        child = await self.node(CHILD, upstream=path, **options)
        await self.until(lambda: CHILD in root.endpoints and root.endpoints[CHILD].available)
        self.offer(root)
        await self.until(lambda: self.used(child) == "shm")
        self.assertEqual((await self.state_of(root), await self.state_of(child)), ("on", "off"))
        self.assertEqual(self.diaries[root].of("on_error"), [])
        for node in (root, child):
            [lane] = lanes_of(node)
            self.assertEqual(lane.channel._lane._checked, CHECKED_WHOLE)

    async def test_no_unix_socket(self) -> None:
        """
        A neighbor on the same host that sends much over TCP deserves a lane that cannot be offered:
        that is said, once; over a unix socket it can be.
        """
        root = await self.node(ROOT, listen=["ipv4://127.0.0.1:0", "shm://auto"], subnets=[(0, 16)])
        [place] = [address for address in root.addresses if address.is_tcp]
        child = await self.node(CHILD, upstream=str(place))
        await self.until(lambda: CHILD in root.endpoints and root.endpoints[CHILD].available)
        self.assertEqual(await self.state_of(root), "on")
        root.receiver = Keeper()
        while not self.diaries[root].of("on_error"):
            for _ in range(20):
                child.send(ROOT, b"x" * 1000)
            await self.pause(0.01)
        # Whatever comes later.
        for _ in range(10):
            self.offer(root)
        [(status, detail)] = self.diaries[root].of("on_error")
        self.assertIs(status, Status.POLICY_DENIED)
        self.assertIn(f"{CHILD:#x}", detail)
        self.assertIn("listen on unix:// as well", detail)
        self.assertIn("listen on unix:// as well", await self.state_of(root))
        await root.disconnect(CHILD)
        # It comes back, maybe at once.
        await self.until(lambda: self.diaries[root].of("on_endpoint_removed"))
