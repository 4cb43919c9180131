"""Processes that are told to stop."""

from __future__ import annotations

import signal

from tests.processes.harness import UP, ProcessCase

RATE = 5000

PROXY = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/proxy.sock"]
record_events = "proxy.events"
"""

RECEIVER = """
id = "0x10002"
upstream = "unix://{folder}/proxy.sock"
record_events = "receiver.events"
[application]
callable = "tests.processes.talker:listen"
settings = { every = 1000 }
"""

SENDER = f"""
id = "0x10001"
upstream = "unix://{{folder}}/proxy.sock"
record_events = "sender.events"
[application]
callable = "tests.processes.talker:talk"
settings = {{ target = 0x10002, rate = {RATE} }}
"""


class StopUnderLoadTests(ProcessCase):
    """A node that stops while thousands of messages a second arrive."""

    async def test_the_receiver_stops(self) -> None:
        """What the receiver was sent is delivered or refused by name; nothing is lost."""
        proxy = self.start("proxy", PROXY)
        await proxy.says(UP)
        receiver = self.start("receiver", RECEIVER)
        await receiver.says(UP)
        sender = self.start("sender", SENDER)
        await receiver.says("received 10000\n")
        self.assertEqual(await receiver.stops(), -signal.SIGTERM)
        await sender.says("sent ")
        self.assertEqual(await sender.stops(), -signal.SIGTERM)
        self.assertEqual(await proxy.stops(), -signal.SIGTERM)
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual((verdict.lost, verdict.uncertain, verdict.unfinished), (0, 0, ()))

    async def test_the_proxy_stops(self) -> None:
        """What is passing through the proxy reaches its target or is refused; nothing is lost."""
        proxy = self.start("proxy", PROXY)
        await proxy.says(UP)
        receiver = self.start("receiver", RECEIVER)
        await receiver.says(UP)
        sender = self.start("sender", SENDER)
        await receiver.says("received 10000\n")
        self.assertEqual(await proxy.stops(), -signal.SIGTERM)
        await sender.says("refused: ")
        self.assertEqual(await sender.stops(), -signal.SIGTERM)
        self.assertEqual(await receiver.stops(), -signal.SIGTERM)
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual((verdict.lost, verdict.uncertain, verdict.unfinished), (0, 0, ()))
