"""What waits for a node that is being dialled, when there is another way to it before that ends."""

from __future__ import annotations

from typing import Any

from atbus.errors import Status
from atbus.node.node import Node
from tests.node.mesh import CROSS, EU1, EU2, EU_LEAF, MeshTests, address_of


class OutrunDialTests(MeshTests):
    """A proxy that has lost its upstream, and dials the other one of its region."""

    def without_upstream(self, **options: Any) -> dict[int, Node]:
        """Part a proxy from its upstream, and from whom it will dial; it hears of neither."""
        nodes = self.mesh(CROSS, EU1, EU2, EU_LEAF, **options)
        for other in (CROSS, EU2):
            self.network.split(nodes[EU1], nodes[other])
        lost = self.network.clock.run_until(lambda: nodes[EU1].state == "lost_upstream")
        self.assertTrue(lost)
        return nodes

    def outrun(self, nodes: dict[int, Node], sender: int) -> None:
        """Send something, give the proxy its upstream back, and send something more."""
        dialled = len(self.network.dials)
        nodes[sender].send(EU2, b"waits")
        self.network.settle(0.2)
        self.assertIn(address_of(EU2), [str(each) for each in self.network.dials[dialled:]])
        self.assertEqual(self.mail[nodes[EU2]].payloads, [])
        self.network.heal(nodes[EU1], nodes[CROSS])
        back = self.network.clock.run_until(lambda: nodes[EU1].state == "running")
        self.assertTrue(back)
        nodes[sender].send(EU2, b"comes later")
        self.network.settle(0.5)
        self.assertEqual(self.mail[nodes[EU2]].payloads, [b"waits", b"comes later"])
        self.assertNotIn(EU2, nodes[EU1].endpoints)

    def test_of_its_own(self) -> None:
        """Messages of the node go the new way, in order, at once."""
        self.outrun(self.without_upstream(), EU1)

    def test_of_others(self) -> None:
        """So do those that it passes on."""
        self.outrun(self.without_upstream(), EU_LEAF)

    def test_alone(self) -> None:
        """Nobody need send anything more for it to go."""
        nodes = self.without_upstream()
        nodes[EU_LEAF].send(EU2, b"waits")
        self.network.settle(0.2)
        self.network.heal(nodes[EU1], nodes[CROSS])
        self.network.clock.run_until(lambda: nodes[EU1].state == "running")
        self.network.settle(0.5)
        self.assertEqual(self.mail[nodes[EU2]].payloads, [b"waits"])

    def test_no_more_than_has_room(self) -> None:
        """What there is no room for is refused for that, not because there is no way."""
        nodes = self.without_upstream(pending_count_max=1)
        leaf = nodes[EU_LEAF]
        leaf.send(EU2, b"waits")
        self.network.settle(0.1)
        late = leaf.send(EU2, b"is too much")
        self.network.settle(0.1)
        fates = [(f.first_sequence, f.status, f.gave_up_at) for f in self.mail[leaf].fates]
        self.assertEqual(fates, [(late, Status.BUFFER_LIMIT, EU1)])
        self.network.heal(nodes[EU1], nodes[CROSS])
        self.network.clock.run_until(lambda: nodes[EU1].state == "running")
        self.network.settle(0.5)
        self.assertEqual(self.mail[nodes[EU2]].payloads, [b"waits"])
