"""Real servers of NATS that are told to go, while nodes are connected to them."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.defer import Deferred

from atbus.nats.gateway import Gateway
from tests.interop.nats_beside import ServerCase
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.interop.test_nats_cluster_faults import Run
from tests.interop.test_nats_clusters import members
from tests.nats.sockets import Talker

SERVER = """
server_name: {name}
lame_duck_grace_period: "200ms"
lame_duck_duration: "30s"
"""
#: A cluster, and a place for leafs.
HUB = (
    SERVER
    + """
cluster {{ name: C1, listen: "127.0.0.1:-1", authorization: {{ user: "u", password: "p" }},
           routes: [ {routes} ] }}
leafnodes {{ listen: "127.0.0.1:-1" }}
"""
)
LEAF = (
    SERVER
    + """
leafnodes {{ reconnect: 1, remotes: [ {{ url: "nats-leaf://127.0.0.1:{port}" }} ] }}
"""
)
NEWS = b'CONNECT {"verbose":false,"protocol":1,"headers":true,"no_responders":true}\r\nPING\r\n'
QUIET_COUNT = 200


class Stream:
    """
    What one client publishes without an end, and another one hears.

    :param says: The one,
    :param hears: and the other.
    :param name: What tells it from others.
    """

    def __init__(self, says: Talker, hears: Talker, name: bytes) -> None:
        self.says, self.hears, self.name = says, hears, name
        self._run: Run | None = None

    async def begin(self, case: ServerCase) -> None:
        """Begin when the interest has come through."""
        name = self.name
        self.hears.says(b"SUB run.%s 1\r\nSUB open.%s 2\r\nPING\r\n" % (name, name))
        await self.hears.hears(b"PONG\r\n")
        await case.says_until_heard(self.says, self.hears, b"open." + name)
        self._run = Run(case.reactor, self.says, b"run." + name)
        case.addCleanup(self._run.stop)

    async def goes_on(self, case: ServerCase) -> None:
        """Wait until more has come."""
        count = len(self.numbers) + 20
        await case.met(lambda: len(self.numbers) >= count)

    @property
    def numbers(self) -> list[int]:
        """What has come."""
        return [int(text) for text in re.findall(rb" 1 6\r\n(\d{6})\r\n", self.hears.heard)]

    async def end(self, case: ServerCase) -> list[int]:
        """
        Wait until all that is on its way has come; it has come once and in order.

        :returns: What has not come.
        """
        assert self._run is not None
        self._run.stop()
        self.says.says(b"PUB open.%s 4\r\nlast\r\n" % self.name)
        await case.met(lambda: b"open.%s 2 4\r\nlast\r\n" % self.name in self.hears.heard)
        numbers = self.numbers
        self.hears.heard = b""
        case.assertEqual(numbers, sorted(set(numbers)))
        return sorted(set(range(1, self._run.count + 1)) - set(numbers))


def urls_in(talker: Talker) -> list[str]:
    """Say where else a client could go, as it was told last."""
    *_, news = re.findall(rb"INFO (\{.*?\}) \r\n", talker.heard)
    return list(json.loads(news)["connect_urls"])


def infos_in(talker: Talker) -> list[dict[str, Any]]:
    """Give all that INFO has told so far."""
    return [json.loads(each) for each in re.findall(rb"INFO (\{.*?\}) \r\n", talker.heard)]


class LameDuckCase(ServerCase):
    """Servers that go, and what passes meanwhile."""

    def hub(self, name: str, *others: NatsServer) -> NatsServer:
        """Start a server of the cluster."""
        routes = " ".join(f'"nats-route://u:p@127.0.0.1:{each.route_port}"' for each in others)
        return self.server(HUB, name=name, routes=routes, takes_routes=True)

    async def at(self, gateway: Gateway) -> Talker:
        """Connect a client to a gateway."""
        address = gateway.address()
        assert address is not None
        return await self.client(address[1])

    async def listener(self, port: int) -> Talker:
        """Connect a client that hears where else it could go, whenever that changes."""
        talker = await self.talker(port)
        talker.says(NEWS)
        await self.met(lambda: b"PONG\r\n" in talker.heard)
        return talker

    async def passes(self, ours: Talker, theirs: Talker) -> None:
        """In quiet times everything comes, once and in order, in both directions."""
        for says, hears, subject in ((ours, theirs, b"quiet.1"), (theirs, ours, b"quiet.2")):
            hears.says(b"SUB %s 7\r\nPING\r\n" % subject)
            await hears.hears(b"PONG\r\n")
            await self.says_until_heard(says, hears, subject)
            wanted = [b"%06d" % each for each in range(QUIET_COUNT)]
            says.says(b"".join(b"PUB %s 6\r\n%s\r\n" % (subject, each) for each in wanted))
            says.says(b"PUB %s 3\r\nend\r\n" % subject)
            heard = await hears.hears(b"end\r\n")
            self.assertEqual(re.findall(rb" 7 6\r\n(\d{6})\r\n", heard), wanted)

    async def streams(self, ours: Talker, theirs: Talker) -> list[Stream]:
        """Let both publish to the other one without an end."""
        streams = [Stream(ours, theirs, b"ours"), Stream(theirs, ours, b"theirs")]
        for each in streams:
            await each.begin(self)
        return streams

    async def go_on(self, streams: list[Stream]) -> None:
        """Wait until more has come of each."""
        for each in streams:
            await each.goes_on(self)

    async def gone(self, server: NatsServer) -> None:
        """Tell a server to go, as its operator does, and wait until it has."""
        server.signal("ldm")
        await self.met(lambda: server.has_ended)


class DebianTests(LameDuckCase):
    """Servers 2.9."""

    def test_a_hub(self) -> Deferred[None]:
        """A node whose server goes is a leaf of the next one, with one gap and nothing twice."""
        return Deferred.fromCoroutine(self.a_hub())

    async def a_hub(self) -> None:
        first = self.hub("first")
        second = self.hub("second", first)
        urls = [f"127.0.0.1:{each.leaf_port}" for each in (first, second)]
        gateway = await self.gateway(leaf_remotes=[{"urls": urls}])
        await self.met(lambda: any(link.takes_part for link in gateway.leafs.links))
        ours, theirs = await self.at(gateway), await self.client(second.port)
        # Without a client a server goes at once.
        stays = await self.client(first.port)
        streams = await self.streams(ours, theirs)
        await self.go_on(streams)
        await self.gone(first)
        await self.go_on(streams)
        for each in streams:
            gap = await each.end(self)
            self.assertEqual(gap, [*range(gap[0], gap[-1] + 1)] if gap else [])
        self.assertIsNotNone(stays.ended_well)
        await self.passes(ours, theirs)

    def test_a_leaf(self) -> Deferred[None]:
        """When a server that is a leaf goes another one misses nothing, and it may come back."""
        return Deferred.fromCoroutine(self.a_leaf())

    async def a_leaf(self) -> None:
        gateway = await self.gateway(leaf_listen="127.0.0.1:0")
        address = gateway.address("leaf_listen")
        assert address is not None
        goes, stays = (self.server(LEAF, name=name, port=address[1]) for name in ("one", "two"))
        await self.met(lambda: sum(link.takes_part for link in gateway.leafs.links) == 2)
        ours, theirs = await self.at(gateway), await self.client(stays.port)
        leaves = await self.client(goes.port)
        streams = await self.streams(ours, theirs)
        leaves.says(b"SUB lone 2\r\nPING\r\n")
        await leaves.hears(b"PONG\r\n")
        await self.says_until_heard(ours, leaves, b"lone")
        await self.go_on(streams)
        await self.gone(goes)
        await self.met(lambda: sum(link.takes_part for link in gateway.leafs.links) == 1)
        ours.says(b"SUB box 8\r\nPUB lone box 2\r\nhi\r\n")
        await self.met(lambda: b"NATS/1.0 503" in ours.heard)
        await self.go_on(streams)
        for each in streams:
            self.assertEqual(await each.end(self), [])
        again = self.server(LEAF, name="one", port=address[1])
        # A server may not tell a leaf that begins what a client asks for just then.
        await self.met(lambda: sum(link.takes_part for link in gateway.leafs.links) == 2)
        await self.passes(ours, await self.client(again.port))

    def test_a_member(self) -> Deferred[None]:
        """Our clients hear that one member of a cluster goes; what passes to others, passes."""
        return Deferred.fromCoroutine(self.a_member())

    async def a_member(self) -> None:
        goes = self.hub("one")
        stays = self.hub("two", goes)
        gateway = await self.gateway(
            cluster={
                "name": "C1",
                "listen": "127.0.0.1:0",
                "user": "u",
                "password": "p",
                "routes": [f"127.0.0.1:{each.route_port}" for each in (goes, stays)],
            }
        )
        await self.met(lambda: members(gateway) == 2)
        ours, theirs = await self.at(gateway), await self.client(stays.port)
        address = gateway.address()
        assert address is not None
        told, leaves = await self.listener(address[1]), await self.listener(goes.port)
        streams = await self.streams(ours, theirs)
        await self.go_on(streams)
        place, ours_is = f"127.0.0.1:{goes.port}", f"127.0.0.1:{address[1]}"
        self.assertIn(place, urls_in(told))
        await self.gone(goes)
        self.assertIn(b'"ldm":true', leaves.heard)
        self.assertIn(ours_is, urls_in(leaves))
        await self.met(lambda: place not in urls_in(told))
        await self.met(lambda: members(gateway) == 1)
        await self.go_on(streams)
        for each in streams:
            self.assertEqual(await each.end(self), [])
        await self.passes(ours, theirs)

    def test_a_client(self) -> Deferred[None]:
        """INFO of a server that goes is its first one with one field more; so is ours."""
        return Deferred.fromCoroutine(self.a_client())

    async def a_client(self) -> None:
        server, gateway = self.server(SERVER, name="one"), await self.gateway()
        address = gateway.address()
        assert address is not None
        both = [await self.listener(port) for port in (server.port, address[1])]
        await self.met(lambda: all(b"PONG\r\n" in each.heard for each in both))
        # The newest server says more behind the first PONG, which is not of this.
        first = [infos_in(each)[0] for each in both]
        server.signal("ldm")
        gateway.lame_duck()
        await self.met(lambda: all(infos_in(each)[-1].get("ldm") for each in both))
        for talker, info in zip(both, first, strict=True):
            last = infos_in(talker)[-1]
            self.assertEqual(last, {**info, "ldm": True})
        await self.met(lambda: server.has_ended)


class NewerTests(DebianTests):
    """The newest version."""

    binary = NEWER_BINARY
