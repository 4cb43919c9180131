"""A bus that is cut and joined again, with a gateway to one real server of NATS in each half."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater

from atbus.nats.gateway import Gateway
from atbus.nats.joining import Joining
from tests.interop.nats_server import NEWER_BINARY
from tests.interop.test_nats_leafs import HUB, LeafCase

ROOT, FLOOR, UPPER, BELOW = 0x10000, 0x10100, 0x10001, 0x10101
#: How often everybody says something, seconds.
_PAUSE = 0.01
_JOINS = 3


class _Half(Protocol):
    """One side of a connection that goes through the relay."""

    other: _Half | None = None

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._early: list[bytes] = []

    def connectionMade(self) -> None:
        self._relay.halves.append(self)

    def dataReceived(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)  # type: ignore[union-attr]

    def meets(self, other: _Half) -> None:
        """Pass on what comes to the other side."""
        self.other = other
        for data in self._early:
            other.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: object = None) -> None:
        self._relay.halves.remove(self)
        if self.other is not None:
            self.other.transport.loseConnection()  # type: ignore[union-attr]


class Relay(Factory):
    """
    The only way between two halves of a bus.

    :param port: Where it leads to.
    """

    noisy = False

    def __init__(self, reactor: Any, port: int) -> None:
        self._reactor = reactor
        self._port = port
        self.is_open = True
        self.halves: list[_Half] = []

    def buildProtocol(self, addr: object) -> _Half | None:
        """Let somebody through, unless the bus is cut."""
        if not self.is_open:
            return None
        half = _Half(self)
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port)
        connecting = connectProtocol(endpoint, _Half(self))

        def connected(other: _Half) -> None:
            other.meets(half)
            half.meets(other)

        connecting.addCallback(connected)
        return half

    def cut(self) -> None:
        """Cut the bus."""
        self.is_open = False
        for half in tuple(self.halves):
            half.transport.abortConnection()  # type: ignore[union-attr]


class JoinOfDebianTests(LeafCase):
    """Two halves are joined while everybody talks to everybody."""

    def test_nothing_is_lost_and_nothing_comes_twice(self) -> Deferred[None]:
        """Each message comes once and in order, wherever it begins and is heard."""
        return Deferred.fromCoroutine(self.join())

    def test_the_one_that_stays_stops(self) -> Deferred[None]:
        """It hands over the whole of the bus when it is through with the join."""
        return Deferred.fromCoroutine(self.stop("upper", "below"))

    def test_the_one_that_leaves_stops(self) -> Deferred[None]:
        """It ends when its half is handed over."""
        return Deferred.fromCoroutine(self.stop("below", "upper"))

    async def grow(self) -> None:
        """Start a tree, and the gateway at each side of the link that is to be cut."""
        server = self.server(HUB, name="hub", port=-1)
        door: dict[str, Any] = {"listen": "127.0.0.1:0"}
        remotes = {**door, "leaf_remotes": [{"urls": [f"127.0.0.1:{server.leaf_port}"]}]}
        root = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        inner = root.getHost().port
        await root.stopListening()
        self.relay = Relay(self.reactor, inner)
        outer = self.reactor.listenTCP(0, self.relay, interface="127.0.0.1")
        self.addCleanup(outer.stopListening)
        addresses = [f"ipv4://127.0.0.1:{port}" for port in (inner, outer.getHost().port)]
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        there = f"unix://{folder}/floor.sock"
        _, top = await self.node(ROOT, listen=[addresses[0]], subnets=[(0, 16)], nats=door)
        _, floor = await self.node(
            FLOOR,
            upstream=addresses[1],
            listen=[there],
            subnets=[(0, 8)],
            nats=door,
            retry_seconds_max=0.5,
        )
        _, self.upper = await self.node(UPPER, upstream=addresses[0], nats=remotes)
        _, self.below = await self.node(BELOW, upstream=there, nats=remotes)
        await self.met(lambda: self.serves(self.upper))
        self.talkers = [await self.client(server.port)]
        for gateway in (top, floor, self.upper, self.below):
            assert gateway is not None
            address = gateway.address()
            assert address is not None
            self.talkers.append(await self.client(address[1]))

    @staticmethod
    def serves(gateway: Gateway | None) -> bool:
        """Tell whether a gateway is connected."""
        return gateway is not None and any(link.takes_part for link in gateway.leafs.links)

    def talk(self) -> None:
        """Let each say something, by turns."""
        for talker in self.talkers:
            talker.says(b"PUB said 6\r\n%06d\r\n" % self.said)
            self.said += 1

    async def rest(self, seconds: float) -> None:
        """Wait."""
        await deferLater(self.reactor, seconds, lambda: None)

    async def begin(self) -> None:
        """Start everything; all talkers listen."""
        self.rounds = 0
        await self.grow()
        for talker in self.talkers:
            talker.says(b"SUB said 1\r\nPING\r\n")
            await talker.hears(b"PONG\r\n")
        await self.each_hears_each()

    async def each_hears_each(self) -> None:
        """Wait until what anybody says comes to everybody: interest is everywhere."""
        self.rounds += 1
        words = [b"%03d:%03d" % (self.rounds, place) for place in range(len(self.talkers))]

        def comes() -> bool:
            for talker, word in zip(self.talkers, words, strict=True):
                talker.says(b"PUB said 7\r\n%s\r\n" % word)
            return all(word in talker.heard for talker in self.talkers for word in words)

        await self.met(comes)

    async def join(self) -> None:
        await self.begin()
        for _ in range(_JOINS):
            await self.join_once(lambda: not self.serves(self.below))

    async def stop(self, name: str, other: str) -> None:
        """Join once, and let a gateway stop meanwhile."""
        await self.begin()
        stopping, staying = getattr(self, name), getattr(self, other)
        joining = self.join_once(lambda: bool(stopped) and self.serves(staying))
        joined = Deferred.fromCoroutine(joining)
        stopped: list[None] = []
        links = stopping.leafs.links
        await self.met(lambda: any(isinstance(link.handover, Joining) for link in links))
        stopping.leafs.stop().addCallback(stopped.append)
        await joined
        self.assertFalse(self.serves(stopping))

    async def join_once(self, is_over: Callable[[], bool]) -> None:
        """Cut the bus, and join it while all talk."""
        self.relay.cut()
        await self.met(lambda: self.serves(self.upper) and self.serves(self.below))
        await self.each_hears_each()
        for talker in self.talkers:
            talker.heard = b""
        self.said = 0
        talking = LoopingCall(self.talk)
        talking.clock = self.reactor
        talking.start(_PAUSE)
        self.relay.is_open = True
        await self.met(is_over)
        await self.rest(0.5)
        talking.stop()
        await self.arrived()
        self.look()

    async def arrived(self) -> None:
        """Wait until everything has come, and for what comes twice."""
        # If it never does, what is missing says more.
        with contextlib.suppress(self.failureException):
            await self.met(self.have_all)
        await self.rest(0.2)

    def have_all(self) -> bool:
        """Tell whether as much has come to everybody as was said."""
        counts = (talker.heard.count(b"MSG said 1 6") for talker in self.talkers)
        return min(counts) >= self.said

    def look(self) -> None:
        """See that each has heard everything once, and each publisher in order."""
        count = len(self.talkers)
        wrong: Counter[tuple[int, int, str]] = Counter()
        for place, talker in enumerate(self.talkers):
            heard = [int(each) for each in re.findall(rb"MSG said 1 6\r\n(\d{6})", talker.heard)]
            times = Counter(heard)
            for number in range(self.said):
                if times[number] != 1:
                    wrong[place, number % count, "twice" if times[number] else "lost"] += 1
            for says in range(count):
                numbers = [each for each in heard if each % count == says]
                swaps = sum(a > b for a, b in itertools.pairwise(numbers))
                if swaps:
                    wrong[place, says, "swapped"] += swaps
        self.assertEqual(wrong, Counter())


class JoinOfNewerTests(JoinOfDebianTests):
    """The same at the newest nats-server."""

    binary = NEWER_BINARY
