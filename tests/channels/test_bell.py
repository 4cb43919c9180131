"""A bell between two processes, of which neither waits."""

from __future__ import annotations

import os
import select
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.channels.bell import Bell, Rope
from atbus.errors import MalformedFrame


class BellTests(SynchronousTestCase):
    """Both sides of a bell."""

    def setUp(self) -> None:
        self.bell = Bell()
        self.addCleanup(self.bell.close)
        self.rope = Rope(os.dup(self.bell.rope))
        self.addCleanup(self.rope.close)

    def is_rung(self) -> bool:
        """Tell whether a reactor would wake up."""
        return bool(select.select([self.bell], [], [], 0)[0])

    def test_a_stroke(self) -> None:
        """A stroke wakes the reader until it is answered."""
        self.assertFalse(self.is_rung())
        self.assertFalse(self.bell.is_rung)
        self.rope.ring()
        self.assertTrue(self.is_rung())
        # To look takes no stroke.
        self.assertEqual([self.bell.is_rung, self.bell.is_rung], [True, True])
        self.assertTrue(self.bell.answer())
        self.assertFalse(self.is_rung())

    def test_no_stroke(self) -> None:
        """Who answers though nobody has rung does not wait."""
        self.assertFalse(self.bell.answer())

    def test_many_strokes(self) -> None:
        """However often it is rung, ringing does not fail, and what is heard has an end."""
        for _ in range(10_000):
            self.rope.ring()
        heard = 0
        while self.bell.answer():
            heard += 1
        self.assertTrue(0 < heard < 10_000)

    def test_nobody_there(self) -> None:
        """To ring at somebody who is gone does no harm."""
        self.bell.close()
        self.assertEqual(self.bell.fileno(), -1)
        self.rope.ring()

    def test_a_bell_of_somebody_else(self) -> None:
        """A socket that leads to a name, as that of a service, is refused and closed."""
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory) / "service")
            with (
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service,
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
            ):
                service.bind(path)
                client.connect(path)
                descriptor = client.detach()
                error = self.assertRaises(MalformedFrame, Rope, descriptor)
        self.assertIn("somebody else's", str(error))
        self.assertRaises(OSError, os.close, descriptor)
