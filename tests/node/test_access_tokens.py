"""Access tokens that are replaced while the bus works."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from atbus.errors import Status
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.testing.channel import VirtualChannel
from atbus.testing.conversation import make_terms
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests, Keeper
from tests.node.stranger import Stranger

COMMON, OLD, WRONG = (f"kanarie-{which}-0123456789abcdef" for which in ("one", "old", "wrong"))
#: Of a token no more than so many bytes may be seen; as many are the same by chance.
_PIECE_BYTES = 6


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


class WireTests(BusTests):
    """What whoever listens on the wire can read."""

    def assert_not_read(self, channels: Sequence[VirtualChannel], *tokens: str) -> None:
        """No piece of a token has been sent in either direction, in no form."""
        ends = [end for channel in channels for end in (channel, channel.other)]
        for end in ends:
            self.assertNotEqual(end.sent, [])
        said = b"".join(frame for end in ends for frame in end.sent)
        for token in map(str.encode, tokens):
            pieces = {
                token[at : at + _PIECE_BYTES] for at in range(len(token) - _PIECE_BYTES + 1)
            }
            forms = {*pieces, *(piece.hex().encode() for piece in pieces)}
            forms |= {piece[::-1] for piece in pieces} | {base64.b64encode(token)[:8]}
            self.assertEqual([form for form in forms if form in said], [])

    def test_no_token_is_on_the_wire(self) -> None:
        """Whether a registration succeeds, for control and for data, or is refused."""
        root = self.root(access_tokens=[OLD, COMMON])
        child = self.child(access_tokens=[COMMON])
        self.network.start(root, child)
        self.network.settle()
        ends = self.network.between(root, child)
        self.assertEqual(len(ends), 2)
        self.assert_not_read(ends, OLD, COMMON)
        stranger = Stranger(self.network, make_terms(SIBLING, tokens=(WRONG.encode(),)))
        stranger.dial(ROOT_ADDRESS)
        self.network.settle()
        channel = stranger.channel
        assert isinstance(channel, VirtualChannel)
        assert stranger.refused is not None
        self.assertIs(stranger.refused.status, Status.ACCESS_DENIED)
        self.assert_not_read([channel], OLD, COMMON, WRONG)
