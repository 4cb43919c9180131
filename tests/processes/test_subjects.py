"""Publishing and subscribing between processes."""

from __future__ import annotations

import signal

from tests.processes.harness import UP, ProcessCase

ROOT = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/root.sock"]
"""

RELAY = """
id = "0x10100"
subnets = ["0/8"]
listen = ["unix://{folder}/relay.sock"]
upstream = "unix://{folder}/root.sock"
overwrite_listen_path = true
[retry]
initial_seconds = 0.02
seconds_max = 0.05
"""

LEAF = """
id = "%s"
upstream = "unix://{folder}/%s.sock"
[retry]
initial_seconds = 0.02
seconds_max = 0.05
[application]
callable = "tests.processes.reader:%s"
"""


class SubjectTests(ProcessCase):
    """A leaf that asks, the relay above it, the root, and a leaf below that which answers."""

    async def test_the_relay_is_killed_and_comes_back(self) -> None:
        """
        Three hops apart two programs talk by a subject; when the relay between them is killed, who
        asks is told at once that nobody is there, and when it is back the interest is, too.
        """
        root = self.start("root", ROOT)
        await root.says(UP)
        relay = self.start("relay", RELAY)
        await relay.says(UP)
        answering = self.start("answering", LEAF % ("0x10001", "root", "answer"))
        await answering.says("known everywhere")
        asking = self.start("asking", LEAF % ("0x10101", "relay", "ask"))
        await asking.says(r"answered \?! by 0x10001")
        relay.kill(signal.SIGKILL)
        self.assertEqual(await relay.ends(), -signal.SIGKILL)
        await asking.says("failed NO_RESPONDERS")
        relay = self.start("relay")
        await asking.says(r"answered \?! by 0x10001")
        for process in (asking, answering, relay, root):
            self.assertEqual(await process.stops(), -signal.SIGTERM)
