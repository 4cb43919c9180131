"""A node whose ports are called without end by one who says nothing."""

from __future__ import annotations

import re
import sys

from atbus.handshake.certificate import parse_identity
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.channels.certificates import Files, tls_table
from tests.extent import extent, is_soon
from tests.processes.harness import ProcessCase

#: Where the flood comes from; others come from 127.0.0.1.
ELSEWHERE = "127.0.0.2"
#: More than a node lets begin.
PER_SECOND = extent(400, 1_500)
#: The slowest registration.
REGISTERED_SECONDS = 2.0

ROOT = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/s", "ipv4://127.0.0.1:0", "tls+ipv4://127.0.0.1:0"]
"""


class FloodTests(ProcessCase):
    """One process that does nothing but connect, to a plain port and to one for TLS."""

    async def test_one_address_keeps_nobody_out(self) -> None:
        """
        While one address begins many times as many connections as may begin, others register over
        a unix socket, over the plain port and with TLS, each of them soon; little is written.
        """
        self.files = Files(self.folder)
        own = self.files.issue(parse_identity("atbus://test/0x10000/16"))
        root = self.start("root", ROOT + tls_table(self.files.options(own)))
        listens = await root.says(r"listens on (\S+), (\S+), (\S+);")
        ports = re.findall(r":(\d+)", " ".join(listens.groups()))
        how = (ELSEWHERE, str(PER_SECOND), *ports)
        flood = self.run_program(
            "flood", sys.executable, "-m", "tests.processes.flood", *how
        )
        await flood.says("flooding")
        took_seconds = [
            await self.registers(address, 0x10100 + 3 * turn + place)
            for turn in range(extent(1, 30))
            for place, address in enumerate(listens.groups())
        ]
        self.assertTrue(flood.running, flood.output)
        self.assertTrue(is_soon(max(took_seconds), REGISTERED_SECONDS), took_seconds)
        await root.says(f"{ELSEWHERE}: more than 300 connections in a second")
        self.assertNotIn("Traceback", root.output)

    async def registers(self, upstream: str, bus_id: int) -> float:
        """Let a node of this process register and go; gives the seconds until it had."""
        how = self.files.options(self.files.issue(parse_identity(f"atbus://test/{bus_id:#x}/0")))
        config = NodeConfig(
            id=bus_id,
            upstream=upstream,
            tls_certificate=how.certificate,
            tls_key=how.key,
            tls_authorities=how.authorities,
            tls_realm="test",
        )
        node = Node(config, self.reactor)
        self.addCleanup(node.stop)
        began = self.reactor.seconds()
        await node.start()
        took_seconds: float = self.reactor.seconds() - began
        await node.stop()
        return took_seconds
