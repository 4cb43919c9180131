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
from atbus.channels.shm import ShmScheme
from atbus.channels.tcp import TcpScheme
from atbus.channels.unix import UnixScheme
from atbus.errors import ConnectFailed, ListenFailed


def _tls(reactor: Any, options: ChannelOptions, timers: IReactorTime) -> IChannelScheme:
    # OpenSSL is loaded by those who use it: it takes time and memory that others need not spend.
    from atbus.channels.tls import TlsScheme  # noqa: PLC0415

    return TlsScheme(reactor, options, timers)


#: Makes the implementation of a scheme, from the reactor, the node's options and its timers.
SCHEMES: Final[Mapping[Scheme, Callable[[Any, ChannelOptions, IReactorTime], IChannelScheme]]] = (
    MappingProxyType(
        {
            Scheme.MEM: MemoryScheme,
            Scheme.SHM: ShmScheme,
            Scheme.UNIX: UnixScheme,
            Scheme.IPV4: TcpScheme,
            Scheme.IPV6: TcpScheme,
            Scheme.DNS: TcpScheme,
            Scheme.TLS_IPV4: _tls,
            Scheme.TLS_IPV6: _tls,
            Scheme.TLS_DNS: _tls,
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
        self._made: dict[Callable[..., IChannelScheme], IChannelScheme] = {}
        self._ingredients = (reactor, options, timers)

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Listen at an address.

        :param address: Of any scheme.
        :param accept: Called for each connection that comes in.
        :returns: As `IChannelScheme.listen` promises.
        """
        scheme = self._scheme_of(address)
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
        scheme = self._scheme_of(address)
        if scheme is None:
            return fail(ConnectFailed(address, _missing(address)))
        return scheme.connect(address, receiver, timeout_seconds)

    def _scheme_of(self, address: Address) -> IChannelScheme | None:
        make = SCHEMES.get(address.scheme)
        if make is None:
            return None
        if make not in self._made:
            self._made[make] = make(*self._ingredients)
        return self._made[make]


def _missing(address: Address) -> str:
    return f"the scheme {address.scheme.value} is not available here"
