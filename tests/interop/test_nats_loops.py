"""Loops over real servers of NATS: they are found, nothing goes in a circle, and all recovers."""

from __future__ import annotations

import re
import socket

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from atbus.nats.gateway import Gateway
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.interop.test_nats_bridges import BridgeCase
from tests.interop.test_nats_clusters import port_of
from tests.interop.test_nats_leafs import leaf_port
from tests.nats.sockets import Talker

DOOR = {"leaf_listen": "127.0.0.1:0"}
SERVER = """
server_name: {name}
leafnodes {{ host: 127.0.0.1, port: {port}, reconnect: 1, remotes: [ {remotes} ] }}
"""
#: How a loop is logged, whoever has found it.
FOUND = re.compile(r"leaf [\d.:]+ is closed: .*loop", re.IGNORECASE)


class LoopsDebianTests(BridgeCase):
    """Servers 2.9; whoever was in a loop waits for 30 seconds before it tries again."""

    def test_a_server_that_is_a_leaf_of_two_gateways(self) -> Deferred[None]:
        """The server leaves both gateways of the bus; with one of them it talks again."""
        return Deferred.fromCoroutine(self.a_leaf_of_two_gateways())

    async def a_leaf_of_two_gateways(self) -> None:
        one, other = await self.bus(DOOR, DOOR)
        early = await self.talks_early(one, other)
        server = self.looped(-1, leaf_port(one), leaf_port(other))
        await self.found(one, other)
        await self.met(lambda: server.has_said(b"Loop detected"))
        await self.goes_once(early, [one, other])
        await other.stopService()
        await other.node.stop()
        await self.has_leafs(one, 1)
        await self.all_talk([one, server])

    def test_a_remote_that_leads_back(self) -> Deferred[None]:
        """A node is no leaf of a server that is a leaf of the same bus, until that is over."""
        return Deferred.fromCoroutine(self.leads_back())

    async def leads_back(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        remotes = {"leaf_remotes": [{"urls": [f"127.0.0.1:{port}"]}]}
        one, other = await self.bus(DOOR, remotes)
        early = await self.talks_early(one, other)
        server = self.looped(port, leaf_port(one))
        await self.found(one, other)
        await self.goes_once(early, [one, other])
        await other.stopService()
        await other.node.stop()
        await self.has_leafs(one, 1)
        await self.all_talk([one, server])

    def test_remotes_of_one_cluster(self) -> Deferred[None]:
        """Of two gateways that are leafs of two servers of a cluster the lower id stays."""
        return Deferred.fromCoroutine(self.of_one_cluster())

    async def of_one_cluster(self) -> None:
        first = self.member("first", takes_leafs=True)
        second = self.member("second", first.route_port, takes_leafs=True)
        places = [f"127.0.0.1:{each.leaf_port}" for each in (first, second)]
        one, other = await self.bus(*({"leaf_remotes": [{"urls": [each]}]} for each in places))
        early = await self.talks_early(one, other)
        await self.found(one, other)
        await self.has_leafs(one, 1)
        await self.goes_once(early, [one, other, first, second])
        self.assertEqual([line for line in self.log if f"{places[0]} is closed" in line], [])
        # Whoever hears of the end of the one dials again.
        await one.leafs.stop()
        await self.met(lambda: self.dials_again(other))
        await self.has_leafs(other, 1)
        await self.all_talk([one, other, first, second])

    def test_a_member_and_a_leaf_of_one_cluster(self) -> Deferred[None]:
        """A gateway is no leaf of a server in whose cluster another gateway is a member."""
        return Deferred.fromCoroutine(self.a_member_and_a_leaf())

    async def a_member_and_a_leaf(self) -> None:
        first = self.member("first")
        second = self.member("second", first.route_port, takes_leafs=True)
        remotes = {"leaf_remotes": [{"urls": [f"127.0.0.1:{second.leaf_port}"]}]}
        one, other = await self.bus({"cluster": self.joins(first)}, remotes)
        early = await self.talks_early(one, other)
        await self.found(one, other)
        await self.beside_each(one, 2)
        await self.has_leafs(other, 0)
        await self.goes_once(early, [one, other, first, second])
        assert one.routes is not None
        one.routes.stop()
        await self.met(lambda: self.dials_again(other))
        await self.has_leafs(other, 1)
        await self.all_talk([one, other, first, second])

    def test_a_member_that_would_be_a_leaf_as_well(self) -> Deferred[None]:
        """A server of the node's own cluster is told that it is no leaf of the node."""
        return Deferred.fromCoroutine(self.a_member_as_well())

    async def a_member_as_well(self) -> None:
        gateway = await self.gateway(cluster=self.joins(), leaf_listen="127.0.0.1:0")
        remote = f"nats-leaf://127.0.0.1:{leaf_port(gateway)}"
        leafs = f'leafnodes {{ reconnect: 1, remotes: [ {{ url: "{remote}" }} ] }}'
        server = self.member("one", port_of(gateway), more=leafs)
        await self.met(lambda: server.has_said(b"has same cluster name"))
        await self.beside_each(gateway, 1)
        await self.has_leafs(gateway, 0)
        await self.all_talk([gateway, server])

    def looped(self, port: int, *leaf_ports: int) -> NatsServer:
        """Start a server that takes leafs, and is a leaf of whoever takes them at some ports."""
        remotes = ", ".join(
            f'{{ url: "nats-leaf://127.0.0.1:{each}" }}' for each in leaf_ports
        )
        return self.server(SERVER, name="looped", port=port, remotes=remotes)

    async def talks_early(self, *gateways: Gateway) -> list[Talker]:
        """Let somebody talk, and all hear him, from before there is a loop until it is found."""
        hearing = [await self.client(self.port_of(each)) for each in gateways]
        for talker in hearing:
            talker.says(b"SUB early 1\r\nPING\r\n")
            await talker.hears(b"PONG\r\n")
        self.talking = LoopingCall(hearing[0].says, b"PUB early 2\r\nhi\r\n")
        self.talking.clock = self.reactor
        self.talking.start(0.01)
        self.addCleanup(self.end)
        return hearing

    def end(self) -> None:
        """Let him be silent."""
        if self.talking.running:
            self.talking.stop()

    @staticmethod
    def dials_again(gateway: Gateway) -> bool:
        """
        Let a gateway dial that waits after a loop, and tell whether it takes part again.

        How long it waits is shown where a clock can be moved (`tests.nats.test_loops`).
        """
        for solicitor in gateway.leafs._solicitors:
            if solicitor._next is not None and solicitor._next.active():
                solicitor._next.reset(0)
        return any(link.takes_part for link in gateway.leafs.links)

    async def found(self, *gateways: Gateway) -> None:
        """Wait until the loop is found, and is none any more."""
        await self.met(lambda: any(FOUND.search(line) for line in self.log))
        links = [gateway.leafs.links for gateway in gateways]
        await self.met(lambda: sum(each.takes_part for found in links for each in found) < 2)

    async def goes_once(self, early: list[Talker], places: list[Gateway | NatsServer]) -> None:
        """Each message comes once, and nothing comes any more of what was said in the loop."""
        self.end()
        everybody = [await self.client(self.port_of(each)) for each in places]
        await self.subscribe_all(everybody)
        for _ in range(5):
            joins = self.joins_so_far
            try:
                await self.is_quiet(early, everybody)
            except self.failureException:
                # On a slow machine somebody may try again meanwhile.
                if joins == self.joins_so_far:
                    raise
            else:
                return
        self.fail("somebody tries again and again")

    async def is_quiet(self, early: list[Talker], everybody: list[Talker]) -> None:
        """Each message comes once, and nothing else comes."""
        await self.each_hears_once(everybody)
        before = [talker.heard for talker in early]
        await self.each_hears_once(everybody)
        self.assertEqual([talker.heard for talker in early], before)

    @property
    def joins_so_far(self) -> int:
        """How many connections there were."""
        return sum("takes part" in line for line in self.log)


class LoopsNewerTests(LoopsDebianTests):
    """The newest version."""

    binary = NEWER_BINARY
