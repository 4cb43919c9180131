"""Whether a neighbor lives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.limits import HEARTBEAT_SECONDS, HEARTBEAT_TOLERANCE
from atbus.routing import bounds
from atbus.routing.liveness import DeclareDead, Heartbeat, SendPing

DEAD = DeclareDead(Status.HEARTBEAT_LOST)


def opened(interval_seconds: float = 8.0, tolerance: int = 2, now: float = 0.0) -> Heartbeat:
    heartbeat = Heartbeat(interval_seconds, tolerance)
    heartbeat.open(now)
    return heartbeat


def due(heartbeat: Heartbeat) -> float:
    deadline = heartbeat.deadline
    assert deadline is not None
    return deadline


def wait_in_silence(heartbeat: Heartbeat) -> tuple[list[float], float]:
    """Tick at each deadline while nothing is heard; give the pings' times and that of death."""
    pings: list[float] = []
    while True:
        now = due(heartbeat)
        match heartbeat.tick(now):
            case [SendPing()]:
                pings.append(now)
            case [DeclareDead()]:
                return pings, now


class RhythmTests(SynchronousTestCase):
    def test_pings_every_interval(self) -> None:
        """A neighbor that answers is pinged once an interval, with rising sequences."""
        heartbeat = opened(now=100.0)
        for sequence in range(1, 6):
            now = due(heartbeat)
            self.assertEqual(now, 100.0 + 8.0 * sequence)
            self.assertEqual(heartbeat.tick(now - 0.001), [])
            self.assertEqual(heartbeat.tick(now), [SendPing(sequence)])
            heartbeat.ponged(sequence, now + 0.002)

    def test_the_lot_moves_a_ping_by_a_tenth(self) -> None:
        """Pings of many links do not march in step: each wait is a tenth shorter or longer."""
        for lot, seconds in ((0.0, 7.2), (0.5, 8.0), (1.0, 8.8)):
            heartbeat = Heartbeat(8.0, 2)
            self.assertEqual(heartbeat.open(0.0, lot), [])
            self.assertAlmostEqual(due(heartbeat), seconds)
            heartbeat.tick(10.0, lot)
            heartbeat.heard(10.0)
            self.assertAlmostEqual(due(heartbeat), 10.0 + seconds)

    def test_nothing_is_due_before_it_is_opened(self) -> None:
        """A neighbor that has not registered is neither pinged nor accused."""
        heartbeat = Heartbeat(8.0, 2)
        self.assertEqual((heartbeat.deadline, heartbeat.tick(1e9)), (None, []))

    def test_refuses_senseless_settings(self) -> None:
        """There is a time between two pings, and no fewer than none are forgiven."""
        self.assertRaises(ValueError, Heartbeat, 0.0, 2)
        self.assertRaises(ValueError, Heartbeat, 8.0, -1)


class DeathTests(SynchronousTestCase):
    def test_dies_of_the_third_unanswered_ping(self) -> None:
        """
        A neighbor that stops answering is dead after three pings, 24 seconds after its last word.

        Scenario: J2
        """
        heartbeat = opened(HEARTBEAT_SECONDS, HEARTBEAT_TOLERANCE)
        pings, died_at = wait_in_silence(heartbeat)
        self.assertEqual((len(pings), died_at), (3, 24.0))
        self.assertEqual((heartbeat.deadline, heartbeat.tick(1000.0)), (None, []))

    def test_one_answer_forgives_all_misses(self) -> None:
        """
        Up to the tolerance nothing happens, beyond it death; a success between begins anew.

        Scenario: J3
        """
        heartbeat = opened()
        for _ in range(3):
            self.assertEqual(len(heartbeat.tick(due(heartbeat))), 1)
        self.assertEqual(heartbeat.unanswered, 3)
        heartbeat.ponged(3, 23.9)
        self.assertEqual(heartbeat.unanswered, 0)
        pings, died_at = wait_in_silence(heartbeat)
        self.assertEqual(len(pings), 3)
        self.assertAlmostEqual(died_at, 23.9 + 24.0)

    def test_every_ping_has_time_to_be_answered(self) -> None:
        """Whatever the settings, no neighbor dies of a ping that was sent just before."""
        for interval_seconds, tolerance in ((8.0, 2), (1.0, 3), (8.0, 1), (8.0, 0)):
            pings, died_at = wait_in_silence(opened(interval_seconds, tolerance))
            self.assertEqual(len(pings), tolerance + 1)
            self.assertGreaterEqual(died_at - pings[-1], interval_seconds / 4)
            if tolerance:
                self.assertAlmostEqual(died_at, (tolerance + 1) * interval_seconds)

    def test_any_frame_is_life(self) -> None:
        """A neighbor that sends data but is too busy to answer pings is not dead."""
        heartbeat = opened()
        for second in range(200):
            self.assertNotEqual(heartbeat.tick(float(second)), [DEAD])
            if second % 20 == 0:
                heartbeat.heard(float(second))

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 0.999)), max_size=30),
        st.floats(0, 1),
        st.integers(1, 5),
    )
    def test_death_is_never_late_and_never_early(
        self, turns: list[tuple[bool, float, float]], first_lot: float, tolerance: int
    ) -> None:
        """Whatever was heard before and whatever the lots say, silence lasts exactly its time."""
        heartbeat = Heartbeat(8.0, tolerance)
        heartbeat.open(0.0, first_lot)
        heard_at, pings = 0.0, 0
        for is_heard, lot, part in [*turns, *[(False, first_lot, 0.0)] * (tolerance + 3)]:
            now = max(due(heartbeat), heard_at)
            effects = heartbeat.tick(now, lot)
            if effects == [DEAD]:
                self.assertEqual(pings, tolerance + 1)
                self.assertAlmostEqual(now - heard_at, 8.0 * (tolerance + 1))
                return
            pings += 1
            self.assertLessEqual(due(heartbeat) - now, 8.0 * (1 + 1e-9))
            if is_heard:
                heard_at, pings = now + part * (due(heartbeat) - now), 0
                heartbeat.heard(heard_at)
        self.fail("it never died")


class PongTests(SynchronousTestCase):
    def test_measures_the_round_trip(self) -> None:
        """The pong of the last ping tells how long the way there and back took."""
        heartbeat = opened()
        heartbeat.tick(8.0)
        self.assertAlmostEqual(heartbeat.ponged(1, 8.25) or 0.0, 0.25)
        self.assertAlmostEqual(heartbeat.rtt_seconds or 0.0, 0.25)

    def test_an_old_pong_measures_nothing(self) -> None:
        """
        A pong of an earlier ping, of none, or a second one is ignored, except as a sign of life.

        Scenario: J4
        """
        heartbeat = opened()
        heartbeat.tick(due(heartbeat))
        now = due(heartbeat)
        heartbeat.tick(now)
        for sequence in (0, 1, 3, 2**64 - 1):
            self.assertIsNone(heartbeat.ponged(sequence, now + 1.0))
        self.assertIsNone(heartbeat.rtt_seconds)
        self.assertEqual((heartbeat.heard_at, heartbeat.unanswered), (now + 1.0, 0))
        self.assertEqual(heartbeat.ponged(2, now + 1.0), 1.0)
        self.assertIsNone(heartbeat.ponged(2, now + 2.0))
        self.assertEqual(heartbeat.rtt_seconds, 1.0)

    def test_a_pong_before_any_ping_measures_nothing(self) -> None:
        """A neighbor that answers what was never asked is only alive."""
        self.assertIsNone(opened().ponged(0, 1.0))


class SelfHealthTests(SynchronousTestCase):
    def silent(self) -> Heartbeat:
        """Make a heartbeat whose neighbor is due to be declared dead."""
        heartbeat = opened()
        for _ in range(3):
            heartbeat.tick(due(heartbeat))
        return heartbeat

    def test_who_lags_accuses_nobody(self) -> None:
        """A node whose own loop was late pings once more instead of declaring a death."""
        heartbeat = self.silent()
        self.assertEqual(heartbeat.tick(24.0, lag_seconds=4.1), [SendPing(4)])
        self.assertEqual(due(heartbeat), 32.0)
        self.assertEqual(heartbeat.tick(32.0), [DEAD])

    def test_a_small_lag_is_no_excuse(self) -> None:
        """Up to half an interval of lag deaths are declared in time."""
        self.assertEqual(self.silent().tick(24.0, lag_seconds=4.0), [DEAD])

    def test_lag_that_was_told_earlier_counts_for_an_interval(self) -> None:
        """The patience lasts an interval from the lag, also when the tick had nothing to do."""
        heartbeat = self.silent()
        self.assertEqual(heartbeat.tick(20.0, lag_seconds=5.0), [])
        self.assertEqual(heartbeat.tick(24.0), [SendPing(4)])
        self.assertEqual(due(heartbeat), 28.0)
        self.assertEqual(heartbeat.tick(28.0), [DEAD])

    def test_a_late_tick_is_lag(self) -> None:
        """A process that was stopped for minutes accuses nobody when it wakes up."""
        heartbeat = self.silent()
        self.assertEqual(heartbeat.tick(600.0), [SendPing(4)])
        heartbeat.heard(600.1)
        self.assertEqual(heartbeat.unanswered, 0)
        self.assertLess(due(heartbeat), 609.0)

    def test_who_keeps_a_node_busy_keeps_nobody_alive(self) -> None:
        """
        Lag in each interval puts the accusation off each time, and pings go on, until four times as
        many are unanswered as would do.
        """
        heartbeat = self.silent()
        for _ in range(3 * bounds.UNANSWERED_FACTOR - 3):
            now = due(heartbeat)
            self.assertIsInstance(heartbeat.tick(now, lag_seconds=5.0)[0], SendPing)
            self.assertEqual(due(heartbeat), now + 8.0)
        self.assertEqual(due(heartbeat), 96.0)
        self.assertEqual(heartbeat.tick(96.0, lag_seconds=5.0), [DEAD])

    def test_who_answers_a_busy_node_lives(self) -> None:
        """Whoever is heard now and then is not accused, however long the node lags."""
        heartbeat = self.silent()
        for _ in range(10):
            for _ in range(8):
                now = due(heartbeat)
                self.assertIsInstance(heartbeat.tick(now, lag_seconds=5.0)[0], SendPing)
            heartbeat.heard(now)
