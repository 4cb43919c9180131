"""Commands to nodes that there is no way to yet."""

from __future__ import annotations

from atbus import limits
from atbus.errors import Status
from atbus.node.node import Node
from tests.node.mesh import EU1, EU2, EU_LEAF, EU_OTHER, MeshTests


def _echo(node: Node) -> None:
    node.on_command(lambda source, words: [b"%x" % source, *words])


class WaitingTests(MeshTests):
    """They wait while their target is dialled, as messages do."""

    def test_a_command_waits_for_the_connection(self) -> None:
        """A command to a node that there is no way to has it dialled, and waits for that."""
        one, two = self.lone_pair()
        self.network.start(two)
        _echo(two)
        self.assertEqual(self.ended(one.command(self.TWO, b"echo")), [b"31", b"echo"])
        self.assertIn(self.TWO, one.endpoints)
        self.assertEqual(one._parts.traffic.courier.parked, 0)

    def test_a_command_to_who_never_comes(self) -> None:
        """It ends when it has waited long enough, or with the node; nothing is left of it."""
        one, _ = self.lone_pair()
        self.patch(limits, "PARKED_RESPONSE_SECONDS", 3.0)
        asking = one.command(self.TWO, b"echo", timeout=60)
        self.assertIs(self.ended(asking, 4), Status.NO_ROUTE)
        self.assertEqual(one._parts.traffic.courier.parked, 0)
        asking = one.command(self.TWO, b"echo", timeout=60)
        self.network.result_of(one.stop())
        self.assertIs(self.ended(asking), Status.CLOSING)

    def test_a_command_to_who_may_not_be_dialled(self) -> None:
        """It is refused at once."""
        deny = [{"name": "closed", "action": "deny"}]
        for options in (
            {"direct_connections": False},
            {"policy": deny},
            {"pending_policy": "fail"},
        ):
            one, _ = self.lone_pair(**options)
            asking = one.command(self.TWO, b"echo", timeout=60)
            self.assertIs(self.ended(asking, 0.01), Status.NO_ROUTE, options)

    def test_the_first_command_of_somebody_else(self) -> None:
        """It waits as messages do; who waits for nobody is told by the proxy that had dialled."""
        nodes = self.two_proxies()
        _echo(nodes[EU_OTHER])
        answer = self.ended(nodes[EU_LEAF].command(EU_OTHER, b"echo"))
        self.assertEqual(answer, [b"%x" % EU_LEAF, b"echo"])
        self.assertIn(EU2, nodes[EU1].endpoints)
        self.network.stop(nodes[EU_OTHER], nodes[EU2])
        self.network.settle()
        asking = nodes[EU_LEAF].command(EU_OTHER, b"echo", timeout=60)
        self.network.settle(0.01)
        self.assertEqual(nodes[EU1]._parts.traffic.courier.parked, 1)
        self.assertIs(self.ended(asking), Status.NO_ROUTE)
        self.assert_quiet(nodes[EU1], nodes[EU_LEAF])
