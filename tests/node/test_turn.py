"""What a node writes at the end of a reactor turn, and what it puts off."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.channels.turn_ends import TurnEnds
from atbus.node.context import Turn
from tests.node.mail import ROOT, MailTests


class Unused:
    """
    Bytes that a flow was granted and has not used.

    :param turn: Which counts them as queued.
    """

    def __init__(self, turn: Turn, granted_bytes: int) -> None:
        self._turn = turn
        self._granted_bytes = granted_bytes
        turn.queued_bytes += granted_bytes
        turn.unsettled.add(self)  # type: ignore[arg-type]  # what a turn asks of a growth

    def settle(self) -> None:
        """Give them back."""
        self._turn.unsettled.discard(self)
        self._turn.queued_bytes -= self._granted_bytes


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

    def test_nothing_but_what_comes_back(self) -> None:
        """What was granted and is not used, is nothing new when it comes back."""
        Unused(self.turn, 100)
        self.gather("a")
        self.next_turn()
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

    def test_put_off_by_what_is_written(self) -> None:
        """What a write puts off is looked at once in each turn, not by the former look as well."""
        self.gather("a")
        for place in range(3):
            self.turn.at_end(lambda name=str(place): self.gather(name))  # type: ignore[misc]
            self.next_turn()
        self.assertEqual(self.written, ["a", "0", "1"])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

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


class EndsTests(SynchronousTestCase):
    """One node's turns, where the reactor tells their ends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ends = TurnEnds()
        self.turn = Turn(self.clock, self.ends)
        self.written: list[str] = []
        self.now = 0.0

    def come(self) -> None:
        """End a turn that took long enough for another look."""
        self.now += 0.001
        self.ends.come(self.now)

    def gather(self, name: str, *, is_own: bool = True) -> None:
        """Put a write off, the program's own or what an arrival brought about."""
        self.turn.is_own_end = is_own
        self.turn.gather(lambda: self.written.append(name))
        self.turn.is_own_end = False

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.ends.deferring, {})
        self.assertEqual(self.ends.calls, [])

    def test_the_end_of_a_turn(self) -> None:
        """What is to be done at the end of a turn is done in the same one, without a timer."""
        self.turn.at_end(lambda: self.written.append("a"))
        self.turn.at_end(lambda: self.turn.at_end(lambda: self.written.append("b")))
        self.come()
        self.assertEqual(self.written, ["a"])
        self.come()
        self.assertEqual(self.written, ["a", "b"])

    def test_before_sleep(self) -> None:
        """Nothing is put off while the process sleeps."""
        self.gather("a")
        self.gather("b")
        self.ends.before_sleep()
        self.assertEqual(self.written, ["a", "b"])
        self.assertFalse(self.turn.is_gathering)

    def test_what_arrives_may_wait_asleep(self) -> None:
        """What an arrival brought about is written when nothing more has come, by a timer."""
        self.gather("a", is_own=False)
        self.come()
        self.ends.before_sleep()
        self.assertEqual(self.written, [])
        self.turn.queued_bytes += 1
        self.clock.advance(0)
        self.ends.before_sleep()
        self.assertEqual(self.written, [])
        self.clock.advance(limits.GATHER_LOOK_SECONDS)
        self.assertEqual(self.written, ["a"])

    def test_what_arrives_beside_what_the_program_does(self) -> None:
        """What is put off beside something of the program's own is written with it, once."""
        for first_is_own in (False, True):
            self.gather("a", is_own=first_is_own)
            self.gather("b", is_own=not first_is_own)
            self.ends.before_sleep()
            self.assertEqual(self.written, ["a", "b"])
            # The timer that was set for the arrival finds nothing to do.
            self.clock.advance(0)
            self.assertEqual(self.written, ["a", "b"])
            self.written.clear()

    def test_a_timer_that_is_late(self) -> None:
        """A timer that was set for what is written by now leaves alone what ends look at."""
        self.gather("a", is_own=False)
        self.gather("b")
        self.ends.before_sleep()
        self.gather("c")
        self.turn.queued_bytes += 1
        self.clock.advance(0)
        self.assertEqual(self.written, ["a", "b"])
        self.come()
        self.assertEqual(self.written, ["a", "b"])
        self.come()
        self.assertEqual(self.written, ["a", "b", "c"])

    def test_as_long_as_there_is_more(self) -> None:
        """What is put off grows from turn to turn, up to the first one that brings nothing."""
        self.gather("a")
        for _ in range(3):
            self.turn.queued_bytes += 1
            self.come()
        self.assertEqual(self.written, [])
        self.come()
        self.assertEqual(self.written, ["a"])

    def test_enough(self) -> None:
        """Enough bytes, or a few milliseconds, end it at the end of the turn."""
        self.gather("a")
        self.turn.queued_bytes += limits.GATHER_BYTES
        self.come()
        self.assertEqual(self.written, ["a"])
        self.gather("b")
        self.turn.queued_bytes += 1
        self.clock.rightNow += limits.GATHER_SECONDS_MAX
        self.come()
        self.assertEqual(self.written, ["a", "b"])

    def test_whose_end_it_is(self) -> None:
        """What arrives has an end of its own; others end what the program has done."""
        seen: list[bool] = []

        def look() -> None:
            seen.append(self.turn.is_own_end)

        self.turn.at_end(look)
        self.come()
        self.clock.rightNow += 1.0
        self.turn.arrival_begins()
        self.turn.at_end(look)
        self.turn.arrival_ends()
        self.assertEqual(seen, [True, False])
        self.assertFalse(self.turn.is_own_end)
        # Right behind another one an answer waits for the end of the turn: that is its end as well.
        self.turn.at_end(look)
        self.turn.arrival_begins()
        self.turn.at_end(look)
        self.turn.arrival_ends()
        self.come()
        self.assertEqual(seen, [True, False, False, False])
        self.turn.at_end(look)
        self.come()
        self.assertEqual(seen, [True, False, False, False, True])
        seen.clear()
        without = Turn(self.clock)
        without.at_end(lambda: seen.append(without.is_own_end))
        self.clock.advance(0)
        self.assertEqual(seen, [False])

    def test_one_that_fails(self) -> None:
        """A write that fails is logged, and the others are made."""

        def fail() -> None:
            raise ValueError("broken")

        self.turn.is_own_end = True
        self.turn.gather(fail)
        self.gather("a")
        self.ends.before_sleep()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.come()
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

    def test_who_has_nothing_else_to_do(self) -> None:
        """What the other side waits for is put off until the process sleeps, answers are not."""
        root, child = self.pair()
        turn, ends = child._parts.context.turn, TurnEnds()
        channel = self.data_channel(child, root)
        self.patch(turn, "_ends", ends)
        self.patch(turn, "writes", lambda: True)
        before = len(channel.sent)
        child.send(ROOT, b"a")
        ends.come(0.0)
        self.assertEqual(len(channel.sent), before)
        ends.before_sleep()
        self.assertEqual(len(channel.sent), before + 1)
        self.network.settle(1)
        turn.arrival_begins()
        child.send(ROOT, b"b")
        turn.arrival_ends()
        self.assertEqual(len(channel.sent), before + 2)
        self.network.settle(1)
        ends.come(0.0)
        ends.before_sleep()
        self.assertEqual(self.mail[root].payloads, [b"a", b"b"])
