"""
Clients over WebSocket: the same bytes, in binary messages whose borders mean nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h11 import ProtocolError as RequestError
from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import BAD_REQUEST
from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.websocket import WebSocketResource, WebSocketTransport
from wsproto.utilities import ProtocolError
from zope.interface import implementer

from atbus.nats.faults import Fault
from atbus.nats.sites import QuietSite

if TYPE_CHECKING:
    from atbus.nats.client import Client
    from atbus.nats.gateway import Gateway


def websocket_site(gateway: Gateway) -> WrappingFactory:
    """
    Make the site where clients come in.

    :param gateway: Whose they are.
    """
    site = QuietSite(_AnyPath(WebSocketClients(gateway)), gateway.reactor)
    return _Doors(site)  # type: ignore[no-untyped-call]  # untyped in Twisted


class _Door(ProtocolWrapper):
    """One connection; who breaks the rules of messages after the end is not worth a traceback."""

    def dataReceived(self, data: bytes) -> None:
        """Read on, unless what is heard has no answer any more."""
        try:
            super().dataReceived(data)  # type: ignore[no-untyped-call]  # untyped in Twisted
        except ProtocolError:
            self.abortConnection()


class _Doors(WrappingFactory):
    protocol = _Door
    noisy = False


class _AnyPath(WebSocketResource):
    """Clients may ask for any path."""

    isLeaf = True

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Serve every path alike."""
        return self

    def render_GET(self, request: Request) -> bytes | int:
        """Begin with messages, if what the client says of them can be read."""
        try:
            return super().render_GET(request)
        except (RequestError, UnicodeError):
            request.setResponseCode(BAD_REQUEST)
            return b"not a request for WebSocket"


class WebSocketClients:
    """
    Makes a `WebSocketClient` of each connection.

    :param gateway: Whose they are.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def buildProtocol(self, request: Request) -> WebSocketClient:
        """Make one."""
        peer = request.getClientAddress()
        return WebSocketClient(self._gateway, (str(peer.host), int(peer.port)))


@implementer(IPushProducer)
class WebSocketClient:
    """
    One client over WebSocket.

    :param gateway: Whose it is.
    :param peer: Its host and port.
    """

    def __init__(self, gateway: Gateway, peer: tuple[str, int]) -> None:
        self._gateway = gateway
        self._peer = peer
        self._transport: Any = None
        self._client: Client | None = None

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        """Twisted has taken the connection over from HTTP."""
        self._transport = transport

    def negotiationFinished(self) -> None:
        """Greet the client."""
        gateway = self._gateway
        is_full = gateway.is_full
        client = self._client = gateway.new_client(self, self._peer, "websocket")
        # HTTP has told the transport that it produces, and has not taken that back.
        self._transport.detachProducer()
        self._transport.attachProducer(self)
        client.open(gateway.info_for(client))
        if is_full:
            client.refuse(Fault.TOO_MANY_CONNECTIONS)
            gateway.flush()

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        """Take what the client has sent."""
        if self._client is not None:
            self._client.received(bytes(data))

    def textMessageReceived(self, message: str) -> None:
        """Take what the client has sent, though texts are not what it should send."""
        self.bytesMessageReceived(message.encode())

    def pongReceived(self, payload: bytes) -> None:
        """Nothing was asked on this level."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended."""
        if self._client is not None:
            self._client.lost()

    # For the client.

    def write(self, data: bytes) -> None:
        """Send."""
        self._transport.sendBytesMessage(data)

    def close(self) -> None:
        """Close when everything is sent."""
        self._transport.detachProducer()
        self._transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._transport.transport.abortConnection()

    def pause_reading(self) -> None:
        """Read nothing for a while."""
        self._transport.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read again."""
        if self._client is not None and not self._client.is_gone:
            self._transport.transport.resumeProducing()

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
