"""
What commands print: data on stdout, words for people on stderr.

On a terminal tables have rules and colors (rich, loaded only then); elsewhere they are aligned
columns without either, one line for each row, so that they can be cut and searched. With
``-o json`` a command prints one JSON value, also when it fails: ``{"error": {...}}``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from atbus.cli.outcome import CommandFailed
from atbus.errors import printable

TABLE = "table"
JSON = "json"

Row = Mapping[str, Any]


class Output:
    """
    Print in one format.

    :param format: ``table`` or ``json``.
    """

    def __init__(self, format: str) -> None:  # noqa: A002  # what the option is called
        self.format = format

    @property
    def is_json(self) -> bool:
        """Whether a program reads along."""
        return self.format == JSON

    def rows(self, rows: Sequence[Row], columns: Sequence[str]) -> None:
        """
        Print a list.

        :param rows: As JSON they are printed with all their fields.
        :param columns: The fields that a table shows, in order; the last part of ``rtt_seconds``
            or ``peak_bytes`` is a unit, which a table shows in a way that suits the number.
        """
        if self.is_json:
            self.value(rows)
            return
        titles = [title_of(column) for column in columns]
        cells = [[text_of(row.get(column), column) for column in columns] for row in rows]
        if sys.stdout.isatty():
            _print_rich(titles, cells)
        else:
            click.echo(align([titles, *cells]))

    def fields(self, fields: Row) -> None:
        """
        Print one thing, a field on a line.

        :param fields: Its fields; those that hold others are written as ``outer.inner``.
        """
        if self.is_json:
            self.value(fields)
            return
        flat = list(_flatten(fields))
        width = max((len(name) for name, _ in flat), default=0)
        for name, value in flat:
            click.echo(f"{name:{width}}  {text_of(value, name)}".rstrip())

    def value(self, value: object) -> None:
        """
        Print a JSON value on one line.

        :param value: What `json.dumps` takes.
        """
        click.echo(json.dumps(value, ensure_ascii=False))

    def line(self, text: str) -> None:
        """
        Print one line of data for people.

        :param text: It, without its end.
        """
        click.echo(text)

    def say(self, text: str) -> None:
        """
        Tell people something; programs are told nothing.

        :param text: A sentence or a line.
        """
        if not self.is_json:
            click.echo(text, err=True)

    def error(self, failure: CommandFailed) -> None:
        """
        Tell why a command failed.

        :param failure: Why.
        """
        if self.is_json:
            told: dict[str, Any] = {"code": int(failure.code), "error": failure.error}
            told["message"] = failure.message
            if failure.faults:
                told["faults"] = list(failure.faults)
            self.value({"error": told})
            return
        click.echo(f"atbus: {printable(failure.message)}", err=True)
        # Who has been told all of them in a sentence need not be told again.
        for fault in () if failure.message == "; ".join(failure.faults) else failure.faults:
            click.echo(f"  {printable(fault)}", err=True)


def title_of(column: str) -> str:
    """
    Give a column its heading.

    :param column: The name of a field.
    :returns: Without its unit, which stands in the cells.
    """
    return column.removesuffix("_seconds").removesuffix("_bytes").replace("_", " ").upper()


def text_of(value: object, name: str = "") -> str:
    """
    Write a value for people.

    :param value: Text, number, list or table.
    :param name: The name of its field, which tells the unit.
    :returns: One line; ``-`` when there is nothing.
    """
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_seconds") and isinstance(value, int | float):
        return duration(value)
    if name.endswith("_bytes") and isinstance(value, int):
        return volume(value)
    if isinstance(value, Mapping):
        return " ".join(f"{key}={text_of(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(text_of(inner) for inner in value)
    return printable(str(value))


def duration(seconds: float) -> str:
    """
    Write a time span.

    :param seconds: How long it is.
    :returns: Three digits or so, with a unit.
    """
    if seconds < 0.00001:
        return f"{seconds * 1e6:.2g} us"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.3g} h"


def volume(size_bytes: int) -> str:
    """
    Write an amount of memory.

    :param size_bytes: How much it is.
    :returns: Three digits or so, with a unit.
    """
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size_bytes >= 1 << power:
            amount = size_bytes / (1 << power)
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.3g} {unit}"
    return f"{size_bytes} B"


def align(lines: Sequence[Sequence[str]]) -> str:
    """
    Write columns side by side.

    :param lines: The cells of each line; all have as many.
    :returns: Lines with two blanks between the columns, and none at their ends.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _flatten(fields: Row, prefix: str = "") -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat += _flatten(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat


def _print_rich(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in cells:
        # What other nodes say of themselves is text, not markup.
        table.add_row(*map(Text, row))
    Console().print(table)
