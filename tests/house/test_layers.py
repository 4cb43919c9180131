"""The layers are what setup.cfg says, and importing them has no side effects."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.house import repository
from tests.house.repository import ROOT

# The lowest layers of setup.cfg, above which I/O begins: two that decide, what speaks, the words.
CORE_LAYERS = 4

IMPORT_AND_TELL = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
print(*sorted(name for name in sys.modules if name.startswith(sys.argv[1])))
"""


class LayerTests(SynchronousTestCase):
    """Who may import whom."""

    def test_the_contracts_hold(self) -> None:
        """Every import obeys the contracts of setup.cfg, and every module has a layer."""
        lint_imports = Path(sys.executable).with_name("lint-imports")
        run = subprocess.run(
            [lint_imports, "--no-logo", "--no-cache"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_no_core_module_escapes_the_contract(self) -> None:
        """Each module under the line is a source of the contract that forbids it I/O and clocks."""
        sources = _setting("importlinter:contract:sans-io", "source_modules").split()
        covered = {source.removesuffix(".**") for source in sources}
        core = {f"atbus.{module}" for line in _layers()[-CORE_LAYERS:] for module in line}
        self.assertEqual(core - covered, set())

    def test_the_map_is_the_same_everywhere(self) -> None:
        """The package's docstring and the README draw the layers that are enforced."""
        for document in ("README.md", "atbus/__init__.py"):
            text = (ROOT / document).read_text(encoding="utf-8")
            drawn = re.findall(r"^ *(\w+(?: [|:] \w+)*)(?:  +.*)$", text, re.MULTILINE)
            layers = [set(re.split(" [|:] ", line)) for line in drawn]
            self.assertEqual(layers, [set(line) for line in _layers()], document)


class FreshImportTests(SynchronousTestCase):
    """What a program pays, and commits itself to, when it imports a part of atbus."""

    def test_the_face_loads_no_reactor(self) -> None:
        """Importing atbus alone loads nothing of Twisted: its public names are lazy."""
        self.assertEqual(_loaded_by("twisted", "atbus"), [])

    def test_the_core_loads_no_twisted(self) -> None:
        """The core, every module of it, can be used where there is no reactor and never will be."""
        core = [
            module
            for line in _layers()[-CORE_LAYERS:]
            for layer in line
            for module in _modules(f"atbus/{layer}")
        ]
        self.assertIn("atbus.wire.codec", core)
        self.assertIn("atbus.routing.table", core)
        self.assertEqual(_loaded_by("twisted", *core), [])

    def test_no_module_installs_a_reactor(self) -> None:
        """Whoever imports atbus still chooses the reactor: no module takes one at import."""
        modules = [module for module in _modules("atbus") if not module.endswith("__main__")]
        self.assertIn("atbus.node.node", modules)
        self.assertEqual(_loaded_by("twisted.internet.reactor", *modules), [])


def _setting(section: str, option: str) -> str:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser[section][option]


def _layers() -> list[list[str]]:
    """
    Read the layers of setup.cfg.

    :returns: From the top down, the modules of each layer; planned ones too.
    """
    lines = _setting("importlinter:contract:layers", "layers").strip().splitlines()
    return [re.findall(r"\w+", line) for line in lines]


def _modules(prefix: str) -> list[str]:
    """
    List modules by their files, so that none can hide by not being imported.

    :param prefix: A package or a module without its suffix, as a path from the root.
    :returns: Dotted names.
    """
    names = []
    for path in repository.python_files("atbus"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        text = "/".join(parts)
        if text == prefix or text.startswith(f"{prefix}/"):
            names.append(".".join(parts).removesuffix(".__init__"))
    return names


def _loaded_by(prefix: str, *modules: str) -> list[str]:
    """
    Import modules in an interpreter of their own.

    :param prefix: What to look for.
    :param modules: What to import.
    :returns: The modules with that prefix that were loaded.
    :raises CalledProcessError: When one of them cannot be imported.
    """
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_TELL, prefix, *modules],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return run.stdout.split()
