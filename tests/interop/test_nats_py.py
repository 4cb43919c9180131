"""nats-py at gateways of real processes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from tests.processes.harness import UP, NodeProcess, ProcessCase

CLIENT = Path(__file__).with_name("nats_py_client.py")

ROOT = """
id = "0x10000"
listen = ["unix://{folder}/root.sock"]
subnets = ["0/16"]
[nats]
listen = "127.0.0.1:0"
"""
CHILD = """
id = "0x10001"
upstream = "unix://{folder}/root.sock"
[nats]
listen = "127.0.0.1:0"
"""


class NatsPyTests(ProcessCase):
    """Two nodes, each with a gateway."""

    async def begin(self) -> tuple[list[NodeProcess], list[str]]:
        """Start both; give the processes and the URLs of their gateways."""
        processes, urls = [], []
        for name, config in (("root", ROOT), ("child", CHILD)):
            process = self.start(name, config)
            # In either order.
            lines = [r"nats listen: 127\.0\.0\.1:(\d+)", UP]
            told = [Deferred.fromCoroutine(process.says(line)) for line in lines]
            matches = await gatherResults(told)
            urls.append(f"nats://127.0.0.1:{matches[0][1]}")
            processes.append(process)
        return processes, urls

    def run_client(self, scenario: str, urls: list[str]) -> NodeProcess:
        """Start the program with nats-py."""
        return self.run_program("client", sys.executable, str(CLIENT), scenario, *urls)

    def test_everything(self) -> Deferred[None]:
        """Publications, groups, requests, headers, limits and drain, from gateway to gateway."""
        return Deferred.fromCoroutine(self.everything())

    async def everything(self) -> None:
        _, urls = await self.begin()
        client = self.run_client("basics", urls)
        for line in ("nobody answers", "that is too large", "passed"):
            await client.says(line)
        self.assertEqual(await client.ends(), 0)

    def test_a_gateway_dies(self) -> Deferred[None]:
        """A client goes on at the other gateway, which it has never been told of by its user."""
        return Deferred.fromCoroutine(self.a_gateway_dies())

    async def a_gateway_dies(self) -> None:
        (_, child), urls = await self.begin()
        client = self.run_client("reconnect", [urls[1], urls[0]])
        await client.says("knows both")
        child.kill(signal.SIGKILL)
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)
