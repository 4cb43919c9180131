"""Two nodes as real processes, each with a gateway for clients of NATS."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from tests.processes.harness import UP, NodeProcess, ProcessCase

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


class TwoGateways(ProcessCase):
    """A root and a child."""

    async def begin(self, *lines: str) -> tuple[list[NodeProcess], list[str]]:
        """
        Start both.

        :param lines: More of the table ``[nats]``.
        :returns: The processes, and the URLs of their gateways.
        """
        processes, urls = [], []
        for name, config in (("root", ROOT), ("child", CHILD)):
            process = self.start(name, config + "\n".join(lines))
            # In either order.
            wanted = [r"nats listen: 127\.0\.0\.1:(\d+)", UP]
            told = [Deferred.fromCoroutine(process.says(line)) for line in wanted]
            matches = await gatherResults(told)
            urls.append(f"nats://127.0.0.1:{matches[0][1]}")
            processes.append(process)
        return processes, urls
