"""What a process has loaded that will not find anything more."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

from twisted.python.usage import Options as UsageOptions
from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.everything import NOT_OF_A_NODE
from atbus.cli.twistd import Options
from tests.house.repository import ROOT

LOAD = """
import json, sys
from atbus.cli.twistd import Options
from atbus.cli.everything import load_everything
load_everything()
print(json.dumps(sorted(sys.modules)))
"""


def loaded_late() -> Iterator[str]:
    """Find the modules that functions of a node load when they are called."""
    for path in sorted((ROOT / "atbus").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name.startswith(NOT_OF_A_NODE) and name != "atbus.cli.twistd":
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for each in ast.walk(function):
                    if isinstance(each, ast.ImportFrom) and each.module is not None:
                        yield each.module
                    elif isinstance(each, ast.Import):
                        yield from (alias.name for alias in each.names)


class EverythingTests(SynchronousTestCase):
    """A node that loads what it has use for, and one that cannot any more."""

    def test_it_is_all_there(self) -> None:
        """Whatever a function of a node would load has been loaded."""
        run = subprocess.run(
            [sys.executable, "-c", LOAD], cwd=ROOT, capture_output=True, text=True, check=True
        )
        late = set(loaded_late()) - {"atbus.cli.everything"}
        self.assertIn("atbus.nats.websocket", late)
        self.assertEqual(sorted(late - set(json.loads(run.stdout))), [])

    def test_who_needs_it(self) -> None:
        """It is for who will be in another place, or be somebody else, and for nobody else."""
        for given, goes in (
            ({}, False),
            ({"rundir": ".", "chroot": None, "uid": None, "gid": None}, False),
            ({"rundir": "/run"}, True),
            ({"chroot": "/jail"}, True),
            ({"uid": 0}, True),
            ({"gid": 5}, True),
        ):
            options = Options()
            self.assertFalse(options.goes_elsewhere)
            options.parent = UsageOptions()
            options.parent.update(given)
            self.assertEqual(options.goes_elsewhere, goes, given)
