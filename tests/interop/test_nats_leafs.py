"""Real servers of NATS as leafs of a node, and a node as a leaf of theirs."""

from __future__ import annotations

import shutil
import tempfile

from twisted.internet.defer import Deferred

from atbus.nats.gateway import Gateway
from tests.interop.nats_beside import ServerCase
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.nats.sockets import Talker

HUB = """
server_name: {name}
leafnodes {{ host: 127.0.0.1, port: {port} }}
"""
LEAF = """
server_name: {name}
leafnodes {{ reconnect: 1, remotes: [ {{ url: "nats-leaf://{user}127.0.0.1:{port}" }} ] }}
"""


class LeafCase(ServerCase):
    """Clients of a node and of a server that are connected as leafs."""

    async def beside(self, gateway: Gateway, server: NatsServer) -> tuple[Talker, Talker]:
        """Connect a client to each when they are connected to each other."""
        await self.met(lambda: any(link.session.peer for link in gateway.leafs.links))
        address = gateway.address()
        assert address is not None
        return await self.client(address[1]), await self.client(server.port)


class LeafOfDebianTests(LeafCase):
    """A node as a leaf of nats-server 2.9."""

    def test_both_ways(self) -> Deferred[None]:
        """Interest, messages, headers, requests and 503 cross in both directions, once each."""
        return Deferred.fromCoroutine(self.both_ways())

    async def both_ways(self) -> None:
        server = self.server(HUB, name="hub", port=-1)
        gateway = await self.gateway(leaf_remotes=[{"urls": [f"127.0.0.1:{server.leaf_port}"]}])
        ours, theirs = await self.beside(gateway, server)
        await self.converse(ours, theirs)
        await self.share(ours, theirs)

    def test_killed_and_back(self) -> Deferred[None]:
        """A server that was killed and is back knows all interest again."""
        return Deferred.fromCoroutine(self.killed_and_back())

    async def killed_and_back(self) -> None:
        server = self.server(HUB, name="hub", port=-1)
        place = server.leaf_port
        gateway = await self.gateway(leaf_remotes=[{"urls": [f"127.0.0.1:{place}"]}])
        ours, theirs = await self.beside(gateway, server)
        ours.says(b"SUB still 1\r\nPING\r\n")
        await ours.hears(b"PONG\r\n")
        await self.says_until_heard(theirs, ours, b"still")
        server.stop()
        await self.met(lambda: not gateway.leafs.links)
        again = self.server(HUB, name="hub", port=place)
        await self.says_until_heard(await self.client(again.port), ours, b"still")


class LeafOfNewerTests(LeafOfDebianTests):
    """A node as a leaf of the newest nats-server."""

    binary = NEWER_BINARY


class HubOfDebianTests(LeafCase):
    """nats-server 2.9 as a leaf of a node."""

    def test_both_ways(self) -> Deferred[None]:
        """Interest, messages, headers, requests and 503 cross in both directions, once each."""
        return Deferred.fromCoroutine(self.both_ways())

    async def both_ways(self) -> None:
        gateway = await self.gateway(
            leaf_listen="127.0.0.1:0", leaf_user="site", leaf_password="secret"
        )
        address = gateway.address("leaf_listen")
        assert address is not None
        server = self.server(LEAF, name="leaf", port=address[1], user="site:secret@")
        ours, theirs = await self.beside(gateway, server)
        await self.converse(ours, theirs)
        await self.share(ours, theirs)


class HubOfNewerTests(HubOfDebianTests):
    """The newest nats-server as a leaf of a node."""

    binary = NEWER_BINARY


class TwoGatewaysTests(LeafCase):
    """Two nodes of one bus that are told of the same server."""

    def test_one_serves_and_the_other_takes_over(self) -> Deferred[None]:
        """The lowest id serves, for clients three hops away as well; when it stops, the next."""
        return Deferred.fromCoroutine(self.takes_over())

    async def takes_over(self) -> None:
        server = self.server(HUB, name="hub", port=-1)
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        root = f"unix://{folder}/root.sock"
        await self.node(0x10000, listen=[root], subnets=[(0, 16)])
        nats = {
            "listen": "127.0.0.1:0",
            "leaf_remotes": [{"urls": [f"127.0.0.1:{server.leaf_port}"]}],
        }
        _, second = await self.node(0x10002, upstream=root, nats=nats)
        assert second is not None
        await self.beside(second, server)
        _, first = await self.node(0x10001, upstream=root, nats=nats)
        assert first is not None
        # The one that has the lower id takes it over, from one that serves.
        _, theirs = await self.beside(first, server)
        await self.met(lambda: not second.leafs.links)
        address = second.address()
        assert address is not None
        far = await self.client(address[1])
        await self.converse(far, theirs)
        first.leafs.stop()
        await self.beside(second, server)
        await self.converse(far, theirs)
