"""A node whose ports are full of people who say nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.channels.certificates import Files, tls_table
from tests.extent import extent, is_soon
from tests.processes.harness import UP, NodeProcess, ProcessCase

COUNT = 1_000
GROWTH_BYTES = 64 * 2**20
GONE_SECONDS = 10.0
#: The slowest of a hundred handshakes.
HANDSHAKE_SECONDS = 1.0

ROOT = """
id = "0x10000"
subnets = ["0/16"]
listen = ["ipv4://127.0.0.1:0", "tls+ipv4://127.0.0.1:0"]
"""

CHILD = """
id = "0x10001"
upstream = "ipv4://127.0.0.1:{port}"
"""


class SilenceTests(ProcessCase):
    """A thousand connections, half of them to the port for TLS."""

    async def test_a_thousand_silent_connections(self) -> None:
        """
        While there are a thousand of them, other nodes register, each of them soon; all are
        ended, and what they cost is bounded.
        """
        options = Files(self.folder).options()
        root = self.start("root", ROOT + tls_table(options))
        await root.says(UP)
        ports = await self.ports(root)
        before = self.bytes_of(root, "VmRSS")
        silent = self.run_program(
            "silent", sys.executable, "-m", "tests.processes.silent", str(COUNT), *ports
        )
        await silent.says(f"connected {COUNT}")
        child = self.start("child", CHILD.replace("{port}", ports[0]))
        await child.says(UP)
        took_seconds = [await self.registers(ports[0], 0x10100 + n) for n in range(extent(5, 100))]
        self.assertTrue(is_soon(max(took_seconds), HANDSHAKE_SECONDS), took_seconds)
        gone = await silent.says(rf"gone {COUNT} after ([\d.]+) s")
        self.assertTrue(is_soon(float(gone[1]), GONE_SECONDS), gone[0])
        self.assertEqual(await silent.ends(), 0)
        self.assertLess(self.bytes_of(root, "VmHWM") - before, GROWTH_BYTES)
        await root.says("knows 0x10001 as downstream")
        self.assertNotIn("Traceback", root.output)
        # Of a thousand refusals not each has a line.
        self.assertLess(len(root.output.splitlines()), COUNT)

    async def registers(self, port: str, bus_id: int) -> float:
        """Let a node of this process register and go; gives the seconds until it had."""
        node = Node(NodeConfig(id=bus_id, upstream=f"ipv4://127.0.0.1:{port}"), self.reactor)
        self.addCleanup(node.stop)
        began = self.reactor.seconds()
        await node.start()
        took_seconds: float = self.reactor.seconds() - began
        await node.stop()
        return took_seconds

    async def ports(self, root: NodeProcess) -> list[str]:
        """Give where a node listens: plain, and with TLS."""
        listens = await root.says(r"listens on (.*);")
        plain, encrypted = sorted(re.findall(r"(\S*ipv4)://127\.0\.0\.1:(\d+)", listens[1]))
        self.assertEqual((plain[0], encrypted[0]), ("ipv4", "tls+ipv4"))
        return [plain[1], encrypted[1]]

    def bytes_of(self, process: NodeProcess, key: str) -> int:
        """Read what the kernel says of a process's memory."""
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{key}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None, status
        return int(found[1]) * 1024
