"""Nodes as members of clusters of real servers of NATS."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from atbus.nats.gateway import Gateway
from tests.interop.nats_beside import ServerCase
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.nats.sockets import Talker

TAKES_LEAFS = "leafnodes { host: 127.0.0.1, port: -1 }"


class ClusterCase(ServerCase):
    """Servers of one cluster, and gateways that join it."""

    def member(
        self,
        name: str,
        *routes: int,
        port: int = -1,
        takes_leafs: bool = False,
        more: str = "",
    ) -> NatsServer:
        """Start a server of the cluster, with routes to these ports."""
        config = Path(self.mktemp())
        config.write_text(more + TAKES_LEAFS * takes_leafs)
        urls = ",".join(f"nats-route://u:p@127.0.0.1:{each}" for each in routes)
        server = NatsServer(
            *("-c", str(config), "-n", name, "--cluster_name", "C1"),
            *("--cluster", f"nats://u:p@127.0.0.1:{port}"),
            *(("--routes", urls) if urls else ()),
            binary=self.binary,
        )
        server.start()
        self._servers.append(server)
        self.addCleanup(server.stop)
        return server

    @staticmethod
    def joins(*servers: NatsServer, port: int = 0, **further: Any) -> dict[str, Any]:
        """Give what a gateway is told."""
        return {
            "name": "C1",
            "listen": f"127.0.0.1:{port}",
            "user": "u",
            "password": "p",
            "routes": [f"127.0.0.1:{each.route_port}" for each in servers],
            **further,
        }

    async def client_of(self, gateway: Gateway) -> Talker:
        """Connect a client to a gateway."""
        address = gateway.address()
        assert address is not None
        return await self.client(address[1])

    async def subscribe_all(self, talkers: list[Talker]) -> None:
        """Let each subscribe to what all are told, and to what only it is told."""
        for number, talker in enumerate(talkers):
            talker.says(b"SUB all 1\r\nSUB only.%d 2\r\nPING\r\n" % number)
            await talker.hears(b"PONG\r\n")

    async def each_hears_once(self, talkers: list[Talker]) -> None:
        """Let everybody say something to everybody, as soon as interest has come through."""
        for talker in talkers:
            talker.heard = b""
        for says in talkers:
            for number, hears in enumerate(talkers):
                if says is not hears:
                    await self.says_until_heard(says, hears, b"only.%d" % number)
        for number, says in enumerate(talkers):
            says.says(b"".join(b"PUB all 4\r\n%d%03d\r\n" % (number, each) for each in range(100)))
        # What came twice would have come before this.
        for number, says in enumerate(talkers):
            for other in range(len(talkers)):
                says.says(b"PUB only.%d 5\r\nend.%d\r\n" % (other, number))
        count = len(talkers)
        for hears in talkers:
            await self.met(
                lambda hears=hears: all(b"end.%d\r\n" % n in hears.heard for n in range(count))
            )
            for number in range(count):
                got = [b"MSG all 1 4\r\n%d%03d\r\n" % (number, each) for each in range(100)]
                self.assertEqual([hears.heard.count(each) for each in got], [1] * 100)

    async def beside_each(self, gateway: Gateway, count: int) -> None:
        """Wait until a gateway has so many routes."""
        await self.met(lambda: members(gateway) == count)


def members(gateway: Gateway) -> int:
    """Count the routes that take part."""
    assert gateway.routes is not None
    return len(gateway.routes.members)


def port_of(gateway: Gateway) -> int:
    """Say where a gateway takes routes."""
    address = gateway.address("cluster")
    assert address is not None
    return address[1]


class MemberOfDebianTests(ClusterCase):
    """A node in a cluster of nats-server 2.9."""

    def test_both_ways(self) -> Deferred[None]:
        """Interest, messages, headers, requests and 503 cross in both directions, once each."""
        return Deferred.fromCoroutine(self.both_ways())

    async def both_ways(self) -> None:
        server = self.member("one")
        gateway = await self.gateway(cluster=self.joins(server))
        await self.beside_each(gateway, 1)
        ours, theirs = await self.client_of(gateway), await self.client(server.port)
        await self.converse(ours, theirs)
        await self.share(ours, theirs)

    def test_a_server_dials(self) -> Deferred[None]:
        """A server that is told of the node is let in, and what it tells and says arrives."""
        return Deferred.fromCoroutine(self.dialed())

    async def dialed(self) -> None:
        gateway = await self.gateway(cluster=self.joins())
        server = self.member("one", port_of(gateway))
        await self.beside_each(gateway, 1)
        ours, theirs = await self.client_of(gateway), await self.client(server.port)
        await self.converse(ours, theirs)

    def test_three_servers(self) -> Deferred[None]:
        """A node that is told of one server has a route to each, and nobody gets anything twice."""
        return Deferred.fromCoroutine(self.three_servers())

    async def three_servers(self) -> None:
        one = self.member("one")
        two = self.member("two", one.route_port)
        gateway = await self.gateway(cluster=self.joins(one))
        # The first one tells the second one of it; the third one it tells of itself.
        await self.beside_each(gateway, 2)
        three = self.member("three", port_of(gateway))
        await self.beside_each(gateway, 3)
        ours = await self.client_of(gateway)
        theirs = [await self.client(each.port) for each in (one, two, three)]
        everybody = [ours, *theirs]
        await self.subscribe_all(everybody)
        await self.each_hears_once(everybody)

    def test_killed_and_back(self) -> Deferred[None]:
        """A server that was killed leaves no ghost, and knows all interest when it is back."""
        return Deferred.fromCoroutine(self.killed_and_back())

    async def killed_and_back(self) -> None:
        server = self.member("one")
        port = server.route_port
        gateway = await self.gateway(cluster=self.joins(server))
        await self.beside_each(gateway, 1)
        ours, theirs = await self.client_of(gateway), await self.client(server.port)
        await self.want_before(ours, theirs)
        server.stop()
        await self.beside_each(gateway, 0)
        await self.nothing_is_left(ours)
        await self.is_a_lone_member(ours)
        again = self.member("one", port=port)
        await self.beside_each(gateway, 1)
        await self.want_still(ours, await self.client(again.port))

    def test_two_that_dial_each_other(self) -> Deferred[None]:
        """A server and a node that are told of each other have one route, which stays."""
        return Deferred.fromCoroutine(self.crossed())

    async def crossed(self) -> None:
        one = self.member("one")
        gateway = await self.gateway(cluster=self.joins(one))
        await self.beside_each(gateway, 1)
        port = one.route_port
        one.stop()
        await self.beside_each(gateway, 0)
        again = self.member("one", port_of(gateway), port=port)
        await self.beside_each(gateway, 1)
        ours, theirs = await self.client_of(gateway), await self.client(again.port)
        await self.converse(ours, theirs)
        self.assertEqual(members(gateway), 1)


class MemberOfNewerTests(MemberOfDebianTests):
    """A node in a cluster of the newest nats-server."""

    binary = NEWER_BINARY


class TwoGatewaysDebianTests(ClusterCase):
    """Two nodes of one bus that could join the same cluster."""

    def test_one_serves_and_the_other_takes_over(self) -> Deferred[None]:
        """The lowest id serves, for clients three hops away as well; when it stops, the next."""
        return Deferred.fromCoroutine(self.takes_over())

    async def takes_over(self) -> None:
        one = self.member("one")
        two = self.member("two", one.route_port)
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        root = f"unix://{folder}/root.sock"
        await self.node(0x10000, listen=[root], subnets=[(0, 16)])
        nats = {"listen": "127.0.0.1:0", "cluster": self.joins(one)}
        _, second = await self.node(0x10002, upstream=root, nats=nats)
        assert second is not None
        await self.beside_each(second, 2)
        _, first = await self.node(0x10001, upstream=root, nats=nats)
        assert first is not None
        # The one that has the lower id takes it over, from one that serves.
        await self.beside_each(first, 2)
        await self.met(lambda: not members(second))
        far, theirs = await self.client_of(second), await self.client(two.port)
        await self.converse(far, theirs)
        assert first.routes is not None
        first.routes.stop()
        await self.beside_each(second, 2)
        await self.converse(far, theirs)


class TwoGatewaysNewerTests(TwoGatewaysDebianTests):
    """The same with the newest nats-server."""

    binary = NEWER_BINARY
