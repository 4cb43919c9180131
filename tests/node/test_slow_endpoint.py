"""An endpoint that does not take what is sent to it is named."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.node.endpoint import Endpoint
from atbus.testing.network import VirtualNetwork

SOFT = 100_000


class SlowEndpointTests(SynchronousTestCase):
    """A child whose connections take nothing for a while."""

    def test_named_once_until_it_has_caught_up(self) -> None:
        """The event comes when the soft limit is passed, and again only after a recovery."""
        network = VirtualNetwork()
        root = network.node(
            id=0x100, listen=["unix:///root"], subnets=[(0, 8)], queued_bytes_soft=SOFT
        )
        leaf = network.node(id=0x101, upstream="unix:///root")
        network.start(root, leaf)
        network.settle()
        named: list[tuple[int, int]] = []

        def note(endpoint: Endpoint, queued_bytes: int) -> None:
            named.append((endpoint.bus_id, queued_bytes))

        root.events.on_slow_endpoint.observe(note)
        channels = network.between(root, leaf)
        for expected in (1, 2):
            for channel in channels:
                channel.stall()
            for _ in range(20):
                root.send(0x101, bytes(10_000))
                network.settle(0.01)
            self.assertEqual(len(named), expected)
            for channel in channels:
                channel.resume()
            network.settle()
        self.assertEqual({bus_id for bus_id, _ in named}, {0x101})
        self.assertGreater(min(queued for _, queued in named), SOFT)
