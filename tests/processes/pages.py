"""A reader of a how-to, who makes the files of the page and types its commands."""

from __future__ import annotations

import os
import shlex
import sys
from typing import ClassVar

from atbus.cli.foreground import twistd
from tests.documents import captioned_blocks, commands
from tests.processes.harness import NodeProcess, ProcessCase


class PageCase(ProcessCase):
    """The reader has a folder, a shell, and one machine."""

    #: The page, relative to ``docs``.
    PAGE: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        #: What is read now: that page, until it is another one.
        self.page = self.PAGE
        #: What stands on the page, and what is here in its place; each is replaced in this order.
        self.places: dict[str, str] = {}
        self._exports: list[str] = []
        programs = self.folder / "bin"
        programs.mkdir()
        for name, words in (
            ("atbus", [sys.executable, "-m", "atbus"]),
            ("trial", [sys.executable, "-m", "twisted.trial"]),
            ("twistd", twistd()),
            ("python", [sys.executable]),
        ):
            path = programs / name
            path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            path.chmod(0o755)
        self.environment["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

    def here(self, text: str) -> str:
        """Put what there is here in the place of what the page has."""
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def block(self, caption: str) -> str:
        """Give the text of a block of the page, as it has to be here."""
        return self.here(captioned_blocks(self.page)[caption])

    def make(self, *captions: str) -> None:
        """Make files of the page."""
        for caption in captions:
            self.write(caption, self.block(caption))

    def types(self, beginning: str) -> NodeProcess:
        """
        Type the command of the page that begins so: a shell gets it as it stands there.

        :param beginning: The command, or its first words.
        :returns: What runs.
        """
        return self.shell(self.command(beginning))

    def command(self, beginning: str) -> str:
        """Look the command up: there is one that begins so, or it is all of one."""
        given = commands(self.page)
        if beginning in given:
            return self.here(beginning)
        (command,) = [each for each in given if each.startswith(beginning)]
        return self.here(command)

    def shell(self, command: str) -> NodeProcess:
        """Give a command to a shell, which knows what was exported before."""
        # Signals are for what runs, not for the shell; ``kill`` is a part of that.
        run = command if command.startswith("kill ") else f"exec env {command}"
        return self.run_program(command, "/bin/sh", "-c", "\n".join([*self._exports, run]))

    def exports(self, beginning: str) -> None:
        """Type a command of the page that sets variables: all that follow know them."""
        self._exports.append(self.command(beginning))

    async def does(self, beginning: str) -> str:
        """
        Type a command of the page, and wait until it has ended well.

        :returns: What it printed.
        """
        process = self.types(beginning)
        self.assertEqual(await process.ends(), 0, process.output)
        return process.output
