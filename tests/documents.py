"""Takes the programs and files out of the documentation, so that tests can run them."""

from __future__ import annotations

import re
import textwrap
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parent.parent / "docs"

_DIRECTIVE = re.compile(r" *\.\. code-block:: (\w+)")
_OPTION = re.compile(r" +:\w+:.*")


class Block(NamedTuple):
    """A code block of a document."""

    line: int
    """Where it begins."""

    language: str

    caption: str
    """Its name; most often that of a file. Empty: it has none."""

    text: str

    @property
    def commands(self) -> list[str]:
        """What stands after each ``$``; a command that is broken into lines is one."""
        lines = re.sub(r"\\\n *", "", self.text).splitlines()
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def blocks_of(name: str) -> list[Block]:
    """
    Read all code blocks of a document.

    :param name: The document, relative to ``docs``.
    :returns: They, in order.
    """
    lines = (DOCS / name).read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    for place, line in enumerate(lines):
        directive = _DIRECTIVE.fullmatch(line)
        if directive is not None:
            body = below(line, lines[place + 1 :])
            head = list(takewhile(_OPTION.fullmatch, body))
            captions = re.findall(r":caption: (.*)", "\n".join(head))
            text = textwrap.dedent("\n".join(body[len(head) :])).strip("\n") + "\n"
            found.append(Block(place + 1, directive[1], "".join(captions), text))
    return found


def below(head: str, lines: list[str]) -> list[str]:
    """
    Find what belongs to a line.

    :param head: It.
    :param lines: What follows it.
    :returns: Those at once after it that are indented more than it is.
    """
    margin = len(head) - len(head.lstrip())
    return list(takewhile(lambda text: not text[: margin + 1].strip(), lines))


def captioned_blocks(name: str) -> dict[str, str]:
    """
    Read the code blocks of a document that have a caption.

    :param name: The document, relative to ``docs``.
    :returns: Text by caption, which is a file name; several with one caption follow one another.
    """
    found: dict[str, str] = {}
    for block in blocks_of(name):
        if block.caption:
            found[block.caption] = found.get(block.caption, "") + block.text
    return found


def shown_output(name: str, command: str) -> list[str]:
    """
    Read what a document says that a command prints.

    :param name: The document, relative to ``docs``.
    :param command: What stands after the ``$``.
    :returns: The lines up to the next command or the end of the block.
    """
    lines = (DOCS / name).read_text(encoding="utf-8").splitlines()
    start = lines.index(f"   $ {command}")
    shown: list[str] = []
    for line in lines[start + 1 :]:
        if not line.startswith("   ") or line.startswith("   $ "):
            break
        shown.append(line.strip())
    return shown


def code_blocks(name: str, language: str) -> list[str]:
    """
    Read the code blocks of a document that are in one language.

    :param name: The document, relative to ``docs``.
    :param language: That.
    :returns: Their texts, in order.
    """
    return [block.text for block in blocks_of(name) if block.language == language]


def commands(name: str) -> list[str]:
    """
    Read the commands that a document tells people to type.

    :param name: The document, relative to ``docs``.
    :returns: What stands after each ``$``, in order.
    """
    return [command for block in blocks_of(name) for command in block.commands]
