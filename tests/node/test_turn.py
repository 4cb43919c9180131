"""What a node writes at the end of a reactor turn, and what it puts off."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.node.context import Turn
from tests.node.mail import ROOT, MailTests


class TurnTests(SynchronousTestCase):
    """One node's turns."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turn = Turn(self.clock)
        self.written: list[str] = []

    def next_turn(self, seconds: float = 0.0) -> None:
        """Let the reactor make what is due after some time, and not yet what that asks for."""
        self.clock.rightNow += seconds
        for call in [call for call in self.clock.calls if call.getTime() <= self.clock.rightNow]:
            self.clock.calls.remove(call)
            call.func(*call.args, **call.kw)

    def write(self, count: int, seconds: float) -> bool:
        """Let connections write, one after the other; tell whether the node is busy then."""
        busy = False
        for _ in range(count):
            self.clock.advance(seconds)
            busy = self.turn.writes()
        return busy

    def gather(self, name: str) -> None:
        """Put a write off."""
        self.turn.gather(lambda: self.written.append(name))

    def test_busy(self) -> None:
        """A node that does little but write is busy, until it writes more seldom."""
        fast = limits.BUSY_SECONDS / limits.BUSY_WRITES / 2
        self.assertFalse(self.write(limits.BUSY_WRITES, 1.0))
        self.assertTrue(self.write(limits.BUSY_WRITES, fast))
        self.assertTrue(self.write(1, 1.0))
        self.assertFalse(self.write(limits.BUSY_WRITES - 1, fast))
        self.assertTrue(self.write(limits.BUSY_WRITES, fast))
        self.assertFalse(self.write(limits.BUSY_WRITES, fast * 4))

    def test_nothing_new(self) -> None:
        """What is put off is written after the first turn that brings nothing new."""
        self.gather("a")
        self.next_turn()
        self.assertEqual(self.written, ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_as_long_as_there_is_more(self) -> None:
        """What is queued gives it some turns more, which are looked at once."""
        self.gather("a")
        for pause_seconds in (0, limits.GATHER_LOOK_SECONDS, limits.GATHER_LOOK_SECONDS):
            self.turn.queued_bytes += 1
            self.next_turn(pause_seconds)
            self.gather("b")
        self.assertEqual(self.written, [])
        self.next_turn()
        self.assertEqual(self.written, [])
        self.next_turn(limits.GATHER_LOOK_SECONDS)
        self.assertEqual(self.written, ["a", "b", "b", "b"])

    def test_what_has_joined(self) -> None:
        """A message that joined a run without being counted is something new as well."""
        self.gather("a")
        self.turn.is_joined = True
        self.next_turn()
        self.assertEqual(self.written, [])
        self.next_turn(limits.GATHER_LOOK_SECONDS)
        self.assertEqual(self.written, ["a"])

    def test_enough_bytes(self) -> None:
        """When there is enough for each connection the turn does not matter."""
        self.gather("a")
        self.gather("b")
        self.turn.queued_bytes += 2 * limits.GATHER_BYTES - 1
        self.next_turn()
        self.assertEqual(self.written, [])
        self.turn.queued_bytes += 1
        self.next_turn()
        self.assertEqual(self.written, ["a", "b"])

    def test_long_enough(self) -> None:
        """Nothing is put off for longer than a few milliseconds."""
        self.gather("a")
        self.turn.queued_bytes += 1
        self.next_turn(limits.GATHER_SECONDS_MAX / 2)
        self.turn.queued_bytes += 1
        self.assertEqual(self.written, [])
        self.next_turn(limits.GATHER_SECONDS_MAX / 2)
        self.assertEqual(self.written, ["a"])

    def test_one_arrival_after_another(self) -> None:
        """An answer leaves at once, and waits for the end of the turn right behind another one."""
        for pause_seconds, written in (
            (1.0, 1),
            (limits.GATHER_SECONDS / 2, 0),
            (limits.GATHER_SECONDS * 2, 1),
        ):
            self.clock.rightNow += pause_seconds
            self.written.clear()
            self.turn.arrival_begins()
            self.turn.at_end(lambda: self.written.append("answer"))
            self.turn.arrival_ends()
            self.assertEqual(len(self.written), written)
            self.next_turn()
            self.assertEqual(self.written, ["answer"])

    def test_one_that_fails(self) -> None:
        """A write that fails is the reactor's to report, and the others are made."""

        def fail() -> None:
            raise ValueError("broken")

        self.turn.gather(fail)
        self.gather("a")
        self.assertRaises(ValueError, self.next_turn)
        self.next_turn()
        self.assertEqual(self.written, ["a"])


class GatherTests(MailTests):
    """A child that sends to its root, a message in each turn."""

    def send(self, count: int, seconds: float) -> int:
        """Send, with some time between; tell how many frames were written."""
        root, child = self.pair()
        channel = self.data_channel(child, root)
        before = len(channel.sent)
        payloads = [b"%d" % number for number in range(count)]

        def turn(number: int) -> None:
            child.send(ROOT, payloads[number])
            if number + 1 < count:
                self.network.clock.callLater(seconds, turn, number + 1)

        turn(0)
        self.network.settle(1 + count * seconds)
        self.assertEqual(self.mail[root].payloads, payloads)
        return len(channel.sent) - before

    def test_a_busy_node_writes_less_often(self) -> None:
        """Messages of many turns that follow each other at once share a frame, in order."""
        self.assertLess(self.send(1_000, 0), 50)

    def test_an_idle_node_writes_at_once(self) -> None:
        """Messages with time between them have a frame each."""
        self.assertEqual(self.send(100, 0.001), 100)
