"""The page about twistd: its files, run as it says, do what it says."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import textwrap
from contextlib import redirect_stdout

from twisted.internet.utils import getProcessOutputAndValue

from atbus.testing import checker
from tests.documents import DOCS, captioned_blocks
from tests.processes.harness import ROOT, NodeProcess, ProcessCase

PAGE = "howto/run-a-tree-with-twistd.rst"


class PageTests(ProcessCase):
    """A reader with a folder and four terminals."""

    def setUp(self) -> None:
        super().setUp()
        self.page = (DOCS / PAGE).read_text(encoding="utf-8")
        self.blocks = captioned_blocks(PAGE)
        for name, text in self.blocks.items():
            if name.endswith((".toml", ".py")) and " " not in name:
                self.write(name, text)

    async def logs(self, process: NodeProcess, title: str) -> None:
        """Wait for the lines that the page shows, in their order."""
        for line in self.blocks[title].splitlines():
            await process.says(rf"\] {re.escape(line)}\n")

    def command(self, name: str) -> NodeProcess:
        """Start one of the commands of the page."""
        words = rf"twistd (.*--config {name}\.toml)$"
        found = re.search(rf"^   \$ (?:PYTHONPATH=\. )?{words}", self.page, re.MULTILINE)
        assert found is not None, name
        return self.run_twistd(name, *found[1].split())

    async def look(self) -> None:
        """Give the commands of the fifth terminal; what the page shows is the end of what comes."""
        (url,) = re.findall(r"^   \$ export ATBUS_URL=(.*)$", self.page, re.MULTILINE)
        shown = re.findall(r"^   \$ atbus (.*)\n((?:   [^$].*\n)*)", self.page, re.MULTILINE)
        self.assertEqual(len(shown), 3)
        env = {**os.environ, "ATBUS_URL": url, "PYTHONPATH": str(ROOT)}
        for words, output in shown:
            printed, said, code = await getProcessOutputAndValue(
                sys.executable, ["-m", "atbus", *words.split()], env, str(self.folder)
            )
            self.assertEqual(code, 0, said)
            self.assertTrue(printed.decode().endswith(textwrap.dedent(output)), printed)

    async def test_the_page(self) -> None:
        """The tree runs, survives its proxy, changes its tokens, and loses nothing."""
        names = ("root", "proxy", "greeter", "caller")
        root, proxy, greeter, caller = (self.command(name) for name in names)
        await self.logs(caller, "the log of caller")
        await self.look()
        self.assertEqual(await proxy.stops(signal.SIGINT), -signal.SIGINT)
        await self.logs(caller, "the log of caller without the proxy")
        proxy = self.command("proxy")
        await caller.says("hello, world")
        more = self.blocks["more of root.toml"]
        self.write("root.toml", self.blocks["root.toml"] + more)
        root.kill(signal.SIGHUP)
        await self.logs(root, "the log of root")
        await caller.says("hello, world")
        for process in (caller, greeter, proxy, root):
            self.assertEqual(await process.stops(), -signal.SIGTERM)
            self.assertNotIn("Traceback", process.output)
        self.assertIn("$ python -m atbus.testing.checker .", self.page)
        with redirect_stdout(io.StringIO()) as printed:
            self.assertEqual(checker.main([str(self.folder)]), 0)
        self.assertTrue(printed.getvalue().startswith("verdict: ok\n"), printed.getvalue())
