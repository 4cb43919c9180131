"""The dialect of routes with real servers of NATS, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from atbus.nats.route_grammar import Routed, write_routed
from atbus.nats.route_session import Effect, Gossip, RouteSession, RouteTerms
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.server_session import Close, Opened, Write
from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.nats.sockets import PATIENCE_SECONDS, SocketCase, Talker

US = "N" + "A" * 55
INFO = {
    "server_id": US,
    "server_name": "us",
    "version": "2.9.10",
    "proto": 1,
    "host": "127.0.0.1",
    "port": 6222,
    "headers": True,
    "max_payload": 1_048_576,
    "cluster": "C1",
}
CONNECT = {"echo": True, "headers": True, "name": US, "cluster": "C1", "user": "u", "pass": "p"}


class Route(Protocol):
    """A session on a real socket; it keeps what comes out of it."""

    transport: Any

    def __init__(self, reactor: Any, session: RouteSession) -> None:
        self.found: list[Effect] = []
        self._reactor = reactor
        self._session = session

    def connectionMade(self) -> None:
        """Begin."""
        self._perform(self._session.open(self._reactor.seconds()))

    def dataReceived(self, data: bytes) -> None:
        """Take what the server has sent."""
        self._perform(self._session.receive(data, self._reactor.seconds()))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Note the end."""
        self._session.end()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.found.append(effect)
            if isinstance(effect, Write):
                self.transport.write(effect.data)

    def say(self, what: Interest | Message) -> None:
        """Send, in the account of those who have none."""
        self.transport.write(write_routed(Routed("$G", what)))


class Door(Factory):
    """Lets servers in, and keeps what they show."""

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self.routes: list[Route] = []
        self.shown: list[tuple[str, str]] = []
        self._reactor = reactor

    def buildProtocol(self, addr: Any) -> Route:
        """Make our side of a route."""
        terms = RouteTerms(info=INFO | {"auth_required": True})
        self.routes.append(Route(self._reactor, RouteSession(terms, self._judge)))
        return self.routes[-1]

    def _judge(self, fields: dict[str, Any]) -> bool:
        self.shown.append((fields["user"], fields["pass"]))
        return True


class RouteDialectTests(SocketCase):
    """Debian's nats-server, and our side of a route to it."""

    binary = BINARY

    def setUp(self) -> None:
        super().setUp()
        require_nats_server(self.binary)

    def server(self, *arguments: str, name: str, cluster: str = "C1") -> NatsServer:
        """Start a server of a cluster; it is stopped after the test."""
        named = ("--cluster_name", cluster) if cluster else ()
        server = NatsServer("-n", name, *named, *arguments, binary=self.binary)
        server.start()
        self.addCleanup(server.stop)
        return server

    async def dial(self, server: NatsServer) -> Route:
        """Connect to where a server takes routes."""
        session = RouteSession(RouteTerms(info=INFO, connect=CONNECT))
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", server.route_port)
        route: Route = await connectProtocol(endpoint, Route(self.reactor, session))
        self.addCleanup(route.transport.abortConnection)
        return route

    async def met(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        for _ in range(int(PATIENCE_SECONDS * 50)):
            if condition():
                return
            await deferLater(self.reactor, 0.02, lambda: None)
        self.fail("it has not come about")

    async def client(self, server: NatsServer) -> Talker:
        """Connect a client."""
        talker = await self.talker(server.port)
        await talker.hears(b" \r\n")
        talker.says(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nPING\r\n')
        await talker.hears(b"PONG\r\n")
        return talker

    def test_we_dial(self) -> Deferred[None]:
        """Interest and messages pass in both directions, groups, replies and headers included."""
        return Deferred.fromCoroutine(self.converse())

    async def converse(self) -> None:
        server = self.server("--cluster", "nats://u:p@127.0.0.1:-1", name="one")
        route, client = await self.dial(server), await self.client(server)
        await self.met(lambda: Opened() in route.found)
        client.says(b"SUB a 1\r\nSUB w q 2\r\nSUB w q 3\r\nPING\r\n")
        await client.hears(b"PONG\r\n")
        group = Routed("$G", Interest("w", "q", 2))
        await self.met(lambda: group in route.found)
        self.assertIn(Routed("$G", Interest("a", "", 1)), route.found)
        route.say(Message("a", "r", (), b"NATS/1.0\r\n\r\n", b"ok"))
        self.assertEqual(
            await client.hears(b"ok\r\n"), b"HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nok\r\n"
        )
        route.say(Message("w", "", ("q",), b"", b"one of two"))
        heard = await client.hears(b"one of two\r\n")
        self.assertEqual(heard.count(b"MSG"), 1)
        client.says(b"UNSUB 2\r\nUNSUB 3\r\n")
        await self.met(lambda: Routed("$G", Interest("w", "q", 0)) in route.found)
        route.say(Interest("z", "", 1))
        route.say(Interest("w", "q", 3))
        # It has taken these in when a message that follows them has arrived.
        route.say(Message("a", "", (), b"", b"seen"))
        await client.hears(b"seen\r\n")
        client.says(b"PUB z r.1 2\r\nzr\r\nHPUB w 12 14\r\nNATS/1.0\r\n\r\nwh\r\n")
        wanted = [
            Message("z", "r.1", (), b"", b"zr"),
            Message("w", "", ("q",), b"NATS/1.0\r\n\r\n", b"wh"),
        ]
        await self.met(lambda: Routed("$G", wanted[1]) in route.found)
        self.assertEqual([each.what for each in carried(route)], wanted)

    def test_clusters(self) -> Deferred[None]:
        """A cluster that has drawn its name is joined, one of another name is not."""
        return Deferred.fromCoroutine(self.compare())

    async def compare(self) -> None:
        address = ("--cluster", "nats://u:p@127.0.0.1:-1")
        unnamed = await self.dial(self.server(*address, name="unnamed", cluster=""))
        await self.met(lambda: Opened() in unnamed.found)
        other = await self.dial(self.server(*address, name="other", cluster="C2"))
        await self.met(lambda: Close("its cluster is 'C2'", is_lasting=True) in other.found)

    def test_servers_dial(self) -> Deferred[None]:
        """A server that dials shows its credentials, takes part, and tells of a newcomer."""
        return Deferred.fromCoroutine(self.accept())

    async def accept(self) -> None:
        door = Door(self.reactor)
        routes = door.routes
        port = self.reactor.listenTCP(0, door, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = ("--cluster", "nats://127.0.0.1:-1")
        to_us = f"nats-route://u:p@127.0.0.1:{port.getHost().port}"
        first = self.server(*address, "--routes", to_us, name="first")
        await self.met(lambda: any(Opened() in route.found for route in routes))
        self.assertEqual(set(door.shown), {("u", "p")})
        to_first = f"nats-route://127.0.0.1:{first.route_port}"
        second = self.server(*address, "--routes", to_first, name="second")
        url = f"nats-route://127.0.0.1:{second.route_port}/"
        await self.met(lambda: url in [told.url for route in routes for told in gossip(route)])
        for route in routes:
            route.transport.abortConnection()


class NewerRouteDialectTests(RouteDialectTests):
    """The newer server, with its pools and compression."""

    binary = NEWER_BINARY


def carried(route: Route) -> list[Routed]:
    """List the messages that have come."""
    routed = [each for each in route.found if isinstance(each, Routed)]
    return [each for each in routed if isinstance(each.what, Message)]


def gossip(route: Route) -> list[Gossip]:
    """List of whom was told."""
    return [each for each in route.found if isinstance(each, Gossip)]
