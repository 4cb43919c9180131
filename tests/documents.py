"""Takes the programs and files out of the documentation, so that tests can run them."""

from __future__ import annotations

import textwrap
from itertools import takewhile
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def captioned_blocks(name: str) -> dict[str, str]:
    """
    Read the code blocks of a document that have a caption.

    :param name: The document, relative to ``docs``.
    :returns: Text by caption, which is a file name; several with one caption follow one another.
    """
    lines = (DOCS / name).read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    for place, line in enumerate(lines):
        if ":caption:" not in line:
            continue
        caption = line.split(":caption:")[1].strip()
        body: list[str] = []
        for text in lines[place + 1 :]:
            if text.strip() and not text.startswith("   "):
                break
            if not text.strip().startswith(":") or body:
                body.append(text)
        found[caption] = found.get(caption, "") + textwrap.dedent("\n".join(body)).strip() + "\n"
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
    found: list[str] = []
    lines = (DOCS / name).read_text(encoding="utf-8").splitlines()
    for place, line in enumerate(lines):
        if line.strip() == f".. code-block:: {language}":
            body = takewhile(lambda text: not text.strip() or text[0] == " ", lines[place + 1 :])
            found.append(textwrap.dedent("\n".join(body)).strip() + "\n")
    return found


def commands(name: str) -> list[str]:
    """
    Read the commands that a document tells people to type.

    :param name: The document, relative to ``docs``.
    :returns: What stands after each ``$``, in order.
    """
    lines = "".join(code_blocks(name, "console")).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
