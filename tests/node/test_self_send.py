"""What a node sends to itself."""

from __future__ import annotations

from zope.interface import implementer

from atbus import limits
from atbus.errors import Status
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from tests.node.mail import MailTests

HERE = 0x10000


@implementer(IMessageReceiver)
class Chain:
    """Sends the next message from inside the callback of the one before."""

    def __init__(self, node: Node, length: int) -> None:
        self.node = node
        self.length = length
        self.seen: list[int] = []
        self.depth = 0
        self.deepest = 0

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Count how deep calls are nested, and go on."""
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        self.seen.append(kind)
        if kind + 1 < self.length:
            self.node.send(HERE, b"", kind + 1)
        self.depth -= 1


class SelfSendTests(MailTests):
    """One node, alone."""

    def setUp(self) -> None:
        super().setUp()
        self.top = self.root()
        self.network.start(self.top)

    def test_outside_callbacks(self) -> None:
        """It is delivered before send returns, with source, kind and sequence.

        Scenario: L7
        """
        sequence = self.top.send(HERE, b"hello", 5)
        letter = self.mail[self.top].letters[0]
        self.assertEqual((letter.source, letter.kind), (HERE, 5))
        self.assertEqual((letter.sequence, letter.payload), (sequence, b"hello"))

    def test_inside_callbacks(self) -> None:
        """It is delivered after the present callback: calls are in order and never nested."""
        chain = self.top.receiver = Chain(self.top, 10)
        self.top.send(HERE, b"", 0)
        self.assertEqual(chain.seen, list(range(10)))
        self.assertEqual(chain.deepest, 1)

    def test_bounded_in_one_turn(self) -> None:
        """A node that talks to itself without end does not keep the reactor to itself.

        Scenario: L11
        """
        length = 3 * limits.SELF_MESSAGES_PER_TURN
        chain = self.top.receiver = Chain(self.top, length)
        self.top.send(HERE, b"", 0)
        self.assertEqual(len(chain.seen), limits.SELF_MESSAGES_PER_TURN)
        self.network.settle()
        self.assertEqual(chain.seen, list(range(length)))

    def test_a_callback_that_fails(self) -> None:
        """The message that failed is gone, and those behind it are delivered.

        Scenario: L9
        """
        seen: list[bytes] = []

        @implementer(IMessageReceiver)
        class Picky:
            def message_received(
                self, source: int, kind: int, sequence: int, payload: bytes
            ) -> None:
                seen.append(payload)
                if payload == b"bad":
                    raise ValueError(payload)

        self.top.receiver = Picky()
        for payload in (b"good", b"bad", b"better"):
            self.top.send(HERE, payload)
        self.assertEqual(seen, [b"good", b"bad", b"better"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_stop_delivers_first(self) -> None:
        """What was sent to itself before the stop is delivered before the node is gone.

        Scenario: L10
        """
        count = 2 * limits.SELF_MESSAGES_PER_TURN
        seen: list[int] = []
        top = self.top

        @implementer(IMessageReceiver)
        class Eager:
            def message_received(
                self, source: int, kind: int, sequence: int, payload: bytes
            ) -> None:
                seen.append(kind)
                if kind == 0:
                    for number in range(1, count):
                        top.send(HERE, b"", number)

        top.receiver = Eager()
        top.send(HERE, b"", 0)
        self.assertLess(len(seen), count)
        self.network.result_of(top.stop())
        self.assertEqual(seen, list(range(count)))

    def test_answers(self) -> None:
        """Deliveries are confirmed and requests answered, as if another node had sent them."""
        self.assertIs(self.ended(self.top.deliver(HERE, b"x")).status, Status.OK)
        self.assertIs(self.ended(self.top.request(HERE, b"x")), Status.NO_RESPONDERS)
        self.top.on_request(lambda source, payload: b"%x " % source + payload)
        self.assertEqual(self.ended(self.top.request(HERE, b"x")), b"10000 x")
