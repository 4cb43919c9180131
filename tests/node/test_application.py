"""Finding the callable that a configuration names."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.node.application import load_application


class Nested:
    """Holds a callable."""

    @staticmethod
    def make(*_: object) -> None:
        """Be an application."""


class LoadTests(SynchronousTestCase):
    """A name, and what it leads to."""

    def fault(self, name: str) -> str:
        error: ConfigurationError = self.assertRaises(ConfigurationError, load_application, name)
        (fault,) = error.faults
        self.assertTrue(fault.startswith("application: "), fault)
        return fault

    def test_a_callable(self) -> None:
        """Functions, classes and what they hold can be named."""
        self.assertIs(load_application(f"{__name__}:Nested"), Nested)
        self.assertIs(load_application(f"{__name__}:Nested.make"), Nested.make)

    def test_what_is_not_there(self) -> None:
        """Each way not to be there has its sentence."""
        self.assertIn("no.such cannot be imported: ModuleNotFoundError", self.fault("no.such:make"))
        self.assertIn(f"{__name__} has no nothing", self.fault(f"{__name__}:nothing"))
        self.assertIn("has no Nested.nothing", self.fault(f"{__name__}:Nested.nothing"))
        self.assertIn("is not callable", self.fault(f"{__name__}:__name__"))

    def test_a_module_that_fails(self) -> None:
        """What a module raises when it is imported is told, with the cause chained."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "atbus_failing_application.py").write_text("1 / 0\n")
        self.patch(sys, "path", [str(folder), *sys.path])
        error: ConfigurationError = self.assertRaises(
            ConfigurationError, load_application, "atbus_failing_application:make"
        )
        self.assertIn("cannot be imported: ZeroDivisionError", error.faults[0])
        self.assertIsInstance(error.__cause__, ZeroDivisionError)
