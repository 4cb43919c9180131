"""Access tokens that are replaced while the bus works."""

from __future__ import annotations

from atbus.errors import Status
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from tests.node.bus import CHILD, ROOT, SIBLING, BusTests, Keeper


class RotationTests(BusTests):
    """A token that everybody knows is replaced while the bus works."""

    def reconnect(self, child: Node) -> None:
        """Let a node leave its upstream, and wait until it has come again."""
        self.network.result_of(child.disconnect(ROOT))
        self.network.clock.run_until(lambda: self.ids(child) == [ROOT], 60)
        self.network.settle()

    def test_a_token_is_replaced(self) -> None:
        """
        While each node knows both tokens they can be changed one by one: no link ends by it,
        whoever comes again comes in, and nothing is lost; who has only the old one then stays out.
        """
        root = self.root(access_tokens=["old"])
        one, two = (self.child(each, access_tokens=["old"]) for each in (CHILD, SIBLING))
        self.network.start(root, one, two)
        self.network.settle()
        root.receiver = kept = Keeper()
        sent = []
        steps = [(node, ["new", "old"]) for node in (two, root, one)]
        for node, tokens in (*steps, (root, ["new"]), (one, ["new"]), (two, ["new"])):
            reconfigure(node, node.config.replace(access_tokens=tokens))
            self.network.settle()
            self.assertEqual(self.ids(root), [CHILD, SIBLING])
            for child in (one, two):
                for payload in (b"before", b"after"):
                    sent.append((child.bus_id, 0, payload))
                    child.send(ROOT, payload)
                    self.network.settle()
                    self.reconnect(child)
        self.assertEqual(kept.messages, sent)
        late = self.child(CHILD + 5, access_tokens=["old"])
        self.assertIs(self.refusal_of(late.start()), Status.ACCESS_DENIED)
        for node in (root, one, two):
            self.assertEqual(self.diaries[node].errors(), ["ACCESS_DENIED"] * (node is root))
