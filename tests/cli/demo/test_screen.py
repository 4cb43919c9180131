"""Where the demo is shown."""

from __future__ import annotations

import os
from io import StringIO
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.demo.board import TITLES
from atbus.cli.demo.screen import Lines, Terminal

LIVELY = ("eu-*", "root", "root", "ipv4", "1", "75", "1 ms", "2 ms", "-", "-")
SILENT = ("us-*", "root", "root", "-", "-", "0", "-", "-", "12", "3")


class Screen(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class LinesTests(SynchronousTestCase):
    """Off a terminal."""

    def test_some_tables_are_written(self) -> None:
        """The first table comes soon, the others now and then; news come at once."""
        stream = StringIO()
        lines = Lines(stream)
        for number in range(1, 24):
            lines.table(f"table {number}", [LIVELY])
        lines.news("root is back")
        written = stream.getvalue()
        shown = [line for line in written.splitlines() if line.startswith("table")]
        self.assertEqual(shown, ["table 3", "table 13", "table 23"])
        self.assertIn("eu-*  root  root      ipv4     1     75     1 ms    2 ms", written)
        self.assertTrue(written.endswith("* root is back\n"))


class TerminalTests(SynchronousTestCase):
    """On a terminal."""

    def draw(self, **environment: str) -> str:
        known = {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
        with mock.patch.dict(os.environ, known, clear=True):
            return self._draw()

    def _draw(self) -> str:
        stream = Screen()
        terminal = Terminal(stream)
        terminal.say("a [bold]tree[/bold]")
        terminal.table("1 s", [LIVELY, SILENT])
        terminal.news("root is back")
        terminal.close()
        terminal.close()
        return stream.getvalue()

    def test_it_draws_in_place(self) -> None:
        """The table is drawn over itself; what is said stays as it was written."""
        drawn = self.draw()
        self.assertIn("a [bold]tree[/bold]", drawn)
        for text in (*TITLES, *LIVELY, "root is back"):
            self.assertIn(text, drawn)
        # The cursor went up to the first line of the table, and is shown again at the end.
        self.assertIn("\x1b[1A", drawn)
        self.assertTrue(drawn.rstrip("\n").endswith("\x1b[?25h"))

    def test_colors(self) -> None:
        """A line that has fallen silent is red, except where NO_COLOR asks for none."""
        red = r"\x1b\[[0-9;]*31m"
        self.assertRegex(self.draw(), red)
        self.assertNotRegex(self.draw(NO_COLOR="1"), red)
