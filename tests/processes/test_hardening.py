"""The pages on TLS and on hardening: their files are used, and their commands given as they are."""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap

from twisted.internet.utils import getProcessOutputAndValue

from tests.documents import DOCS
from tests.processes.harness import ROOT, UP, ProcessCase

HOST, PORT = "proxy.eu.example", "7443"


class PagesTests(ProcessCase):
    """A reader with two nodes, on one host."""

    def page(self, name: str) -> str:
        """Read a page, with what is of the reader's host instead of the examples'."""
        text = (DOCS / "howto" / f"{name}.rst").read_text(encoding="utf-8")
        for example, here in (
            (HOST, "localhost"),
            ("/etc/atbus/node.toml", f"{self.folder}/proxy.toml"),
            ("/etc/atbus", f"{self.folder}/pki"),
            ("/run/atbus", str(self.folder)),
        ):
            text = text.replace(example, here)
        return text

    def toml(self, page: str) -> list[str]:
        """Take the files out of a page."""
        found = re.findall(r"^( *)\.\. code-block:: toml\n\n((?:\1 +.*\n|\n)+)", page, re.MULTILINE)
        return [textwrap.dedent(text) for _, text in found]

    async def give(self, page: str, *begin: str) -> dict[str, str]:
        """Give the commands of a page that begin so; each must end well. Gives what they said."""
        said: dict[str, str] = {}
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        for line in re.findall(r"^ *\$ (.*)$", page, re.MULTILINE):
            words = shlex.split(line)
            if words[0] == "export":
                env |= dict(word.split("=", 1) for word in words[1:])
            elif line.startswith(begin):
                printed, complaint, code = await getProcessOutputAndValue(
                    sys.executable, ["-m", *words], env, str(self.folder)
                )
                self.assertEqual(code, 0, (line, printed, complaint))
                said[line] = printed.decode()
        return said

    async def test_the_pages(self) -> None:
        """
        Certificates are made, two nodes talk over TLS with the rights of the page, and whoever
        looks after them finds that all is well.
        """
        encrypt, harden = self.page("encrypt-connections"), self.page("harden-a-node")
        await self.give(encrypt, "atbus cert new-")
        (proxy, node), (rights,) = self.toml(encrypt)[:2], self.toml(harden)
        await self.give(harden, "atbus check cert")
        process = self.start("proxy", proxy.replace(PORT, "0") + rights)
        await process.says(UP)
        port = (await process.says(r"tls\+ipv4://0\.0\.0\.0:(\d+)"))[1]
        below = self.start("node", node.replace(PORT, port))
        await below.says(UP)
        said = await self.give(harden, "atbus check")
        self.assertEqual(len(said), 3)
        for text in said.values():
            self.assertTrue(text.startswith("OK: "), said)
        said = await self.give(encrypt.replace(PORT, port), "atbus nodes", "atbus cert check")
        self.assertEqual(len(said), 2)
        self.assertIn("0x12340101", said["atbus nodes"])
        for each in (below, process):
            self.assertNotIn("Traceback", each.output)
