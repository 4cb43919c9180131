"""Tests of `atbus.nats.route_grammar`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.route_grammar import Routed, RouteGrammar, write_routed
from atbus.nats.server_grammar import Broken, Common, Interest, Message, Ping, Pong, Refused

#: As nats-server 2.9.10 and 2.15.1 have said it, both with the same bytes.
HEARD: list[tuple[bytes, Routed | Common]] = [
    (b"RS+ $G a.*\r\n", Routed("$G", Interest("a.*", "", 1))),
    (b"RS+ $G w q 1\r\n", Routed("$G", Interest("w", "q", 1))),
    (b"RS+ $G w q 2\r\n", Routed("$G", Interest("w", "q", 2))),
    (b"RS- $G w q\r\n", Routed("$G", Interest("w", "q", 0))),
    (b"RS- $G a.*\r\n", Routed("$G", Interest("a.*", "", 0))),
    (b"RMSG $G z 2\r\nzz\r\n", Routed("$G", Message("z", "", (), b"", b"zz"))),
    (b"RMSG $G z r.1 2\r\nzr\r\n", Routed("$G", Message("z", "r.1", (), b"", b"zr"))),
    (
        b"HMSG $G z 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
        Routed("$G", Message("z", "", (), b"NATS/1.0\r\n\r\n", b"x")),
    ),
    (b"RMSG $G w | q 2\r\nww\r\n", Routed("$G", Message("w", "", ("q",), b"", b"ww"))),
    (b"RMSG $G w + r.2 q 2\r\nwr\r\n", Routed("$G", Message("w", "r.2", ("q",), b"", b"wr"))),
    (
        b"HMSG $G w + r.3 q 12 14\r\nNATS/1.0\r\n\r\nwh\r\n",
        Routed("$G", Message("w", "r.3", ("q",), b"NATS/1.0\r\n\r\n", b"wh")),
    ),
    (b"PING\r\n", Ping()),
    (b"PONG\r\n", Pong()),
    (b"-ERR 'Unknown Protocol Operation'\r\n", Refused("Unknown Protocol Operation")),
]


class RouteGrammarTests(SynchronousTestCase):
    """What servers say to each other on a route."""

    def test_all_at_once_and_byte_by_byte(self) -> None:
        """However the stream is cut, the same operations come out."""
        stream = b"".join(text for text, _ in HEARD)
        wanted = [operation for _, operation in HEARD]
        self.assertEqual(RouteGrammar().feed(stream), wanted)
        grammar = RouteGrammar()
        found = [each for at in range(len(stream)) for each in grammar.feed(stream[at : at + 1])]
        self.assertEqual(found, wanted)

    def test_writing_is_the_inverse(self) -> None:
        """Interest and messages are written as servers write them."""
        for text, operation in HEARD:
            if isinstance(operation, Routed):
                self.assertEqual(write_routed(operation), text)

    def test_what_makes_no_sense_ends_it(self) -> None:
        """After the first line that cannot be understood nothing is."""
        for text in (
            b"RS+\r\n",
            b"RS+ $G\r\n",
            b"RS+ $G a q\r\n",
            b"RS+ \xff a\r\n",
            b"RMSG $G 2\r\nok\r\n",
            b"RMSG $G a | 2\r\nok\r\n",
            b"RMSG $G a 2\r\nokay\r\n",
            b"LS+ a\r\n",
            b"LMSG a 2\r\nok\r\n",
            b"MSG a 1 2\r\nok\r\n",
            b"SUB a 1\r\n",
        ):
            grammar = RouteGrammar()
            found = grammar.feed(text + b"PING\r\n")
            self.assertIsInstance(found[-1], Broken, repr(text))
            self.assertEqual(grammar.feed(b"PING\r\n"), [])
