"""
Where those wait who dial the port for routes again as soon as they are refused.

A nats-server that has lost a route which we had dialed makes it itself, without credentials, and
dials again in the moment in which it is refused: thousands of times a second, with several
connections at once. An address from which so many were refused is let in once a second, one after
the other, whoever comes from there. Until then nothing is said to them and little is read, so
they cost a socket each, and a server that waits does not dial.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.channels.accepting import SeldomObserver
from atbus.nats import bounds


@attrs.define
class _Address:
    """
    From where somebody was refused.

    :param log: Where it is told, now and then.
    :param count: How often, of late.
    :param refused_at: When it was the last time, seconds.
    :param waiting: Who waits, the first one first.
    :param next: Lets the first one in; None while nobody waits.
    """

    log: Logger
    count: int = 0
    refused_at: float = 0.0
    waiting: deque[Waiting] = attrs.field(factory=deque)
    next: IDelayedCall | None = None


class Doorstep:
    """
    All who wait to be let in.

    :param timers: The clock.
    :param log: Where refusals are told.
    :param admit: Makes our side of a connection, by its host; None when it is to be closed.
    """

    def __init__(self, timers: Any, log: Logger, admit: Callable[[str], Protocol | None]) -> None:
        self.admit = admit
        self._timers = timers
        self._log = log
        self._addresses: dict[str, _Address] = {}

    def __len__(self) -> int:
        """Count those who wait."""
        return sum(len(each.waiting) for each in self._addresses.values())

    def refused(self, host: str) -> None:
        """
        Note that somebody was refused.

        :param host: From where he came.
        """
        address = self._address(host)
        address.count += 1
        address.refused_at = self._timers.seconds()

    def log_of(self, host: str) -> Logger:
        """
        Say where to tell of who is refused: most of what comes in a hurry is left out there.

        :param host: From where he comes.
        """
        return self._address(host).log

    def _address(self, host: str) -> _Address:
        self._forget()
        address = self._addresses.pop(host, None)
        if address is None:
            quiet = self._quiet()
            if len(quiet) >= bounds.ROUTE_REFUSED_MAX:
                del self._addresses[quiet[0]]
            observer = SeldomObserver(self._timers, self._log.observer)
            log = Logger(namespace=self._log.namespace, observer=observer)
            address = _Address(log, refused_at=self._timers.seconds())
        # Who was refused last is forgotten last.
        self._addresses[host] = address
        return address

    def _quiet(self) -> list[str]:
        return [host for host, each in self._addresses.items() if not each.waiting]

    def _forget(self) -> None:
        until = self._timers.seconds() - bounds.ROUTE_REFUSED_FORGOTTEN_SECONDS
        for host in self._quiet():
            if self._addresses[host].refused_at <= until:
                del self._addresses[host]

    def wait(self, host: str) -> Waiting | None:
        """
        Let somebody wait who has just connected.

        :param host: From where he comes.
        :returns: Our side of the connection until he is let in; None when he need not wait.
        """
        self._forget()
        address = self._addresses.get(host)
        if address is None or address.count < bounds.ROUTE_REFUSALS_FREE:
            return None
        waiting = Waiting(self, host)
        address.waiting.append(waiting)
        if address.next is None:
            self._let_in_later(host, address)
        return waiting

    def _let_in_later(self, host: str, address: _Address) -> None:
        address.next = self._timers.callLater(
            bounds.ROUTE_REFUSED_SECONDS, self._let_in, host, address
        )

    def _let_in(self, host: str, address: _Address) -> None:
        address.next = None
        if address.waiting:
            address.waiting.popleft().go_in()
        if address.waiting:
            self._let_in_later(host, address)

    def gone(self, waiting: Waiting) -> None:
        """Note that somebody does not wait any more."""
        address = self._addresses.get(waiting.host)
        if address is not None and waiting in address.waiting:
            address.waiting.remove(waiting)

    def clear(self) -> None:
        """Close all connections, and forget everything."""
        addresses, self._addresses = self._addresses, {}
        for address in addresses.values():
            if address.next is not None:
                address.next.cancel()
            for waiting in address.waiting:
                waiting.transport.abortConnection()


class Waiting(Protocol):
    """
    The connection of somebody who waits.

    :param doorstep: Where.
    :param host: From where he comes.
    """

    transport: Any

    def __init__(self, doorstep: Doorstep, host: str) -> None:
        self.host = host
        self._doorstep = doorstep
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep what has come, and read no more; who says nothing is heard when he goes."""
        self._data += data
        self.transport.pauseProducing()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """He has not waited."""
        self._doorstep.gone(self)

    def go_in(self) -> None:
        """Be what would have been here from the beginning."""
        transport, data = self.transport, self._data
        protocol = self._doorstep.admit(self.host)
        if protocol is None:
            transport.loseConnection()
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if data:
            # With TLS it is not the route that takes them.
            transport.protocol.dataReceived(data)
            transport.resumeProducing()
