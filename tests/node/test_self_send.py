"""Messages of a node to itself."""

from __future__ import annotations

from atbus import limits
from atbus.errors import Status
from atbus.node.node import Node
from tests.node.mail import ROOT, MailTests, Receiving


class SelfSendTests(MailTests):
    """Delivered before `send` returns, or after the callback on the stack."""

    def started(self) -> Node:
        """Start a node that is alone."""
        root = self.root()
        self.network.start(root)
        return root

    def test_before_send_returns(self) -> None:
        """
        Outside callbacks a message to oneself has been delivered when send returns.

        Scenario: L7
        """
        root = self.started()
        sequence = root.send(ROOT, b"\0data", -7)
        (letter,) = self.mail[root].letters
        self.assertEqual((letter.source, letter.kind), (ROOT, -7))
        self.assertEqual((letter.sequence, letter.payload), (sequence, b"\0data"))
        self.assertNotEqual(sequence, 0)

    def test_after_the_callback_on_the_stack(self) -> None:
        """Inside a callback it is delivered when that has returned: calls are never nested."""
        root = self.started()
        story: list[str] = []

        def take(source: int, data: bytes) -> None:
            story.append(f"begin {data.decode()}")
            if len(data) < 3:
                root.send(ROOT, data + b"a")
                root.send(ROOT, data + b"b")
            story.append(f"end {data.decode()}")

        root.receiver = Receiving(take)
        root.send(ROOT, b"x")
        self.assertEqual(story[:2], ["begin x", "end x"])
        begins = [line[6:] for line in story if line.startswith("begin")]
        self.assertEqual(begins, ["x", "xa", "xb", "xaa", "xab", "xba", "xbb"])
        for begin, end in zip(story[::2], story[1::2], strict=True):
            self.assertEqual(begin[6:], end[4:])

    def test_after_a_message_from_elsewhere(self) -> None:
        """What a receiver sends to its own node while it takes a message comes after that."""
        root, child = self.pair()
        story: list[bytes] = []

        def take(source: int, data: bytes) -> None:
            if source != ROOT:
                root.send(ROOT, b"self " + data)
            story.append(data)

        root.receiver = Receiving(take)
        self.send_all(child, ROOT, [b"1", b"2"])
        self.network.settle()
        self.assertEqual(sorted(story), [b"1", b"2", b"self 1", b"self 2"])
        for number in (b"1", b"2"):
            self.assertTrue(story.index(number) < story.index(b"self " + number))

    def test_a_bounded_number_in_a_turn(self) -> None:
        """
        Messages that make the next one do not keep the node from everything else.

        Scenario: L11
        """
        root = self.started()
        count = 0

        def take(source: int, data: bytes) -> None:
            nonlocal count
            count += 1
            if count < 1000:
                root.send(ROOT, b"next")

        root.receiver = Receiving(take)
        root.send(ROOT, b"first")
        self.assertEqual(count, limits.SELF_MESSAGES_PER_TURN)
        self.network.settle(0.01)
        self.assertEqual(count, 1000)

    def test_answers(self) -> None:
        """A message to oneself can be confirmed, requested, refused and fail like any other."""
        root = self.started()
        self.assertIs(self.ended(root.deliver(ROOT, b"x")).status, Status.OK)
        self.assertEqual(len(self.mail[root].fates), 1)
        self.assertIs(self.ended(root.request(ROOT, b"x")), Status.NO_RESPONDERS)
        root.on_request(lambda source, payload: payload * 2)
        self.assertEqual(self.ended(root.request(ROOT, b"x")), b"xx")
        root.receiver = None
        root.send(ROOT, b"nobody")
        self.assertEqual(self.mail[root].statuses()[-1], "NO_RESPONDERS")
        self.assertIs(self.ended(root.deliver(ROOT, b"x")), Status.NO_RESPONDERS)

    def test_one_that_fails_does_not_stop_the_others(self) -> None:
        """
        A message on which the receiver fails is gone; those behind it are delivered.

        Scenario: L9
        """
        root = self.started()
        seen: list[bytes] = []

        def take(source: int, data: bytes) -> None:
            seen.append(data)
            if data == b"go":
                for each in (b"1", b"2", b"3"):
                    root.send(ROOT, each)
            if data == b"2":
                raise ValueError(data)

        root.receiver = Receiving(take)
        root.send(ROOT, b"go")
        self.assertEqual(seen, [b"go", b"1", b"2", b"3"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        root.send(ROOT, b"on")
        self.assertEqual(seen[-1], b"on")

    def test_at_shutdown(self) -> None:
        """
        What was sent to oneself before a stop is delivered before the stop ends.

        Scenario: L10
        """
        root = self.started()
        seen: list[bytes] = []

        def take(source: int, data: bytes) -> None:
            seen.append(data)
            if data == b"go":
                for number in range(300):
                    root.send(ROOT, b"%d" % number)
                root.stop()

        root.receiver = Receiving(take)
        root.send(ROOT, b"go")
        self.network.settle(2)
        self.assertEqual(root.state, "stopped")
        self.assertEqual(seen, [b"go", *(b"%d" % number for number in range(300))])
