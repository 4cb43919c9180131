"""
Gateways on nodes of a virtual network, and clients at their doors: real code on both sides of the
wire, but no sockets and no real time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectError, ConnectionDone
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.nats.gateway import Gateway
from atbus.nats.settings import read_gateway
from atbus.node.node import Node
from tests.nats.transcripts import EOF
from tests.node.bus import BusTests

DOOR = {"listen": "127.0.0.1:4222"}


@implementer(IListeningPort)
class Port:
    """Where one factory listens."""

    def __init__(self, quay: Quay, number: int, factory: Any, host: str) -> None:
        self.factory = factory
        self.is_reading = True
        self._quay = quay
        self._address = IPv4Address("TCP", host, number)

    def startListening(self) -> None:
        """It listens from its beginning."""

    def getHost(self) -> IAddress:
        """Say where."""
        return self._address

    def startReading(self) -> None:
        """Accept connections."""
        self.is_reading = True

    def stopReading(self) -> None:
        """Let connections wait."""
        self.is_reading = False

    def stopListening(self) -> Deferred[None]:
        """Accept no more."""
        self._quay.ports.remove(self)
        return succeed(None)


class Quay:
    """
    The part of a reactor that listens and dials.

    :param clock: Its time.
    """

    def __init__(self, clock: Any) -> None:
        self.ports: list[Port] = []
        #: Where somebody was to be dialed.
        self.dialed: list[tuple[str, int]] = []
        #: How somebody is dialed; otherwise nobody is there.
        self.dial: Callable[[int, Any], Any] = self._find_nobody
        self.seconds = clock.seconds
        self.callLater = clock.callLater

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30) -> Any:
        """Dial."""
        self.dialed.append((host, port))
        return self.dial(port, factory)

    def _find_nobody(self, _: int, factory: Any) -> Any:
        self.callLater(0, factory.clientConnectionFailed, self, Failure(ConnectError()))
        return self

    def disconnect(self) -> None:
        """Dial no more; it has failed already, or will."""

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Port:
        """Listen."""
        if any(each.getHost().port == port for each in self.ports):  # type: ignore[attr-defined]
            raise CannotListenError(interface, port, OSError("it is taken"))
        made = Port(self, port, factory, interface)
        self.ports.append(made)
        return made


class Caller:
    """
    A client, and the transport of its connection.

    :param port: Where it calls.
    """

    def __init__(self, clock: Any, port: Port) -> None:
        self.is_gone = False
        #: Whether it takes nothing of what it is sent, unless it is told to.
        self.is_deaf = False
        #: Bytes that it has taken since.
        self.taken = 0
        self.is_unread = False
        self._clock = clock
        self._address = port.getHost()
        self._heard: list[bytes] = []
        self._waiting: list[bytes] = []
        self._producer: Any = None
        self._is_closing = False
        self.protocol = port.factory.buildProtocol(self.getPeer())
        self.protocol.makeConnection(self)

    # The client's side.

    def says(self, data: bytes) -> None:
        """Send."""
        self.protocol.dataReceived(data)

    @property
    def writes(self) -> int:
        """In how many writes that came which it has not been asked for yet."""
        return len(self._heard)

    def hears(self) -> bytes:
        """Give what came since it was last asked."""
        heard, self._heard = b"".join(self._heard), []
        return heard

    def listens(self) -> None:
        """Take what was sent, and from now on everything."""
        self.is_deaf = False
        self._heard, self._waiting = self._heard + self._waiting, []
        if self._is_closing:
            self._end()
        elif self._producer is not None:
            self._producer.resumeProducing()

    def takes(self, count: int) -> None:
        """Take some bytes of what was sent; there is no room for more yet."""
        waiting = b"".join(self._waiting)
        self._heard.append(waiting[:count])
        self._waiting = [waiting[count:]]
        self.taken += min(count, len(waiting))

    def hangs_up(self) -> None:
        """Go away."""
        self._end(says_eof=False)

    def _end(self, *, says_eof: bool = True) -> None:
        if not self.is_gone:
            self.is_gone = True
            if says_eof:
                self._heard.append(EOF)
            self.protocol.connectionLost(Failure(ConnectionDone()))

    # The transport's.

    def write(self, data: bytes) -> None:
        """Carry bytes."""
        if not self.is_deaf:
            self._heard.append(data)
            return
        self._waiting.append(data)
        if self._producer is not None:
            self._producer.pauseProducing()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Carry them, as one."""
        self.write(b"".join(pieces))

    @property
    def disconnecting(self) -> bool:
        """Whether it is to be closed."""
        return self._is_closing

    def loseConnection(self) -> None:
        """Close when everything is sent."""
        self._is_closing = True
        if not self._waiting:
            self._clock.callLater(0, self._end)

    def abortConnection(self) -> None:
        """Close at once."""
        self._waiting = []
        self._clock.callLater(0, self._end)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell somebody when to stop."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Tell nobody."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Read nothing."""
        self.is_unread = True

    def resumeProducing(self) -> None:
        """Read."""
        self.is_unread = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed."""

    def getPeer(self) -> IAddress:
        """Say who calls."""
        return IPv4Address("TCP", "10.9.9.9", 999)

    def getHost(self) -> IAddress:
        """Say where it calls."""
        return self._address


def taken_by(transport: Any) -> int:
    """Tell how much a caller has taken, as its kernel would."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return int(getattr(transport, "taken", 0))


class HarborTests(BusTests):
    """Nodes with gateways."""

    def begin(self, network: Any) -> None:
        """Begin a story."""
        super().begin(network)
        self.gateways: dict[Node, Gateway] = {}
        self.quays: dict[Node, Quay] = {}

    def end(self) -> None:
        """Close all gateways, then stop the nodes; nothing of either may be left."""
        for gateway in self.gateways.values():
            if gateway.running:
                self.network.result_of(gateway.stopService())
            self.assertEqual(gateway.clients, {})
            self.assertEqual(self.quays[gateway.node].ports, [])
        super().end()

    def gateway(self, node: Node, **options: Any) -> Gateway:
        """Make the gateway that a node's configuration asks for, and start it."""
        settings = read_gateway(node.config)
        assert settings is not None
        # The time of its process, which stands still with it and ends with it.
        clock = self.network.process_of(node)
        self.quays[node] = Quay(clock)
        made = Gateway(
            node,
            settings,
            self.quays[node],
            random=Random(1),
            wall=lambda: 1_700_000_000.0 + clock.seconds(),
            taken=taken_by,
            **options,
        )
        self.gateways[node] = made
        made.startService()
        return made

    def alone(self, **nats: Any) -> Gateway:
        """Start one node with a gateway."""
        node = self.node(nats={**DOOR, **nats})
        gateway = self.gateway(node)
        self.network.start(node)
        return gateway

    def caller(self, gateway: Gateway, *, greeted: bool = True) -> Caller:
        """Connect somebody."""
        port = self.quays[gateway.node].ports[0]
        assert port.is_reading
        caller = Caller(self.network.clock, port)
        if greeted:
            self.assertTrue(caller.hears().startswith(b"INFO {"))
        return caller

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until something is so."""
        self.network.clock.run_until(condition, seconds)
        self.assertTrue(condition())
