"""Nodes of one host whose data takes shared memory: real sockets, real memory, the real clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from atbus.busid import BusId
from atbus.node.config import NodeConfig
from atbus.node.lanes import Lanes
from atbus.node.node import Node
from tests.channels.sockets import SocketTests
from tests.node.bus import CHILD, ROOT, Keeper
from tests.node.diary import Diary


def lanes_of(node: Node) -> Lanes:
    """Give the lanes of a node."""
    return node._parts.lanes


class LaneCase(SocketTests):
    """A root and a child over a unix socket."""

    timeout = 60

    async def pause(self, seconds: float = 0.0) -> None:
        """Let the reactor turn."""
        turn: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, turn.callback, None)
        await turn

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; the test's own timeout is the limit."""
        while not condition():
            await self.pause(0.005)

    async def node(self, bus_id: int, **options: Any) -> Node:
        """Start a node that offers lanes; it is stopped when the test is over."""
        node = Node(NodeConfig(id=bus_id, **options), reactor=self.reactor)
        self.diaries[node] = Diary(node)
        self.addCleanup(node.stop)
        await node.start()
        return node

    async def pair(self, *, offered: bool = True, **options: Any) -> tuple[Node, Node]:
        """Start a root and a child; the root offers a lane at once unless told otherwise."""
        self.diaries: dict[Node, Diary] = {}
        path = f"unix://{self.directory}/root.sock"
        root = await self.node(ROOT, listen=[path, "shm://auto"], subnets=[(0, 16)], **options)
        child = await self.node(CHILD, upstream=path, listen=["shm://auto"])
        await self.until(lambda: CHILD in root.endpoints and root.endpoints[CHILD].available)
        root.receiver, child.receiver = Keeper(), Keeper()
        if offered:
            self.offer(root)
            await self.until(lambda: self.used(child) == "shm")
        return root, child

    async def pair_both_ways(self) -> tuple[Node, Node]:
        """Start a root and a child with a lane each way."""
        root, child = await self.pair()
        lanes_of(child)._offer(child.endpoints[BusId(ROOT)])
        await self.until(lambda: self.used(root, CHILD) == "shm")
        return root, child

    def offer(self, root: Node) -> None:
        """Offer a lane without waiting for traffic."""
        lanes_of(root)._offer(root.endpoints[BusId(CHILD)])

    def used(self, node: Node, other: int = ROOT) -> str:
        """Say which channel a node's data takes to another."""
        connection = node.next_hop(other).connection
        return "" if connection is None else connection.address.scheme.value

    def received(self, node: Node) -> list[bytes]:
        """Give what a node has received."""
        assert isinstance(node.receiver, Keeper)
        return node.receiver.payloads


def spawn(test: LaneCase, role: str, path: str) -> subprocess.Popen[bytes]:
    """Start the other node of a test; it ends with it."""
    process = subprocess.Popen([sys.executable, "-m", "tests.processes.sharer", role, path])
    test.addCleanup(process.wait)
    test.addCleanup(process.kill)
    return process
