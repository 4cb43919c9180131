"""
Set the time of day of the programs of a test, and leave their own patience alone.

The library libfaketime stands between a program and what it asks for the time. Programs that are
started with `WallClock.environment` see what the test sets, at once; clocks that nobody can set,
which timers go by, are the machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_LIBRARIES: Final = ("/usr/lib", "/usr/local/lib", "/lib")
_NAME: Final = "libfaketime.so.1"


def _library() -> Path | None:
    for root in map(Path, _LIBRARIES):
        for pattern in (f"*/faketime/{_NAME}", f"faketime/{_NAME}"):
            for found in root.glob(pattern):
                return found
    return None


def what_is_missing() -> str | None:
    """
    Tell what this machine lacks for other times of day.

    :returns: What is missing, for people; None when nothing is: it can be the ``skip`` of a test.
    """
    return None if _library() is not None else "libfaketime"


class WallClock:
    """
    A time of day that a test sets.

    :param folder: Where it is written down, for programs to look at; the test's own.
    :raises OSError: There is no such library, or the folder is not there; see `what_is_missing`.
    """

    def __init__(self, folder: Path) -> None:
        library = _library()
        if library is None:
            raise FileNotFoundError(_NAME)
        self._file = folder.resolve() / "wall-clock"
        #: What is to be among the environment of a program.
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """
        Let the programs have another time of day.

        :param seconds: How far it is from the real one; negative for the past.
        """
        # A program may look at any moment.
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n", encoding="ascii")
        new.replace(self._file)
