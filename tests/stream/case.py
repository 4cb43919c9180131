"""Buses with streams, and protocols that write down what happens to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.errors import Status
from atbus.node.node import Node
from atbus.stream import BusClientEndpoint, BusServerEndpoint, StreamLost, StreamRefused
from atbus.stream.station import Station, station_of
from tests.node.mail import MailTests

ONE, OTHER = 0x10101, 0x10201


class Diary(Protocol):
    """Writes down what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.chunks = 0
        self.lost: Failure | None = None
        self.answers = b""

    def connectionMade(self) -> None:
        """Say something at once, if there is anything to say."""
        if self.answers:
            self.transport.write(self.answers)

    def dataReceived(self, data: bytes) -> None:
        """Keep what came."""
        self.data += data
        self.chunks += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep why it ended."""
        assert self.lost is None
        self.lost = reason

    @property
    def end(self) -> str:
        """How it ended: the name of a class or of a status; nothing while it goes on."""
        if self.lost is None:
            return ""
        error = self.lost.value
        return error.status.name if isinstance(error, StreamLost) else type(error).__name__


@implementer(IHalfCloseableProtocol)
class HalfDiary(Diary):
    """One that goes on when one direction has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[str] = []

    def readConnectionLost(self) -> None:
        """Keep that nothing more comes."""
        self.closed.append("read")

    def writeConnectionLost(self) -> None:
        """Keep that nothing more is sent."""
        self.closed.append("write")


class Diaries(Factory):
    """Makes diaries, and keeps them."""

    noisy = False

    def __init__(self, kind: type[Diary] = Diary, answers: bytes = b"") -> None:
        self.kind = kind
        self.answers = answers
        self.made: list[Diary] = []
        self.peers: list[IAddress | None] = []

    def buildProtocol(self, addr: IAddress | None) -> Diary:
        """Make one."""
        diary = self.kind()
        diary.answers = self.answers
        self.made.append(diary)
        self.peers.append(addr)
        return diary


class StreamTests(MailTests):
    """Whole nodes whose programs have streams."""

    def serve(self, node: Node, factory: Any, service: str = "web") -> Any:
        """Offer a service."""
        return self.successResultOf(BusServerEndpoint(node, service).listen(factory))

    def opening(
        self, node: Node, target: int, factory: Any, service: str = "web", **options: Any
    ) -> Deferred[Any]:
        """Begin to open a stream."""
        return BusClientEndpoint(node, target, service, **options).connect(factory)

    def open(
        self, node: Node, target: int, service: str = "web", kind: type[Diary] = Diary
    ) -> Any:
        """Open a stream; its protocol."""
        return self.network.result_of(self.opening(node, target, Diaries(kind), service))

    def refusal(self, waiting: Deferred[Any]) -> StreamRefused:
        """Wait for an opening to be refused."""
        return self.failure_of(waiting, StreamRefused)

    def station(self, node: Node) -> Station:
        """Give the streams of a node."""
        return station_of(node)

    def leaves(self, **options: Any) -> tuple[Node, Node]:
        """Start two leaves, three hops from each other."""
        self.proxies(**options)
        one, other = self.leaf(ONE), self.leaf(OTHER)
        self.network.settle(1)
        return one, other


def counted(node: Node) -> tuple[int, int, dict[Status, int], dict[Status, int]]:
    """Give what a node has counted of streams: opened, accepted, refused, reset."""
    told = node.statistics
    refused, reset = dict(told.streams_refused), dict(told.streams_reset)
    return told.streams_opened, told.streams_accepted, refused, reset


def transport_of(protocol: Any) -> ITransport:
    """Give a protocol's transport, for types."""
    transport: ITransport = protocol.transport
    return transport
