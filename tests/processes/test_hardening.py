"""The pages on TLS and on hardening: their files are used, and their commands given as they are."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue

from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.chaos.case import need
from tests.documents import DOCS, captioned_blocks
from tests.processes.harness import ROOT, UP, ProcessCase

HOST, PORT = "proxy.eu.example", "7443"


class PagesTests(ProcessCase):
    """A reader with two nodes, on one host."""

    token = "the old one"

    def page(self, name: str) -> str:
        """Read a page, with what is of the reader's host instead of the examples'."""
        text = (DOCS / "howto" / f"{name}.rst").read_text(encoding="utf-8")
        text = text.replace("\\\n", "")
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
        env = {**os.environ, "PYTHONPATH": str(ROOT), "ATBUS_TOKEN": self.token}
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

    def extensions(self, encrypt: str) -> str:
        """Take the file of extensions out of the page."""
        found = re.search(r"   :caption: 0x12340102\.ext\n\n((?:   .*\n)+)", encrypt)
        assert found is not None
        return textwrap.dedent(found[1])

    async def test_an_authority_that_one_has(self) -> None:
        """Nodes whose certificates another authority's tools have made talk over TLS."""
        encrypt = self.page("encrypt-connections")
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        make = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 99 -subj /CN=us"
        await self.run_words(["openssl", *make.split()], env)
        for bus_id, name in (("0x12340102", "0x12340102/0"), ("0x12340000", "0x12340000/16")):
            self.write(f"{bus_id}.ext", self.extensions(encrypt).replace("0x12340102/0", name))
            for line in re.findall(r"^ *\$ (.*0x12340102\..*)$", encrypt, re.MULTILINE):
                words = shlex.split(line.replace("0x12340102", bus_id))
                if words[0] == "openssl":
                    await self.run_words(words, env)
                    continue
                said = await self.run_words([sys.executable, "-m", *words], env)
                self.assertIn(f"atbus://shop/{name}" if "show" in words else "OK: ", said)
        top = self.node_of("0x12340000", subnets=[(0, 16)], listen=["tls+ipv4://127.0.0.1:0"])
        await top.start()
        below = self.node_of("0x12340102", upstream=str(top.addresses[0]))
        await below.start()
        top.on_request(lambda _source, payload: payload + b"!")
        self.assertEqual(await below.request(top.bus_id, b"hello"), b"hello!")

    async def run_words(self, words: list[str], env: dict[str, str]) -> str:
        """Run a command, which must end well; gives what it printed."""
        program = shutil.which(words[0])
        need(program, words[0])
        assert program is not None
        printed, complaint, code = await getProcessOutputAndValue(
            program, words[1:], env, str(self.folder)
        )
        self.assertEqual(code, 0, (words, printed, complaint))
        return str(printed.decode())

    def node_of(self, bus_id: str, **options: Any) -> Node:
        """Make a node of this process with the files of that id."""
        config = NodeConfig(
            id=bus_id,
            tls_certificate=str(self.folder / f"{bus_id}.pem"),
            tls_key=str(self.folder / f"{bus_id}.key"),
            tls_authorities=str(self.folder / "ca.pem"),
            tls_realm="shop",
            **options,
        )
        node = Node(config, self.reactor)
        self.addCleanup(node.stop)
        return node

    async def test_the_pages(self) -> None:
        """
        Certificates are made, two nodes talk over TLS with the rights of the page, and whoever
        looks after them finds that all is well, and replaces their token while they run.
        """
        encrypt, harden = self.page("encrypt-connections"), self.page("harden-a-node")
        await self.give(encrypt, "atbus cert new-")
        (proxy, node), (rights,) = self.toml(encrypt)[:2], self.toml(harden)
        await self.give(harden, "atbus check cert")
        old = 'access_tokens = ["the old one"]\n'
        texts = {"proxy": proxy.replace(PORT, "0") + rights}
        process = self.start("proxy", old + texts["proxy"])
        await process.says(UP)
        port = (await process.says(r"tls\+ipv4://0\.0\.0\.0:(\d+)"))[1]
        texts["node"] = node.replace(PORT, port)
        below = self.start("node", old + texts["node"])
        await below.says(UP)
        said = await self.give(harden, "atbus check")
        self.assertEqual(len(said), 3)
        for text in said.values():
            self.assertTrue(text.startswith("OK: "), said)
        (counted,) = (await self.give(harden, "atbus status")).values()
        counters = json.loads(counted)["statistics"]
        for name in re.findall(r"``([a-z_]+)``", harden.partition("Those to alarm on:")[2])[:4]:
            self.assertIn(name, counters)
        said = await self.give(encrypt.replace(PORT, port), "atbus nodes", "atbus cert check")
        self.assertEqual(len(said), 2)
        self.assertIn("0x12340101", said["atbus nodes"])
        self.token = "the new one"
        for round_ in ("the first round", "the second round"):
            for each in (process, below):
                text = captioned_blocks("howto/harden-a-node.rst")[round_] + texts[each.name]
                self.write(f"{each.name}.toml", text)
                each.forget()
                each.kill(signal.SIGHUP)
                await each.says("runs with another access_tokens")
            await self.give(encrypt.replace(PORT, port), "atbus nodes")
        via = ("--via", f"unix://{self.folder}/proxy.sock", "--timeout", "60")
        words = ("atbus", "nodes", *via, "--token", "the old one")
        late = self.run_program("late", sys.executable, "-m", *words)
        await late.says("ACCESS_DENIED")
        for each in (below, process):
            for not_said in ("Traceback", "has lost 0x1234"):
                self.assertNotIn(not_said, each.output)
