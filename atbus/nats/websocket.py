"""
Clients over WebSocket: the same bytes, in binary messages whose borders mean nothing.

Twisted's HTTP takes the request, and its `WebSocketResource` answers it. From then on the bytes of
frames are read as they come (`atbus.nats.frames`), because Twisted's own reader of them hands over
whole messages, and a message may be as long as somebody who is not known yet says that it is.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from h11 import ProtocolError as RequestError
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import BAD_REQUEST, NOT_FOUND
from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.websocket import WebSocketResource, WebSocketTransport
from zope.interface import implementer

from atbus.nats import bounds
from atbus.nats.farewell import keep_socket, let_go
from atbus.nats.faults import Fault, Reason
from atbus.nats.frames import Frames, framed
from atbus.nats.pace import ReadPace
from atbus.nats.sites import QuietSite

if TYPE_CHECKING:
    from atbus.nats.client import Client
    from atbus.nats.gateway import Gateway

#: How a request ends that may be answered with frames.
_END: Final = b"\r\n\r\n"

#: How paths end at which servers expect somebody else, who is not told that he is a client.
_OTHERS: Final = (b"/leafnode", b"/mqtt")


def websocket_site(gateway: Gateway) -> WrappingFactory:
    """
    Make the site where clients come in.

    :param gateway: Whose they are.
    """
    site = QuietSite(_AnyPath(WebSocketClients(gateway)), gateway.reactor)
    return _Doors(site, gateway)


class _Door(ProtocolWrapper):
    """
    One connection: HTTP takes what is heard, until somebody takes frames.

    Until then it has as long as a login over TCP has, with TLS before it, whatever is heard.
    """

    transport: Any
    _take_frames: Callable[[bytes], None] | None = None
    _last = b""
    # Until a client is made of it.
    _waiting: IDelayedCall | None = None

    @property
    def is_early(self) -> bool:
        """Whether something came behind the request that is answered."""
        return self._last != _END

    def makeConnection(self, transport: Any) -> None:
        """Begin, with reads as those of a client over TCP."""
        transport.bufferSize = bounds.READ_BYTES_LEAST
        gateway = self.factory.gateway
        settings = gateway.settings
        seconds = settings.authentication_seconds + (settings.tls_seconds if settings.tls else 0)
        self._waiting = gateway.timers.callLater(seconds, transport.abortConnection)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def dataReceived(self, data: bytes) -> None:
        """Hand on what is heard."""
        if self._take_frames is not None:
            self._take_frames(data)
            return
        self._last = (self._last + data[-len(_END) :])[-len(_END) :]
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # likewise


    def give_to(self, take_frames: Callable[[bytes], None]) -> None:
        """
        Have somebody take frames from now on.

        :param take_frames: Gets what is heard.
        """
        self._take_frames = take_frames
        self._wait_no_longer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has ended."""
        self._wait_no_longer()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def _wait_no_longer(self) -> None:
        if self._waiting is not None and self._waiting.active():
            self._waiting.cancel()
        self._waiting = None


class _Doors(WrappingFactory):
    protocol = _Door
    noisy = False

    def __init__(self, site: QuietSite, gateway: Gateway) -> None:
        super().__init__(site)  # type: ignore[no-untyped-call]  # untyped in Twisted
        self.gateway = gateway


class _AnyPath(WebSocketResource):
    """Clients may ask for any path but those of other protocols."""

    isLeaf = True

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Serve every path alike."""
        return self

    def render_GET(self, request: Request) -> bytes | int:
        """Begin with messages, if what the client says of them can be read."""
        if request.path.endswith(_OTHERS):
            request.setResponseCode(NOT_FOUND)
            return b"only clients of NATS are served here"
        try:
            answer = super().render_GET(request)
        except (RequestError, UnicodeError):
            request.setResponseCode(BAD_REQUEST)
            answer = b"not a request for WebSocket"
        if request.code == BAD_REQUEST:
            # The version that would be served (RFC 6455, 4.4).
            request.setHeader("sec-websocket-version", "13")
        return answer


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
        self._frames = Frames()
        self._pace = ReadPace()
        self._door: Any = None
        self._client: Client | None = None
        self._is_closed = False
        self._is_held = False
        # Whether the client is to be read later; and when it is, since there was much in one read.
        self._is_paused = False
        self._rest: IDelayedCall | None = None
        # What is left of a connection that is given up, until Twisted has closed it.
        self._kept: socket.socket | None = None

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        """Twisted has taken the connection over from HTTP."""
        self._door = transport.transport  # type: ignore[attr-defined]  # it has one

    def negotiationFinished(self) -> None:
        """Greet the client, unless it has begun before it was let in."""
        gateway, door = self._gateway, self._door
        if door.is_early:
            # HTTP has that, and keeps it.
            door.abortConnection()
            return
        door.give_to(self.received)
        is_full = gateway.is_full
        client = self._client = gateway.new_client(self, self._peer, "websocket")
        # HTTP has told the transport that it produces, and has not taken that back.
        door.unregisterProducer()
        door.registerProducer(self, True)
        client.open(gateway.info_for(client))
        if is_full:
            client.refuse(Fault.TOO_MANY_CONNECTIONS)
            gateway.flush()

    def received(self, data: bytes) -> None:
        """Take what the client has sent, any piece of its frames."""
        if self._is_closed:
            return
        self._frames.add(data)
        if self._is_paused or self._rest is not None:
            return
        began = self._gateway.seconds()
        self._read_on()
        self._pace.took(len(data), self._gateway.seconds() - began)
        self._door.transport.bufferSize = self._pace.read_bytes

    def _read_on(self) -> None:
        """Take a portion of what was read; the next one in another turn."""
        frames, client = self._frames, self._client
        assert client is not None
        data = frames.take()
        if data:
            client.received(data)
        if self._is_held:
            # As the standard has it, the last one is enough.
            del frames.answers[:-1]
        else:
            self._answer()
        if not self._is_paused:
            self._end_if_ended()
        if frames.is_unread and not self._is_paused and not self._is_closed:
            self._door.pauseProducing()
            self._rest = self._gateway.timers.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        if self._is_paused or self._is_closed:
            return
        if self._frames.is_unread:
            self._read_on()
        self._end_if_ended()
        if not self._is_paused and self._rest is None:
            self._door.resumeProducing()

    def _answer(self) -> None:
        """Send what answers control frames."""
        answers, self._frames.answers = self._frames.answers, []
        if answers and not self._is_closed:
            self._door.write(b"".join(answers))

    def _end_if_ended(self) -> None:
        """Close what the client has closed, once all is dealt with that came before."""
        if self._frames.ended is not None and self._client is not None:
            self._client.close(self._frames.ended)
            self._gateway.flush()

    # What Twisted tells of frames, which it does not read.

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        """Nothing comes this way."""

    def textMessageReceived(self, message: str) -> None:
        """Nothing comes this way."""

    def pongReceived(self, payload: bytes) -> None:
        """Nothing comes this way."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended."""
        self._is_closed = True
        kept, self._kept = self._kept, None
        let_go(kept, self._gateway.settings.write_seconds)
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._client is not None:
            self._client.lost()

    # For the client.

    def write(self, data: bytes) -> None:
        """Send."""
        self._door.write(framed(data))

    def close(self) -> None:
        """Close when everything is sent."""
        assert self._client is not None
        self._is_closed = True
        self._door.write(self._frames.end(self._client.reason or Reason.CLIENT_CLOSED))
        self._door.unregisterProducer()
        self._door.loseConnection()

    def abort(self) -> None:
        """Close at once; only what the kernel has can still be read."""
        self._is_closed = True
        self._kept = keep_socket(self._door)
        self._door.abortConnection()

    def taken_bytes(self) -> int:
        """Tell how much the client has taken of what was sent."""
        return self._gateway.taken_bytes(self._door)

    def pause_reading(self) -> None:
        """Read nothing for a while."""
        self._is_paused = True
        self._door.pauseProducing()

    def resume_reading(self) -> None:
        """Read again, what is there first."""
        self._is_paused = False
        if self._client is not None and not self._client.is_gone and self._rest is None:
            self._go_on()

    # For the transport.

    def pauseProducing(self) -> None:
        """The transport has enough to send."""
        self._is_held = True
        if self._client is not None:
            self._client.hold()

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        self._is_held = False
        self._answer()
        if self._client is not None:
            self._client.release()

    def stopProducing(self) -> None:
        """The transport sends nothing any more."""
