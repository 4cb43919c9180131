"""Each bound has a test that goes beyond it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.house import repository
from tests.house.exceeded import OPTIONS, PARTS, TESTS
from tests.house.repository import ROOT
from tests.house.test_bounds import FILES

# What is arithmetic, or is about all tests, shows nothing of what a bound does.
_OTHERS = (ROOT / "tests" / "house", ROOT / "tests" / "test_limits.py")


def module_of(path: Path) -> str:
    """Give the dotted name of a source."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def bounds() -> set[str]:
    """Give the dotted names of all bounds."""
    return {
        f"{module_of(path)}.{node.target.id}"
        for path in (ROOT / name for name in FILES)
        for node in repository.parse(path).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def imported_by(tree: ast.Module) -> dict[str, str]:
    """Give the dotted names of what a module imports, by its own names for them."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def defaults_in(path: Path) -> Iterator[str]:
    """Give the dotted names of what is, as it is, the default of an argument or an attribute."""
    tree = repository.parse(path)
    modules = imported_by(tree)
    given: list[ast.expr | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(value=value):
                given.append(value)
            case ast.FunctionDef(args=arguments):
                given += [*arguments.defaults, *arguments.kw_defaults]
            case ast.keyword(arg="default", value=value):
                given.append(value)
    for value in given:
        match value:
            case ast.Name(id=name) if name in modules:
                yield modules[name]
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in modules:
                yield f"{modules[module]}.{name}"


def named_in(path: Path) -> Iterator[str]:
    """Give the dotted names that the code of a test module uses, and what it patches."""
    tree = repository.parse(path)
    modules = imported_by(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if name in modules:
                yield modules[name]
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in modules:
                yield f"{modules[module]}.{name}"
            case ast.Call(
                func=ast.Attribute(attr="patch"),
                args=[ast.Name(id=module), ast.Constant(value=str(name)), _],
            ) if module in modules:
                yield f"{modules[module]}.{name}"


def tests() -> set[str]:
    """Give the dotted names of all tests."""
    return {
        f"{module_of(path)}.{group.name}.{function.name}"
        for path in repository.python_files("tests")
        for group in repository.parse(path).body
        if isinstance(group, ast.ClassDef)
        for function in group.body
        if isinstance(function, repository.Function) and function.name.startswith("test_")
    }


class ExceededTests(SynchronousTestCase):
    """`limits.py`, the ``bounds.py`` of the areas, and the tests of what they bound."""

    def test_each_bound_is_exceeded(self) -> None:
        """
        A test uses the bound, or sets a smaller one in its place; or the table says which test
        goes beyond what an option or an argument has set instead of it.
        """
        used = {
            name
            for path in repository.python_files("tests")
            if not any(path == other or other in path.parents for other in _OTHERS)
            for name in named_in(path)
        }
        without = bounds() - used - TESTS.keys()
        self.assertEqual(sorted(without), [])

    def test_the_table_tells_of_what_is_there(self) -> None:
        """Its bounds and its tests exist."""
        self.assertEqual(sorted(TESTS.keys() - bounds()), [])
        self.assertEqual(sorted(set(TESTS.values()) - tests()), [])

    def test_an_option_is_the_bound_unless_it_is_given(self) -> None:
        """What a test sets to something smaller is the bound itself where nobody sets it."""
        defaults = {name for path in repository.python_files("atbus") for name in defaults_in(path)}
        self.assertEqual(sorted(OPTIONS.keys() - defaults), [])

    def test_a_part_is_given_the_bound(self) -> None:
        """What a test of a part sets to something smaller is the bound itself in a node."""
        told = set(named_in(ROOT / "tests" / "node" / "test_bounds.py"))
        self.assertEqual(sorted(PARTS.keys() - told), [])
