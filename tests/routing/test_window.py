"""What the program has been given and has not dealt with."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.window import Window


class WindowTests(SynchronousTestCase):
    def test_closes_by_count_and_opens_at_half(self) -> None:
        """Beyond so many open messages senders are to pause, at half as many to go on."""
        window = Window(bytes_max=1_000, count_max=4)
        for _ in range(4):
            window.enter(1)
        self.assertFalse(window.closed)
        window.enter(1)
        self.assertTrue(window.closed)
        self.assertEqual([window.leave(1) for _ in range(4)], [False, False, True, False])
        self.assertFalse(window.closed)

    def test_closes_by_bytes(self) -> None:
        """One message may be enough to close the window; nothing is refused for that."""
        window = Window(bytes_max=1_000, count_max=4)
        window.enter(1_001)
        self.assertEqual((window.closed, window.is_full), (True, False))
        self.assertTrue(window.leave(1_001))

    def test_is_full_at_a_multiple(self) -> None:
        """Whoever does not pause is refused in the end."""
        window = Window(bytes_max=1_000, count_max=4)
        for _ in range(15):
            window.enter(10)
        self.assertFalse(window.is_full)
        window.enter(10)
        self.assertTrue(window.is_full)
        window = Window(bytes_max=1_000, count_max=1_000)
        window.enter(4_000)
        self.assertTrue(window.is_full)

    def test_the_program_may_shut_it(self) -> None:
        """A window that the program has shut stays closed whatever is dealt with."""
        window = Window(bytes_max=1_000, count_max=4)
        window.shut = True
        self.assertTrue(window.closed)
        for _ in range(5):
            window.enter(1)
        self.assertEqual([window.leave(1) for _ in range(5)], [False] * 5)
        self.assertTrue(window.closed)
        window.shut = False
        self.assertFalse(window.closed)
