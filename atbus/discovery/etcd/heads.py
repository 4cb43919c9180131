"""
The heads of a server's answers, within bounds.

Twisted takes as many headers as a server cares to send, and the names of the first ten thousand it
remembers as long as the process lives, whoever has sent them.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web._newclient import BODY, HTTP11ClientProtocol, Request  # they have no other place
from twisted.web.client import HTTPConnectionPool
from twisted.web.iweb import IResponse

from atbus.discovery import bounds
from atbus.discovery.etcd.faults import EtcdUnreadable


class _Connection(HTTP11ClientProtocol):
    """A connection that ends when the head of an answer is too long, or the name of a header."""

    _head_bytes = 0

    def request(self, request: Request) -> Deferred[IResponse]:
        """
        Send a request.

        :param request: Which.
        :returns: Fires with the answer when its head is there, as Twisted's does. Fails as that
            does; with `EtcdUnreadable` among the reasons where a bound is exceeded.
        """
        self._head_bytes = 0
        answer = super().request(request)
        parser: Any = self._parser
        if parser is not None:
            take = parser.headerReceived

            def header_received(name: bytes, value: bytes) -> None:
                if len(name) > bounds.ETCD_HEADER_NAME_BYTES:
                    most = bounds.ETCD_HEADER_NAME_BYTES
                    raise EtcdUnreadable(f"the name of a header has more than {most} bytes")
                take(name, value)

            parser.headerReceived = header_received
        return answer

    def dataReceived(self, data: bytes) -> None:  # Twisted's name
        """Read on; what comes together with the end of a head may be as long as a read is."""
        parser: Any = self._parser
        if parser is not None and parser.state != BODY:
            if self._head_bytes > bounds.ETCD_HEAD_BYTES:
                most = bounds.ETCD_HEAD_BYTES
                why = EtcdUnreadable(f"the head of an answer has more than {most} bytes")
                self._giveUp(Failure(why))  # type: ignore[no-untyped-call]  # untyped in Twisted
                return
            self._head_bytes += len(data)
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # likewise


class _Connections(Factory):
    """Makes them for a pool."""

    noisy = False

    def __init__(self, is_idle: Any) -> None:
        self._is_idle = is_idle

    def buildProtocol(self, addr: IAddress | None) -> _Connection:  # Twisted's name
        """Make the next one."""
        return _Connection(self._is_idle)  # type: ignore[no-untyped-call]  # untyped in Twisted


class BoundedPool(HTTPConnectionPool):
    """
    A pool of such connections.

    :param reactor: Where they are made. They are kept for the next request.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor, persistent=True)  # type: ignore[no-untyped-call]  # untyped

    def closeCachedConnections(self) -> Deferred[None]:  # noqa: N802 - Twisted's
        """
        End those that wait for the next request.

        :returns: Fires when they have ended.
        """
        ended: Deferred[None] = super().closeCachedConnections()  # type: ignore[no-untyped-call]
        return ended

    def _newConnection(  # noqa: N802  # Twisted's name
        self, key: Hashable, endpoint: IStreamClientEndpoint
    ) -> Deferred[Any]:
        def is_idle(connection: _Connection) -> None:
            put: Any = self._putConnection
            put(key, connection)

        return endpoint.connect(_Connections(is_idle))
