"""Gateways on real sockets, and clients of them that are made of nothing but bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from atbus.nats.gateway import Gateway, wall_seconds
from atbus.nats.settings import read_gateway
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.nats.transcripts import EOF

PATIENCE_SECONDS = 180.0


class Talker(Protocol):
    """A client that says what it is told to, and keeps what it hears."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self.heard = b""
        #: Whether it shows that it is there when it is asked.
        self.answers = False
        #: Whether the other side closed in good order; None while it has not closed.
        self.ended_well: bool | None = None
        self._reactor = reactor
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        """Keep it, but for the question whether we are there: when it comes is no matter."""
        if self.answers and b"PING\r\n" in data:
            self.says(b"PONG\r\n")
        self.heard = (self.heard + data).replace(b"PING\r\n", b"")
        self._look()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Note the end."""
        self.ended_well = reason is not None and reason.check(ConnectionDone) is not None
        self.heard += EOF
        self._look()

    def _look(self) -> None:
        for wanted, met in list(self._waiting):
            if self.heard.endswith(wanted) or self.ended_well is not None:
                self._waiting.remove((wanted, met))
                met.callback(None)

    async def hears(self, end: bytes) -> bytes:
        """
        Wait until what was heard ends so, or the connection does.

        :param end: That.
        :returns: What was heard since the last time.
        """
        if not self.heard.endswith(end) and self.ended_well is None:
            met: Deferred[None] = Deferred()
            met.addTimeout(PATIENCE_SECONDS, self._reactor)
            self._waiting.append((end, met))
            await met
        heard, self.heard = self.heard, b""
        return heard

    def says(self, data: bytes) -> None:
        """Send."""
        self.transport.write(data)

    async def says_until(self, data: bytes, hears: Talker, mark: bytes) -> None:
        """
        Send the same again and again, until another client has heard of it.

        :raises AssertionError: It never has, or one of both is connected no more.
        """
        for _ in range(int(PATIENCE_SECONDS * 50)):
            if mark in hears.heard:
                return
            if self.ended_well is not None or hears.ended_well is not None:
                break
            self.says(data)
            await deferLater(self._reactor, 0.02, lambda: None)
        raise AssertionError(f"{mark!r} is not in {hears.heard!r:.200}; own: {self.heard!r:.200}")


class SocketCase(TestCase):
    """Tests of real sockets."""

    timeout = 900

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # real sockets

        self.reactor: Any = reactor

    async def gateway(self, *, wall: Callable[[], float] = wall_seconds, **nats: Any) -> Gateway:
        """Start a node with a gateway; both are stopped after the test."""
        config = NodeConfig(id=0x10001, nats={"listen": "127.0.0.1:0", **nats})
        node = Node(config, self.reactor)
        settings = read_gateway(config)
        assert settings is not None
        gateway = Gateway(node, settings, self.reactor, wall=wall)
        self.addCleanup(node.stop)
        await node.start()
        gateway.startService()
        self.addCleanup(gateway.stopService)
        return gateway

    async def talker(self, port: int) -> Talker:
        """Connect; the connection is closed after the test."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        talker: Talker = await connectProtocol(endpoint, Talker(self.reactor))
        self.addCleanup(self._hang_up, talker)
        return talker

    def _hang_up(self, talker: Talker) -> Deferred[bytes]:
        talker.transport.abortConnection()
        return Deferred.fromCoroutine(talker.hears(EOF))
