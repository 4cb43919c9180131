"""A client of NATS at the door for nodes, and nodes at the door for clients, on real sockets."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atbus.errors import RegistrationRefused, Status
from atbus.nats.gateway import Gateway
from atbus.nats.settings import read_gateway
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.testing.conversation import HandshakePair, make_terms
from tests.nats.sockets import SocketCase
from tests.nats.transcripts import EOF, QUIET

OURS, OTHER = 0x10001, 0x20001


class WrongDoorTests(SocketCase):
    """A node that listens for nodes at one port, and for clients of NATS at another."""

    async def begin(self) -> None:
        """Start it."""
        config = NodeConfig(
            id=OURS, listen=["ipv4://127.0.0.1:0"], nats={"listen": "127.0.0.1:0"}
        )
        self.one = await self.node(config)
        settings = read_gateway(config)
        assert settings is not None
        self.gates = Gateway(self.one, settings, self.reactor)
        self.gates.startService()
        self.addCleanup(self.gates.stopService)
        address = self.gates.address()
        assert address is not None
        [for_nodes] = self.one.addresses
        assert for_nodes.port is not None
        self.for_nodes, self.for_clients = for_nodes.port, address[1]
        self.assertNotEqual(self.for_nodes, self.for_clients)
        self.errors: list[tuple[Status, str]] = []
        self.one.events.on_error.observe(lambda *told: self.errors.append(told))

    async def node(self, config: NodeConfig) -> Node:
        """Start a node; it is stopped after the test."""
        node = Node(config, self.reactor)
        self.addCleanup(node.stop)
        await node.start()
        return node

    def test_a_client_at_the_door_for_nodes(self) -> Deferred[None]:
        """It is told nothing that it understands, and closed; the other door lets it in."""
        return Deferred.fromCoroutine(self.client_at_the_door_for_nodes())

    async def client_at_the_door_for_nodes(self) -> None:
        await self.begin()
        said = QUIET + b"SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n"
        lost = await self.talker(self.for_nodes)
        lost.says(said)
        heard = await lost.hears(EOF)
        self.assertTrue(heard.endswith(EOF), heard)
        self.assertNotRegex(heard, b"INFO|PONG|MSG|[+]OK|-ERR")
        self.assertEqual({status for status, _ in self.errors}, {Status.NOT_ATBUS})
        self.assertIn("NATS clients have a gateway of their own", self.errors[0][1])
        self.assertEqual((dict(self.one.endpoints), self.gates.clients), ({}, {}))
        right = await self.talker(self.for_clients)
        await right.hears(b" \r\n")
        right.says(said)
        self.assertEqual(await right.hears(b"PONG\r\n"), b"MSG a 1 2\r\nhi\r\nPONG\r\n")

    def test_a_node_at_the_door_for_clients(self) -> Deferred[None]:
        """Its HELLO is refused as no line of NATS; who dials there learns that it is no node's."""
        return Deferred.fromCoroutine(self.node_at_the_door_for_clients())

    async def node_at_the_door_for_clients(self) -> None:
        await self.begin()
        pair = HandshakePair(make_terms(OTHER), make_terms(OURS))
        pair.open()
        lost = await self.talker(self.for_clients)
        self.assertTrue((await lost.hears(b" \r\n")).startswith(b"INFO {"))
        lost.says(b"".join(pair.dialler.written))
        heard = await lost.hears(EOF)
        self.assertEqual(heard, b"-ERR 'Unknown Protocol Operation'\r\n" + EOF)
        self.assertEqual(self.gates.clients, {})
        other = await self.node(NodeConfig(id=OTHER))
        connecting = other.connect(f"ipv4://127.0.0.1:{self.for_clients}")
        with self.assertRaises(RegistrationRefused) as caught:
            await connecting
        self.assertEqual(caught.exception.status, Status.NOT_ATBUS)
        self.assertIn("a NATS server's INFO", caught.exception.detail)
        self.assertEqual(dict(self.one.endpoints), {})
