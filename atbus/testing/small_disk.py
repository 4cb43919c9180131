"""
Give programs of a test a disk that is soon full: a file system in memory, on Linux and as root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, Self

from atbus.testing.leftovers import name_of_ours, of_the_dead

_MOUNTS: Final = Path("/proc/self/mounts")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_PAGE_BYTES: Final = 4096


def what_is_missing() -> str | None:
    """
    Tell what this machine lacks for a small disk.

    :returns: What is missing, for people; None when nothing is: it can be the ``skip`` of a test.
    """
    if os.geteuid() != 0:
        return "root"
    return None if shutil.which("mount") and shutil.which("umount") else "the command mount"


class SmallDisk:
    """
    A folder that holds so many bytes and no more; a context manager.

    It is gone at the end of the block, also for who still writes to it. One of a test that was
    killed is taken away when the next one is made.

    :param folder: Where it is to be; it is made if it is not there.
    :param bytes_max: How much it holds, in whole pages of 4,096.
    :raises OSError: It cannot be made; see `what_is_missing`.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        _sweep()
        #: Where it is.
        self.folder = folder
        folder.mkdir(exist_ok=True)
        options = f"size={bytes_max},mode=700"
        _run("mount", "-t", "tmpfs", "-o", options, name_of_ours(), str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fill(self) -> None:
        """Leave no byte free: a file named ``ballast`` takes them."""
        with (self.folder / "ballast").open("ab", buffering=0) as ballast:
            for size in (_PAGE_BYTES, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        """Undo `fill`."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Take it away, with all that is on it."""
        _run("umount", "-l", str(self.folder))


def _sweep() -> None:
    """Take away the disks of tests that were killed."""
    mounts = [line.split(" ")[:2] for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    dead = set(of_the_dead(name for name, _ in mounts))
    for name, folder in mounts:
        if name in dead:
            _run("umount", "-l", _OCTAL.sub(lambda found: chr(int(found[1], 8)), folder))


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # words
    if done.returncode:
        message = f"{' '.join(words)}: {done.stderr.strip() or done.returncode}"
        raise OSError(message)
