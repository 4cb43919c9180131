"""A connection between two gateways of a virtual network: what the one dials, the other accepts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from atbus.testing.process import VirtualProcess

#: How long bytes are on their way.
_SECONDS = 0.001


class End:
    """
    The transport of one side.

    :param clock: The time of the network.
    :param process: Whose it is, where that may stand still.
    """

    def __init__(self, clock: Any, process: VirtualProcess | None = None) -> None:
        self.other: End
        self.protocol: Any = None
        self._clock = clock
        self._process = process
        self._is_gone = False

    def write(self, data: bytes) -> None:
        """Carry bytes."""
        self._clock.callLater(_SECONDS, self.other.arrived, data)

    def arrived(self, data: bytes) -> None:
        """Take what has come, as soon as the process runs."""
        self._arrive(partial(self._hand_over, data))

    def _arrive(self, call: Callable[[], object]) -> None:
        if self._process is None:
            call()
        else:
            self._process.arrive(call)

    def _hand_over(self, data: bytes) -> None:
        if not self._is_gone:
            self.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        """Close when everything is sent: what is on its way arrives before the end does."""
        self._clock.callLater(0, self.end)
        self._clock.callLater(_SECONDS, self.other._arrive, self.other.end)

    abortConnection = loseConnection
    disconnect = loseConnection

    def end(self) -> None:
        """The connection has ended."""
        if not self._is_gone:
            self._is_gone = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing is ever full."""

    def unregisterProducer(self) -> None:
        """Nobody is told anything."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed."""

    def getPeer(self) -> IAddress:
        """Say who is there."""
        return IPv4Address("TCP", "127.0.0.1", 999)


def cross(
    clock: Any,
    acceptor: Any,
    port: int,
    dialer: Any,
    processes: tuple[VirtualProcess | None, VirtualProcess | None] = (None, None),
) -> End:
    """
    Connect somebody who dials to somebody who listens.

    :param dialer: A factory.
    :param acceptor: Likewise.
    :param processes: Those of who dials and of who accepts, where they may stand still.
    :returns: What has dialed.
    """
    near, far = (End(clock, process) for process in processes)
    near.other, far.other = far, near
    for end, factory in ((far, acceptor), (near, dialer)):
        end.protocol = factory.buildProtocol(None)
    far.protocol.makeConnection(far)
    near.protocol.makeConnection(near)
    return near
