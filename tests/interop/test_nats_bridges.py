"""Servers of NATS that talk with each other through nodes, and buses that do through servers."""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from atbus.nats.gateway import Gateway
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.interop.test_nats_clusters import ClusterCase
from tests.interop.test_nats_leafs import LEAF, LeafCase, leaf_port


class BridgeCase(LeafCase, ClusterCase):
    """Clients at several places, which are all to talk with each other."""

    async def all_talk(self, places: Sequence[Gateway | NatsServer]) -> None:
        """Publications, a queue group, requests and 503, between all, nothing twice."""
        ports = [self.port_of(each) for each in places]
        everybody = [await self.client(port) for port in ports]
        await self.subscribe_all(everybody)
        await self.each_hears_once(everybody)
        await self.share(*everybody)
        for one, other in itertools.combinations(ports, 2):
            await self.converse(await self.client(one), await self.client(other))

    @staticmethod
    def port_of(place: Gateway | NatsServer) -> int:
        """Say where clients come in."""
        if isinstance(place, NatsServer):
            return place.port
        address = place.address()
        assert address is not None
        return address[1]

    async def bus(self, *tables: dict[str, Any]) -> list[Gateway]:
        """Start a bus of one node for each table ``[nats]``: the first is above all others."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        root = f"unix://{folder}/root.sock"
        above: dict[str, Any] = {"listen": [root], "subnets": [(0, 16)]}
        gateways = []
        for number, table in enumerate(tables):
            options = {"upstream": root} if number else above
            nats = {"listen": "127.0.0.1:0", **table}
            _, gateway = await self.node(0x10000 + number, nats=nats, **options)
            assert gateway is not None
            gateways.append(gateway)
        return gateways

    def leaf(self, name: str, port: int) -> NatsServer:
        """Start a server that is a leaf of whoever takes leafs at a port."""
        return self.server(LEAF, name=name, port=port, user="")

    def cluster_of_leafs(self, *ports: int) -> list[NatsServer]:
        """Start servers of one cluster that are leafs of whoever takes leafs at these ports."""
        servers: list[NatsServer] = []
        for number, port in enumerate(ports):
            remote = f'url: "nats-leaf://127.0.0.1:{port}"'
            more = f"leafnodes {{ reconnect: 1, remotes: [ {{ {remote} }} ] }}\n"
            routes = [each.route_port for each in servers[:1]]
            servers.append(self.member(f"s{number}", *routes, more=more))
        return servers

    async def serve_each_other(
        self, gateways: Sequence[Gateway], servers: Sequence[NatsServer]
    ) -> None:
        """What clients of a cluster publish gets to all others once, over routes or the bus."""
        places: list[Gateway | NatsServer] = [*gateways, *servers]
        everybody = [await self.client(self.port_of(each)) for each in places]
        await self.subscribe_all(everybody)
        await self.each_hears_once(everybody)
        # What the bus gives to a server as well is on its way before this.
        for says, number in itertools.product(everybody, range(len(everybody))):
            says.says(b"PUB only.%d 6\r\nbehind\r\n" % number)
        for hears in everybody:
            await self.met(
                lambda hears=hears: hears.heard.count(b"behind\r\n") >= len(everybody)
            )
            found = Counter(re.findall(rb"MSG all 1 4\r\n(\d{4})\r\n", hears.heard))
            self.assertEqual(len(found), 100 * len(everybody))
            self.assertEqual(set(found.values()), {1})
        await self.share(*everybody)

    async def has_leafs(self, gateway: Gateway, count: int) -> None:
        """Wait until a gateway has so many leafs."""
        await self.met(lambda: sum(each.takes_part for each in gateway.leafs.links) == count)


class BridgesDebianTests(BridgeCase):
    """Servers 2.9."""

    def test_two_leafs_of_a_node(self) -> Deferred[None]:
        """Two servers that are leafs of one node talk with each other through it."""
        return Deferred.fromCoroutine(self.two_leafs_of_a_node())

    async def two_leafs_of_a_node(self) -> None:
        gateway, port = await self.hub()
        leafs = [self.leaf("one", port), self.leaf("two", port)]
        await self.has_leafs(gateway, 2)
        await self.all_talk([gateway, *leafs])

    def test_leafs_of_two_nodes(self) -> Deferred[None]:
        """Two servers that are leafs of two nodes talk with each other over their bus."""
        return Deferred.fromCoroutine(self.leafs_of_two_nodes())

    async def leafs_of_two_nodes(self) -> None:
        door = {"leaf_listen": "127.0.0.1:0"}
        # The two are below the first, and no neighbors.
        gateways = await self.bus({}, door, door)
        leafs = [self.leaf(f"leaf{each.node.bus_id:x}", leaf_port(each)) for each in gateways[1:]]
        for gateway in gateways[1:]:
            await self.has_leafs(gateway, 1)
        await self.all_talk([*gateways, *leafs])

    def test_a_leaf_of_a_member(self) -> Deferred[None]:
        """A server that is a leaf of a member of the node's cluster talks with the bus."""
        return Deferred.fromCoroutine(self.a_leaf_of_a_member())

    async def a_leaf_of_a_member(self) -> None:
        one = self.member("one")
        two = self.member("two", one.route_port, takes_leafs=True)
        gateway = await self.gateway(cluster=self.joins(one))
        await self.beside_each(gateway, 2)
        leaf = self.leaf("leaf", two.leaf_port)
        await self.all_talk([gateway, leaf, two, one])

    def test_a_cluster_of_leafs(self) -> Deferred[None]:
        """Servers of one cluster are leafs of one node: nothing comes over both ways."""
        return Deferred.fromCoroutine(self.a_cluster_of_leafs())

    async def a_cluster_of_leafs(self) -> None:
        gateway, port = await self.hub()
        servers = self.cluster_of_leafs(port, port, port)
        await self.has_leafs(gateway, 3)
        await self.serve_each_other([gateway], servers)

    def test_a_cluster_of_leafs_of_two_nodes(self) -> Deferred[None]:
        """They are leafs of two nodes of one bus: likewise."""
        return Deferred.fromCoroutine(self.a_cluster_of_leafs_of_two_nodes())

    async def a_cluster_of_leafs_of_two_nodes(self) -> None:
        door = {"leaf_listen": "127.0.0.1:0"}
        gateways = await self.bus({}, door, door)
        servers = self.cluster_of_leafs(*map(leaf_port, gateways[1:]))
        for gateway in gateways[1:]:
            await self.has_leafs(gateway, 1)
        await self.serve_each_other(gateways, servers)

    def test_two_buses_in_a_cluster(self) -> Deferred[None]:
        """Clients of two buses and of the servers talk with each other."""
        return Deferred.fromCoroutine(self.two_buses_in_a_cluster())

    async def two_buses_in_a_cluster(self) -> None:
        one = self.member("one")
        two = self.member("two", one.route_port)
        buses = [await self.bus({}, {"cluster": self.joins(one)}) for _ in range(2)]
        for _, gateway in buses:
            await self.beside_each(gateway, 3)
        await self.all_talk([*buses[0], *buses[1], one, two])


class BridgesNewerTests(BridgesDebianTests):
    """The newest version."""

    binary = NEWER_BINARY
