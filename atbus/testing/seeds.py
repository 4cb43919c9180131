"""
Which seeds are run, and what is printed of those that failed: one way for all storms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence


def parse_seeds(text: str) -> range:
    """
    Read which seeds are meant.

    :param text: A number of seeds, which then begin with 1, or the first and the last one, as in
        ``1000-1999``.
    :returns: The seeds.
    :raises ValueError: It is neither.
    """
    first, dash, last = text.partition("-")
    return range(int(first), int(last) + 1) if dash else range(1, int(first) + 1)


def run_seeds(
    program: str, tell: Callable[[int], str], arguments: Sequence[str] | None = None
) -> int:
    """
    Run the seeds that a command line asks for.

    :param program: The name of the program.
    :param tell: Lets one seed happen and says what was wrong, and how to have it again; nothing if
        all was well.
    :param arguments: Of the command line; None: those of the process.
    :returns: The exit code: 1 when a seed failed.
    """
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument(
        "--seeds",
        type=parse_seeds,
        default=parse_seeds("200"),
        metavar="COUNT|FIRST-LAST",
        help="how many, or from which one to which",
    )
    chosen: range = parser.parse_args(arguments).seeds
    failed = 0
    for seed in chosen:
        told = tell(seed)
        if told:
            failed += 1
            sys.stdout.write(f"{told}\n\n")
            sys.stdout.flush()
    sys.stdout.write(f"{program}: {len(chosen)} seeds, {failed} failed\n")
    return 1 if failed else 0
