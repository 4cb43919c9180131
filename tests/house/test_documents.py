"""What the documents say about the repository is true."""

from __future__ import annotations

import re

import click
from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.main import atbus
from tests.house import repository
from tests.house.repository import ROOT

TARGETS_MAX = 12
MADE = r"(?:^ *\$ |``?|\bstep \w+ )make ([a-z]+(?:-[a-z]+)*)"

GIVEN = r"(?:``|\$ )atbus ([a-z][^`\n]*)"

# Spelled with brackets, so that this file does not contain what it looks for.
UNFINISHED = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b")

FRAGMENT = re.compile(r"\+[a-z0-9]+(?:-[a-z0-9]+)*\.(?:feature|bugfix|doc|removal|misc)\.md")


class CommandTests(SynchronousTestCase):
    """The commands that people are told to type."""

    def test_the_commands_exist(self) -> None:
        """Each ``make`` command of a document is a target of the Makefile."""
        targets = set(_targets())
        for document in [*repository.written_files(".md", ".rst"), ROOT / ".ci" / "run"]:
            text = document.read_text(encoding="utf-8")
            told = set(re.findall(MADE, text, re.MULTILINE))
            self.assertEqual(told - targets, set(), repository.name(document))

    def test_the_words_of_atbus_exist(self) -> None:
        """Each ``atbus`` command of a document is one, with the options that it has there."""
        unknown = [
            f"{repository.name(document)}: atbus {command}"
            for document in repository.written_files(".md", ".rst")
            for command in re.findall(GIVEN, document.read_text(encoding="utf-8"))
            if not _is_command(command.split())
        ]
        self.assertFalse(unknown, "\n".join(unknown))

    def test_the_readme_tells_how_to_begin(self) -> None:
        """The README shows the two commands that a newcomer needs."""
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        self.assertIn("make run", readme)
        self.assertIn("make test", readme)

    def test_the_makefile_stays_small(self) -> None:
        """At most eleven targets, and each says what it is for."""
        targets = _targets()
        self.assertTrue(0 < len(targets) <= TARGETS_MAX, targets)
        self.assertEqual([name for name, purpose in targets.items() if not purpose], [])
        phony = re.search(r"^\.PHONY: (.*)$", _makefile(), re.MULTILINE)
        self.assertEqual(set(phony[1].split()) if phony else set(), set(targets))


class LinkTests(SynchronousTestCase):
    """Where documents point."""

    def test_links_lead_somewhere(self) -> None:
        """Each relative link of a Markdown document is a file of the repository."""
        for document in repository.written_files(".md"):
            text = document.read_text(encoding="utf-8")
            prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
            links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose)
            broken = [link for link in links if not (document.parent / link).exists()]
            self.assertEqual(broken, [], repository.name(document))


class FragmentTests(SynchronousTestCase):
    """The news."""

    def test_fragments_are_well_named(self) -> None:
        """A fragment with another name would be left out of the news without a word."""
        names = {path.name for path in (ROOT / "changes").iterdir()} - {"README.md"}
        self.assertEqual([name for name in sorted(names) if not FRAGMENT.fullmatch(name)], [])

    def test_fragments_say_something(self) -> None:
        """Each fragment has a sentence."""
        empty = [
            path.name
            for path in (ROOT / "changes").glob("+*")
            if not path.read_text(encoding="utf-8").strip().endswith(".")
        ]
        self.assertEqual(empty, [])


class FinishedTests(SynchronousTestCase):
    """What is here is done."""

    def test_nothing_is_left_for_later(self) -> None:
        """No file carries a mark that says somebody should come back to it."""
        marks = []
        for path in repository.written_files():
            text = path.read_bytes().decode("utf-8", errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                if UNFINISHED.search(line):
                    marks.append(f"{repository.name(path)}:{number}: {line.strip()}")
        self.assertEqual(marks, [])


def _is_command(words: list[str]) -> bool:
    """Tell whether ``atbus`` understands these words: names of commands, then of options."""
    command: click.Command = atbus
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command = command.commands[words[0]]
        words = words[1:]
    options = {name for each in command.params for name in each.opts}
    given = {word for word in words if re.fullmatch("--?[A-Za-z][a-z-]*", word)}
    if isinstance(command, click.Group):
        return command is not atbus and not words
    # "atbus node run" passes its options on.
    return given <= options or bool(command.context_settings.get("ignore_unknown_options"))


def _makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def _targets() -> dict[str, str]:
    """
    Read the Makefile.

    :returns: For each target that people type, what it is for.
    """
    rules = re.findall(r"^([a-z][\w-]*):[^=#]*(?:##(.*))?$", _makefile(), re.MULTILINE)
    return {target: purpose.strip() for target, purpose in rules}
