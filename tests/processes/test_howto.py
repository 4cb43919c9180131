"""The pages about twistd and about proxies: their files, run as they say, do what they say."""

from __future__ import annotations

import configparser
import re
import signal

from atbus.node.toml import parse_config
from tests.documents import captioned_blocks, shown_output
from tests.processes.harness import UP, NodeProcess
from tests.processes.pages import PageCase

PAGE = "howto/run-a-tree-with-twistd.rst"


class PageTests(PageCase):
    """A reader with a folder and four terminals."""

    PAGE = PAGE

    async def logs(self, process: NodeProcess, title: str) -> None:
        """Wait for the lines that the page shows, in their order."""
        for line in self.block(title).splitlines():
            await process.says(rf"\] {re.escape(line)}\n")

    async def look(self) -> None:
        """Give the commands of the fifth terminal; what the page shows is the end of what comes."""
        self.exports("export ATBUS_URL=")
        for command in ("atbus nodes", "atbus trace 0x10000", "atbus request 0x10101 reader"):
            printed = await self.does(command)
            shown = "".join(f"{line}\n" for line in shown_output(self.PAGE, command))
            self.assertTrue(printed.endswith(shown), printed)

    async def test_the_page(self) -> None:
        """The tree runs, survives its proxy, changes its tokens, and loses nothing."""
        self.make("root.toml", "proxy.toml", "greeter.toml", "caller.toml", "conversation.py")
        root = self.types("twistd -n --pidfile= atbus --config root.toml")
        proxy = self.types("twistd -n --pidfile= atbus --config proxy.toml")
        greeter = self.types("PYTHONPATH=. twistd -n --pidfile= atbus --config greeter.toml")
        caller = self.types("PYTHONPATH=. twistd -n --pidfile= atbus --config caller.toml")
        await self.logs(caller, "the log of caller")
        await self.look()
        self.assertEqual(await proxy.stops(signal.SIGINT), -signal.SIGINT)
        await self.logs(caller, "the log of caller without the proxy")
        proxy = self.types("twistd -n --pidfile= atbus --config proxy.toml")
        await caller.says("hello, world")
        self.write("root.toml", self.block("root.toml") + self.block("more of root.toml"))
        root.kill(signal.SIGHUP)
        await self.logs(root, "the log of root")
        await caller.says("hello, world")
        for process in (caller, greeter, proxy, root):
            self.assertEqual(await process.stops(), -signal.SIGTERM)
            self.assertNotIn("Traceback", process.output)
        printed = await self.does("python -m atbus.testing.checker .")
        self.assertTrue(printed.startswith("verdict: ok\n"), printed)

    async def test_the_unit(self) -> None:
        """What the unit tells systemd to do does what it shall; the node has time for its end."""
        self.places = {"/opt/bus/bin/": "", "/etc/atbus": str(self.folder), "$MAINPID": "%d"}
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(self.block("atbus-proxy.service"))
        service = unit["Service"]
        self.make("root.toml", "proxy.toml")
        config = parse_config(self.block("proxy.toml"))
        self.assertGreater(float(service["TimeoutStopSec"]), config.drain_seconds)
        await self.types("twistd -n --pidfile= atbus --config root.toml").says(UP)
        proxy = self.shell(service["ExecStart"])
        await proxy.says("is registered with its upstream 0x10000")
        more = self.block("more of root.toml")
        self.write("proxy.toml", self.block("proxy.toml") + more)
        program, *words = (service["ExecReload"] % proxy.pid).split()
        self.assertEqual(await self.run_program("reload", program, *words).ends(), 0)
        await proxy.says("runs with another access_tokens")
        self.assertEqual(await proxy.stops(), -signal.SIGTERM)


class ProxiesPageTests(PageCase):
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
        self.places["/run/atbus"] = str(self.folder)
        await self.does("atbus drain 0x11 --via unix:///run/atbus/proxy.sock")
        await service.says(r"is registered with its upstream 0x12\b")
        await leaving.says(r"is drained after [\d.]+ s: 1 nodes have moved")
        for process in (leaving, service, staying, root):
            self.assertEqual(await process.stops(), -signal.SIGTERM)
            self.assertNotIn("Traceback", process.output)
