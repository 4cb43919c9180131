"""Nodes register with each other, over a virtual network."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.network import VirtualNetwork


class TreeTests(SynchronousTestCase):
    """A parent and a child."""

    def test_child_and_parent_see_each_other(self) -> None:
        """A child registers with its parent; each is the other's endpoint, with two connections."""
        network = VirtualNetwork()
        root = network.node(id=0x10000, listen=["ipv4://10.0.0.1:1"], subnets=[(0, 16)], allow_insecure=True)
        leaf = network.node(id=0x10001, upstream="ipv4://10.0.0.1:1")
        network.start(root, leaf)
        network.settle()
        self.assertEqual([hex(i) for i in root.endpoints], ["0x10001"])
        self.assertEqual(len(root.endpoints[0x10001].connections), 2)
        network.stop(leaf, root)
        network.settle()
        self.assertEqual(network.clock.getDelayedCalls(), [])
