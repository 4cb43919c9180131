"""
Hosts that look alike: the same hardware address, the same paths, and yet not the same host.

Containers on different machines may have equal hardware addresses and equal paths of sockets. Each
host here has a network and a folder for sockets of its own; both see the interfaces of this
machine, so their nodes say the same addresses.
"""

from __future__ import annotations

from atbus.testing.namespace import Namespace, what_is_missing
from atbus.testing.tun_link import TunLink
from tests.chaos.case import ChaosCase, need, node_file, speech
from tests.processes.harness import UP, NodeProcess

ONE, TWO, THREE = 0x20100, 0x20110, 0x30000
SUBNETS = {ONE: 8, TWO: 4, THREE: 8}
ALIKE = 'hostname = "mac"\nallow_insecure = true'


class AlikeTests(ChaosCase):
    """Two hosts that cannot be told apart by what their nodes say."""

    def setUp(self) -> None:
        need(what_is_missing() is None, f"{what_is_missing()}")
        super().setUp()
        sockets = self.folder / "run"
        sockets.mkdir()
        self.hosts = {"one": Namespace([str(sockets)]), "two": Namespace([str(sockets)])}
        for host in self.hosts.values():
            self.addCleanup(host.close)
        self.hosts["three"] = self.hosts["two"]
        self.link = TunLink(self.reactor, self.hosts["one"], self.hosts["two"])
        self.link.start()
        self.addCleanup(self.link.stop)

    def run_program(self, name: str, *words: str) -> NodeProcess:
        """Start a process on its host."""
        command = self.hosts[name].command(*words, folder=str(self.folder))
        return super().run_program(name, *command)

    def listening(self, name: str, bus_id: int, place: str, *upstreams: str, said: str) -> str:
        """Write the configuration of a node that listens on a socket, shared memory and TCP."""
        more = f'{ALIKE}\nsubnets = ["0/{SUBNETS[bus_id]}"]'
        text = node_file(name, bus_id, upstreams, settings=said, listens=True, more=more)
        address = self.link.here_address if name == "one" else self.link.there_address
        listen = f'["unix://{{folder}}/run/{place}.sock", "shm://auto", "ipv4://{address}:0"]'
        return text.replace(f'["unix://{{folder}}/{name}.sock"]', listen)

    async def over_tcp(self) -> str:
        """Start the first node; say where it is reached from the other host."""
        one = self.start("one", self.listening("one", ONE, "one", said=speech(TWO)))
        port = (await one.says(r"ipv4://10\.119\.0\.1:(\d+);"))[1]
        return f"ipv4://{self.link.here_address}:{port}"

    async def check_over_the_link(self) -> None:
        """Look that what the two say to each other are packets of the network between them."""
        one, two = (process for process in self.processes if process.name in ("one", "two"))
        for path in self.link.paths.values():
            before = path.carried
            for process in (one, two):
                process.forget()
            for _ in range(3):
                await one.says("received ")
                await two.says("received ")
            self.assertGreater(path.carried, before + 3)
        for process in (one, two):
            self.assertNotIn("shm://", process.output.partition("listens on")[2].partition("\n")[2])

    async def test_a_path_leads_to_oneself(self) -> None:
        """A node whose upstream's socket has the path of its own notices it, and stays with TCP."""
        text = self.listening("two", TWO, "one", await self.over_tcp(), said=speech(ONE))
        two = self.start("two", text)
        await two.says("SELF_CONNECT: .*this node was dialled by itself")
        await two.says(UP)
        await self.check_over_the_link()
        await self.stop_all(two, self.processes[0])
        self.check()

    async def test_a_path_leads_to_a_stranger(self) -> None:
        """A node that finds a third one where its upstream should be stays with TCP as well."""
        text = self.listening("three", THREE, "one", said="")
        (three,) = await self.bring_up(("three", text))
        text = self.listening("two", TWO, "two", await self.over_tcp(), said=speech(ONE))
        two = self.start("two", text)
        await two.says("BUS_ID_MISMATCH: .* 0x20100 was expected here, not 0x30000")
        await two.says(UP)
        await self.check_over_the_link()
        self.assertNotIn("knows 0x20", three.output)
        await self.stop_all(two, three, self.processes[1])
        self.check()
