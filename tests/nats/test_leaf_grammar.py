"""Tests of `atbus.nats.leaf_grammar`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats.leaf_grammar import LeafGrammar, write_interest, write_message
from atbus.nats.server_grammar import Broken, Info, Interest, Message, Ping, Pong, Refused

SAID = [
    (b'INFO {"client_id":4}\r\n', Info({"client_id": 4})),
    (b"LS+ a.*\r\n", Interest("a.*", "", 1)),
    (b"LS+ a.> q 3\r\n", Interest("a.>", "q", 3)),
    (b"LS+ a\vb q\f 3\r\n", Interest("a\vb", "q\f", 3)),
    (b"LS- a.*\r\n", Interest("a.*", "", 0)),
    (b"LS- a.> q\r\n", Interest("a.>", "q", 0)),
    (b"LMSG a 2\r\nok\r\n", Message("a", "", (), b"", b"ok")),
    (b"LMSG a r 0\r\n\r\n", Message("a", "r", (), b"", b"")),
    (b"LMSG a | p q 2\r\n\r\n\r\n", Message("a", "", ("p", "q"), b"", b"\r\n")),
    (b"LMSG a + r q 2\r\nok\r\n", Message("a", "r", ("q",), b"", b"ok")),
    (
        b"HMSG a 12 14\r\nNATS/1.0\r\n\r\nok\r\n",
        Message("a", "", (), b"NATS/1.0\r\n\r\n", b"ok"),
    ),
    (
        b"HMSG a + r q 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        Message("a", "r", ("q",), b"NATS/1.0\r\n\r\n", b""),
    ),
    (b"PING\r\n", Ping()),
    (b"PONG\r\n", Pong()),
    (b"-ERR 'Stale Connection'\r\n", Refused("Stale Connection")),
]


class LeafGrammarTests(SynchronousTestCase):
    """What servers say to each other as leafs."""

    def test_all_at_once_and_byte_by_byte(self) -> None:
        """However the stream is cut, the same operations come out."""
        stream = b"".join(text for text, _ in SAID)
        wanted = [operation for _, operation in SAID]
        self.assertEqual(LeafGrammar().feed(stream), wanted)
        grammar = LeafGrammar()
        found = [each for at in range(len(stream)) for each in grammar.feed(stream[at : at + 1])]
        self.assertEqual(found, wanted)

    def test_writing_is_the_inverse(self) -> None:
        """Interest and messages are written as they are read."""
        for text, operation in SAID:
            if isinstance(operation, Interest):
                self.assertEqual(write_interest(operation), text)
            elif isinstance(operation, Message):
                self.assertEqual(write_message(operation), text)

    def test_a_line_without_an_end(self) -> None:
        """No more than the limit is held of a line."""
        grammar = LeafGrammar()
        begin = b'INFO {"a":"'
        self.assertEqual(grammar.feed(begin.ljust(bounds.LEAF_LINE_BYTES)), [])
        (broken,) = grammar.feed(b" ")
        self.assertIsInstance(broken, Broken)

    def test_a_payload_is_refused_before_it_comes(self) -> None:
        """A size above the limit is refused when its line is read; the limit itself is not."""
        most = bounds.LEAF_PAYLOAD_BYTES
        self.assertEqual(LeafGrammar().feed(b"LMSG a %d\r\n" % most), [])
        (broken,) = LeafGrammar().feed(b"LMSG a %d\r\n" % (most + 1))
        self.assertIsInstance(broken, Broken)

    def test_what_makes_no_sense_ends_it(self) -> None:
        """After the first line that cannot be understood nothing is."""
        for text in (
            b"SUB a 1\r\n",
            b"LS+ a q\r\n",
            b"LS+ a q x\r\n",
            b"LMSG a\r\n",
            b"LMSG a -1\r\n",
            b"LMSG a 1234567890\r\n",
            b"LMSG a | 2\r\nok\r\n",
            b"LMSG a 2\r\nokay\r\n",
            b"HMSG a 3 2\r\nok\r\n",
            b"INFO []\r\n",
            b"INFO {\r\n",
            b"LS+ \xff\r\n",
            b"x" * 70_000,
        ):
            grammar = LeafGrammar()
            found = grammar.feed(text + b"PING\r\n")
            self.assertIsInstance(found[-1], Broken, repr(text[:40]))
            self.assertEqual(grammar.feed(b"PING\r\n"), [])
