"""docs/howto/publish-and-subscribe.rst: its commands, typed by hand."""

from __future__ import annotations

import signal

from twisted.internet.task import deferLater

from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.processes.pages import PageCase


class ByHandTests(PageCase):
    """A reader with a node, at which somebody tells of his state."""

    PAGE = "howto/publish-and-subscribe.rst"

    async def test_by_hand(self) -> None:
        """What is published is printed with its header, and all who are asked answer."""
        self.places["/run/atbus"] = str(self.folder)
        listen = f"unix://{self.folder}/proxy.sock"
        node = Node(NodeConfig(id=0x100, listen=[listen]), self.reactor)
        self.addCleanup(node.stop)
        await node.start()
        node.subscribe("status.services", lambda _: b"fine")
        node.subscribe("status.services", lambda _: b"tired")
        self.exports("export ATBUS_URL=")
        listening = self.types("atbus sub 'orders.>'")
        while "orders.first" not in listening.output:
            self.assertTrue(listening.running, listening.output)
            node.publish("orders.first", b"")
            await deferLater(self.reactor, 0.02)
        await self.does("atbus pub orders.eu.new ")
        await listening.says(r'on "orders\.eu\.new".*\nCurrency: EUR\n\{"pieces": 3\}\n')
        await listening.stops(signal.SIGINT)
        answers = await self.does("atbus req --all status.services")
        self.assertIn("fine", answers)
        self.assertIn("tired", answers)
