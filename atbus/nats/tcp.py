"""
Clients over TCP, in the clear or with TLS.

With TLS the client is told so in INFO and begins it behind that; where TLS comes first, INFO is the
first thing inside. Where a client may choose, the first byte that it sends decides: no verb begins
as a TLS handshake does.

In the clear, bytes go straight to the socket while nothing waits, because a turn of the reactor for
each answer costs as much as all the rest. What the kernel does not take is the transport's, and the
client is held until that has gone.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    ISystemHandle,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.nats import bounds
from atbus.nats.farewell import keep_socket, let_go
from atbus.nats.faults import Fault, Reason
from atbus.nats.pace import ReadPace

if TYPE_CHECKING:
    from atbus.nats.client import Client
    from atbus.nats.gateway import Gateway
    from atbus.nats.settings import TlsSettings

_TLS_HANDSHAKE: Final = b"\x16"


@implementer(IPushProducer, IHandshakeListener)
class TcpClient(Protocol):
    """
    One client over TCP.

    :param gateway: Whose it is.
    """

    transport: Any

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._client: Client | None = None
        self._pace = ReadPace()
        # Whether the first byte has still to show what the client wants, and
        # whether it has been told INFO.
        self._is_undecided = False
        self._is_greeted = False
        self._waiting: IDelayedCall | None = None
        self._tls: TlsSettings | None = None
        self._tls_context: Any = None
        # What bytes go to; None when they are the transport's to change or to write.
        self._socket: socket.socket | None = None
        # What is left of a connection that is given up, until Twisted has closed it.
        self._kept: socket.socket | None = None

    def connectionMade(self) -> None:
        """Greet the client, or begin TLS."""
        gateway, transport = self._gateway, self.transport
        transport.setTcpNoDelay(True)
        peer = transport.getPeer()
        is_full = gateway.is_full
        client = self._client = gateway.new_client(self, (peer.host, peer.port))
        transport.bufferSize = self._pace.read_bytes
        # As it was when the client came: it may be told something else meanwhile.
        tls = self._tls = gateway.settings.tls
        self._tls_context = gateway.tls_context
        handle: Any = transport.getHandle() if ISystemHandle.providedBy(transport) else None
        if tls is None:
            self._socket = handle
        # A transport asks a producer that is pulled for more each time it has written everything.
        transport.registerProducer(self, self._socket is None)
        if tls is None or is_full:
            client.open(gateway.info_for(client))
        elif tls.first == "yes":
            self._begin_tls()
            client.open(gateway.info_for(client))
        elif tls.first == "auto":
            self._is_undecided = True
            usual, told = bounds.TLS_FIRST_SECONDS, tls.first_seconds
            seconds = usual if told is None else told
            self._waiting = gateway.timers.callLater(seconds, self._greet)
        else:
            self._greet()
        if is_full:
            client.refuse(Fault.TOO_MANY_CONNECTIONS)
            gateway.flush()

    def _greet(self) -> None:
        """Say in the clear that there is TLS, and expect it, or let the client choose."""
        client, tls = self._client, self._tls
        assert client is not None
        assert tls is not None
        self._stop_waiting()
        self._is_greeted = True
        self._is_undecided = tls.optional
        self.transport.write(self._gateway.info_for(client))
        if not tls.optional:
            self._begin_tls()
        client.open(b"")

    def _decide(self, data: bytes) -> None:
        """Find out by its first byte whether a client wants TLS."""
        client = self._client
        assert client is not None
        self._is_undecided = False
        if data.startswith(_TLS_HANDSHAKE):
            self._begin_tls()
            if not self._is_greeted:
                client.open(self._gateway.info_for(client))
        elif not self._is_greeted:
            # What this is TLS finds out, and ends it.
            self._begin_tls()
        if self.transport.protocol is self:
            client.received(data)
        else:
            self.transport.protocol.dataReceived(data)

    def _begin_tls(self) -> None:
        self._stop_waiting()
        self.transport.startTLS(self._tls_context)
        self._waiting = self._gateway.timers.callLater(
            self._gateway.settings.tls_seconds, self._tls_failed
        )

    def _tls_failed(self) -> None:
        assert self._client is not None
        self._client.reason = Reason.TLS_HANDSHAKE
        self.abort()

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        self._stop_waiting()
        assert self._client is not None
        connection = self.transport.getHandle()
        version = connection.get_protocol_version_name().removeprefix("TLSv")
        self._client.tls = version, connection.get_cipher_name() or ""

    def _stop_waiting(self) -> None:
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        self._waiting = None

    def dataReceived(self, data: bytes) -> None:
        """Take what the client has sent."""
        assert self._client is not None
        if self._is_undecided:
            self._decide(data)
            return
        seconds = self._gateway.seconds
        began = seconds()
        self._client.received(data)
        self._pace.took(len(data), seconds() - began)
        self.transport.bufferSize = self._pace.read_bytes

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended."""
        self._stop_waiting()
        kept, self._kept = self._kept, None
        let_go(kept, self._gateway.settings.write_seconds)
        if self._client is not None:
            self._client.lost()

    # For the client.

    def write(self, data: bytes) -> None:
        """Send."""
        if self._socket is None:
            self.transport.write(data)
            return
        try:
            taken = self._socket.send(data)
        except OSError:
            # Full, or broken: the transport, which gets the rest, finds out which.
            taken = 0
        if taken < len(data):
            self.transport.write(data[taken:])
            if self._client is not None:
                self._client.hold()

    def close(self) -> None:
        """Close when everything is sent."""
        self._socket = None
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once; only what the kernel has can still be read."""
        self._kept = keep_socket(self.transport)
        self.transport.abortConnection()

    def taken_bytes(self) -> int:
        """Tell how much the client has taken of what was sent."""
        return self._gateway.taken_bytes(self.transport)

    def pause_reading(self) -> None:
        """Read nothing for a while."""
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read again."""
        if self._client is not None and not self._client.is_gone:
            self.transport.resumeProducing()

    # For the transport.

    def pauseProducing(self) -> None:
        """The transport has enough to send."""
        if self._client is not None:
            self._client.hold()

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        if self._client is not None:
            self._client.release()

    def stopProducing(self) -> None:
        """The transport sends nothing any more."""
        self._socket = None


class TcpClients(Factory):
    """
    Makes a `TcpClient` of each connection.

    :param gateway: Whose they are.
    """

    noisy = False

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def buildProtocol(self, addr: IAddress | None) -> TcpClient:
        """Make one."""
        client = TcpClient(self._gateway)
        client.factory = self
        return client
