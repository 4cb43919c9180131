"""Frames whose source cannot be verified yet wait a moment."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.unverified import Unverified

NEIGHBOR, OTHER, SOURCE = 0x11, 0x12, 0x101


class UnverifiedTests(SynchronousTestCase):
    """One node that does not know yet whom to believe."""

    def waiting(self) -> Unverified[str]:
        """Make a store in which two frames wait since 1.0 and 1.1."""
        made: Unverified[str] = Unverified(0.2, 100, 40, 3, 2)
        self.assertTrue(made.hold(NEIGHBOR, SOURCE, "a", 10, 1.0))
        self.assertTrue(made.hold(NEIGHBOR, SOURCE, "b", 10, 1.1))
        return made

    def test_word_comes_in_time(self) -> None:
        """What waited comes out in order."""
        made = self.waiting()
        self.assertEqual(made.flows, [(NEIGHBOR, SOURCE)])
        self.assertEqual(made.waiting(NEIGHBOR, SOURCE), ["a", "b"])
        self.assertTrue(made.has(NEIGHBOR, SOURCE))
        self.assertFalse(made.has(OTHER, SOURCE))
        self.assertEqual((made.held_of(NEIGHBOR), made.held_of(OTHER)), (20, 0))
        self.assertEqual(made.take(NEIGHBOR, SOURCE), ["a", "b"])
        self.assertEqual(made.take(NEIGHBOR, SOURCE), [])
        self.assertEqual((made.held_bytes, made.deadline), (0, None))
        self.assertEqual((made.has(NEIGHBOR, SOURCE), made.held_of(NEIGHBOR)), (False, 0))
        self.assertEqual(made.waiting(NEIGHBOR, SOURCE), [])

    def test_no_word_comes(self) -> None:
        """With the first that is too late all of its flow comes out: nothing may overtake it."""
        made = self.waiting()
        made.hold(OTHER, SOURCE, "c", 10, 1.1)
        self.assertEqual(made.expire(1.1), [])
        self.assertEqual(made.deadline, 1.2)
        self.assertEqual(made.expire(1.2), ["a", "b"])
        self.assertEqual(made.deadline, 1.1 + 0.2)
        self.assertEqual(made.held_bytes, 10)

    def test_who_is_lied_to_keeps_little(self) -> None:
        """Frames of one neighbor are counted; what finds no room is not held."""
        made = self.waiting()
        self.assertTrue(made.hold(NEIGHBOR, SOURCE + 1, "c", 10, 1.1))
        self.assertFalse(made.hold(NEIGHBOR, SOURCE + 1, "d", 10, 1.1))
        self.assertTrue(made.hold(OTHER, SOURCE, "e", 10, 1.1))
        self.assertEqual(made.flows[0], (NEIGHBOR, SOURCE))

    def test_sources(self) -> None:
        """One neighbor speaks for so many unknown nodes; for each as often as there is room."""
        made = self.waiting()
        self.assertTrue(made.hold(NEIGHBOR, SOURCE + 1, "c", 10, 1.1))
        made.take(NEIGHBOR, SOURCE)
        self.assertTrue(made.hold(NEIGHBOR, SOURCE + 2, "d", 10, 1.1))
        self.assertFalse(made.hold(NEIGHBOR, SOURCE + 3, "e", 1, 1.1))
        self.assertTrue(made.hold(NEIGHBOR, SOURCE + 1, "f", 1, 1.1))
        self.assertTrue(made.hold(OTHER, SOURCE + 3, "g", 1, 1.1))

    def test_bytes_of_one_neighbor(self) -> None:
        """One neighbor has a share, and has it back when nothing of it waits."""
        made = self.waiting()
        self.assertFalse(made.hold(NEIGHBOR, SOURCE, "c", 21, 1.1))
        self.assertTrue(made.hold(NEIGHBOR, SOURCE, "d", 20, 1.1))
        self.assertTrue(made.hold(OTHER, SOURCE, "e", 40, 1.1))
        made.take(NEIGHBOR, SOURCE)
        self.assertTrue(made.hold(NEIGHBOR, SOURCE, "f", 40, 1.1))

    def test_bytes_of_all(self) -> None:
        """All neighbors together have so much room."""
        made = self.waiting()
        self.assertTrue(made.hold(OTHER, SOURCE, "c", 40, 1.1))
        self.assertFalse(made.hold(OTHER + 1, SOURCE, "d", 41, 1.1))
        self.assertTrue(made.hold(OTHER + 1, SOURCE, "e", 40, 1.1))
        self.assertFalse(made.hold(OTHER + 2, SOURCE, "f", 1, 1.1))
        self.assertEqual(made.held_bytes, 100)

    def test_a_neighbor_that_is_gone(self) -> None:
        """Nothing of it waits any more."""
        made = self.waiting()
        made.hold(OTHER, SOURCE, "c", 10, 1.1)
        made.drop(NEIGHBOR)
        self.assertEqual((made.flows, made.held_bytes), ([(OTHER, SOURCE)], 10))
