"""docs/howto/find-nodes-without-a-registry.rst: nodes with its files find each other."""

from __future__ import annotations

import signal

from twisted.names import dns

from tests.channels.certificates import Files, tls_table
from tests.discovery.name_server import NameServer
from tests.interop.etcd_server import free_ports
from tests.processes.harness import UP, NodeProcess
from tests.processes.pages import PageCase

HOSTS = ("127.0.0.1", "127.0.0.2")
_ATTEMPTS = 10


class FindPageTests(PageCase):
    """A reader with a name server, or without one."""

    PAGE = "howto/find-nodes-without-a-registry.rst"

    def file(self, caption: str) -> str:
        """Give a file of the page, with certificates."""
        issued = self.files.issue(hosts=HOSTS)
        return self.block(caption) + tls_table(self.files.options(issued))

    async def proxies(self, server: NameServer) -> list[NodeProcess]:
        """Start two proxies behind one name, each at an address of its own."""
        server.records[b"bus.example"] = [dns.Record_A(host) for host in HOSTS]
        asks = f'servers = ["{server.place[0]}:{server.place[1]}"]\nrefresh_seconds = 0.2'
        self.places['proxies.bus.svc.cluster.local"'] = f'bus.example"\n{asks}'
        for _ in range(_ATTEMPTS):
            (port,) = free_ports(1)
            self.places["7000"] = str(port)
            started = []
            for number, host in enumerate(HOSTS):
                text = self.file("proxy.toml").replace("0.0.0.0", host)
                text = text.replace('"0x10000"', f'"{number + 1:#x}0000"')
                text = text.replace("/run/bus.sock", f"{self.folder}/{number}.sock")
                process = self.start(f"proxy-{number}", text)
                match = await process.says(rf"{UP}|cannot")
                if UP not in match[0]:
                    # Somebody else was faster.
                    await process.ends()
                    break
                started.append(process)
            else:
                return started
            for process in started:
                await process.stops()
        raise AssertionError("no port that is free at all addresses")

    async def test_by_name(self) -> None:
        """Proxies connect to each other, nodes find one of them, and know what others offer."""
        self.files = Files(self.folder)
        server = NameServer(self.reactor)
        self.addCleanup(server.stop)
        one, two = await self.proxies(server)
        await one.has_said_last("knows 0x20000 as peer", "nothing")
        await two.has_said_last("knows 0x10000 as peer", "nothing")
        for caption in ("node.toml", "battle.toml"):
            node = self.start(caption.removesuffix(".toml"), self.file(caption))
            await node.says("is registered with its upstream 0x[12]0000")
        self.places["/run/bus.sock"] = f"{self.folder}/0.sock"
        watching = self.types("atbus discovery services --via unix:///run/bus.sock --watch")
        await watching.says("battle-1")
        await watching.stops(signal.SIGTERM)
        listed = await self.does("atbus discovery services --via unix:///run/bus.sock")
        self.assertIn("battle-1", listed)

    async def test_from_a_file(self) -> None:
        """A node goes through the list and the file until somebody takes it."""
        top = 'id = "0x1"\nlisten = ["ipv4://127.0.0.1:0"]\nsubnets = ["0/8"]\n'
        root = self.start("root", top)
        port = (await root.says(r"ipv4://127\.0\.0\.1:(\d+)"))[1]
        self.places = {
            "10.0.0.1:7000": "127.0.0.1:9",
            "10.0.0.2:7000": "127.0.0.2:9",
            "10.0.0.3:7000": f"127.0.0.1:{port}",
            "/etc/atbus/upstreams": f"{self.folder}/upstreams",
        }
        self.make("upstreams")
        node = self.start("node", 'id = "0x11"\n' + self.block("a list and a file"))
        await node.says("is registered with its upstream 0x1\n")
