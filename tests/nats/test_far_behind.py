"""Clients for whom much waits."""

from __future__ import annotations

import tracemalloc

from atbus.nats.client import PIECE_BYTES
from tests.nats.harbor import HarborTests
from tests.nats.transcripts import QUIET


class PieceTests(HarborTests):
    """What waits is written in pieces."""

    def test_what_waits_is_not_copied_for_each_piece(self) -> None:
        """A client that is far behind costs a piece when it takes one, not all that waits."""
        gateway = self.alone()
        slow, publisher = self.caller(gateway), self.caller(gateway)
        slow.says(QUIET + b"SUB a 1\r\n")
        publisher.says(QUIET)
        slow.is_deaf = True
        for number in range(100):
            publisher.says(b"PUB a 100001\r\n%b\r\n" % (b"%05d" % number * 20_001)[:100_001])
        tracemalloc.start()
        for _ in range(5):
            slow.protocol.resumeProducing()
            publisher.says(b"PUB a 2\r\nhi\r\n")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertTrue(peak < 12 * PIECE_BYTES, peak)
        slow.listens()
        heard = slow.hears()
        self.assertEqual(heard.count(b"MSG a 1 2\r\nhi\r\n"), 5)
        pieces = heard.split(b"MSG a 1 100001\r\n")[1:]
        self.assertEqual([int(each[:5]) for each in pieces], list(range(100)))
        self.assertEqual({len(each) for each in pieces[:-1]}, {100_003})
