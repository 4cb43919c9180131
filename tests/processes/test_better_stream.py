"""A unix socket announced while data runs over TCP, with real sockets; then shared memory."""

from __future__ import annotations

import json

from atbus import limits
from atbus.address import Scheme
from atbus.busid import BusId
from atbus.errors import Status
from atbus.node.node import Node
from tests.node.bus import CHILD, ROOT, Keeper
from tests.processes.lanes import LaneCase


class BetterStreamTests(LaneCase):
    """A root that listens at TCP first, and a child."""

    async def over_tcp(self) -> tuple[Node, Node]:
        """Start both, with shared memory announced, and wait until data can flow."""
        # Whatever this machine does meanwhile, no order is given up.
        self.patch(limits, "FLUSH_SECONDS", 600.0)
        self.diaries = {}
        root = await self.node(ROOT, listen=["ipv4://127.0.0.1:0", "shm://auto"], subnets=[(0, 16)])
        child = await self.node(CHILD, upstream=str(root.addresses[0]), listen=["shm://auto"])
        await self.until(lambda: CHILD in root.endpoints and root.endpoints[CHILD].available)
        root.receiver, child.receiver = Keeper(), Keeper()
        return root, child

    async def links(self, node: Node) -> list[tuple[str, str, bool]]:
        """Give role, channel and use of each link, as ``atbus links`` shows them."""
        other = CHILD if node.bus_id == ROOT else ROOT
        lines = await node.command(other, b"atbus.links")
        return [
            (link["role"], link["channel"], link["used"])
            for line in lines
            for link in json.loads(line)
        ]

    async def test_tcp_then_unix_then_memory(self) -> None:
        """
        Under load data goes from TCP to the unix socket that is announced, from there to shared
        memory, and back to TCP when the socket is gone; what arrives is in order, and all of it
        does that was not on its way just then.
        """
        root, child = await self.over_tcp()
        self.assertEqual(self.used(child), "ipv4")
        await root.listen(f"unix://{self.directory}/root.sock")
        sent = 0
        while self.used(child) != "shm" or self.used(root, CHILD) != "shm":
            for _ in range(20):
                child.send(ROOT, b"%09d" % sent + bytes(2000))
                root.send(CHILD, b"%09d" % sent + bytes(2000))
                sent += 1
            # However slow this machine is, no queue becomes long.
            while min(len(self.received(node)) for node in (root, child)) < sent - 500:
                await self.pause(0.005)
            await self.pause(0.005)
        for node in (root, child):
            told = [c.address.scheme.value for _, c in self.diaries[node].of("on_channel_changed")]
            self.assertEqual(told, ["unix", "shm"])
        await self.until(lambda: len(self.received(root)) == len(self.received(child)) == sent)
        await self.until(lambda: len(child.endpoints[BusId(ROOT)].data) == 1)
        shown = await self.links(root)
        self.assertIn(("ring", "shm", True), shown)
        self.assertIn(("data", "unix", False), shown)
        self.assertNotIn(("data", "ipv4"), [link[:2] for link in shown])
        # The socket and the stream over it are gone: lanes end with their stream.
        unix = next(a for a in root._parts.dialer.listeners if a.address.scheme is Scheme.UNIX)
        await unix.stop()
        [stream] = child.endpoints[BusId(ROOT)].data
        stream.abort(Status.LINK_LOST, "broken")
        await self.until(lambda: self.used(child) == self.used(root, CHILD) == "ipv4")
        for _ in range(50):
            child.send(ROOT, b"%09d" % sent)
            root.send(CHILD, b"%09d" % sent)
            sent += 1
        await self.until(lambda: len(self.received(root)) == len(self.received(child)) == sent)
        for node in (root, child):
            numbers = [int(payload[:9]) for payload in self.received(node)]
            self.assertEqual(numbers, list(range(sent)))
