"""
TLS over TCP: ``tls+ipv4://``, ``tls+ipv6://`` and ``tls+dns://``.

Both sides show a certificate. A connection becomes a channel only when

1. the other side's certificate is signed by an authority that we believe, is valid now, and is not
   revoked (OpenSSL, by the context of `atbus.channels.credentials`);
2. it names one range of bus ids in our realm (`atbus.handshake.certificate`);
3. if we dialled: it is issued for the name or address that we dialled (service-identity).

What the range allows is judged when the node registers, and the proof of a token is tied to this
one connection by its exporter.

The encryption is Twisted's (`atbus.channels.tls_layer`).
"""

from __future__ import annotations

from typing import Any, Final

import attrs
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels.credentials import (
    ALPN,
    Credentials,
    PeerCertificate,
    fault_of,
)
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.channels.outlook import seconds_until
from atbus.channels.stream import RECORD_BYTES, StreamFactory, StreamProtocol, dial
from atbus.channels.tcp import TcpScheme, peer_text, set_up_socket
from atbus.channels.tls_fault import TlsFault, TlsRefused, alert_in, fault_named
from atbus.channels.tls_layer import TlsLayer
from atbus.errors import ConnectFailed, ListenFailed, Status
from atbus.handshake.doorkeeper import account_of, of_the_most, origin_of

#: What ties the proof of a token to one connection (wire protocol, 5.3).
_EXPORTER_LABEL: Final = b"EXPORTER-atbus-register"
_EXPORTER_BYTES: Final = 32

_PLAIN: Final = {
    Scheme.TLS_IPV4: Scheme.IPV4,
    Scheme.TLS_IPV6: Scheme.IPV6,
    Scheme.TLS_DNS: Scheme.DNS,
}


@implementer(IHandshakeListener)
class TlsStreamProtocol(StreamProtocol):
    """
    A channel that opens when the other side has proven who it is.

    :param factory: What all connections of one listener, or one dial, have in common.
    """

    _factory: TlsStreamFactory

    def __init__(self, factory: TlsStreamFactory) -> None:
        super().__init__(factory)
        self._open: Deferred[StreamProtocol] | None = Deferred(self._give_up)
        self._peer = ""
        self._tls_fault = TlsFault.OTHER
        self._handshake_call: IDelayedCall | None = None
        self._expiry_call: IDelayedCall | None = None

    def when_open(self) -> Deferred[Any]:
        """Fire when the channel is open, or fail with `ConnectFailed`."""
        assert self._open is not None
        return self._open

    def _give_up(self, _open: Deferred[StreamProtocol]) -> None:
        self._open = None
        self._transport.abortConnection()

    def connectionMade(self) -> None:
        """Wait for the handshake, not for ever and not with too many others."""
        self._peer = _tls_text(self._transport.getPeer())
        self._factory.begin(self, self._peer)
        self._handshake_call = self._factory.timers.callLater(
            limits.HANDSHAKE_SECONDS, self._too_late
        )

    def _too_late(self) -> None:
        self.give_way(f"no TLS handshake within {limits.HANDSHAKE_SECONDS:g} s")

    def _read_next(self, size: int) -> None:
        # What is read are records of TLS, whatever frame is expected, and no parts of them.
        self._transport.transport.bufferSize = max(self._usual_bytes, RECORD_BYTES)

    def give_way(self, reason: str) -> None:
        """End a connection whose handshake is not done."""
        self._refuse(TlsFault.SLOW, reason)
        self._transport.abortConnection()

    def _refuse(self, fault: TlsFault, text: str) -> None:
        self._tls_fault, self.refusal = fault, text

    def handshakeCompleted(self) -> None:
        """Look at the other side's certificate; open the channel or end the connection."""
        self._handshake_over()
        # The other side is through only when it has our last word, whatever we make of it.
        self._transport.flush()
        connection = self._transport.getHandle()
        try:
            self.certificate = self._factory.examine(connection)
        except TlsRefused as error:
            self._refuse(error.fault, str(error))
            self._was_for_nothing()
            self._transport.abortConnection()
            return
        self.identity = self.certificate.identity
        self.exporter = connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_BYTES, None)
        self._factory.credentials.watching.add(self._look_again)
        super().connectionMade()
        self._watch_expiry()
        if self.refusal:
            self._settle(ConnectFailed(self.address, self.refusal))
        else:
            self._settle(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the end; before the handshake is done, why."""
        if self._handshake_call is not None:
            connection = self._transport.getHandle()
            if not self.refusal:
                error = fault_of(connection) or _reason_of(reason)
                self._refuse(error.fault, str(error))
            # Who has said nothing, such as a probe of the port, has cost nothing.
            if reason.check(SSL.Error) or connection.client_random():
                self._was_for_nothing()
            else:
                self._tell_refusal()
        self._handshake_over()
        if self._expiry_call is not None and self._expiry_call.active():
            self._expiry_call.cancel()
        self._factory.credentials.watching.discard(self._look_again)
        self._remember_session()
        super().connectionLost(reason)
        self._settle(ConnectFailed(self.address, self.refusal or str(_reason_of(reason))))

    def _lost_by(self, reason: Failure) -> tuple[Status, str]:
        """Tell an alert from a loss: in TLS 1.3 who has dialled is through before he is judged."""
        alert = alert_in(str(_reason_of(reason)))
        if not alert or not self.dialled or self.read_bytes:
            return super()._lost_by(reason)
        self._refuse(TlsFault.OURS_REFUSED, f"the other side refuses us, by TLS: {alert}")
        self._tell_refusal()
        return Status.CONNECT_FAILED, self.refusal

    def _remember_session(self) -> None:
        """Keep what shortens the next handshake, of a connection that was good."""
        if self.dialled and not self.refusal and self.exporter:
            connection, credentials = self._transport.getHandle(), self._factory.credentials
            # Of files that were replaced meanwhile no session is good, nor would OpenSSL take it.
            if connection.get_context() is credentials.context(dials=True):
                credentials.remember_session(str(self.address), connection.get_session())

    def _settle(self, outcome: StreamProtocol | ConnectFailed) -> None:
        """Tell whoever dialled what came of it, once; nobody waits for what was accepted."""
        opened, self._open = self._open, None
        if opened is not None and self.dialled:
            if isinstance(outcome, ConnectFailed):
                opened.errback(outcome)
            else:
                opened.callback(outcome)

    def _handshake_over(self) -> None:
        if self._handshake_call is not None and self._handshake_call.active():
            self._handshake_call.cancel()
        self._handshake_call = None
        self._factory.handshakes.pop(self, None)

    def _was_for_nothing(self) -> None:
        self._tell_refusal()
        if not self.dialled:
            self._factory.options.bad_handshake(self._peer)

    def _tell_refusal(self) -> None:
        came = "" if self.dialled else self._peer
        self._factory.options.tls_refused(self.address, came, self._tls_fault, self.refusal)

    # A certificate that was good when the connection began.

    def _watch_expiry(self) -> None:
        if not self._factory.credentials.options.close_on_expiry:
            return
        left_seconds = seconds_until(self.certificate.expires)
        if left_seconds <= 0:
            self.abort("the other side's certificate has expired", Status.ACCESS_DENIED)
            return
        # The calendar may be set meanwhile, so it is asked again now and then.
        self._expiry_call = self._factory.timers.callLater(
            min(left_seconds, limits.CERTIFICATE_LOOK_SECONDS), self._watch_expiry
        )

    def _look_again(self) -> None:
        """
        End the channel if the other side's certificate has been revoked, or who vouches for it, or
        if that authority is not among those any more that we believe.

        Where it is not known who that is, the channel ends as well: the next one begins with a
        whole handshake, for no session outlives a change of the files.
        """
        if self._factory.credentials.is_revoked(self.certificate):
            self.abort("the other side's certificate has been revoked", Status.ACCESS_DENIED)
        elif not self._factory.credentials.is_believed(self.certificate):
            self.abort(f"{_UNBELIEVED} any more", Status.ACCESS_DENIED)
        elif self.certificate.between is None:
            self.abort("who vouches for the other side has to be asked again", Status.ACCESS_DENIED)


class TlsStreamFactory(StreamFactory):
    """
    What the connections of one TLS listener, or of one dial, have in common.

    :param credentials: Ours, and whom we believe.
    """

    credentials: Credentials

    def __init__(self, credentials: Credentials, **options: Any) -> None:
        super().__init__(options.pop("address"), options.pop("accept"), **options)
        self.credentials = credentials
        # The oldest first, and where they come from.
        self.handshakes: dict[TlsStreamProtocol, str] = {}

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol:
        """Make the protocol of one connection, which waits for its handshake."""
        return TlsStreamProtocol(self)

    def begin(self, protocol: TlsStreamProtocol, peer: str) -> None:
        """
        Count a handshake that begins; when there are too many, an old one gives way.

        :param peer: Where it comes from. An address of another host has a bound of its own, and
            when all places are taken one of the address that has the most is given up.
        """
        account = self.handshakes[protocol] = account_of(peer)
        rivals = [each for each, other in self.handshakes.items() if other == account]
        if not origin_of(peer) or len(rivals) <= limits.PENDING_HANDSHAKES_PER_ADDRESS_MAX:
            if len(self.handshakes) <= limits.PENDING_HANDSHAKES_MAX:
                return
            rivals = of_the_most(self.handshakes)
        del self.handshakes[rivals[0]]
        rivals[0].give_way("too many connections are in their TLS handshake")

    def examine(self, connection: Any) -> PeerCertificate:
        """
        Look at what the other side has proven.

        :param connection: A pyOpenSSL connection whose handshake is done.
        :returns: What its certificate says.
        :raises TlsRefused: It is not for us; the error says why.
        """
        if connection.get_alpn_proto_negotiated() != ALPN:
            raise TlsRefused(
                TlsFault.NOT_ATBUS,
                "the other side speaks TLS, but does not say that it speaks atbus",
            )
        if self.dialled:
            self._check_name(connection)
        peer = self.credentials.peer_of(connection)
        # A session that is resumed has been judged by OpenSSL when it began, not now.
        if self.credentials.is_revoked(peer):
            raise TlsRefused(
                TlsFault.REVOKED, "the certificate of the other side: it has been revoked"
            )
        # The files may have changed since its handshake began.
        if not self.credentials.is_believed(peer):
            raise TlsRefused(TlsFault.AUTHORITY, f"{_UNBELIEVED} any more")
        if seconds_until(peer.expires) <= 0:
            raise TlsRefused(TlsFault.EXPIRED, "the certificate of the other side: it has expired")
        return peer

    def _check_name(self, connection: Any) -> None:
        target = self.address.dial_address()
        verify = verify_hostname if target.scheme is Scheme.TLS_DNS else verify_ip_address
        try:
            verify(connection, target.host)
        except (VerificationError, CertificateError) as error:
            text = f"the certificate is not issued for {target.host}"
            raise TlsRefused(TlsFault.HOST, text) from error


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
@attrs.frozen(eq=False)
class _ConnectionCreator:
    """Makes the OpenSSL side of a connection, by the files as they are now."""

    credentials: Credentials
    address: Address

    def clientConnectionForTLS(self, tlsProtocol: object) -> Any:  # noqa: N803
        self.credentials.refresh()
        connection = SSL.Connection(self.credentials.context(dials=True), None)
        if self.address.scheme is Scheme.TLS_DNS:
            connection.set_tlsext_host_name(self.address.host.encode("idna"))
        session = self.credentials.session_for(str(self.address))
        if session is not None:
            connection.set_session(session)
        connection.set_connect_state()
        return connection

    def serverConnectionForTLS(self, tlsProtocol: object) -> Any:  # noqa: N803
        self.credentials.refresh()
        connection = SSL.Connection(self.credentials.context(dials=False), None)
        connection.set_accept_state()
        return connection


class _LayerFactory(TLSMemoryBIOFactory):
    protocol = TlsLayer
    noisy = False
    wrappedFactory: TlsStreamFactory  # noqa: N815  # Twisted's name

    def buildProtocol(self, addr: Any) -> Any:
        """Begin a handshake, or have the connection closed before OpenSSL is asked for anything."""
        channels = self.wrappedFactory
        if channels.dialled or channels.options.lets_begin(channels.address, _tls_text(addr)):
            return super().buildProtocol(addr)
        return None


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class _TlsEndpoint:
    """Dials by another endpoint and gives the protocol above TLS."""

    inner: IStreamClientEndpoint
    creator: _ConnectionCreator

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        layers = _LayerFactory(self.creator, True, protocolFactory)
        connecting: Deferred[Any] = self.inner.connect(layers)
        return connecting.addCallback(lambda layer: layer.wrappedProtocol)


@implementer(IChannelScheme)
class TlsScheme:
    """
    Listen and dial over TLS.

    :param reactor: For sockets and names.
    :param options: The node's options; ``tls`` has the credentials.
    :param timers: The node's timers.
    """

    def __init__(self, reactor: Any, options: ChannelOptions, timers: IReactorTime) -> None:
        self._options = options
        self._timers = timers
        # Whoever listens with TLS may do so where others can reach it.
        self._plain = TcpScheme(reactor, attrs.evolve(options, allow_insecure=True), timers)

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Listen, for a name on the first address it resolves to.

        :param address: Port 0 lets the system choose one.
        :param accept: Called for each connection whose other side has proven itself.
        :returns: As `IChannelScheme.listen` promises.
        """
        credentials = self._options.tls
        if credentials is None:
            return fail(ListenFailed(address, _NO_CREDENTIALS))
        factory = self._factory(address, accept, credentials, dialled=False)
        creator = _ConnectionCreator(credentials, address)
        layers = _LayerFactory(creator, False, factory)
        return self._plain.listen_with(_plain(address), layers, factory)

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """
        Dial; the channel is open when the other side has proven itself.

        :param address: An unspecified host (0.0.0.0, ::) means this one.
        :param receiver: The receiver of the new channel.
        :param timeout_seconds: How long to try; `None` for the options' value.
        :returns: As `IChannelScheme.connect` promises.
        """
        credentials = self._options.tls
        if credentials is None:
            return fail(ConnectFailed(address, _NO_CREDENTIALS))
        if not address.is_dialable:
            return fail(ConnectFailed(address, "port 0 can be listened on, not dialed"))
        if timeout_seconds is None:
            timeout_seconds = self._options.connect_timeout_seconds
        factory = self._factory(address, lambda _peer: receiver, credentials, dialled=True)
        inner = self._plain.endpoint(_plain(address), timeout_seconds)
        creator = _ConnectionCreator(credentials, address)
        return dial(_TlsEndpoint(inner, creator), factory, timeout_seconds)

    def _factory(
        self, address: Address, accept: Accept, credentials: Credentials, *, dialled: bool
    ) -> TlsStreamFactory:
        return TlsStreamFactory(
            credentials,
            address=address,
            accept=accept,
            greet=self._greet,
            dialled=dialled,
            options=self._options,
            timers=self._timers,
        )

    def _greet(self, layer: Any) -> str:
        layer.transport.bufferSize = RECORD_BYTES
        set_up_socket(layer.transport.getHandle(), self._options)
        return _tls_text(layer.transport.getPeer())


_UNBELIEVED: Final = "the authority of the other side's certificate is not believed"
_NO_CREDENTIALS: Final = (
    "TLS needs a certificate, a key and authorities: [tls] in the configuration"
)


def _tls_text(peer: Any) -> str:
    return f"tls+{peer_text(peer)}"


def _plain(address: Address) -> Address:
    return attrs.evolve(address, scheme=_PLAIN[address.scheme])


def _reason_of(reason: Failure) -> TlsRefused:
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        # OpenSSL's queue of (library, function, reason).
        said = "; ".join(str(entry[-1]) for entry in error.args[0])
        return TlsRefused(fault_named(said), f"TLS: {said}")
    fault = TlsFault.OTHER if isinstance(error, SSL.Error) else TlsFault.ENDED
    return TlsRefused(fault, f"TLS: {reason.getErrorMessage()}")
