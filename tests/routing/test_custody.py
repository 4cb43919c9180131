"""Who answers for a frame."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, OutOfTurn, Status
from atbus.routing.custody import FRAME_NUMBERS, IncomingLedger, OutgoingLedger, number_after

LAST = 2**32 - 1


def number_of(count: int) -> int:
    """Give the number of the frame that is the *count*-th on its link."""
    return (count - 1) % FRAME_NUMBERS + 1 if count else 0


def outgoing_after(count: int, window: int = 1000) -> OutgoingLedger[int]:
    """Make the ledger of a link over which so many frames went, all of them acknowledged."""
    ledger: OutgoingLedger[int] = OutgoingLedger(window)
    ledger.sent = ledger.acknowledged = number_of(count)
    ledger._acknowledged_count = count
    return ledger


def incoming_after(count: int) -> IncomingLedger:
    """Make the ledger of a link over which so many frames came, all of them discharged."""
    ledger = IncomingLedger()
    ledger.arrived = ledger.acknowledged = ledger.told = number_of(count)
    return ledger


def held_before(held: list[int]) -> list[int]:
    """Give the number before each, as the tests record it, in the order of the wire."""
    order = sorted((frame - (LAST - 3)) % FRAME_NUMBERS for frame in held)
    return [number_of(LAST - 3 + place - 1) for place in order]


class NumberTests(SynchronousTestCase):
    def test_begins_with_one_and_leaves_out_zero(self) -> None:
        """Frame numbers begin with 1 and, after the last one, begin with 1 again."""
        self.assertEqual([number_after(n) for n in (0, 1, LAST - 1, LAST)], [1, 2, LAST, 1])


class OutgoingTests(SynchronousTestCase):
    def test_acknowledges_several_frames_with_one_number(self) -> None:
        """An acknowledgement discharges every frame up to its number, the oldest first."""
        ledger: OutgoingLedger[str] = OutgoingLedger(10)
        self.assertEqual([ledger.record(item) for item in "abcd"], [1, 2, 3, 4])
        self.assertEqual(ledger.acknowledge(3), ["a", "b", "c"])
        self.assertEqual(len(ledger), 1)
        self.assertEqual(ledger.acknowledge(4), ["d"])
        self.assertEqual(len(ledger), 0)

    def test_ignores_what_says_nothing_new(self) -> None:
        """The same acknowledgement again, an older one and none at all change nothing."""
        ledger = outgoing_after(0)
        for item in range(5):
            ledger.record(item)
        ledger.acknowledge(4)
        for ack in (4, 3, 1, 0):
            self.assertEqual(ledger.acknowledge(ack), [])
        self.assertEqual((len(ledger), ledger.acknowledged), (1, 4))

    def test_refuses_an_acknowledgement_of_what_was_never_sent(self) -> None:
        """A neighbor that acknowledges a frame we never sent breaks the protocol."""
        for sent in (0, 1, 5):
            ledger = outgoing_after(0)
            for item in range(sent):
                ledger.record(item)
            for ack in (sent + 1, LAST // 2, LAST // 2 + 1, LAST // 2 + 2, LAST - 1, LAST):
                error = self.assertRaises(OutOfTurn, ledger.acknowledge, ack)
                self.assertEqual(error.status, Status.OUT_OF_TURN)
            self.assertEqual(len(ledger), sent)

    def test_refuses_the_same_when_all_is_acknowledged(self) -> None:
        """Only what was really sent can be stale, also on a link that has nothing in flight."""
        ledger = outgoing_after(0)
        for item in range(3):
            ledger.record(item)
        ledger.acknowledge(3)
        self.assertEqual(ledger.acknowledge(1), [])
        self.assertRaises(OutOfTurn, ledger.acknowledge, LAST)
        self.assertRaises(OutOfTurn, ledger.acknowledge, 4)

    def test_wraps(self) -> None:
        """After the last number comes 1, and one acknowledgement may cover both sides of it."""
        ledger = outgoing_after(LAST - 2)
        self.assertEqual([ledger.record(n) for n in range(5)], [LAST - 1, LAST, 1, 2, 3])
        self.assertEqual(ledger.acknowledge(LAST), [0, 1])
        self.assertEqual(ledger.acknowledge(2), [2, 3])
        self.assertEqual(ledger.acknowledge(LAST), [])
        self.assertRaises(OutOfTurn, ledger.acknowledge, 4)
        self.assertEqual(ledger.acknowledge(3), [4])

    def test_says_when_the_window_is_full(self) -> None:
        """A full window is told, yet an answer may still be sent past it."""
        ledger = outgoing_after(0, window=2)
        ledger.record(0)
        self.assertFalse(ledger.full)
        ledger.record(1)
        self.assertTrue(ledger.full)
        self.assertEqual(ledger.record(2), 3)
        ledger.acknowledge(1)
        self.assertTrue(ledger.full)
        ledger.acknowledge(2)
        self.assertFalse(ledger.full)

    def test_hands_back_what_a_dead_link_held_once(self) -> None:
        """When a link dies, what was not acknowledged is uncertain, in order and only once."""
        ledger = outgoing_after(0)
        for item in range(4):
            ledger.record(item)
        ledger.acknowledge(1)
        self.assertEqual(ledger.abandon(), [1, 2, 3])
        self.assertEqual((ledger.abandon(), len(ledger)), ([], 0))

    def test_takes_the_word_about_frames_behind_a_stuck_one(self) -> None:
        """Frames that are acknowledged early leave the window, and are never uncertain."""
        ledger = outgoing_after(LAST - 1, window=6)
        for item in range(6):
            ledger.record(item)
        self.assertTrue(ledger.full)
        self.assertEqual(ledger.acknowledge_early([(1, 2), (4, 4)]), [1, 2, 4])
        self.assertFalse(ledger.full)
        self.assertEqual(ledger.acknowledge_early([(1, 4)]), [3])
        self.assertEqual([ledger.record(item) for item in (6, 7)], [6, 7])
        self.assertEqual(ledger.acknowledge(5), [0, 5])
        self.assertEqual(ledger.acknowledge_early([(3, 6)]), [6])
        self.assertEqual(ledger.abandon(), [7])

    def test_refuses_early_words_about_what_was_never_sent(self) -> None:
        """A range may lie behind, for its word may be late; it cannot lie ahead."""
        ledger = outgoing_after(10)
        ledger.record(11)
        self.assertEqual(ledger.acknowledge_early([(3, 9)]), [])
        for last in (12, LAST // 2, LAST):
            self.assertRaises(OutOfTurn, ledger.acknowledge_early, [(11, last)])
        self.assertEqual(ledger.acknowledge_early([(5, 11)]), [11])

    def test_refuses_a_window_of_nothing(self) -> None:
        """A window has room for a frame, and for less than half of all numbers."""
        for window in (0, 2**31):
            self.assertRaises(ValueError, OutgoingLedger, window)

    @settings(deadline=None)
    @given(
        st.sampled_from([0, LAST - 4, 2**31 - 2]),
        st.lists(st.one_of(st.just("send"), st.integers(-3, 6)), max_size=40),
    )
    def test_agrees_with_a_list(self, start: int, steps: list[str | int]) -> None:
        """Whatever is sent and acknowledged, the ledger holds what a plain list would hold."""
        ledger = outgoing_after(start)
        waiting: list[int] = []
        sent = acknowledged = start
        for step in steps:
            if isinstance(step, str):
                sent += 1
                waiting.append(sent)
                self.assertEqual(ledger.record(sent), number_of(sent))
            elif acknowledged + step > sent:
                self.assertRaises(OutOfTurn, ledger.acknowledge, number_of(acknowledged + step))
            elif acknowledged + step > 0:
                discharged = ledger.acknowledge(number_of(acknowledged + step))
                acknowledged += max(0, step)
                self.assertEqual(discharged, [n for n in waiting if n <= acknowledged])
                waiting = [n for n in waiting if n > acknowledged]
            self.assertEqual(len(ledger), len(waiting))
        self.assertEqual(ledger.abandon(), waiting)


class IncomingTests(SynchronousTestCase):
    def test_refuses_a_frame_out_of_turn(self) -> None:
        """On a link no frame is missing, repeated or unnumbered among the numbered ones."""
        ledger = IncomingLedger()
        ledger.received(1)
        ledger.received(2)
        for frame in (0, 1, 2, 4, LAST):
            error = self.assertRaises(OutOfTurn, ledger.received, frame)
            self.assertIn("3 had to come", str(error))
        ledger.received(3)

    def test_the_first_frame_is_number_one(self) -> None:
        """A link that begins with another number than 1 is broken."""
        for frame in (0, 2, LAST):
            self.assertRaises(OutOfTurn, IncomingLedger().received, frame)

    def test_a_late_discharge_holds_back_the_ones_behind_it(self) -> None:
        """What is acknowledged is the frame before the first one that is still held."""
        ledger = IncomingLedger()
        for frame in (1, 2, 3, 4, 5):
            ledger.received(frame)
        moved = [(ledger.discharge(frame), ledger.acknowledged) for frame in (3, 1, 5, 2, 4)]
        self.assertEqual(moved, [(False, 0), (True, 1), (False, 1), (True, 3), (True, 5)])
        self.assertEqual(ledger.outstanding, 0)

    def test_a_frame_is_discharged_once(self) -> None:
        """To discharge a frame twice, or one that never came, is a fault of our own."""
        ledger = IncomingLedger()
        self.assertRaises(LocalProtocolError, ledger.discharge, 1)
        for frame in (1, 2, 3):
            ledger.received(frame)
        ledger.discharge(1)
        ledger.discharge(3)
        for frame in (0, 1, 3, 4, LAST):
            self.assertRaises(LocalProtocolError, ledger.discharge, frame)
        self.assertEqual((ledger.acknowledged, ledger.outstanding), (1, 1))

    def test_what_is_discharged_early_is_told_in_ranges_once(self) -> None:
        """Behind a frame that is stuck the others are told of, each of them once."""
        ledger = incoming_after(LAST - 2)
        for count in range(1, 9):
            ledger.received(number_of(LAST - 2 + count))
        for frame in (LAST, 1, 4, 3):
            self.assertFalse(ledger.discharge(frame))
        self.assertEqual((ledger.early, ledger.untold, ledger.outstanding), (4, 0, 4))
        self.assertEqual(ledger.tell_early(), [(LAST, 1), (3, 4)])
        self.assertEqual((ledger.early, ledger.tell_early()), (0, []))
        ledger.discharge(2)
        ledger.discharge(6)
        self.assertTrue(ledger.discharge(LAST - 1))
        self.assertEqual((ledger.acknowledged, ledger.tell_early()), (4, [(6, 6)]))

    def test_one_frame_that_is_stuck_costs_one_place(self) -> None:
        """However many frames pass a stuck one, what is kept does not grow."""
        ledger = IncomingLedger()
        ledger.received(1)
        for frame in range(2, 5_000):
            ledger.received(frame)
            ledger.discharge(frame)
            if ledger.early >= 32:
                ledger.tell_early()
        self.assertEqual((ledger.outstanding, list(ledger._gaps or ())), (1, [1]))

    def test_wraps(self) -> None:
        """Frames on both sides of the last number are discharged like any others."""
        ledger = incoming_after(LAST - 1)
        for frame in (LAST, 1, 2):
            ledger.received(frame)
        self.assertEqual(ledger.outstanding, 3)
        self.assertFalse(ledger.discharge(1))
        self.assertTrue(ledger.discharge(LAST))
        self.assertEqual((ledger.acknowledged, ledger.untold), (1, 2))
        self.assertEqual(ledger.tell(), 1)
        self.assertTrue(ledger.discharge(2))
        self.assertEqual((ledger.outstanding, ledger.untold), (0, 1))

    def test_knows_what_the_other_side_was_told(self) -> None:
        """An acknowledgement is owed for what was discharged since one was last sent."""
        ledger = IncomingLedger()
        self.assertEqual((ledger.untold, ledger.tell()), (0, 0))
        for frame in (1, 2, 3):
            ledger.received(frame)
            ledger.discharge(frame)
        self.assertEqual(ledger.untold, 3)
        self.assertEqual((ledger.tell(), ledger.untold), (3, 0))

    @settings(deadline=None)
    @given(st.sampled_from([0, LAST - 4, 2**31 - 2]), st.lists(st.integers(0, 8), max_size=40))
    def test_agrees_with_a_set(self, start: int, steps: list[int]) -> None:
        """In whatever order frames are discharged, the word is what a plain set would say."""
        ledger = incoming_after(start)
        arrived = start
        held: list[int] = []
        for step in steps:
            if step >= len(held):
                arrived += 1
                held.append(arrived)
                ledger.received(number_of(arrived))
                continue
            before = min(held)
            frame = held.pop(step)
            self.assertEqual(ledger.discharge(number_of(frame)), frame == before)
            after = min(held, default=arrived + 1) - 1
            self.assertEqual(ledger.acknowledged, number_of(after))
            self.assertEqual(ledger.outstanding, len(held))

    @settings(deadline=None)
    @given(st.data(), st.integers(1, 8))
    def test_two_ledgers_agree_on_what_is_uncertain(self, data: st.DataObject, window: int) -> None:
        """Whenever a link is cut, everything is either acknowledged or handed back, never both."""
        sender = outgoing_after(LAST - 3, window)
        receiver = incoming_after(LAST - 3)
        held: list[int] = []
        discharged: list[int] = []
        for _ in range(data.draw(st.integers(0, 20))):
            if not sender.full:
                frame = sender.record(sender.sent)
                receiver.received(frame)
                held.append(frame)
            for frame in data.draw(st.lists(st.sampled_from(held or [0]), unique=True)):
                if not held:
                    break
                held.remove(frame)
                receiver.discharge(frame)
            early = receiver.tell_early() if data.draw(st.booleans()) else []
            discharged += sender.acknowledge(receiver.tell())
            discharged += sender.acknowledge_early(early)
        discharged += sender.acknowledge_early(receiver.tell_early())
        self.assertEqual(len(sender), receiver.outstanding)
        lost = sender.abandon()
        # What was recorded is the number before, so the last item is one behind.
        everything = {number_of(LAST - 3 + n) for n in range(len(discharged) + len(lost))}
        self.assertEqual(sorted(discharged + lost), sorted(everything))
        self.assertEqual(lost, held_before(held))
        self.assertLessEqual(len(lost), window)
