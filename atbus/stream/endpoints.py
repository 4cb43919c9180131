"""Twisted's endpoints: what programs open streams, and offer services, with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from atbus.errors import LocalProtocolError
from atbus.stream import bounds
from atbus.stream.address import BusAddress
from atbus.stream.station import Station, station_of

if TYPE_CHECKING:
    from atbus.node.node import Node

__all__ = ["BusAddress", "BusClientEndpoint", "BusListeningPort", "BusServerEndpoint"]


@implementer(IListeningPort)
class BusListeningPort:
    """
    A service that a node offers.

    :param station: The node's streams.
    :param service: What it is called.
    :param factory: Makes a protocol for each stream.
    """

    def __init__(self, station: Station, service: str, factory: IProtocolFactory) -> None:
        self._station = station
        self._service = service
        self._factory = factory
        self._listening = False

    def startListening(self) -> None:  # Twisted's name
        """
        Offer the service.

        :raises CannotListenError: The node offers it already.
        """
        try:
            self._station.listen(self._service, self._factory)
        except LocalProtocolError as error:
            raise CannotListenError("atbus", self._service, error) from error
        self._listening = True
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:  # Twisted's name
        """Offer the service no more; streams to it go on."""
        if self._listening:
            self._listening = False
            self._station.stop_listening(self._service)
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> BusAddress:  # Twisted's name
        """Tell where the service is."""
        return BusAddress(self._station.bus_id, self._service)


@implementer(IStreamServerEndpoint)
class BusServerEndpoint:
    """
    Offer a service to the other nodes of the bus.

    :param node: The node; the service is there while it runs.
    :param service: What it is called, at most `bounds.SERVICE_BYTES` bytes.
    """

    def __init__(self, node: Node, service: str) -> None:
        self._node = node
        self._service = service

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Offer it.

        :returns: Fires with the port, or fails with ``CannotListenError``.
        """
        port = BusListeningPort(station_of(self._node), self._service, protocolFactory)
        try:
            port.startListening()
        except CannotListenError:
            return fail()
        return succeed(port)


@implementer(IStreamClientEndpoint)
class BusClientEndpoint:
    """
    Open streams to a service of a node.

    :param node: The node that opens them.
    :param target: Bus id of the node that has the service; may be *node*'s own.
    :param service: What it is called.
    :param timeout: How long an answer is waited for, seconds.
    """

    def __init__(
        self, node: Node, target: int, service: str, timeout: float = bounds.OPEN_SECONDS
    ) -> None:
        self._node = node
        self._target = target
        self._service = service
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Open one.

        :returns: Fires with the protocol when the service has accepted it, or fails with
            `StreamRefused`, whose ``status`` says why.
        :raises LocalProtocolError: The target or the name is none.
        """
        station = station_of(self._node)
        protocolFactory.doStart()
        return station.connect(self._target, self._service, protocolFactory, self._timeout)
