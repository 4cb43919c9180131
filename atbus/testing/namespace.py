"""
Make hosts of one machine: network namespaces, for tests, on Linux and as root.

A `Namespace` is a network of its own, with its own loopback and nothing else; `Namespace.command`
says how a program is started in it. On demand it has file systems of its own as well, so that two
of them may use the same path for different things, as containers do. It lives as long as one
process of it: the one that holds it ends with the test, whatever becomes of the test, so nothing is
left behind. Needs ``nsenter`` and ``unshare`` (util-linux) and ``ip`` (iproute2).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_TOOLS = ("ip", "nsenter", "unshare")


def what_is_missing() -> str | None:
    """
    Tell what this machine lacks for namespaces.

    :returns: What is missing, for people; None when nothing is: it can be the ``skip`` of a test.
    """
    if os.geteuid() != 0:
        return "root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"the command {missing[0]}"
    return None if Path("/dev/net/tun").exists() else "the device /dev/net/tun"


class Namespace:
    """
    A host of its own on this machine; a context manager.

    :param folders: Folders that are its own, each an empty file system in memory at first.
    :raises OSError: There is no such tool, or we are not root; see `what_is_missing`.
    """

    def __init__(self, folders: Sequence[str] = ()) -> None:
        # The command that holds it says so when it is inside, and ends with the pipe to us.
        hold = ["unshare", "--net", *(["--mount"] if folders else []), "--", "sh", "-c"]
        self._holder = subprocess.Popen(  # noqa: S603  # a list of words, no shell
            [*hold, "echo inside && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        inside = self._holder.stdout.readline()
        self._has_folders = bool(folders)
        try:
            if inside != b"inside\n":
                message = "a network namespace could not be made: is this root?"
                raise PermissionError(message)
            for folder in folders:
                self.run("mount", "-t", "tmpfs", "-o", "size=16m", "atbus-test", folder)
            self.run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self._holder.pid

    def command(self, *words: str, folder: str = "/") -> list[str]:
        """
        Say how a program is started inside; its process id is that of the command itself.

        :param words: The program and its arguments.
        :param folder: Where it starts.
        :returns: The whole command.
        """
        spaces = ["--net", *(["--mount"] if self._has_folders else [])]
        return ["nsenter", f"--target={self.pid}", *spaces, f"--wdns={folder}", "--", *words]

    def run(self, *words: str) -> str:
        """
        Run a program inside, to its end.

        :param words: The program and its arguments.
        :returns: What it wrote.
        :raises OSError: It failed; the message has what it complained of.
        """
        done = subprocess.run(  # noqa: S603  # a list of words, no shell
            self.command(*words), capture_output=True, text=True, check=False
        )
        if done.returncode:
            message = f"{' '.join(words)}: {done.stderr.strip() or done.returncode}"
            raise OSError(message)
        return done.stdout

    def close(self) -> None:
        """Let go of it: it is gone with the last program inside."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()
