"""
Where etcd's servers are, how one gets there, and which connections are open.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from atbus import limits
from atbus.discovery.etcd.options import TlsFiles
from atbus.errors import ConfigurationError
from atbus.pem import open_to_us, whole


class Connections:
    """All connections that there are, so that one can wait for their end."""

    def __init__(self) -> None:
        self._open: dict[ProtocolWrapper, None] = {}
        self._waiting: list[Deferred[None]] = []

    def opened(self, connection: ProtocolWrapper) -> None:
        self._open[connection] = None

    def closed(self, connection: ProtocolWrapper) -> None:
        self._open.pop(connection, None)
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for ended in waiting:
                ended.callback(None)

    def end(self) -> Deferred[None]:
        ended: Deferred[None] = Deferred()
        if not self._open:
            ended.callback(None)
            return ended
        self._waiting.append(ended)
        for connection in list(self._open):
            transport: Any = connection.transport
            transport.abortConnection()
        return ended


class _Counted(ProtocolWrapper):
    """
    A connection whose end is an end.

    When HTTP lets a connection go it is through with it, or a request was given up: nothing is left
    to be written, and a server that is frozen would never say goodbye.
    """

    def loseConnection(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class _CountedFactory(WrappingFactory):
    """Make connections known."""

    protocol = _Counted
    noisy = False

    def __init__(self, factory: IProtocolFactory, connections: Connections) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._connections = connections

    def registerProtocol(self, connection: ProtocolWrapper) -> None:  # noqa: N802 - Twisted's
        super().registerProtocol(connection)  # type: ignore[no-untyped-call]
        self._connections.opened(connection)

    def unregisterProtocol(self, connection: ProtocolWrapper) -> None:  # noqa: N802 - Twisted's
        super().unregisterProtocol(connection)  # type: ignore[no-untyped-call]
        self._connections.closed(connection)


@implementer(IStreamClientEndpoint)
class _CountedEndpoint:
    """An endpoint whose connections are known."""

    def __init__(self, endpoint: IStreamClientEndpoint, connections: Connections) -> None:
        self._endpoint = endpoint
        self._connections = connections

    def connect(self, factory: Any) -> Deferred[Any]:
        # With a server that is away there would be two lines in the log for each attempt.
        factory.noisy = False
        made: Deferred[Any] = self._endpoint.connect(_CountedFactory(factory, self._connections))
        return made.addCallback(_unwrapped)


def _unwrapped(counted: ProtocolWrapper) -> IProtocol:
    protocol: IProtocol = counted.wrappedProtocol
    return protocol


class ClientFiles:
    """
    What TLS needs, as it stands in files.

    :param tls: Which.
    :raises ConfigurationError: One of them cannot be used; names the option.
    """

    def __init__(self, tls: TlsFiles) -> None:
        self.authorities = None
        self.certificate = None
        option = "ca_file"
        try:
            if tls.ca_file:
                self.authorities = ssl.trustRootFromCertificates(_certificates(tls.ca_file))
            option = "certificate_file"
            if tls.certificate_file:
                self.certificate = _own_certificate(tls)
        except (OSError, SSL.Error, crypto.Error, ValueError) as fault:
            raise ConfigurationError([f"etcd.{option}: {fault}"]) from fault


@implementer(IAgentEndpointFactory)
class Places:
    """Where the servers are, and how one gets there."""

    def __init__(self, reactor: Any, tls: TlsFiles, connections: Connections) -> None:
        self._reactor = reactor
        self._connections = connections
        self._tls = tls
        self._files = ClientFiles(tls)

    def refresh_files(self) -> None:
        """Read the files again."""
        self._files = ClientFiles(self._tls)

    def endpointForURI(self, uri: URI) -> _CountedEndpoint:  # noqa: N802 - Twisted's
        host = uri.host.decode("ascii")
        seconds = limits.CONNECT_SECONDS
        endpoint: IStreamClientEndpoint
        if isIPAddress(host):
            endpoint = TCP4ClientEndpoint(self._reactor, host, uri.port, timeout=seconds)
        elif isIPv6Address(host):
            endpoint = TCP6ClientEndpoint(self._reactor, host, uri.port, timeout=seconds)
        else:
            endpoint = HostnameEndpoint(self._reactor, host, uri.port, timeout=seconds)
        if uri.scheme == b"https":
            options = ssl.optionsForClientTLS(
                host, trustRoot=self._files.authorities, clientCertificate=self._files.certificate
            )
            endpoint = wrapClientTLS(options, endpoint)
        return _CountedEndpoint(endpoint, self._connections)


def _certificates(path: str) -> list[ssl.Certificate]:
    """Read every certificate of a PEM file."""
    end = b"-----END CERTIFICATE-----"
    pieces = _text_of(path).split(end)[:-1]
    if not pieces:
        raise ValueError(f"{path}: no certificate")
    return [ssl.Certificate.loadPEM(piece + end + b"\n") for piece in pieces]


def _text_of(path: str) -> bytes:
    text = Path(path).read_bytes()
    try:
        return open_to_us(whole(text))
    except ValueError as fault:
        raise ValueError(f"{path}: {fault}") from fault


def _own_certificate(tls: TlsFiles) -> ssl.PrivateCertificate:
    text = _text_of(tls.certificate_file)
    if tls.key_file:
        text += b"\n" + _text_of(tls.key_file)
    certificate: ssl.PrivateCertificate = ssl.PrivateCertificate.loadPEM(text)
    return certificate
