"""Everything is where one would look for it."""

from __future__ import annotations

import gc
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from tests.house import repository
from tests.house.repository import ROOT

# Folders of tests that are about the whole bus and mirror no package.
WHOLE_BUS = {
    *("house", "simulation", "interop", "chaos", "processes", "security"),
    *("examples", "benchmarks"),
}


class MirrorTests(SynchronousTestCase):
    """Tests stand where the thing tested stands."""

    def test_each_package_has_its_tests(self) -> None:
        """atbus/X has its tests in tests/X, and atbus/X/Y in tests/X/Y or tests/X/test_Y.py."""
        missing = []
        for package in _packages("atbus"):
            mirror = ROOT / "tests" / package.relative_to(ROOT / "atbus")
            if not any(mirror.glob("test_*.py")):
                beside = mirror.with_name(f"test_{mirror.name}.py")
                if not beside.exists() or mirror.parent == ROOT / "tests":
                    missing.append(repository.name(mirror))
        self.assertEqual(missing, [])

    def test_each_module_at_the_top_has_its_test(self) -> None:
        """The tests of atbus/x.py are in tests/test_x.py."""
        modules = {path.stem for path in (ROOT / "atbus").glob("*.py")} - {"__init__", "__main__"}
        tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
        self.assertEqual(modules - tested, set())

    def test_no_tests_stand_elsewhere(self) -> None:
        """A folder of tests mirrors a package or is about the whole bus."""
        packages = {package.name for package in (ROOT / "atbus").iterdir() if package.is_dir()}
        folders = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("*.py"))}
        self.assertEqual(folders - packages - WHOLE_BUS, set())


class PackageTests(SynchronousTestCase):
    """What Python and Twisted find."""

    def test_packages_are_packages(self) -> None:
        """Each folder of sources has an __init__.py; trial and import-linter pass over others."""
        missing = {
            repository.name(path.parent)
            for path in repository.python_files("atbus", "tests")
            if not (path.parent / "__init__.py").exists()
        }
        self.assertEqual(missing, set())

    def test_the_plugin_folders_join_those_of_twisted(self) -> None:
        """An __init__.py there would hide Twisted itself, so there is none."""
        found = list((ROOT / "twisted").rglob("__init__.py"))
        self.assertEqual(found, [])

    def test_twistd_finds_the_plugin(self) -> None:
        """``twistd atbus`` exists, and what it names can be loaded."""
        plugins = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "atbus"]
        self.assertEqual(len(plugins), 1)
        # It sets aside what there is now, which is all of this process.
        self.addCleanup(gc.unfreeze)
        module = import_module("atbus.cli.plugin")
        self.assertEqual(getattr(plugins[0], "module", None), module.__name__)
        self.assertTrue(callable(module.makeService))
        self.assertTrue(callable(module.Options))

    def test_the_command_is_there(self) -> None:
        """The ``atbus`` command that setup.cfg announces can be loaded."""
        (script,) = entry_points(group="console_scripts", name="atbus")
        self.assertTrue(callable(script.load()))


def _packages(folder: str) -> list[Path]:
    return sorted(
        path.parent for path in (ROOT / folder).rglob("__init__.py") if path.parent != ROOT / folder
    )
