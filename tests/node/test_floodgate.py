"""Neighbors that announce without end."""

from __future__ import annotations

from atbus.node import bounds
from atbus.wire import codec
from atbus.wire.messages import Interest, InterestEntry, Message, ServiceBatch, ServiceEntry
from tests.node.mail import NORTH, ROOT, MailTests

FRAME_BYTES = 1_000


def interest(number: int) -> Message:
    """Ask for something else each time."""
    entry = InterestEntry(subject=f"a.{number}", weight=1)
    text = InterestEntry(subject="b" * 250, weight=1)
    return Interest(source=NORTH, destination=ROOT, entries=(entry, text, text, text))


def services(number: int) -> Message:
    """Write a document anew."""
    entry = ServiceEntry(
        bus_id=NORTH, epoch=1, seq=number, key="bus/services/x-0x10100", value=bytes(FRAME_BYTES)
    )
    return ServiceBatch(source=NORTH, destination=ROOT, services=(entry,))


class FloodTests(MailTests):
    """A proxy that tells its upstream more than anybody wants to know."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(bounds, "ANNOUNCED_BYTES_BURST", 20 * FRAME_BYTES)
        self.patch(bounds, "ANNOUNCED_BYTES_PER_SECOND", 2 * FRAME_BYTES)

    def test_a_held_link_can_end(self) -> None:
        """A neighbor that is not read and goes is gone soon."""
        root, north, _ = self.proxies()
        control = self.control_channel(north, root)
        control.send([codec.encode(interest(number)) for number in range(60)])
        self.network.settle(0.05)
        self.assertEqual(root.statistics.reading_held, 1)
        self.kill(north)
        self.network.settle(2)
        self.assertNotIn(NORTH, root.endpoints)
