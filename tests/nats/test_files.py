"""What is made of files, and made anew."""

from __future__ import annotations

from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.nats.files import Latest


class LatestTests(SynchronousTestCase):
    """A text that is made of a file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text("one")
        self.made = 0
        self.latest = Latest([str(self.path), ""], self.make)

    def make(self) -> str:
        """Read it; one text cannot be used."""
        self.made += 1
        text = self.path.read_text() if self.path.exists() else "bad"
        if text == "bad":
            raise ConfigurationError(["nats: bad"])
        return text

    def put(self, text: str) -> None:
        """Put another file in its place, as whoever renews certificates does."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def test_once(self) -> None:
        """As long as the file is the same nothing is made."""
        self.assertEqual([self.latest.get() for _ in range(3)], ["one"] * 3)
        self.assertEqual(self.made, 1)

    def test_another_file(self) -> None:
        """A new file is used by the next one who asks; the log says so."""
        self.put("two")
        with capturedLogs() as events:
            self.assertEqual([self.latest.get(), self.latest.get()], ["two"] * 2)
        [text] = map(formatEvent, events)
        self.assertEqual((self.made, text), (2, f"new files are in use: {self.path}"))

    def test_who_may_read_it_now(self) -> None:
        """A file is used as soon as we may read it: nothing else of it changes."""
        self.path.chmod(0o640)
        self.latest.get()
        self.assertEqual(self.made, 2)

    def test_one_that_cannot_be_used(self) -> None:
        """The old one stays in use, and the log says why, once; then it is looked at again."""
        with capturedLogs() as events:
            self.put("bad")
            self.assertEqual([self.latest.get(), self.latest.get()], ["one"] * 2)
            self.path.unlink()
            self.assertEqual(self.latest.get(), "one")
        texts = [formatEvent(event) for event in events]
        self.assertEqual(texts, ["nats: bad; what was there before is used"] * 2)
        self.put("three")
        self.assertEqual(self.latest.get(), "three")

    def test_none_at_first(self) -> None:
        """At the beginning there has to be one."""
        self.put("bad")
        self.assertRaises(ConfigurationError, Latest, [str(self.path)], self.make)
