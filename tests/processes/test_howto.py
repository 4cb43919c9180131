"""The pages about twistd and about proxies: their files, run as they say, do what they say."""

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
from tests.processes.harness import ROOT, UP, NodeProcess, ProcessCase

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


class ProxiesPageTests(ProcessCase):
    """docs/howto/add-and-remove-proxies.rst, with sockets of the test's folder."""

    PAGE = "howto/add-and-remove-proxies.rst"

    def place(self, name: str, places: dict[str, str]) -> None:
        """Write one of the page's files, with other places in it."""
        text = captioned_blocks(self.PAGE)[name.replace("-2", "")]
        for old, new in places.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.write(name, text)

    def proxy(self, name: str, bus_id: str) -> NodeProcess:
        """Start a proxy with the words of the unit."""
        places = {
            "ipv4://0.0.0.0:7000": "ipv4://127.0.0.1:0",
            "unix:///run/atbus/proxy.sock": f"unix://{{folder}}/{name}.sock",
            "dns://atbus-root.example:7000": "unix://{folder}/root.sock",
        }
        self.place(f"{name}.toml", places)
        unit = captioned_blocks(self.PAGE)["atbus-proxy@.service"]
        (words,) = re.findall(r"^ExecStart=/opt/bus/bin/twistd (.*)$", unit, re.MULTILINE)
        config = ("/etc/atbus/proxy.toml", f"{name}.toml")
        return self.run_twistd(name, *words.replace(*config).replace("%i", bus_id).split())

    async def test_remove_one(self) -> None:
        """The command drains a proxy: its service moves to the other one, and it can be stopped."""
        root = self.start(
            "root",
            'id = "0x1"\ntopology = "records"\nlisten = ["unix://{folder}/root.sock"]\n',
        )
        await root.says(UP)
        leaving, staying = self.proxy("proxy", "0x11"), self.proxy("proxy-2", "0x12")
        await leaving.says(UP)
        await staying.says(UP)
        places = {
            "dns://atbus-proxy-0.atbus-proxy:7000": "unix://{folder}/proxy.sock",
            "dns://atbus-proxy-1.atbus-proxy:7000": "unix://{folder}/proxy-2.sock",
        }
        self.place("service.toml", places)
        service = self.start("service")
        await service.says(r"is registered with its upstream 0x11\b")
        await leaving.says(r"knows 0x111 as downstream")
        page = (DOCS / self.PAGE).read_text(encoding="utf-8")
        (words,) = re.findall(r"^   \$ atbus (drain .*)$", page, re.MULTILINE)
        words = words.replace("/run/atbus", str(self.folder))
        printed, said, code = await getProcessOutputAndValue(
            sys.executable,
            ["-m", "atbus", *words.split()],
            {**os.environ, "PYTHONPATH": str(ROOT)},
            str(self.folder),
        )
        self.assertEqual(code, 0, (printed, said))
        await service.says(r"is registered with its upstream 0x12\b")
        await leaving.says(r"is drained after [\d.]+ s: 1 nodes have moved")
        for process in (leaving, service, staying, root):
            self.assertEqual(await process.stops(), -signal.SIGTERM)
            self.assertNotIn("Traceback", process.output)
