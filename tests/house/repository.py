"""What the house rules read: the files of this repository and their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

# Folders that are made, not written.
_MADE = frozenset({"build", "dist", "__pycache__"})


def written_files(*suffixes: str) -> list[Path]:
    """
    List what people wrote.

    :param suffixes: Only files that end so, ``.py`` for example; none for all.
    :returns: Absolute paths, sorted.
    """
    return sorted(path for path in _walk(ROOT) if not suffixes or path.name.endswith(suffixes))


def python_files(*folders: str) -> list[Path]:
    """
    List Python sources.

    :param folders: Top-level folders to look in; none for all.
    :returns: Absolute paths, sorted.
    """
    return [
        path
        for path in written_files(".py")
        if not folders or path.relative_to(ROOT).parts[0] in folders
    ]


@cache
def parse(path: Path) -> ast.Module:
    """
    Parse a source, once.

    :param path: A Python file.
    :returns: Its syntax tree.
    """
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    """
    Find the functions and methods of a source, nested ones too.

    :param path: A Python file.
    :returns: Their syntax trees.
    """
    for node in ast.walk(parse(path)):
        if isinstance(node, Function):
            yield node


def docstring_lines(node: ast.AST) -> int:
    """
    Count the lines that docstrings take.

    :param node: A function; what is nested in it counts as well.
    :returns: How many lines of it are docstrings.
    """
    count = 0
    for inner in ast.walk(node):
        if isinstance(inner, Function | ast.ClassDef) and ast.get_docstring(inner) is not None:
            text = inner.body[0]
            count += (text.end_lineno or text.lineno) - text.lineno + 1
    return count


def name(path: Path) -> str:
    """
    Shorten a path for a message.

    :param path: An absolute path.
    :returns: It, from the root of the repository.
    """
    return str(path.relative_to(ROOT))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            made = path.name in _MADE or path.name.endswith((".egg-info", "_trial_temp"))
            hidden = path.name.startswith((".", "_trial_temp")) and path.name != ".ci"
            if not made and not hidden:
                yield from _walk(path)
        elif not path.is_symlink() and path.suffix not in {".pyc", ".cache", ".log", ".pid"}:
            yield path
