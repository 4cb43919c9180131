"""What readers copy from the manual is run by a test."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.documents import below, blocks_of
from tests.house import repository
from tests.house.repository import ROOT

PAGES = sorted(
    str(path.relative_to(ROOT / "docs"))
    for path in [ROOT / "docs" / "tutorial.rst", *(ROOT / "docs" / "howto").glob("*.rst")]
)
#: How else code can be written; none of it is.
OTHER = re.compile(
    r" *(?:>>>|\.\. (?!code-block:: \w+$)(?:code|sourcecode|literalinclude|parsed-literal|prompt))"
)


class BlockTests(SynchronousTestCase):
    """
    Each how-to and the tutorial.

    That a test takes something is seen by its words: the module names the page, and what is taken.
    """

    def test_every_file_has_a_name(self) -> None:
        """Without a caption tests could not ask for it: ``code_blocks`` gives what is there."""
        nameless = [
            f"docs/{page}:{block.line}"
            for page in PAGES
            for block in blocks_of(page)
            if block.language != "console" and not block.caption
        ]
        self.assertFalse(nameless, "\n".join(nameless))

    def test_every_file_is_taken(self) -> None:
        """A test asks for each block by its caption."""
        untaken = [
            f"docs/{page}:{block.line}: {block.caption}"
            for page in PAGES
            for block in blocks_of(page)
            if block.caption and block.caption not in _words_of_tests(page)
        ]
        self.assertFalse(untaken, "\n".join(untaken))

    def test_every_command_is_given(self) -> None:
        """A test asks for each command, by two words at least with which it begins."""
        ungiven = [
            f"docs/{page}:{block.line}: {command}"
            for page in PAGES
            for block in blocks_of(page)
            for command in block.commands
            if not any(
                len(words.split()) > 1 and command.startswith(words)
                for words in _words_of_tests(page)
            )
        ]
        self.assertFalse(ungiven, "\n".join(ungiven))

    def test_no_example_is_hidden(self) -> None:
        """Nothing to copy stands behind a ``::``, or in a block that is not looked at here."""
        hidden = [f"docs/{page}: {text}" for page in PAGES for text in _literal_blocks(page)]
        self.assertFalse(hidden, "\n".join(hidden))


class ReadmeTests(SynchronousTestCase):
    """README.md."""

    def test_the_commands_are_those_of_the_project(self) -> None:
        """Its one block has commands of ``make`` only, whose targets are looked at elsewhere."""
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        given = [line for line in text.splitlines() if line.startswith("$ ")]
        self.assertEqual([line.split()[:2] for line in given], [["$", "make"]] * 2)
        self.assertEqual(text.count("```console"), 1)


def _literal_blocks(page: str) -> Iterator[str]:
    """Give what looks like something to copy in other blocks: those of a drawing have no ``=``."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    for place, line in enumerate(lines):
        if OTHER.match(line):
            yield line
        elif line.endswith("::") and not line.strip().startswith(".."):
            body = "\n".join(below(line, lines[place + 1 :]))
            if "=" in body or "$" in body:
                yield textwrap.shorten(body, 80)


@cache
def _words_of_tests(page: str) -> frozenset[str]:
    """Give all texts in modules that name a page, or take something from a module that does."""
    naming = {path for path in _modules() if page in _words(path)}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in naming}
    naming |= {path for path in _modules() if names & _taken_from(path)}
    return frozenset(word for path in naming for word in _words(path))


@cache
def _modules() -> frozenset[Path]:
    """Find the modules that know of documents, or take something from one that does."""
    sources = {path: path.read_text(encoding="utf-8") for path in repository.python_files("tests")}
    knowing = {path for path, text in sources.items() if "from tests.documents import" in text}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in knowing}
    taking = {
        path for path, text in sources.items() if any(f"from {each} " in text for each in names)
    }
    return frozenset(knowing | taking)


@cache
def _words(path: Path) -> frozenset[str]:
    """Give the texts of a module that are no docstrings."""
    tree = repository.parse(path)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return frozenset(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    )


@cache
def _taken_from(path: Path) -> frozenset[str]:
    """Give the modules from which a module imports something."""
    tree = repository.parse(path)
    return frozenset(
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    )
