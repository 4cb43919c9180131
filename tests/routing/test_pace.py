"""Whether somebody takes what is sent to them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.pace import Pace, Sight, Verdict


def sight(
    *, channel: int = 0, written: int = 0, frames: int = 0, acknowledged: int = 0, **more: bool
) -> Sight:
    """See a link."""
    return Sight(
        channel_bytes=channel,
        written_bytes=written,
        open_frames=frames,
        acknowledged=acknowledged,
        **more,
    )


class PaceTests(SynchronousTestCase):
    def test_named_once_when_the_queue_is_long(self) -> None:
        """Above the soft limit it is named, and again only after it was low."""
        pace = Pace()
        named = [pace.judge_queue(size, 100) for size in (99, 101, 150, 60, 120, 49, 101)]
        self.assertEqual(named, [False, True, False, False, False, False, True])

    def test_named_when_nothing_is_acknowledged(self) -> None:
        """One that takes bytes and says nothing is slow as well, and told once until it speaks."""
        pace = Pace()
        late = limits.SLOW_SECONDS
        stuck = sight(frames=3, acknowledged=7)
        self.assertIs(pace.look(stuck, now=1.0), Verdict.FINE)
        self.assertIs(pace.look(stuck, now=late + 0.9), Verdict.FINE)
        self.assertIs(pace.look(stuck, now=late + 1.0), Verdict.SLOW)
        self.assertIs(pace.look(stuck, now=late + 2.0), Verdict.FINE)
        pace.judge_queue(0, 100)
        self.assertTrue(pace.slow)
        self.assertIs(pace.look(sight(frames=3, acknowledged=8), now=late + 3), Verdict.FINE)
        pace.judge_queue(0, 100)
        self.assertFalse(pace.slow)

    def test_progress_counts(self) -> None:
        """Who takes a little now and then is neither slow nor stuck."""
        pace = Pace()
        for second in range(60):
            seen = sight(channel=5, written=second // 9, frames=2, acknowledged=second // 9)
            self.assertIs(pace.look(seen, now=float(second)), Verdict.FINE)

    def test_excused(self) -> None:
        """A neighbor that has asked for a pause is not slow because frames wait behind it."""
        pace = Pace()
        for second in range(60):
            seen = sight(frames=3, excused=True)
            self.assertIs(pace.look(seen, now=float(second)), Verdict.FINE)

    def test_stuck_when_no_byte_moves(self) -> None:
        """A queue that does not move by a byte for the deadline ends the link."""
        pace = Pace()
        self.assertIs(pace.look(sight(channel=5, written=9), now=0.0), Verdict.FINE)
        late = limits.WRITE_DEADLINE_SECONDS
        self.assertIs(pace.look(sight(channel=5, written=9), now=late - 0.1), Verdict.FINE)
        self.assertIs(pace.look(sight(channel=5, written=9), now=late), Verdict.STUCK)
