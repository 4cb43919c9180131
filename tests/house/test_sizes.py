"""Nothing is too long to be read at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.house import repository

FUNCTION_LINES = 60
FILE_LINES = 500
NODE_LINES = 300
LINE_CHARACTERS = 100


class SizeTests(SynchronousTestCase):
    """The limits of CONTRIBUTING.md."""

    def test_functions_fit_on_a_screen(self) -> None:
        """No function is longer than 60 lines, not counting docstrings."""
        long = []
        for path in repository.python_files():
            for function in repository.functions(path):
                lines = (function.end_lineno or function.lineno) - function.lineno + 1
                lines -= repository.docstring_lines(function)
                if lines > FUNCTION_LINES:
                    long.append(f"{repository.name(path)}:{function.lineno}: {lines} lines")
        self.assertEqual(long, [])

    def test_files_have_one_subject(self) -> None:
        """No source is longer than 500 lines."""
        self.assertEqual(_longer(FILE_LINES), [])

    def test_the_node_only_owns_and_wires(self) -> None:
        """The node, where everything could end up, stays within 300 lines."""
        long = [text for text in _longer(NODE_LINES) if text.startswith("atbus/node/node.py:")]
        self.assertEqual(long, [])

    def test_lines_need_no_scrolling(self) -> None:
        """No line of a source is longer than 100 characters."""
        long = [
            f"{repository.name(path)}:{number}: {len(line)} characters"
            for path in [*repository.python_files(), repository.ROOT / ".ci" / "run"]
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if len(line) > LINE_CHARACTERS
        ]
        self.assertEqual(long, [])


def _longer(limit: int) -> list[str]:
    counts = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in repository.python_files()
    }
    return [
        f"{repository.name(path)}: {count} lines" for path, count in counts.items() if count > limit
    ]
