"""What commands print."""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.cli.output import Output, duration, text_of, title_of, volume

ROWS: list[dict[str, Any]] = [
    {"id": "0x1", "rtt_seconds": 0.0012, "labels": {"region": "eu"}, "more": 1},
    {"id": "0x10203", "rtt_seconds": None, "labels": {}, "more": 2},
]


class Terminal(StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class OutputTests(SynchronousTestCase):
    """Tables and JSON."""

    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_table_in_a_pipe(self) -> None:
        """Off a terminal a table is aligned text, a line for each row, nothing at line ends."""
        Output("table").rows(ROWS, ["id", "rtt_seconds", "labels"])
        self.assertEqual(
            self.out.getvalue().splitlines(),
            [
                "ID       RTT     LABELS",
                "0x1      1.2 ms  region=eu",
                "0x10203  -       -",
            ],
        )

    def test_table_on_a_terminal(self) -> None:
        """On a terminal rich draws it; what nodes say of themselves is not taken for markup."""
        terminal = Terminal()
        self.patch(sys, "stdout", terminal)
        with mock.patch.dict(os.environ, {"TERM": "xterm", "COLUMNS": "80"}, clear=True):
            Output("table").rows([{"id": "[red]0x1[/red]"}], ["id"])
        self.assertIn("[red]0x1[/red]", terminal.getvalue())

    def test_json(self) -> None:
        """As JSON a list has all fields, and is one line."""
        Output("json").rows(ROWS, ["id"])
        self.assertEqual(json.loads(self.out.getvalue()), ROWS)
        self.assertEqual(self.out.getvalue().count("\n"), 1)

    def test_fields(self) -> None:
        """One thing is a field on a line; inner ones are written with a dot."""
        Output("table").fields({"id": "0x1", "statistics": {"sent": 3, "refused": {}}})
        self.assertEqual(
            self.out.getvalue().splitlines(),
            ["id                  0x1", "statistics.sent     3", "statistics.refused  -"],
        )

    def test_people_and_data(self) -> None:
        """What is said to people goes to stderr, and is not said to programs."""
        Output("table").say("done")
        Output("json").say("done")
        self.assertEqual((self.out.getvalue(), self.err.getvalue()), ("", "done\n"))

    def test_errors(self) -> None:
        """A failure is a line on stderr with its faults below, or a JSON object on stdout."""
        failure = CommandFailed(ExitCode.USAGE, "INVALID", "node.toml: 1 fault", ("hops: ...",))
        Output("table").error(failure)
        self.assertEqual(self.err.getvalue(), "atbus: node.toml: 1 fault\n  hops: ...\n")
        Output("json").error(failure)
        self.assertEqual(
            json.loads(self.out.getvalue()),
            {
                "error": {
                    "code": 2,
                    "error": "INVALID",
                    "message": "node.toml: 1 fault",
                    "faults": ["hops: ..."],
                }
            },
        )


class TextTests(SynchronousTestCase):
    """Single values."""

    def test_values(self) -> None:
        """Nothing is a dash, lists and tables stand on one line."""
        values = [None, "", [], {}, True, False, 0, ["a", "b"], {"a": 1, "b": [2]}]
        texts = ["-", "-", "-", "-", "yes", "no", "0", "a b", "a=1 b=2"]
        self.assertEqual([text_of(value) for value in values], texts)

    def test_hostile_text(self) -> None:
        """What another node says cannot move the cursor of our terminal."""
        self.assertEqual(text_of("a\x1b[2Jb\n"), "a\\x1b[2Jb\\n")

    def test_durations(self) -> None:
        """Times have a unit that suits them."""
        seconds = [0.000_000_62, 0.000_054, 0.001_24, 0.25, 1.5, 119.0, 300.0, 9000.0]
        texts = ["0.62 us", "54 us", "1.24 ms", "250 ms", "1.5 s", "119 s", "5 min", "2.5 h"]
        self.assertEqual([duration(value) for value in seconds], texts)
        self.assertEqual(text_of(0.25, "rtt_seconds"), "250 ms")

    def test_volumes(self) -> None:
        """Amounts of memory have a unit that suits them."""
        sizes = [0, 1023, 1536, 55_803_904, 300 << 20, 5 << 30]
        texts = ["0 B", "1023 B", "1.5 KiB", "53.2 MiB", "300 MiB", "5 GiB"]
        self.assertEqual([volume(size) for size in sizes], texts)
        self.assertEqual(text_of(2048, "queued_bytes"), "2 KiB")

    def test_titles(self) -> None:
        """The unit of a field is not part of its heading."""
        names = ["rtt_seconds", "queued_bytes", "id", "given_up_at"]
        self.assertEqual([title_of(name) for name in names], ["RTT", "QUEUED", "ID", "GIVEN UP AT"])
