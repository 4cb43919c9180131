"""
What tests that were killed have left of the machine behind, told by the process it was for.

Whoever makes something of the kernel's that outlives processes gives it a name with the number of
its own, and first removes what has the number of one that is gone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_NAME: Final = "atbus-test-"
_NUMBERED: Final = re.compile(rf"{_NAME}(\d+)(?:-.*)?")


def name_of_ours(number: int | None = None) -> str:
    """
    Name something that this process has made.

    :param number: Tells it from others of the same kind; None where there is no other.
    """
    name = f"{_NAME}{os.getpid()}"
    return name if number is None else f"{name}-{number}"


def of_the_dead(names: Iterable[str]) -> Iterator[str]:
    """
    Find what processes have made that are gone.

    :param names: Of what there is of its kind.
    :returns: Those names.
    """
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if found is not None and not Path("/proc", found[1]).exists():
            yield name
