"""The table of attacks and the tests of attacks are the same list."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.house import repository
from tests.house.repository import ROOT
from tests.security.mutate import changed, places
from tests.security.mutations import MUTATIONS

DOCUMENT = ROOT / "docs" / "design" / "security.rst"


class SecurityTests(SynchronousTestCase):
    """docs/design/security.rst, and tests/security."""

    def test_each_attack_is_tried(self) -> None:
        """Each row of the table names a test that is there, and each such test has a row."""
        text = DOCUMENT.read_text(encoding="utf-8")
        told = re.findall(r"``(test_security_\w+)``", text)
        self.assertEqual(len(told), len(set(told)))
        tried = [
            function.name
            for path in (ROOT / "tests" / "security").glob("*.py")
            for function in repository.functions(path)
            if function.name.startswith("test_")
        ]
        self.assertEqual(sorted(tried), sorted(told))

    def test_each_row_is_complete(self) -> None:
        """Attack, defence and test, in each row."""
        text = DOCUMENT.read_text(encoding="utf-8")
        rows = re.findall(r"(?m)^   \* - (.*\n(?:     .*\n)*)", text)[1:]
        self.assertGreater(len(rows), 20)
        for row in rows:
            self.assertEqual(len(re.split(r"\n     - ", row)), 3, row)
            self.assertIn("``test_security_", row)

    def test_each_defence_can_be_taken_away(self) -> None:
        """There is a change for each test, and each is one of a source as it is now."""
        self.assertEqual({each.test for each in MUTATIONS}, set(places()))
        for mutation in MUTATIONS:
            source = ROOT / "atbus" / mutation.path
            before = source.read_text(encoding="utf-8") if source.exists() else None
            self.assertNotEqual(changed(mutation), before)
