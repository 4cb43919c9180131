"""
A small bus in the test's own process, and the ``atbus`` command as a real process beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from atbus.channels.timers import MonotonicTimers
from atbus.cli.options import Via
from atbus.node.config import NodeConfig
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node

ROOT = Path(__file__).parents[2]

TOKEN = "an access token"

# What talks to a node, and in how many words it is said.
_TALKS = dict.fromkeys(("status", "nodes", "links", "routes", "send", "request"), 1)
_TALKS |= dict.fromkeys(("command", "ping", "trace", "drain", "pub", "sub", "req"), 1)
_TALKS |= dict.fromkeys(("route", "shm"), 2)


@implementer(IMessageReceiver)
class Receiver:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, bytes]] = []

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        self.messages.append((source, kind, payload))


class Ended:
    """
    How a command ended.

    :param out: What it wrote to stdout.
    :param err: What it wrote to stderr.
    :param code: Its exit code.
    """

    def __init__(self, out: bytes, err: bytes, code: int) -> None:
        self.out = out.decode()
        self.err = err.decode()
        self.code = code

    @property
    def json(self) -> Any:
        """The one value that it printed."""
        return json.loads(self.out)


class BusTestCase(TestCase):
    """
    Has, when `start_bus` was awaited, a root 0x10000, below it a proxy 0x10100, below it the leaf
    0x10101; and a leaf 0x10001 below the root.
    """

    timeout = 900

    def setUp(self) -> None:
        # The path of a socket is short; trial's own folders are deep.
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.nodes: list[Node] = []
        self.received: dict[int, Receiver] = {}
        self._timers = MonotonicTimers(self.reactor)
        self.addCleanup(self._timers.stop)
        self.addCleanup(self._stop_nodes)

    @property
    def reactor(self) -> Any:
        """The real one."""
        from twisted.internet import reactor  # noqa: TID251  # real sockets need the real one

        return reactor

    def address(self, bus_id: int) -> str:
        """Say where a node of this bus listens."""
        return f"unix://{self.folder}/{bus_id:x}.sock"

    def via(self, bus_id: int = 0x10000, timeout_seconds: float = 60.0) -> Via:
        """Say how to reach a node of this bus."""
        return Via(address=self.address(bus_id), tokens=(TOKEN,), timeout_seconds=timeout_seconds)

    async def start_bus(self) -> None:
        """Start the four nodes."""
        await self.start_node(0x10000, subnets=[(0, 16)])
        await self.start_node(0x10100, subnets=[(0, 8)], upstream=self.address(0x10000))
        await self.start_node(0x10101, upstream=self.address(0x10100), labels={"region": "eu"})
        await self.start_node(0x10001, upstream=self.address(0x10000))

    async def start_node(self, bus_id: int, **options: Any) -> Node:
        """Start a node that keeps its messages, shouts requests back and repeats commands."""
        options.setdefault("listen", [self.address(bus_id)])
        node = Node(
            NodeConfig(id=bus_id, access_tokens=[TOKEN], **options),
            self.reactor,
            timers=self._timers,
        )
        self.received[bus_id] = Receiver()
        node.receiver = self.received[bus_id]
        node.on_request(lambda _source, payload: payload.upper())
        node.on_command(lambda _source, words: list(words))
        self.nodes.append(node)
        await node.start()
        return node

    def _stop_nodes(self) -> Deferred[Any]:
        return DeferredList([node.stop() for node in reversed(self.nodes)])

    async def atbus(
        self,
        *words: str,
        via: int = 0x10000,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """
        Run the command.

        :param words: What stands behind ``atbus``.
        :param via: The node that it talks to, if it talks to any.
        :param stdin: What it can read.
        :param environment: Variables besides ATBUS_URL and ATBUS_TOKEN.
        :returns: How it ended.
        """
        if "--timeout" not in words and (count := _TALKS.get(words[0])):
            # No command is given up because the machine is slow.
            words = (*words[:count], "--timeout", "60", *words[count:])
        env = {
            **os.environ,
            "ATBUS_URL": self.address(via),
            "ATBUS_TOKEN": TOKEN,
            **(environment or {}),
        }
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "atbus", *words],
            env=env,
            path=str(ROOT),
            stdinBytes=stdin or None,
        )
        return Ended(out, err, code)
