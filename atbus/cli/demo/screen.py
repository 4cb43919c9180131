"""
Where the demo is shown: a table that changes in place on a terminal, lines anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

import click

from atbus.cli.demo.board import TITLES
from atbus.cli.output import align

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

Rows = Sequence[Sequence[str]]

NEWS_SHOWN = 6
_LOOKS_PER_TABLE = 10
_FIRST_TABLE = 3
# The first columns hold words, the others numbers.
_WORDS = 5


class Screen(Protocol):
    """Shows what happens."""

    def say(self, text: str) -> None:
        """
        Print something that stays.

        :param text: Some lines.
        """

    def news(self, text: str) -> None:
        """
        Tell what has just happened.

        :param text: One line.
        """

    def table(self, heading: str, rows: Rows) -> None:
        """
        Show a table instead of the one before it.

        :param heading: A line above it.
        :param rows: The cells of each line, in the order of `TITLES`.
        """

    def close(self) -> None:
        """Leave the last table where it is."""


class Lines:
    """
    Write tables one below the other.

    :param stream: Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tables = 0

    def say(self, text: str) -> None:
        """Write it."""
        click.echo(text, file=self._stream)

    def news(self, text: str) -> None:
        """Write it."""
        self.say(f"* {text}")

    def table(self, heading: str, rows: Rows) -> None:
        """Write it, if it is its turn: the third one, and then every tenth."""
        self._tables += 1
        if self._tables % _LOOKS_PER_TABLE == _FIRST_TABLE:
            self.say(f"\n{heading}\n{align([TITLES, *rows])}")

    def close(self) -> None:
        """Nothing is left to do."""


class Terminal:
    """
    Draw on a terminal.

    :param stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)
        self._live: Live | None = None
        self._news: list[str] = []
        self._heading = ""
        self._rows: Rows = ()

    def say(self, text: str) -> None:
        """Print it above the table."""
        self._console.print(text, markup=False, highlight=False)

    def news(self, text: str) -> None:
        """Show it below the table for a while."""
        self._news = [*self._news, text][-NEWS_SHOWN:]
        self._draw()

    def table(self, heading: str, rows: Rows) -> None:
        """Draw it over the one before."""
        self._heading, self._rows = heading, rows
        self._draw()

    def close(self) -> None:
        """Draw no more."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        from rich.live import Live

        if not self._rows:
            return
        if self._live is None:
            # Drawn when there is something new; a thread of rich's own would only get in the way.
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
        for place, title in enumerate(TITLES):
            table.add_column(title, justify="left" if place < _WORDS - 1 else "right", no_wrap=True)
        for row in self._rows:
            silent = row[TITLES.index("channel")] == "-"
            troubled = any(cell != "-" for cell in row[TITLES.index("refused") :])
            style = "red" if silent else "yellow" if troubled else ""
            table.add_row(*map(Text, row), style=style)
        news = [Text(f"* {text}", style="bold") for text in self._news]
        return Group(Text(self._heading, style="bold"), table, *news)
