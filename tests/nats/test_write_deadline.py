"""How long somebody may take nothing."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.write_deadline import LOOKS, WriteDeadline, taken_bytes

SECONDS = 8.0


class DeadlineTests(SynchronousTestCase):
    """Somebody for whom something waits."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.taken = 0
        self.given_up: list[float] = []
        self.deadline = WriteDeadline(
            self.clock,
            SECONDS,
            lambda: self.taken,
            lambda: self.given_up.append(self.clock.seconds()),
        )

    def passes(self, seconds: float, *, takes: int = 0) -> None:
        """Let time pass; each second he takes something."""
        for _ in range(int(seconds * 2)):
            self.taken += takes
            self.clock.pump([0.5])

    def test_who_takes_nothing(self) -> None:
        """He is given up when the time is over, once."""
        self.deadline.begin()
        self.passes(1.0)
        self.deadline.begin()
        self.passes(60.0)
        self.assertEqual(self.given_up, [SECONDS])

    def test_who_is_slow(self) -> None:
        """A byte now and then is enough; when there is none any more he is given up."""
        self.deadline.begin()
        for _ in range(20):
            self.passes(SECONDS - 1.0)
            self.taken += 1
            self.passes(0.5)
        self.assertEqual(self.given_up, [])
        began = self.clock.seconds()
        self.passes(60.0)
        [at] = self.given_up
        self.assertTrue(SECONDS - 1.0 <= at - began <= SECONDS * (1 + 1 / LOOKS))

    def test_an_end(self) -> None:
        """What does not wait any more is no reason, and later it begins anew."""
        self.deadline.begin()
        self.passes(SECONDS - 1.0)
        self.deadline.end()
        self.passes(5.0)
        self.deadline.begin()
        self.passes(SECONDS - 1.0)
        self.assertEqual(self.given_up, [])
        self.passes(1.0)
        self.assertEqual(len(self.given_up), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_limit(self) -> None:
        """From then on it does not count that something moves."""
        self.deadline.begin()
        self.passes(3 * SECONDS, takes=10)
        self.deadline.limit()
        began = self.clock.seconds()
        self.passes(SECONDS - 0.5, takes=10)
        self.assertEqual(self.given_up, [])
        self.passes(0.5, takes=10)
        self.assertEqual(self.given_up, [began + SECONDS])

    def test_a_limit_gives_no_time(self) -> None:
        """Who has taken nothing before is given up as he would have been."""
        self.deadline.begin()
        self.passes(5.0)
        self.deadline.limit()
        self.passes(60.0)
        self.assertEqual(self.given_up, [SECONDS])

    def test_a_limit_for_an_end(self) -> None:
        """It holds on when all that waited has been taken, until the connection has ended."""
        self.deadline.begin()
        self.passes(4.0, takes=1)
        self.deadline.limit()
        self.passes(4.0, takes=1)
        self.deadline.end()
        self.passes(3.5)
        self.assertEqual(self.given_up, [])
        self.passes(0.5)
        self.assertEqual(self.given_up, [4.0 + SECONDS])
        self.deadline.begin()
        self.deadline.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_socket(self) -> None:
        """A transport that has none tells nothing."""
        self.assertEqual(taken_bytes(self), 0)
