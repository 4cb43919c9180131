"""
Give programs of a test so much memory and no more: a control group of Linux, as containers are.

Who takes more is killed by the kernel, with SIGKILL. It takes root, and a machine that lets root
make groups, which not every container does.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from atbus.testing.leftovers import name_of_ours, of_the_dead

_NUMBERS: Final = itertools.count(1)

# Where groups are made, and which file of one is its limit: in both versions of the kernel's.
_VERSIONS: Final = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


class MemoryGroup:
    """
    A group of processes that share a bound of memory; a context manager.

    It is removed when its processes have ended. One of a test that was killed is removed when the
    next one is made.

    :param folder: Where it is; it is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def make(cls, bytes_max: int) -> MemoryGroup | None:
        """
        Make a group, for which one has to be root.

        :param bytes_max: What its processes may use together.
        :returns: The group; None where the system lets nobody make one, so that a test can be
            skipped.
        """
        for root, name in _VERSIONS:
            _sweep(root)
            folder = root / name_of_ours(next(_NUMBERS))
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def add(self, pid: int) -> None:
        """
        Put a process into it; what it uses from now on counts, and who it starts is in it as well.

        :param pid: Its number.
        :raises OSError: There is no such process.
        """
        (self._folder / "cgroup.procs").write_text(f"{pid}", encoding="ascii")

    def remove(self) -> None:
        """
        Remove it.

        :raises OSError: A process in it has not ended, or nobody has waited for it.
        """
        self._folder.rmdir()


def _sweep(root: Path) -> None:
    with suppress(OSError):
        for name in of_the_dead([each.name for each in root.iterdir()]):
            # Somebody may live in it whom that test has started.
            with suppress(OSError):
                (root / name).rmdir()
