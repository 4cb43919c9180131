"""Processes that are told to stop."""

from __future__ import annotations

import signal

from tests.processes.harness import UP, NodeProcess, ProcessCase

RATE = 5000

PROXY = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/proxy.sock"]
record_events = "proxy.events"
drain_seconds = 3600
linger_seconds = 3600
"""

RECEIVER = """
id = "0x10002"
upstream = "unix://{folder}/proxy.sock"
record_events = "receiver.events"
drain_seconds = 3600
linger_seconds = 3600
[application]
callable = "tests.processes.talker:listen"
settings = { every = 1000 }
"""

SENDER = f"""
id = "0x10001"
upstream = "unix://{{folder}}/proxy.sock"
record_events = "sender.events"
drain_seconds = 3600
linger_seconds = 3600
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


STUBBORN = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/proxy.sock"]
drain_seconds = 3600
[application]
callable = "tests.processes.witness:HOW"
"""

ASKER = """
id = "0x10001"
upstream = "unix://{folder}/proxy.sock"
[application]
callable = "tests.processes.witness:ask"
settings = { target = 0x10000 }
"""


class AtOnceTests(ProcessCase):
    """A node that cannot stop in good order within the patience of who stops it."""

    async def ask(self, how: str) -> NodeProcess:
        """Start a node that has a request which it will never answer."""
        stubborn = self.start("stubborn", STUBBORN.replace("HOW", how))
        await stubborn.says(UP)
        self.start("asker", ASKER)
        await stubborn.says("was asked")
        return stubborn

    async def test_the_second_signal(self) -> None:
        """A node that still owes an answer waits with its end, and ends at the second signal."""
        stubborn = await self.ask("never")
        stubborn.kill(signal.SIGTERM)
        await stubborn.says("is stopping")
        self.assertTrue(stubborn.running)
        self.assertEqual(await stubborn.stops(signal.SIGINT), -signal.SIGTERM)
        await stubborn.says("Server Shut Down")
        self.assertNotIn("Traceback", stubborn.output)

    async def test_the_third_signal(self) -> None:
        """A node whose application blocks the reactor for ever ends at the third signal."""
        stubborn = await self.ask("block")
        stubborn.kill(signal.SIGTERM)
        await stubborn.says("Received SIGTERM")
        stubborn.kill(signal.SIGTERM)
        await stubborn.says("once more")
        self.assertEqual(await stubborn.stops(signal.SIGTERM), -signal.SIGTERM)
