"""A neighbor that is registered, and announces without end."""

from __future__ import annotations

from atbus.errors import Status
from atbus.node import bounds
from atbus.wire import codec
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests
from tests.node.test_floodgate import FRAME_BYTES, interest, services


class AnnouncementTests(MailTests):
    """A proxy that tells its upstream more than anybody wants to know."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(bounds, "ANNOUNCED_BYTES_BURST", 20 * FRAME_BYTES)
        self.patch(bounds, "ANNOUNCED_BYTES_PER_SECOND", 2 * FRAME_BYTES)

    def test_security_announcement_decoding(self) -> None:
        """
        Beyond what is free, frames wait with the sender and are read a few at a time; the neighbor
        is named once and not given up, and nobody else waits.
        """
        root, north, south = self.proxies()
        self.mail[root].letters.clear()
        control, other_end = self.control_channel(north, root), self.control_channel(root, north)
        for make in (interest, services):
            held, named, waiting = root.statistics.reading_held, self.errors(), 0
            for number in range(400):
                control.send([codec.encode(make(number))])
                self.network.settle(0.01)
                waiting = max(waiting, len(other_end._unread))
            self.assertGreater(waiting, 10)
            self.assertIn(root.statistics.reading_held - held, range(4, 20))
            self.assertEqual(len(self.errors()) - len(named), 1)
            south.send(ROOT, b"as ever")
            self.network.settle(0.01)
            self.assertEqual(self.mail[root].payloads[-1], b"as ever")
            self.network.settle(400)
        self.assertEqual(sorted(root.endpoints), [NORTH, SOUTH])

    def errors(self) -> list[str]:
        """Give what the root has told of overload."""
        root = self.nodes[0]
        return [each for each in self.diaries[root].errors() if each == Status.OVERLOADED.name]
