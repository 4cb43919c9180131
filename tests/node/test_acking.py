"""Telling the other side of a link what was discharged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.node.acking import Acking, Ranges
from atbus.routing.custody import IncomingLedger
from atbus.testing.clock import HeapClock


class Bystander:
    """The part of a node that a link asks for."""

    bus_id = 1

    def __init__(self) -> None:
        self.timers = HeapClock()


class AckingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.incoming = IncomingLedger()
        self.said: list[Ranges] = []
        context: Any = Bystander()
        self.clock = context.timers
        self.acking = Acking(context, self.incoming, self.tell)

    def tell(self, early: Ranges) -> None:
        """Take what is said, as a link that sends it does."""
        self.said.append(early)
        self.incoming.tell()

    def arrive(self, count: int) -> None:
        """Let so many frames arrive."""
        for _ in range(count):
            self.incoming.received(self.incoming.arrived + 1)

    def test_after_a_while(self) -> None:
        """A frame that nothing answers is acknowledged after its time, once."""
        self.arrive(1)
        self.incoming.discharge(1)
        self.acking.soon(rides=False)
        self.acking.soon(rides=False)
        self.assertEqual(self.said, [])
        self.clock.advance(limits.ACK_DELAY_SECONDS)
        self.assertEqual(self.said, [()])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_while_something_goes_back(self) -> None:
        """The word rides on what is about to be sent."""
        self.arrive(1)
        self.incoming.discharge(1)
        self.acking.soon(rides=True)
        self.clock.advance(1)
        self.assertEqual(self.said, [])

    def test_at_once_for_many(self) -> None:
        """Many frames do not wait, and their timer ends."""
        self.arrive(limits.ACK_FRAMES_MAX)
        for frame in range(1, limits.ACK_FRAMES_MAX + 1):
            self.incoming.discharge(frame)
            self.acking.soon(rides=False)
        self.assertEqual(self.said, [()])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once_for_more(self) -> None:
        """How many are many, and when is at once, may be said."""
        asked: list[Callable[[], None]] = []
        self.arrive(90)
        for frame in range(1, 91):
            self.incoming.discharge(frame)
            self.acking.soon(False, 90, asked.append)
            self.assertEqual((len(asked), self.said), (frame // 90, []))
        asked[0]()
        self.assertEqual(self.said, [()])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_early_frames_are_told_besides(self) -> None:
        """What overtook a frame is told in ranges, also when something else goes back."""
        self.arrive(4)
        for frame in (2, 4):
            self.incoming.discharge(frame)
        self.acking.soon(rides=True)
        self.clock.advance(limits.ACK_DELAY_SECONDS)
        self.assertEqual(self.said, [((2, 2), (4, 4))])
        self.acking.soon(rides=False)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_ranges_need_several_words(self) -> None:
        """One word has so many ranges at most."""
        count = limits.ACK_RANGES_MAX + 10
        self.arrive(2 * count)
        for place in range(count):
            self.incoming.discharge(2 * place + 2)
        self.acking.say()
        self.assertEqual([len(ranges) for ranges in self.said], [limits.ACK_RANGES_MAX, 10])

    def test_a_link_that_ends_waits_for_nothing(self) -> None:
        """No timer is left."""
        self.arrive(1)
        self.incoming.discharge(1)
        self.acking.soon(rides=False)
        self.acking.stop()
        self.acking.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
