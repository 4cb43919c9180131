"""Large messages and small ones take turns on a link."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.node.node import Node
from atbus.wire.head import peek
from tests.node.mail import NORTH, MailTests

LARGE_BYTES = limits.MESSAGE_BYTES_MAX
# What the channel has already is in order; behind it each destination has its turn.
FRAMES_MAX = limits.CHANNEL_BYTES // limits.FRAME_BYTES + 2


class TurnTests(MailTests):
    """A large message on its way to a proxy, and a small one to a leaf behind it."""

    def family(self) -> list[Node]:
        """Start a proxy with two leaves, which take the largest messages that there are."""
        options: dict[str, Any] = {
            "message_bytes_max": LARGE_BYTES,
            "queued_bytes_node": 4 * LARGE_BYTES,
            "queued_bytes_hard": 4 * LARGE_BYTES,
            "queued_bytes_soft": 2 * LARGE_BYTES,
            "direct_notice": False,
        }
        _, north, _ = self.proxies(**options)
        return [north, *(self.leaf(NORTH + number, **options) for number in (1, 2))]

    def test_a_small_one_waits_for_few_frames(self) -> None:
        """Behind a message of 64 MiB a small one of another flow waits for some twenty frames."""
        north, one, three = self.family()
        channel = self.data_channel(one, north)
        channel.stall()
        large = bytes(LARGE_BYTES)
        one.send(north.bus_id, large)
        self.network.settle(0.001)
        one.send(three.bus_id, b"small")
        self.network.settle(0.001)
        before = len(channel.sent)
        channel.resume()
        self.network.settle(2)
        targets = [peek(frame)[6] for frame in channel.sent[before:]]
        self.assertLessEqual(targets.index(three.bus_id), FRAMES_MAX)
        self.assertGreater(targets.count(north.bus_id), LARGE_BYTES // limits.FRAME_BYTES)
        self.assertEqual(self.mail[three].payloads, [b"small"])
        self.assertTrue(self.mail[north].payloads == [large])
