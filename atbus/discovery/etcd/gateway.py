"""
One request to one etcd server, over HTTP.

`Gateway` knows nothing of clusters, leases and tokens. It tells three outcomes apart
(`atbus.discovery.etcd.faults`), bounds what a server can make us hold, and keeps connections for
the next request.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent  # Agent fails with it; it has no other place
from twisted.web.client import Agent, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.connections import Connections, Places
from atbus.discovery.etcd.faults import (
    Cause,
    EtcdRefused,
    EtcdUnreachable,
    EtcdUnreadable,
    read_fault,
)
from atbus.discovery.etcd.heads import BoundedPool
from atbus.discovery.etcd.options import TlsFiles
from atbus.discovery.etcd.packer import Document

_OK: Final = 200
_NOT_FOUND: Final = 404

#: The oldest etcd whose paths begin with /v3.
_VERSION_NEEDED: Final = "3.4"

# What Twisted says when it could not get an answer.
_NO_ANSWER: Final = (
    error.ConnectError,
    error.ConnectingCancelledError,
    error.ConnectionClosed,
    error.DNSLookupError,
    RequestNotSent,
    ResponseFailed,
    SSL.Error,
    OSError,
)


class LineSplitter:
    """
    Cut a stream into lines.

    :param bytes_max: How long a line may be, its end not counted.
    """

    def __init__(self, bytes_max: int = bounds.ETCD_LINE_BYTES) -> None:
        self._bytes_max = bytes_max
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """
        Take what has arrived.

        :param data: Any piece of the stream.
        :returns: The lines that are complete now, without their ends; empty ones are left out.
        :raises EtcdUnreadable: A line is too long.
        """
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._add(end)
            line = b"".join(self._pieces).rstrip(b"\r")
            self._pieces.clear()
            self._size = 0
            if line:
                lines.append(line)
        self._add(rest)
        return lines

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._bytes_max:
            raise EtcdUnreadable(f"a line of more than {self._bytes_max} bytes")
        if piece:
            self._pieces.append(piece)


class Gateway:
    """
    A way to any number of servers.

    :param reactor: Where connections are made.
    :param timers: The clock of time-outs.
    :param tls: For servers whose URL begins with https.
    :raises ConfigurationError: A file of *tls* cannot be read.
    """

    def __init__(
        self, reactor: Any, timers: IReactorTime, *, tls: TlsFiles | None = None
    ) -> None:
        self._timers = timers
        self._connections = Connections()
        self._pool = BoundedPool(reactor)
        self._pool.maxPersistentPerHost = bounds.ETCD_IDLE_CONNECTIONS
        self._places = Places(reactor, tls or TlsFiles(), self._connections)
        self._agent = Agent.usingEndpointFactory(reactor, self._places, pool=self._pool)

    def refresh_files(self) -> None:
        """
        Read the files for TLS again; they count for connections that are made from now on.

        :raises ConfigurationError: One cannot be used; those that were read before stay in use.
        """
        self._places.refresh_files()
        # What waits for the next request was made with the old ones.
        self._pool.closeCachedConnections()

    def post(
        self, url: str, path: str, request: Document, *, seconds: float, token: str = ""
    ) -> Deferred[dict[str, Any]]:
        """
        Ask a question and read the whole answer.

        :param url: The server, without a path: ``http://127.0.0.1:2379``.
        :param path: The path, beginning with ``/v3``.
        :param request: A JSON object.
        :param seconds: How long all of it may take.
        :param token: Of the user in whose name to ask; empty for none.
        :returns: Fires with the answer. Fails with `EtcdUnreachable`, `EtcdRefused` or
            `EtcdUnreadable`; can be cancelled.
        """
        work = Deferred.fromCoroutine(self._post(url, path, request, token))
        work.addTimeout(seconds, self._timers)
        return work.addErrback(_timed_out, url, seconds)

    async def _post(self, url: str, path: str, request: Document, token: str) -> dict[str, Any]:
        response = await self._ask(url, path, request, token)
        body = await self._read(url, response, bounds.ETCD_ANSWER_BYTES)
        return packer.parse(body)

    async def _ask(self, url: str, path: str, request: Document, token: str) -> IResponse:
        """Send a request, and make sure that the answer is a good one."""
        headers = Headers({b"Content-Type": [b"application/json"], b"User-Agent": [b"atbus"]})
        if token:
            headers.addRawHeader(b"Authorization", token.encode())
        body = _Request(json.dumps(request).encode())
        response = await self._request(b"POST", url, path, headers, body)
        if response.code == _OK:
            return response
        text = await self._read(url, response, bounds.ETCD_FAULT_BYTES)
        cause, code, words = read_fault(response.code, text)
        if response.code == _NOT_FOUND and cause is Cause.OTHER and b'"code"' not in text:
            # Not a key or a lease that is missing, but the path.
            await self._complain_of_version(url, path)
        detail = f"{url}{path}: {response.code} {words}"
        raise EtcdRefused(detail, cause=cause, http_status=response.code, code=code)

    async def _complain_of_version(self, url: str, path: str) -> None:
        response = await self._request(b"GET", url, "/version", Headers(), None)
        text = await self._read(url, response, bounds.ETCD_FAULT_BYTES)
        try:
            version = packer.read_text(packer.parse(text), "etcdserver")
        except EtcdUnreadable:
            version = ""
        what = f"etcd {version}" if version else "not an etcd"
        raise EtcdRefused(
            f"{url} is {what}: it has no {path}; etcd {_VERSION_NEEDED} or newer is needed",
            cause=Cause.VERSION,
            http_status=_NOT_FOUND,
        )

    async def _request(
        self, method: bytes, url: str, path: str, headers: Headers, body: _Request | None
    ) -> IResponse:
        try:
            asked: Deferred[IResponse] = self._agent.request(
                method, f"{url}{path}".encode(), headers, body
            )
            return await asked
        except _NO_ANSWER as failed:
            raise _translated(url, failed) from failed

    async def _read(self, url: str, response: IResponse, bytes_max: int) -> bytes:
        body = _Body(bytes_max)
        response.deliverBody(body)
        try:
            return await body.ended
        except _NO_ANSWER as failed:
            raise _translated(url, failed) from failed

    def stream(
        self,
        url: str,
        path: str,
        request: Document,
        line_received: Callable[[bytes], Deferred[None] | None],
        *,
        seconds: float,
        token: str = "",
    ) -> Deferred[None]:
        """
        Ask to be told something again and again.

        :param url: The server.
        :param path: The path.
        :param request: A JSON object.
        :param line_received: Called with each line; if it raises, the stream ends with that. When
            it returns a Deferred, the next line is told after that has fired, and what the server
            sends meanwhile waits there; it does not fail.
        :param seconds: How long the first line may take.
        :param token: Of the user in whose name to ask; empty for none.
        :returns: Fires when the server has ended the stream in good order. Fails as `post` does,
            and with what *line_received* raised; can be cancelled.
        """
        return Deferred.fromCoroutine(
            self._stream(url, path, request, line_received, seconds, token)
        )

    async def _stream(
        self,
        url: str,
        path: str,
        request: Document,
        line_received: Callable[[bytes], Deferred[None] | None],
        seconds: float,
        token: str,
    ) -> None:
        asked = Deferred.fromCoroutine(self._ask(url, path, request, token))
        asked.addTimeout(seconds, self._timers)
        response = await asked.addErrback(_timed_out, url, seconds)
        lines = _Lines(line_received)
        response.deliverBody(lines)
        try:
            await lines.ended
        except _NO_ANSWER as failed:
            raise _translated(url, failed) from failed

    def close(self) -> Deferred[None]:
        """
        End every connection; requests that are under way fail.

        :returns: Fires when no connection is left; does not fail.
        """
        self._pool.closeCachedConnections()
        return self._connections.end()


def _translated(url: str, failed: BaseException) -> Exception:
    """Say in our words what Twisted says, but let a cancellation be one."""
    reasons: list[Failure] = getattr(failed, "reasons", None) or []
    if any(reason.check(CancelledError) for reason in reasons):
        return CancelledError()
    if isinstance(failed, error.ConnectingCancelledError):
        return CancelledError()
    what = reasons[0].value if reasons else failed
    if isinstance(what, EtcdUnreadable):
        return what
    return EtcdUnreachable(f"{url}: {what}")


def _timed_out(failure: Failure, url: str, seconds: float) -> Failure:
    if failure.check(defer.TimeoutError):
        return Failure(EtcdUnreachable(f"{url}: no answer within {seconds:g} s"))
    return failure


@implementer(IBodyProducer)
class _Request:
    """What is sent: all at once, for it is short."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> Deferred[None]:  # noqa: N802 - Twisted's
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Everything was written."""

    def resumeProducing(self) -> None:
        """Everything was written."""

    def stopProducing(self) -> None:
        """Everything was written."""


class _Received(Protocol):
    """A body that arrives."""

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    @staticmethod
    def is_whole(reason: Failure) -> bool:
        # Without a length its end is that of the connection; JSON shows whether it is whole.
        return reason.check(ResponseDone, PotentialDataLoss) is not None


class _Body(_Received):
    """Read a body of bounded length."""

    def __init__(self, bytes_max: int) -> None:
        self.ended: Deferred[bytes] = Deferred(lambda _: self.abort())
        self._bytes_max = bytes_max
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._bytes_max:
            self._pieces.append(data)
        elif not self.ended.called:
            self._pieces.clear()
            self.abort()
            self.ended.errback(EtcdUnreadable(f"an answer of more than {self._bytes_max} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.ended.called:
            return
        if self.is_whole(reason):
            self.ended.callback(b"".join(self._pieces))
        else:
            self.ended.errback(reason)


class _Lines(_Received):
    """Read an endless body, line by line, and no faster than the lines are taken."""

    def __init__(self, line_received: Callable[[bytes], Deferred[None] | None]) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: self.abort())
        self._line_received = line_received
        self._splitter = LineSplitter()
        # What one piece of the stream has brought, at most.
        self._lines: deque[bytes] = deque()
        self._is_held = False
        self._end: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.ended.called:
            return
        try:
            self._lines.extend(self._splitter.feed(data))
        except EtcdUnreadable:
            self._fail()
            return
        if self._is_held:
            # HTTP goes on reading when it has handed over what came with the head.
            self._hold_back()
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end = reason
        self._tell()

    def _tell(self) -> None:
        """Tell what is there, and then its end."""
        while self._lines and not (self._is_held or self.ended.called):
            try:
                taken = self._line_received(self._lines.popleft())
            except Exception:  # noqa: BLE001 - whatever the receiver raises ends the stream
                self._fail()
                return
            if taken is not None and not taken.called:
                self._hold(taken)
        if self._end is None or self._is_held or self.ended.called:
            return
        if self.is_whole(self._end):
            self.ended.callback(None)
        else:
            self.ended.errback(self._end)

    def _hold(self, taken: Deferred[None]) -> None:
        """Read nothing more until a line is taken."""
        self._is_held = True
        self._hold_back()

        def go_on(result: None) -> None:
            self._is_held = False
            if not self.ended.called:
                transport: Any = self.transport
                transport.resumeProducing()
                self._tell()
            return result

        taken.addCallback(go_on)

    def _hold_back(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def _fail(self) -> None:
        failure = Failure()
        self.abort()
        if not self.ended.called:
            self.ended.errback(failure)
