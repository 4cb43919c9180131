"""What is declared to be needed, and what is."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.house.repository import ROOT, parse, python_files

# Distributions whose modules have another name.
MODULES = {
    "attrs": ("attr", "attrs"),
    "pyopenssl": ("OpenSSL",),
    "service-identity": ("service_identity",),
    "zope.interface": ("zope",),
}
# Twisted verifies certificates with it, and says so only by a warning when it is not there.
NEEDED_BY_TWISTED = {"service-identity"}


# Extras for those who work on the package; what it imports itself is in the others.
OF_WORKERS = {"dev", "bench"}


def declared() -> set[str]:
    """Read from setup.cfg what the package needs, with all its extras."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = parser["options.extras_require"]
    texts = [parser["options"]["install_requires"]]
    texts += [extras[name] for name in extras if name not in OF_WORKERS]
    lines = (line.strip() for text in texts for line in text.splitlines())
    found = (re.match(r"[\w.-]+", line) for line in lines)
    return {match[0] for match in found if match is not None}


def modules_of(names: Iterable[str]) -> set[str]:
    """Give the top-level modules of distributions."""
    return {module for name in names for module in MODULES.get(name, (name,))}


def imported() -> Iterator[str]:
    """Find the top-level modules that the package imports, anywhere in its files."""
    for path in python_files("atbus", "twisted"):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                yield node.module.partition(".")[0]


class DependencyTests(SynchronousTestCase):
    """The package's own imports, beside the lists of setup.cfg."""

    def test_what_is_imported_is_declared(self) -> None:
        """Who installs the package has everything that it imports, with the extras for the rest."""
        known = modules_of(declared())
        foreign = set(imported()) - set(sys.stdlib_module_names) - {"atbus"}
        self.assertEqual(foreign - known, set())

    def test_what_is_declared_is_imported(self) -> None:
        """Nobody installs what nothing uses."""
        used = set(imported())
        names = declared() - NEEDED_BY_TWISTED
        idle = {name for name in names if not modules_of([name]) & used}
        self.assertEqual(idle, set())
