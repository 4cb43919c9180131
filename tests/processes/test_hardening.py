"""The pages on TLS and on hardening: their files are used, and their commands given as they are."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from typing import Any

from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.chaos.case import need
from tests.documents import DOCS, captioned_blocks
from tests.processes.harness import UP
from tests.processes.pages import PageCase

ENCRYPT = "howto/encrypt-connections.rst"
HARDEN = "howto/harden-a-node.rst"
HOST, PORT = "proxy.eu.example", "7443"


class PagesTests(PageCase):
    """A reader with two nodes, on one host."""

    PAGE = ENCRYPT

    def setUp(self) -> None:
        super().setUp()
        self.places = {
            HOST: "localhost",
            "/etc/atbus/node.toml": f"{self.folder}/proxy.toml",
            "/etc/atbus": f"{self.folder}/pki",
            "/run/atbus": str(self.folder),
        }
        self.environment["ATBUS_TOKEN"] = "the old one"

    async def succeeds(self, command: str) -> str:
        """Give a command, which must end well; gives what it printed."""
        process = self.shell(command)
        self.assertEqual(await process.ends(), 0, process.output)
        return process.output

    async def test_an_authority_that_one_has(self) -> None:
        """Nodes whose certificates another authority's tools have made talk over TLS."""
        need(shutil.which("openssl"), "openssl")
        make = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 99 -subj /CN=us"
        await self.succeeds(f"openssl {make}")
        for bus_id, name in (("0x12340102", "0x12340102/0"), ("0x12340000", "0x12340000/16")):
            text = self.block("0x12340102.ext").replace("0x12340102/0", name)
            self.write(f"{bus_id}.ext", text)
            for beginning, says in (
                ("openssl req", ""),
                ("openssl x509", ""),
                ("atbus cert show", f"atbus://shop/{name}"),
                ("atbus check cert", "OK: "),
            ):
                command = self.command(beginning).replace("0x12340102", bus_id)
                self.assertIn(says, await self.succeeds(command))
        top = self.node_of("0x12340000", subnets=[(0, 16)], listen=["tls+ipv4://127.0.0.1:0"])
        await top.start()
        below = self.node_of("0x12340102", upstream=str(top.addresses[0]))
        await below.start()
        top.on_request(lambda _source, payload: payload + b"!")
        self.assertEqual(await below.request(top.bus_id, b"hello"), b"hello!")

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
        await self.does("atbus cert new-ca pki")
        await self.does("atbus cert new-node pki 0x12340000")
        await self.does("atbus cert new-node pki 0x12340101")
        proxy, node = self.block("proxy.toml"), self.block("node.toml")
        self.page = HARDEN
        old = 'access_tokens = ["the old one"]\n'
        texts = {"proxy": proxy.replace(PORT, "0") + self.block("rights")}
        process = self.start("proxy", old + texts["proxy"])
        await process.says(UP)
        self.places[PORT] = (await process.says(r"tls\+ipv4://0\.0\.0\.0:(\d+)"))[1]
        texts["node"] = self.here(node)
        below = self.start("node", old + texts["node"])
        await below.says(UP)
        for command in ("chmod 600", "atbus check config", "atbus check cert", "atbus check link"):
            said = await self.does(command)
            self.assertTrue(said.startswith("OK: ") or command == "chmod 600", said)
        counters = json.loads(await self.does("atbus status -o json"))["statistics"]
        told = (DOCS / HARDEN).read_text(encoding="utf-8").partition("Those to alarm on:")[2]
        for name in re.findall(r"``([a-z_]+)``", told)[:4]:
            self.assertIn(name, counters)
        self.page = ENCRYPT
        await self.does("atbus cert check")
        await self.does("atbus cert new-node pki 0x1 ")
        self.exports("export ATBUS_URL=")
        self.exports("export ATBUS_CERTIFICATE=")
        self.assertIn("0x12340101", await self.does("atbus nodes"))
        self.environment["ATBUS_TOKEN"] = "the new one"
        for round_ in ("the first round", "the second round"):
            for each in (process, below):
                text = captioned_blocks(HARDEN)[round_] + texts[each.name]
                self.write(f"{each.name}.toml", text)
                each.forget()
                each.kill(signal.SIGHUP)
                await each.says("runs with another access_tokens")
            await self.does("atbus nodes")
        via = ("--via", f"unix://{self.folder}/proxy.sock", "--timeout", "60")
        words = ("atbus", "nodes", *via, "--token", "the old one")
        late = self.run_program("late", sys.executable, "-m", *words)
        await late.says("ACCESS_DENIED")
        for each in (below, process):
            for not_said in ("Traceback", "has lost 0x1234"):
                self.assertNotIn(not_said, each.output)
