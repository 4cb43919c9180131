"""What has a long form is run at length by ``make chaos``."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.house.repository import ROOT, python_files

ASKS = re.compile(r"^from tests\.extent import ", re.MULTILINE)


class LongFormTests(SynchronousTestCase):
    """A form that nobody runs soon does not work any more."""

    def test_each_is_run(self) -> None:
        """Each module of tests that asks how much time there is stands in the Makefile."""
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
        recipe = re.search(r"^chaos:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        assert recipe is not None
        run = [f"{name}." for name in re.findall(r"\btests[.\w]*", recipe[1])]
        asking = {name_of(path) for path in python_files("tests") if asks(path)}
        missed = [name for name in asking if not f"{name}.".startswith(tuple(run))]
        self.assertEqual(missed, [])


def asks(path: Path) -> bool:
    """Tell whether a file has tests that ask."""
    found = ASKS.search(path.read_text(encoding="utf-8"))
    return found is not None and path.name.startswith("test_")


def name_of(path: Path) -> str:
    """Give the name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
