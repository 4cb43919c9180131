"""Clusters of real servers of NATS in which members die, or are cut off from each other."""

from __future__ import annotations

import re
import signal
from collections import Counter
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from atbus import limits
from atbus.nats import bounds
from atbus.testing.toxic import Direction, ToxicRelay
from tests.interop.nats_beside import NO_RESPONDERS
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.interop.test_nats_clusters import ClusterCase, members
from tests.nats.sockets import Talker
from tests.processes.harness import NodeProcess, ProcessCase

TAKES_PART = r"route [\d.:]+ takes part"


class KilledDebianTests(ClusterCase, ProcessCase):
    """Three servers 2.9, and two gateways of one bus that could join them."""

    def setUp(self) -> None:
        ClusterCase.setUp(self)
        ProcessCase.setUp(self)

    def test_a_member_is_killed_and_comes_back(self) -> Deferred[None]:
        """Another gateway takes over with all interest, and hands back; nothing comes twice."""
        return Deferred.fromCoroutine(self.killed_and_back())

    async def killed_and_back(self) -> None:
        one = self.member("one")
        two = self.member("two", one.route_port)
        servers = [one, two, self.member("three", one.route_port, two.route_port)]
        root = f"unix://{self.folder}/root.sock"
        await self.node(0x10000, listen=[root], subnets=[(0, 16)])
        cluster = self.joins(one)
        lines = "\n".join(f"{key} = {value!r}" for key, value in cluster.items())
        config = f'id = "0x10001"\nupstream = "{root}"\n[nats.cluster]\n{lines}\n'
        first = self.start("first", config)
        await self.has_joined(first, servers)
        nats = {"listen": "127.0.0.1:0", "cluster": cluster}
        _, second = await self.node(0x10002, upstream=root, nats=nats)
        assert second is not None
        everybody = [await self.client_of(second)]
        everybody += [await self.client(each.port) for each in servers]
        await self.subscribe_all(everybody)
        await self.each_hears_once(everybody)
        self.assertEqual(members(second), 0)
        theirs, ours = await self.client(two.port), await self.client_of(second)
        runs = [await self.runs(theirs, ours, b"up"), await self.runs(ours, theirs, b"down")]
        # Dead, without a word to anybody.
        await first.stops(signal.SIGKILL)
        await self.beside_each(second, len(servers))
        await self.each_hears_once(everybody)
        again = self.start("first")
        await self.has_joined(again, servers)
        await self.beside_each(second, 0)
        await self.each_hears_once(everybody)
        for run, hears in zip(runs, (ours, theirs), strict=True):
            await self.nothing_twice(run, hears)

    async def runs(self, says: Talker, hears: Talker, subject: bytes) -> Run:
        """Let somebody hear numbered messages of somebody else, from now on."""
        hears.says(b"SUB %s 1\r\n" % subject)
        await self.says_until_heard(says, hears, subject)
        return Run(self.reactor, says, subject)

    async def nothing_twice(self, run: Run, hears: Talker) -> None:
        """End a run; some of it has come, and nothing more than once."""
        run.stop()
        run.speaker.says(b"PUB %s 4\r\nlast\r\n" % run.subject)
        heard = await hears.hears(b"last\r\n")
        counted = Counter(re.findall(rb"MSG %s 1 6\r\n(\d{6})" % run.subject, heard))
        self.assertEqual([text for text, count in counted.items() if count > 1], [])
        self.assertGreater(len(counted), 0)

    async def has_joined(self, process: NodeProcess, servers: list[NatsServer]) -> None:
        """Wait until a gateway has a route to each server."""
        for _ in servers:
            await process.says(TAKES_PART)


class KilledNewerTests(KilledDebianTests):
    """The newest version."""

    binary = NEWER_BINARY


class Run:
    """
    Numbered messages, one after the other.

    :param says: Who publishes them,
    :param subject: and where.
    """

    def __init__(self, reactor: Any, says: Talker, subject: bytes = b"run") -> None:
        self.speaker = says
        self.subject = subject
        #: How many there were.
        self.count = 0
        self._reactor = reactor
        self._next: IDelayedCall | None = None
        self._say()

    def _say(self) -> None:
        self.count += 1
        self.speaker.says(b"PUB %s 6\r\n%06d\r\n" % (self.subject, self.count))
        self._next = self._reactor.callLater(0.005, self._say)

    def stop(self) -> None:
        """That was the last one."""
        if self._next is not None:
            self._next.cancel()
            self._next = None


class CutDebianTests(ClusterCase):
    """A server 2.9 that cannot be reached for a while, though its connections are there."""

    def test_a_route_is_cut(self) -> Deferred[None]:
        """A route on which nothing passes is closed, and made again with the interest of then."""
        return Deferred.fromCoroutine(self.cut())

    async def cut(self) -> None:
        server = self.member("one")
        relay = ToxicRelay(
            self.reactor,
            TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1"),
            TCP4ClientEndpoint(self.reactor, "127.0.0.1", server.route_port),
        )
        place = await relay.start()
        assert isinstance(place, IPv4Address)
        self.addCleanup(lambda: Deferred.fromCoroutine(relay.stop()))
        cluster: dict[str, Any] = self.joins() | {"routes": [f"127.0.0.1:{place.port}"]}
        gateway = await self.gateway(cluster=cluster, ping_seconds=0.2)
        await self.beside_each(gateway, 1)
        ours, theirs = await self.client_of(gateway), await self.client(server.port)
        ours.answers = True
        both = ((ours, theirs, b"ours"), (theirs, ours, b"theirs"))
        for hears, says, name in both:
            hears.says(b"SUB %s.old 7\r\nPING\r\n" % name)
            await hears.hears(b"PONG\r\n")
            await self.comes_through(says, hears, name + b".old")
        relay.hold(*Direction)
        await self.beside_each(gateway, 0)
        for hears, _, name in both:
            hears.says(b"UNSUB 7\r\nSUB %s.new 8\r\n" % name)
        relay.let_go(*Direction)
        for hears, says, name in both:
            await self.comes_through(says, hears, name + b".new")
            says.says(b"SUB box.%s 6\r\nPUB %s.old box.%s 4\r\nwhat\r\n" % (name, name, name))
            await self.met(lambda says=says: NO_RESPONDERS in says.heard)

    async def comes_through(self, says: Talker, hears: Talker, subject: bytes) -> None:
        """Publish until it is heard; one that is slow may be cut off, and come back."""
        await says.says_until(b"PUB " + subject + b" 2\r\nhi\r\n", hears, subject)


class CutNewerTests(CutDebianTests):
    """The newest version."""

    binary = NEWER_BINARY


class LostRouteTests(ClusterCase):
    """The newest server, which makes a lost route itself, without password and without pause."""

    binary = NEWER_BINARY

    def test_a_route_that_the_node_had_dialed_is_lost(self) -> Deferred[None]:
        """The server is refused some times and then once a second, in one line; we come again."""
        return Deferred.fromCoroutine(self.lost())

    async def lost(self) -> None:
        server = self.member("one")
        gateway = await self.gateway(cluster=self.joins(server))
        await self.beside_each(gateway, 1)
        routes = gateway.routes
        assert routes is not None
        lines: list[LogEvent] = []

        def note(event: LogEvent) -> None:
            if event.get("log_format", "").startswith("route {name} is closed"):
                lines.append(event)

        observer = cast(ILogObserver, note)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        [link] = routes.members.values()
        since = self.reactor.seconds()
        link.give_up("it is to be lost")
        await self.met(lambda: link not in routes.members.values() and members(gateway) == 1)
        [again] = routes.members.values()
        seconds = self.reactor.seconds() - since
        # Without a pause there are thousands; it makes some at once before it is refused.
        most = 100 + seconds / bounds.ROUTE_REFUSED_SECONDS
        self.assertLessEqual(again.number - link.number, most)
        self.assertLessEqual(len(lines), 1 + seconds / limits.LOG_INTERVAL_SECONDS)
        ours, theirs = await self.client_of(gateway), await self.client(server.port)
        await self.converse(ours, theirs)
