"""Those who are no nodes of the bus, as the node tells of them."""

from __future__ import annotations

from atbus import limits
from atbus.testing.conversation import make_terms
from atbus.wire import codec
from atbus.wire.messages import Hello
from tests.node.bus import CHILD, ROOT_ADDRESS, BusTests
from tests.node.stranger import Stranger


class StrangersTests(BusTests):
    """A node that asks for a token."""

    def test_each_stranger_is_one_error(self) -> None:
        """Whatever is wrong with who is no node of the bus, the node tells of it once."""
        root = self.root(access_tokens=["right"])
        self.network.start(root)
        hello = Hello(source=CHILD, version_min=1, version_max=1, nonce=bytes(16), frame_max=9999)
        good = codec.encode(hello)
        for said, status in (
            ([b"GET / HTTP/1.1\r\n\r\n"], "MALFORMED_FRAME"),
            ([bytes(64), bytes(64)], "MALFORMED_FRAME"),
            ([bytes(limits.HANDSHAKE_BYTES + 1)], "FRAME_TOO_LARGE"),
            ([good, good], "OUT_OF_TURN"),
            ([good, bytes(64)], "MALFORMED_FRAME"),
        ):
            stranger = Stranger(self.network).dial(ROOT_ADDRESS)
            stranger.say_raw(*said)
            self.network.settle(1)
            self.assertIsNotNone(stranger.ended)
            self.assertEqual(self.diaries[root].errors(), [status], said)
            self.diaries[root].clear()
        for terms, status in (
            (make_terms(CHILD, tokens=(b"wrong",)), "ACCESS_DENIED"),
            (make_terms(CHILD), "ACCESS_DENIED"),
            (None, "HANDSHAKE_TIMEOUT"),
        ):
            stranger = Stranger(self.network, terms).dial(ROOT_ADDRESS)
            self.network.settle(30)
            self.assertIsNotNone(stranger.ended)
            self.assertEqual(self.diaries[root].errors(), [status])
            self.diaries[root].clear()
