"""Nodes that find each other by a name, as the pods behind a headless service do."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.names import dns
from twisted.trial.unittest import TestCase

from atbus.errors import ListenFailed
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from tests.discovery.name_server import NameServer
from tests.interop.etcd_server import free_ports
from tests.interop.waiting import Changes

_ATTEMPTS = 10


class NamedNodeCase(TestCase):
    """A real name server, and nodes at addresses of this host that share a port."""

    timeout = 900

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # real servers, real sockets

        self.reactor: Any = reactor
        self.server = NameServer(reactor)
        self.addCleanup(self.server.stop)
        self.changes = Changes(reactor)
        self.port = 0

    def dns(self, use: str, name: str = "bus.example", **more: Any) -> dict[str, Any]:
        """Tell a node of the name."""
        host, port = self.server.place
        settings = {"name": name, "use": use, "refresh_seconds": 0.2}
        return {**settings, "servers": [f"{host}:{port}"], **more}

    def node(self, bus_id: int, **options: Any) -> Node:
        """Make a node."""
        # Nobody is given up because this machine is busy.
        config = NodeConfig(id=bus_id, **{"handshake_seconds": 60, **options})
        made = Node(config, self.reactor, random=Random(bus_id))
        self.addCleanup(made.stop)
        made.events.on_register.observe(self.changes.note)
        made.events.on_endpoint_removed.observe(self.changes.note)
        return made

    async def proxies(self, count: int) -> list[Node]:
        """Start proxies on one port, each of which knows nothing but the name and that port."""
        for _ in range(_ATTEMPTS):
            (port,) = free_ports(1)
            started: list[Node] = []
            try:
                for number in range(1, count + 1):
                    node = self.node(
                        number << 16,
                        listen=[f"ipv4://127.0.0.{number}:{port}"],
                        dns=self.dns("peers", port=port),
                        proxy=True,
                        subnets=[(0, 16)],
                    )
                    await node.start()
                    started.append(node)
            except ListenFailed:
                # Somebody else was faster.
                continue
            self.port = port
            return started
        raise AssertionError("no port that is free at all addresses")

    def know(self, *numbers: int) -> None:
        """Let the name be that of these hosts."""
        hosts = [dns.Record_A(f"127.0.0.{number}") for number in numbers]
        self.server.records[b"bus.example"] = hosts


class NamedNodeTests(NamedNodeCase):
    """What nodes do that know a name."""

    async def test_all_behind_a_name_connect(self) -> None:
        """Nodes behind one name connect to all others behind it, whenever the name is theirs."""
        self.know(1)
        nodes = await self.proxies(3)
        await self.changes.until(lambda: [len(node.endpoints) for node in nodes] == [2, 1, 1])
        self.know(3, 1, 2)
        everybody = {node.bus_id for node in nodes}

        def is_mesh() -> bool:
            return all({*node.endpoints, node.bus_id} == everybody for node in nodes)

        await self.changes.until(is_mesh, "each is connected to each")

    async def test_a_name_leads_to_an_upstream(self) -> None:
        """
        A node finds its upstream by a name, and another one when that is gone.

        A name of services gives the order in which they are tried.
        """
        self.know()
        one, two = await self.proxies(2)
        self.server.records |= {
            b"_atbus._tcp.example": [
                dns.Record_SRV(20, 0, self.port, b"two.example"),
                dns.Record_SRV(10, 0, self.port, b"one.example"),
            ],
            b"one.example": [dns.Record_A("127.0.0.1")],
            b"two.example": [dns.Record_A("127.0.0.2")],
        }
        # Whoever has an id of its own registers with either of them.
        leaf = self.node(
            0x30001, topology="records", dns=self.dns("upstreams", "_atbus._tcp.example")
        )
        await leaf.start()
        self.assertEqual(list(leaf.endpoints), [one.bus_id])
        await one.stop()
        await self.changes.until(lambda: list(leaf.endpoints) == [two.bus_id])


class ReloadTests(NamedNodeCase):
    """Each test is named for the option that changes."""

    async def test_dns(self) -> None:
        """Another name is asked for at once; connections that have come of the old one stay."""
        self.know(2)
        self.server.records[b"third.example"] = [dns.Record_A("127.0.0.3")]
        first, second, third = await self.proxies(3)
        await self.changes.until(lambda: second.bus_id in first.endpoints)
        other = self.dns("peers", "third.example", port=self.port, refresh_seconds=3_600)
        change = reconfigure(first, first.config.replace(dns=other))
        self.assertEqual(change.applied, {"dns"})
        await self.changes.until(lambda: third.bus_id in first.endpoints)
        self.assertIn(second.bus_id, first.endpoints)
