"""The table of the rules of routes names tests that there are."""

from __future__ import annotations

import ast
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.house import repository
from tests.house.repository import ROOT

DOCUMENT = ROOT / "docs" / "design" / "nats-routes.rst"


def tests_of(module: str) -> set[str]:
    """List the tests of a module as trial names them."""
    tree = repository.parse(ROOT / (module.replace(".", "/") + ".py"))
    return {
        f"{module}.{case.name}.{test.name}"
        for case in tree.body
        if isinstance(case, ast.ClassDef)
        for test in case.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
    }


class RouteTests(SynchronousTestCase):
    """docs/design/nats-routes.rst."""

    def setUp(self) -> None:
        text = DOCUMENT.read_text(encoding="utf-8")
        rows = re.findall(r"(?m)^   \* - (.*\n(?:     .*\n)*)", text)
        self.rows = [row for row in rows if not row.startswith("Rule of routes")]

    def test_each_row_is_complete(self) -> None:
        """Rule, ours, and one test at least, in each row."""
        self.assertGreater(len(self.rows), 15)
        for row in self.rows:
            parts = re.split(r"\n     - ", row)
            self.assertEqual(len(parts), 3, row)
            self.assertRegex(parts[2], r"^``tests\.")

    def test_each_test_is_there(self) -> None:
        """What the table names can be given to trial."""
        for row in self.rows:
            for name in re.findall(r"``(tests\.[\w.]+)``", row):
                self.assertIn(name, tests_of(name.rsplit(".", 2)[0]))
