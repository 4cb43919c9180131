"""
Plain TCP: ``ipv4://``, ``ipv6://`` and ``dns://``.

The kernel is told what the heartbeat promises: keepalive probes and TCP_USER_TIMEOUT (RFC 5482)
give up a vanished host when the heartbeat would, and not earlier, because a tighter value cuts
living peers that merely pause. Heartbeats notice frozen processes, the kernel notices dead
networks, also where no ping is sent.

What leaves the host unencrypted can be read and changed by anybody on the way, so a listener that
other machines can reach is refused unless it is asked for by name.
"""

from __future__ import annotations

import ipaddress
import math
import socket
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from atbus.address import Address, Scheme
from atbus.channels.accepting import say_seldom
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.channels.stream import StreamFactory, dial
from atbus.errors import ConnectFailed, ListenFailed

#: The most that Linux takes (net/tcp.h): seconds between probes, probes, and milliseconds.
_KEEPALIVE_SECONDS_MAX: Final = 32_767
_KEEPALIVE_COUNT_MAX: Final = 127
_USER_TIMEOUT_MAX: Final = 2**31 - 1


@implementer(IChannelScheme)
@attrs.frozen(eq=False)
class TcpScheme:
    """
    Listen and dial over plain TCP.

    :param reactor: For sockets and names.
    :param options: The node's options.
    :param timers: The node's timers.
    """

    _reactor: Any
    _options: ChannelOptions
    _timers: IReactorTime

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Listen, for a name on the first address it resolves to.

        :param address: Port 0 lets the system choose one.
        :param accept: Called for each connection that comes in.
        :returns: As `IChannelScheme.listen` promises.
        """
        factory = self._factory(address, accept, dialled=False)
        return self.listen_with(address, factory, factory)

    def listen_with(
        self, address: Address, protocols: IProtocolFactory, factory: StreamFactory
    ) -> Deferred[IChannelListener]:
        """
        Listen with protocols of another kind.

        :param address: A plain address.
        :param protocols: Makes the protocol of each connection.
        :param factory: Makes its channel; it is told the real port.
        :returns: As `IChannelScheme.listen` promises.
        """
        return Deferred.fromCoroutine(self._listen(address, protocols, factory))

    async def _listen(
        self, address: Address, protocols: IProtocolFactory, factory: StreamFactory
    ) -> IChannelListener:
        host = address.host
        if address.scheme is Scheme.DNS:
            host = await self._first_address(address)
        if not (self._options.allow_insecure or ipaddress.ip_address(host).is_loopback):
            raise ListenFailed(
                address,
                "plain TCP that other machines can reach: listen on tls+ipv4, tls+ipv6 or tls+dns,"
                " on a loopback address or a unix path, or set allow_insecure",
            )
        try:
            port = self._reactor.listenTCP(
                address.port, protocols, backlog=self._options.backlog, interface=host
            )
        except (CannotListenError, OSError) as error:
            reason = error.socketError if isinstance(error, CannotListenError) else error
            raise ListenFailed(factory.address, str(reason)) from error
        say_seldom(port, self._timers)
        factory.address = attrs.evolve(factory.address, port=port.getHost().port)
        return TcpListener(factory.address, port)

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """
        Dial; for a name all its addresses are tried, IPv6 and IPv4 in turn (RFC 8305).

        :param address: An unspecified host (0.0.0.0, ::) means this one.
        :param receiver: The receiver of the new channel.
        :param timeout_seconds: How long to try; `None` for the options' value.
        :returns: As `IChannelScheme.connect` promises.
        """
        if not address.is_dialable:
            return fail(ConnectFailed(address, "port 0 can be listened on, not dialed"))
        if timeout_seconds is None:
            timeout_seconds = self._options.connect_timeout_seconds
        factory = self._factory(address, lambda _peer: receiver, dialled=True)
        return dial(self.endpoint(address, timeout_seconds), factory, timeout_seconds)

    def endpoint(self, address: Address, timeout_seconds: float) -> IStreamClientEndpoint:
        """
        Make Twisted's endpoint for a dial.

        :param address: A plain address.
        :param timeout_seconds: How long the dial may take; whoever dials keeps the time.
        :returns: The endpoint.
        """
        target = address.dial_address()
        port = target.port or 0
        # The endpoint's own timer runs on the reactor's clock, which may be stepped; `dial` has
        # the one that counts.
        patience = timeout_seconds * 2
        if target.scheme is Scheme.DNS:
            return HostnameEndpoint(self._reactor, target.host, port, timeout=patience)
        if target.scheme is Scheme.IPV6:
            return TCP6ClientEndpoint(self._reactor, target.host, port, timeout=patience)
        return TCP4ClientEndpoint(self._reactor, target.host, port, timeout=patience)

    def _factory(self, address: Address, accept: Accept, *, dialled: bool) -> StreamFactory:
        return StreamFactory(
            address,
            accept,
            greet=self._greet,
            dialled=dialled,
            options=self._options,
            timers=self._timers,
            name=peer_text,
        )

    def _greet(self, transport: Any) -> str:
        set_up_socket(transport.getHandle(), self._options)
        return peer_text(transport.getPeer())

    async def _first_address(self, address: Address) -> str:
        found: Deferred[list[Any]] = Deferred()
        self._reactor.nameResolver.resolveHostName(_FoundAddresses(found), address.host)
        for candidate in await found:
            return str(candidate.host)
        raise ListenFailed(address, f"the name {address.host} is not known")


@implementer(IChannelListener)
@attrs.define(eq=False)
class TcpListener:
    """
    A listening TCP port.

    :param address: The real address.
    :param port: What listens there.
    """

    address: Address
    _port: IListeningPort

    def stop(self) -> Deferred[None]:
        """
        Stop listening.

        :returns: Fires when the address is free again.
        """
        stopped: Deferred[None] = Deferred.fromCoroutine(self._stop())
        return stopped

    async def _stop(self) -> None:
        await maybeDeferred(self._port.stopListening)


@implementer(IResolutionReceiver)
@attrs.define(eq=False)
class _FoundAddresses:
    _found: Deferred[list[Any]]
    _addresses: list[Any] = attrs.field(factory=list)

    def resolutionBegan(self, resolutionInProgress: object) -> None:  # noqa: N802, N803
        """Nothing is known yet."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        self._addresses.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        self._found.callback(self._addresses)


def set_up_socket(sock: socket.socket, options: ChannelOptions) -> None:
    """
    Tell the kernel what the bus wants of a TCP connection.

    Of a heartbeat that is more patient than the kernel can be, it is told the most that it takes.

    :param sock: A connected socket.
    :param options: The node's options.
    :raises OSError: When the connection is gone already.
    """
    interval_seconds = min(max(1, math.ceil(options.heartbeat_seconds)), _KEEPALIVE_SECONDS_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not on every system; the heartbeat notices what they would, only later.
    for name, value in (
        ("TCP_KEEPIDLE", interval_seconds),
        ("TCP_KEEPINTVL", interval_seconds),
        ("TCP_KEEPCNT", min(max(1, options.tolerance), _KEEPALIVE_COUNT_MAX)),
        ("TCP_USER_TIMEOUT", min(math.ceil(options.unheard_seconds * 1000), _USER_TIMEOUT_MAX)),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def peer_text(peer: Any) -> str:
    """
    Write the other side's address as one of ours.

    :param peer: What a TCP transport says.
    :returns: An address; IPv4 also when it came in through an IPv6 socket.
    """
    literal = ipaddress.ip_address(peer.host)
    if literal.version == 6 and literal.ipv4_mapped is not None:
        literal = literal.ipv4_mapped
    scheme = Scheme.IPV4 if literal.version == 4 else Scheme.IPV6
    return str(Address(scheme, str(literal), peer.port))
