"""Header blocks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError
from atbus.wire.headers import pack_headers, read_headers, read_status


class HeaderTests(SynchronousTestCase):
    """Names and values as they travel."""

    def test_a_block_as_nats_writes_it(self) -> None:
        """The block is NATS's, to the byte."""
        self.assertEqual(
            pack_headers({"A": "1", "b-C": "x y"}), b"NATS/1.0\r\nA: 1\r\nb-C: x y\r\n\r\n"
        )
        self.assertEqual(pack_headers((), "503"), b"NATS/1.0 503\r\n\r\n")

    def test_no_headers_are_no_block(self) -> None:
        """Who has nothing to say pays nothing."""
        self.assertEqual(pack_headers({}), b"")

    def test_names_may_repeat(self) -> None:
        """What was written is read, names in their case and as often as they were given."""
        pairs = (("Key", "1"), ("Key", "2"), ("key", "3"))
        self.assertEqual(read_headers(pack_headers(pairs)), pairs)

    def test_nothing_breaks_out_of_a_line(self) -> None:
        """A name or a value that would make another header is refused."""
        for name, value in [("a b", ""), ("", "x"), ("a:", "x"), ("a", "x\r\nb: y"), ("a", "\n")]:
            self.assertRaises(LocalProtocolError, pack_headers, {name: value})

    def test_strangers_may_write_anything(self) -> None:
        """Lines that are no headers are skipped."""
        self.assertEqual(read_headers(b"NATS/1.0\r\nno colon\r\n: x\r\na:b\r\n\r\n"), (("a", "b"),))
        self.assertEqual(read_headers(b"\xff"), ())

    def test_a_status_is_read(self) -> None:
        """What follows on the first line is the status."""
        self.assertEqual(read_status(b"NATS/1.0 503\r\n\r\n"), "503")
        self.assertEqual(read_status(b"NATS/1.0 503 No Responders\r\n\r\n"), "503 No Responders")
        self.assertEqual(read_status(b"NATS/1.0\r\n\r\n"), "")
        self.assertEqual(read_status(b"HTTP/1.1 503\r\n\r\n"), "")
