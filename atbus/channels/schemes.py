"""
Which scheme is implemented by what.

`Channels` is all that the layers above need: it listens at and dials any address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from atbus.address import Address, Scheme
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.channels.memory import MemoryScheme
from atbus.channels.tcp import TcpScheme
from atbus.channels.tls import TlsScheme
from atbus.channels.unix import UnixScheme
from atbus.errors import ConnectFailed, ListenFailed

#: Makes the implementation of a scheme, from the reactor, the node's options and its timers.
SCHEMES: Final[Mapping[Scheme, Callable[[Any, ChannelOptions, IReactorTime], IChannelScheme]]] = (
    MappingProxyType(
        {
            Scheme.MEM: MemoryScheme,
            Scheme.UNIX: UnixScheme,
            Scheme.IPV4: TcpScheme,
            Scheme.IPV6: TcpScheme,
            Scheme.DNS: TcpScheme,
            Scheme.TLS_IPV4: TlsScheme,
            Scheme.TLS_IPV6: TlsScheme,
            Scheme.TLS_DNS: TlsScheme,
        }
    )
)


@implementer(IChannelScheme)
class Channels:
    """
    All schemes as one.

    :param reactor: For sockets and names.
    :param options: The node's options.
    :param timers: On the monotonic clock, see `atbus.channels.timers`.
    """

    def __init__(self, reactor: Any, options: ChannelOptions, timers: IReactorTime) -> None:
        self._schemes = {scheme: make(reactor, options, timers) for scheme, make in SCHEMES.items()}

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Listen at an address.

        :param address: Of any scheme.
        :param accept: Called for each connection that comes in.
        :returns: As `IChannelScheme.listen` promises.
        """
        scheme = self._schemes.get(address.scheme)
        if scheme is None:
            return fail(ListenFailed(address, _missing(address)))
        return scheme.listen(address, accept)

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """
        Dial an address.

        :param address: Of any scheme.
        :param receiver: The receiver of the new channel.
        :param timeout_seconds: How long to try; `None` for the options' value.
        :returns: As `IChannelScheme.connect` promises.
        """
        scheme = self._schemes.get(address.scheme)
        if scheme is None:
            return fail(ConnectFailed(address, _missing(address)))
        return scheme.connect(address, receiver, timeout_seconds)


def _missing(address: Address) -> str:
    return f"the scheme {address.scheme.value} is not available here"
