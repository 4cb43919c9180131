"""
Takes each defence away in turn, and sees that its test fails: what ``make test MUTATE=1`` runs.

A change is made in a copy of the tree, of hard links but for the one file, and the test is run
there by a process of its own. A test that fails because the change makes no sense - a name that is
not there, a file that cannot be read - shows nothing, and is an error.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from tests.house import repository
from tests.house.repository import ROOT
from tests.security.mutations import MUTATIONS, Mutation

PREFIX: Final = "test_security_"

_FOLDERS: Final = ("atbus", "tests", "twisted")
_RAISED: Final = re.compile(r"(?m)^(?:\w+\.)*([A-Z]\w+(?:: .*)?)$")
# What a change that makes no sense raises.
_SENSELESS: Final = re.compile(
    r"(SyntaxError|IndentationError|ImportError|ModuleNotFoundError|NameError|UnboundLocalError"
    r"|AttributeError|TypeError)\b"
)
# A test that waits for a refusal waits for ever where there is none.
_PATIENCE_SECONDS: Final = 20.0
_ALL_SECONDS: Final = 900.0


@attrs.frozen
class Outcome:
    """
    What became of tests.

    :param passed: Whether all of them have.
    :param why: What the first one that has not says.
    :param cpu_seconds: What they have taken of a processor.
    """

    passed: bool
    why: str
    cpu_seconds: float

    @property
    def shows_something(self) -> bool:
        """Whether a test has failed, and for want of the defence."""
        return not self.passed and not _SENSELESS.match(self.why)


def places() -> dict[str, str]:
    """Say where the test of each attack is, as trial names it; without the prefix."""
    found = {}
    for path in sorted((ROOT / "tests" / "security").glob("test_*.py")):
        groups = [each for each in repository.parse(path).body if isinstance(each, ast.ClassDef)]
        for group in groups:
            for function in group.body:
                name = getattr(function, "name", "")
                if name.startswith(PREFIX):
                    place = f"tests.security.{path.stem}.{group.name}.{name}"
                    found[name.removeprefix(PREFIX)] = place
    return found


def changed(mutation: Mutation) -> str:
    """
    Take a defence away.

    :param mutation: Which.
    :returns: The text of its file without it.
    :raises ValueError: What is to be replaced is not there, or more than once.
    """
    path = ROOT / "atbus" / mutation.path
    if not mutation.old:
        if path.exists():
            raise ValueError(f"{mutation.path} is there")
        return mutation.new
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.path}: {text.count(mutation.old)} times {mutation.old!r}")
    return text.replace(mutation.old, mutation.new)


def without(mutation: Mutation) -> Outcome:
    """
    Run a test where its defence is not.

    :param mutation: What is taken away.
    :returns: What became of it.
    """
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutation-", dir=build) as folder:
        tree = Path(folder)
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, tree / name, copy_function=_link)
        target = tree / "atbus" / mutation.path
        # It is one file under two names.
        target.unlink(missing_ok=True)
        target.write_text(changed(mutation), encoding="utf-8")
        return run(tree, [places()[mutation.test]], _PATIENCE_SECONDS)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copy2(source, target)


def run(tree: Path, tests: Sequence[str], patience_seconds: float) -> Outcome:
    """
    Run tests.

    :param tree: Where.
    :param tests: As trial names them.
    :param patience_seconds: After so long they have failed.
    """
    before = os.times()
    process = subprocess.Popen(
        [sys.executable, "-m", "twisted.trial", *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=patience_seconds)
    except subprocess.TimeoutExpired:
        said = ""
    finally:
        # Also what the test has started.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    passed = process.returncode == 0 and f"successes={len(tests)})" in said
    return Outcome(passed, "" if passed else _why(said), used)


def _why(said: str) -> str:
    """Find what the first test that failed says."""
    if not said:
        return "it waits for ever"
    behind = said.partition("=" * 20)[2]
    found = _RAISED.search(behind)
    return found[1] if found else behind.strip()[-200:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests as they are, then each without its defence; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", help=f"only these, without {PREFIX}")
    options = parser.parse_args(arguments)
    where = places()
    chosen = [each for each in MUTATIONS if not options.tests or each.test in options.tests]
    whole = run(ROOT, sorted({where[each.test] for each in chosen}), _ALL_SECONDS)
    if not whole.passed:
        sys.stdout.write(f"with every defence in place: {whole.why}\n")
        return 1
    return report(chosen)


def report(chosen: Iterable[Mutation]) -> int:
    """Print what became of each, and of all of them."""
    wrong = count = 0
    cpu_seconds = 0.0
    for mutation in chosen:
        outcome = without(mutation)
        count += 1
        wrong += not outcome.shows_something
        cpu_seconds += outcome.cpu_seconds
        verdict = "fails" if outcome.shows_something else "passes" if outcome.passed else "no sense"
        line = f"{verdict:9} {mutation.test:26} {mutation.path:30} {outcome.why[:100]}"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{count - wrong} of {count} fail without a defence; {cpu_seconds:.0f} s\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
