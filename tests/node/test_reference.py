"""The reference of the configuration says what the class does."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.node.option import OPTIONS, Option
from atbus.node.toml import parse_config

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "configuration.rst"


class ReferenceTests(SynchronousTestCase):
    """docs/reference/configuration.rst."""

    def setUp(self) -> None:
        self.text = REFERENCE.read_text(encoding="utf-8")
        self.rows = {row[0]: row[1:] for row in read_rows(self.text)}

    def test_every_option_has_its_row(self) -> None:
        """The options of the class are in the tables, in the same order, and no others."""
        self.assertEqual(list(self.rows), list(OPTIONS))

    def test_rows_say_what_the_class_does(self) -> None:
        """Key in a file, kind, unit, bounds, whether it can be reloaded, and meaning."""
        for name, option in OPTIONS.items():
            key, value, _, reload, meaning = self.rows[name]
            self.assertEqual(key, option.key or name)
            self.assertEqual(value, describe(option), name)
            self.assertEqual(reload, "yes" if option.reloadable else "no", name)
            self.assertEqual(meaning, option.meaning, name)

    def test_defaults_are_the_defaults(self) -> None:
        """A default of the reference, written into a file, changes nothing."""
        for name, (key, _, default, _, _) in self.rows.items():
            if NodeConfig().given()[name] is None:
                self.assertIn(default, {"none", "by profile", "by channel", "by lanes"})
            elif name != "application_settings":
                self.assertEqual(parse_config(f"{key} = {default}"), NodeConfig(), name)

    def test_the_faults_shown_are_those_that_come(self) -> None:
        """The example of faults is what a file with these mistakes gives."""
        mistakes = 'lisen=[]\nid=1\nlisten=["mem://x", "foo"]\nlabels.zone=1\n'
        mistakes += "limits.frame_bytes_max=1"
        error = self.assertRaises(ConfigurationError, parse_config, mistakes)
        shown = re.findall(r"(?m)^    (\S+: .*)$", self.text.partition("\nFaults\n")[2])
        self.assertEqual(sorted(shown), sorted(error.faults))

    def test_the_examples_are_configurations(self) -> None:
        """The node of the first lines, written in a program and in a file, is one node."""
        program = re.search(r"(?ms)^    config = NodeConfig\($.*?^    \)$", self.text)
        file = re.search(r'(?m)(^    \w+ = ["\[].*\n){4}', self.text)
        assert program is not None
        assert file is not None
        names: dict[str, object] = {"NodeConfig": NodeConfig}
        exec(re.sub(r"(?m)^    ", "", program[0]), names)
        self.assertEqual(names["config"], parse_config(re.sub(r"(?m)^    ", "", file[0])))


def describe(option: Option) -> str:
    """Give the column *Value*."""
    bounds = "" if option.least is None else f"{option.least:.12g} to {option.most:.17g}"
    return ", ".join(part for part in (option.kind, option.unit, bounds) if part)


def read_rows(text: str) -> list[list[str]]:
    """Read the rows of all list-tables, without their heads and without marks of code."""
    rows = []
    for row in re.findall(r"(?m)^   \* - (.*\n(?:     .*\n)*)", text):
        cells = [" ".join(cell.replace("``", "").split()) for cell in row.split("\n     - ")]
        if cells[0] != "Option":
            rows.append(cells)
    return rows
