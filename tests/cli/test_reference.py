"""The reference of the command line says what the command does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.main import atbus
from atbus.cli.outcome import ExitCode

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "command-line.rst"

COMMON = "Common options"


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Walk through click's own tree, to its leaves."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def sections(text: str) -> dict[str, str]:
    """Cut a document at its headings."""
    parts = re.split(r"(?m)^(\S.*)\n(?:-{3,}|={3,})$", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def definitions(text: str) -> dict[str, str]:
    """Read the options that a section explains, each with its explanation on one line."""
    found = re.findall(r"(?m)^``(-.*)``\n((?:    .*\n?|\n)+)", text)
    return {name: " ".join(body.replace("``", "").split()) for name, body in found}


def spelled(option: click.Option) -> str:
    """Write an option as help and reference do."""
    names = ", ".join(option.opts)
    if option.is_flag:
        return names
    metavar = option.metavar or option.make_metavar(click.Context(atbus))
    return f"{names} {metavar}"


class ReferenceTests(SynchronousTestCase):
    """docs/reference/command-line.rst."""

    def setUp(self) -> None:
        self.sections = sections(REFERENCE.read_text(encoding="utf-8"))
        self.commands = dict(commands(atbus, "atbus"))

    def options(self, command: click.Command) -> dict[str, click.Option]:
        """List the options that people are told of."""
        return {
            spelled(option): option
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden
        }

    def test_every_command_has_its_section(self) -> None:
        """The commands of the reference are those there are, in the same order."""
        titles = [title for title in self.sections if title.startswith("atbus ")]
        self.assertEqual(titles, list(self.commands))

    def test_every_command_is_written_as_it_is(self) -> None:
        """The arguments stand in the order in which they must be given."""
        for path, command in self.commands.items():
            context = click.Context(command, info_name=path)
            usage = " ".join(command.collect_usage_pieces(context))
            self.assertIn(f"\n   {path} {usage}\n", self.sections[path])

    def test_every_option_is_explained(self) -> None:
        """Each option is in its command's section or is a common one; there are no others."""
        common = definitions(self.sections[COMMON])
        used = set()
        for path, command in self.commands.items():
            explained = definitions(self.sections[path])
            options = self.options(command)
            self.assertEqual(set(explained), set(options) - set(common), path)
            used |= set(options)
        self.assertEqual(set(common) - used, {"--version"})

    def test_options_are_explained_as_in_the_help(self) -> None:
        """An explanation begins with the words of ``--help`` and names the default."""
        common = definitions(self.sections[COMMON])
        for path, command in self.commands.items():
            explained = common | definitions(self.sections[path])
            for name, option in self.options(command).items():
                text = explained[name]
                self.assertTrue(text.startswith(option.help or "?"), f"{path} {name}: {text}")
                default: Any = option.default
                if option.show_default and not option.is_flag:
                    self.assertIn(f"default is {default}", text, f"{path} {name}")

    def test_every_command_is_described_as_in_the_help(self) -> None:
        """The first sentence is that of ``--help``."""
        for path, command in self.commands.items():
            sentence = (command.help or "?").strip().partition("\n")[0].rstrip(".")
            text = " ".join(self.sections[path].replace("``", "").split())
            # Names of other documents are links there.
            text = re.sub(r":doc:`([^<`]*?) ?<[^`]*>`", r"\1", text)
            self.assertIn(sentence, text)

    def test_every_exit_code_is_explained(self) -> None:
        """The table of exit codes is complete."""
        codes = re.findall(r"(?m)^(\d+)  +\S", self.sections["Output and exit codes"])
        self.assertEqual([int(code) for code in codes], [int(code) for code in ExitCode])
