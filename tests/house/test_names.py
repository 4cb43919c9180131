"""Names say what a thing is."""

from __future__ import annotations

import ast
import re

from twisted.trial.unittest import SynchronousTestCase

import atbus
from tests.house import repository

# Words that fit everything and therefore say nothing.
EMPTY_WORDS = frozenset(
    {
        *("handler", "manager", "processor", "util", "utils"),
        *("helper", "helpers", "common", "base", "misc"),
    }
)

PUBLIC_NAMES = [
    "Node",
    "NodeConfig",
    "IMessageReceiver",
    "Relation",
    "Status",
    "Undeliverable",
    "Address",
    "__version__",
]


class NameTests(SynchronousTestCase):
    """Modules and classes."""

    def test_modules_have_telling_names(self) -> None:
        """No file or folder is named with a word that fits everything."""
        empty = [
            repository.name(path)
            for path in repository.python_files()
            for part in path.relative_to(repository.ROOT).with_suffix("").parts
            if not EMPTY_WORDS.isdisjoint(part.lower().split("_"))
        ]
        self.assertEqual(empty, [])

    def test_classes_have_telling_names(self) -> None:
        """No class is named with a word that fits everything."""
        empty = [
            f"{repository.name(path)}:{node.lineno}: {node.name}"
            for path in repository.python_files()
            for node in ast.walk(repository.parse(path))
            if isinstance(node, ast.ClassDef) and not EMPTY_WORDS.isdisjoint(_words(node.name))
        ]
        self.assertEqual(empty, [])


class PublicNameTests(SynchronousTestCase):
    """What users of the package rely on."""

    def test_the_public_names_are_these(self) -> None:
        """A public name is added or removed on purpose: here as well."""
        self.assertEqual(list(atbus.__all__), PUBLIC_NAMES)

    def test_each_public_name_is_there(self) -> None:
        """Each of them can be had from the package, although it is loaded only then."""
        missing = [name for name in PUBLIC_NAMES if not hasattr(atbus, name)]
        self.assertEqual(missing, [])
        self.assertEqual(sorted(set(PUBLIC_NAMES) - set(dir(atbus))), [])

    def test_a_wrong_name_is_an_ordinary_mistake(self) -> None:
        """Asking for a name that atbus does not have raises AttributeError with that name."""
        error = self.assertRaises(AttributeError, getattr, atbus, "Nodule")
        self.assertIn("Nodule", str(error))


def _words(class_name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", class_name)}
