"""A proxy that is to be empty."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.routing.drain import Announce, Ask, Done, Drain, Drained, Effect

ONE, TWO = 0x101, 0x102


class DrainTests(SynchronousTestCase):
    """One drain from its beginning to its end."""

    def begun(self, *downstreams: int) -> Drain:
        """Begin at 10.0, with 20 s in all and a moment of 1 s."""
        drain = Drain(20.0, 1.0)
        asked: list[Effect] = [Ask(each, 20.0) for each in downstreams]
        self.assertEqual(drain.begin(downstreams, 100, 10.0), [Announce(), *asked])
        return drain

    def result_of(self, effects: list[Effect]) -> Drained:
        """Give the result with which a drain has ended."""
        (done,) = effects
        assert isinstance(done, Done)
        return done.result

    def test_nobody_is_below(self) -> None:
        """It is done at once, and said all the same, so that nobody comes."""
        drain = Drain(20.0, 1.0)
        self.assertEqual(drain.begin([], 0, 10.0), [Announce(), Done(Drained((), (), 0.0))])
        self.assertTrue(drain.is_over)
        self.assertEqual(drain.tick(5, 40.0), [])

    def test_everybody_moves(self) -> None:
        """When the last has left, and nothing has passed for a moment, it is done."""
        drain = self.begun(ONE, TWO)
        self.assertEqual(drain.gone(TWO, 11.0), [])
        self.assertEqual(drain.tick(150, 11.5), [])
        self.assertEqual(drain.gone(ONE, 12.0), [])
        self.assertEqual(drain.tick(150, 12.4), [])
        self.assertEqual(
            self.result_of(drain.tick(150, 12.5)), Drained((ONE, TWO), (), 2.5)
        )

    def test_somebody_cannot(self) -> None:
        """Who has nowhere to go is not waited for, nor for what passes on its behalf."""
        drain = self.begun(ONE, TWO)
        self.assertEqual(drain.cannot_move(ONE, Status.NO_ROUTE, 11.0), [])
        self.assertEqual(drain.gone(TWO, 12.0), [])
        self.assertEqual(drain.tick(150, 12.9), [])
        result = self.result_of(drain.tick(200, 13.0))
        self.assertEqual(result, Drained((TWO,), ((ONE, Status.NO_ROUTE),), 3.0))

    def test_nobody_can(self) -> None:
        """When all have said so, there is nothing to wait for."""
        drain = self.begun(ONE)
        result = self.result_of(drain.cannot_move(ONE, Status.NO_ROUTE, 10.1))
        self.assertEqual((result.moved, result.stayed), ((), ((ONE, Status.NO_ROUTE),)))

    def test_who_found_a_way_after_all(self) -> None:
        """A downstream that could not move, and did, has moved."""
        drain = self.begun(ONE, TWO)
        drain.cannot_move(ONE, Status.CONNECT_FAILED, 11.0)
        self.assertEqual(drain.gone(ONE, 12.0), [])
        self.assertEqual(self.result_of(drain.gone(TWO, 12.0)).moved, (ONE, TWO))

    def test_silence(self) -> None:
        """Who neither moves nor answers is left when the time is over."""
        drain = self.begun(ONE, TWO)
        drain.gone(TWO, 11.0)
        self.assertEqual(drain.tick(100, 29.9), [])
        result = self.result_of(drain.tick(100, 30.0))
        self.assertEqual(result, Drained((TWO,), ((ONE, Status.TIMEOUT),), 20.0))

    def test_strangers_do_not_matter(self) -> None:
        """The end of somebody who was not asked changes nothing."""
        drain = self.begun(ONE)
        self.assertEqual(drain.gone(0x999, 11.0), [])
        self.assertEqual(drain.cannot_move(0x999, Status.NO_ROUTE, 11.0), [])
        self.assertFalse(drain.is_over)
