"""
A control group of the kernel that may use so much memory; who takes more is killed.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final

_NUMBERS: Final = itertools.count(1)

# Where groups are made, and which file of one is its limit: in both versions of the kernel's.
_VERSIONS: Final = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


class MemoryGroup:
    """
    A group, to be removed when its processes have ended.

    :param folder: Where it is; it is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def make(cls, bytes_max: int) -> MemoryGroup | None:
        """
        Make a group, for which one has to be root.

        :param bytes_max: What its processes may use together.
        :returns: The group; None where the system lets nobody make one.
        """
        for root, name in _VERSIONS:
            folder = root / f"atbus-test-{os.getpid()}-{next(_NUMBERS)}"
            try:
                folder.mkdir()
            except OSError:
                continue
            try:
                (folder / name).write_text(f"{bytes_max}", encoding="ascii")
            except OSError:
                folder.rmdir()
                continue
            return cls(folder)
        return None

    def add(self, pid: int) -> None:
        """Put a process into it; what it uses from now on counts."""
        (self._folder / "cgroup.procs").write_text(f"{pid}", encoding="ascii")

    def remove(self) -> None:
        """Remove it."""
        self._folder.rmdir()
