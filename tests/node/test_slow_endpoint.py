"""An endpoint that does not take what is sent to it is named."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import Status
from atbus.node.endpoint import Endpoint
from atbus.node.node import Node
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

    def stuck(self) -> tuple[VirtualNetwork, Node, list[Status]]:
        """Let a child read nothing any more of what its root has for it."""
        network = VirtualNetwork()
        slow: dict[str, Any] = {"heartbeat_seconds": 600.0}
        root = network.node(id=0x100, listen=["unix:///root"], subnets=[(0, 8)], **slow)
        leaf = network.node(id=0x101, upstream="unix:///root", **slow)
        network.start(root, leaf)
        network.settle()
        lost: list[Status] = []
        root.events.on_close_connection.observe(lambda _, status: lost.append(status))
        self.channels = network.between(root, leaf)
        for channel in self.channels:
            channel.stall()
        root.send(0x101, bytes(100_000))
        network.settle(0.5)
        return network, root, lost

    def test_a_node_that_is_held_up_once(self) -> None:
        """
        A node that stands still for a minute blames nobody for that: who reads when it goes on, or
        somewhat later, stays.
        """
        network, root, lost = self.stuck()
        network.freeze(root)
        network.settle(60)
        network.thaw(root)
        network.settle(limits.WRITE_DEADLINE_SECONDS - 2)
        for channel in self.channels:
            channel.resume()
        network.settle(limits.WRITE_DEADLINE_SECONDS)
        self.assertEqual(lost, [])

    def test_a_node_that_is_held_up_again_and_again(self) -> None:
        """Who does not read is cut off by a node, too, that is kept busy all the time."""
        network, root, lost = self.stuck()
        times = 0
        while not lost:
            network.freeze(root)
            network.settle(2)
            network.thaw(root)
            network.settle(0.01)
            times += 1
            self.assertLessEqual(times, 1.5 * limits.WRITE_DEADLINE_SECONDS)
        self.assertEqual(lost, [Status.SLOW_CONSUMER])
        self.assertGreaterEqual(times, limits.WRITE_DEADLINE_SECONDS / 2)
