"""
Names that become addresses: a list that somebody gives, and the answers of a name server.

An address source knows no records: what is behind an address is found out by dialling it. Where
several nodes share a name, as the pods behind a headless service of Kubernetes do, each of them
finds all the others, itself left out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.names import dns
from twisted.names.error import DomainError, ResolverError
from zope.interface import implementer

from atbus.address import parse_address
from atbus.discovery import bounds
from atbus.discovery.interfaces import IAddressSource
from atbus.discovery.waiting import Bell, Routine
from atbus.errors import AddressError, LocalProtocolError

Found = Callable[[tuple[str, ...]], None]
"""Called with all addresses, in order of preference."""

_LOG: Final = Logger(namespace="atbus.discovery")

# What a name server says when it has nothing to say, or nothing that can be used.
_NO_ANSWER: Final = (DomainError, ResolverError, defer.TimeoutError, OSError)


class Resolver(Protocol):
    """What is asked of a name server: a `twisted.names.client.Resolver`, for example."""

    def lookupAddress(self, name: str) -> Deferred[Any]: ...  # noqa: N802 - Twisted's

    def lookupIPV6Address(self, name: str) -> Deferred[Any]: ...  # noqa: N802 - Twisted's

    def lookupService(self, name: str) -> Deferred[Any]: ...  # noqa: N802 - Twisted's


class _Told:
    """Tell somebody of addresses, each time that they are others."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._last: tuple[str, ...] | None = None

    def tell(self, addresses: tuple[str, ...]) -> None:
        if addresses == self._last:
            return
        self._last = addresses
        try:
            self._found(addresses)
        except Exception:  # noqa: BLE001 - the receiver's; it is told the next time all the same
            _LOG.failure("a receiver of addresses failed")


@implementer(IAddressSource)
class StaticAddresses:
    """
    Addresses that somebody gives, as a configuration does.

    :param addresses: In order of preference.
    :param timers: The clock.
    :raises AddressError: One of them is none.
    """

    def __init__(self, addresses: Iterable[str], timers: IReactorTime) -> None:
        self._addresses = _checked(addresses)
        self._bell = Bell(timers)
        self._timers = timers
        self._work = Routine()

    def replace(self, addresses: Iterable[str]) -> None:
        """
        Give others, as a configuration that was read again does.

        :param addresses: In order of preference.
        :raises AddressError: One of them is none; nothing has changed then.
        """
        self._addresses = _checked(addresses)
        self.refresh()

    def start(self, found: Found) -> None:
        """Begin to tell; see `IAddressSource`."""
        if self._work.is_running:
            raise LocalProtocolError("the addresses are looked up already")
        told = _Told(found)
        self._work.start(lambda is_wanted: self._run(is_wanted, told))

    async def _run(self, is_wanted: Callable[[], bool], told: _Told) -> None:
        # Nobody is called back before what he has called has returned.
        await self._bell.wait(0.0)
        while is_wanted():
            told.tell(self._addresses)
            if is_wanted():
                await self._bell.wait()

    def refresh(self) -> None:
        """Tell again, if there is anything new."""
        self._timers.callLater(0.0, self._bell.ring)

    def stop(self) -> Deferred[None]:
        """Tell nothing more; see `IAddressSource`."""
        self._work.stop()
        return succeed(None)


@implementer(IAddressSource)
class DnsAddresses:
    """
    What a name server says of a name, asked again and again.

    All addresses of the name with one port; or, when the name begins with an underscore as in
    ``_atbus._tcp.example``, those of the services that it names, in their order of priority.

    :param name: The name.
    :param port: The port, where the name is not that of a service.
    :param resolver: Whom to ask.
    :param timers: The clock.
    :param is_own: Tells of an address whether it is ours.
    :param refresh_seconds: Between two questions.
    """

    def __init__(
        self,
        name: str,
        port: int,
        resolver: Resolver,
        timers: IReactorTime,
        *,
        is_own: Callable[[str], bool] = lambda _: False,
        refresh_seconds: float = bounds.NAME_REFRESH_SECONDS,
    ) -> None:
        self._name = name
        self._port = port
        self._resolver = resolver
        self._is_own = is_own
        self._refresh_seconds = refresh_seconds
        self._bell = Bell(timers)
        self._work = Routine()

    def start(self, found: Found) -> None:
        """Begin to ask; see `IAddressSource`."""
        if self._work.is_running:
            raise LocalProtocolError("the addresses are looked up already")
        told = _Told(found)
        self._work.start(lambda is_wanted: self._run(is_wanted, told))

    async def _run(self, is_wanted: Callable[[], bool], told: _Told) -> None:
        await self._bell.wait(0.0)
        while is_wanted():
            places = await self._look()
            if places is not None and is_wanted():
                told.tell(tuple(place for place in places if not self._is_own(place)))
            if is_wanted():
                await self._bell.wait(self._refresh_seconds)

    def refresh(self) -> None:
        """Ask again now."""
        self._bell.ring()

    def stop(self) -> Deferred[None]:
        """Ask no more; see `IAddressSource`."""
        self._work.stop()
        return succeed(None)

    async def _look(self) -> list[str] | None:
        """Ask once; None when there was no answer."""
        if not self._name.startswith("_"):
            return await self._look_up(self._name, self._port)
        records = await self._ask(self._resolver.lookupService(self._name), dns.Record_SRV)
        if records is None:
            return None
        # Among equals by name: whoever wants to spread the load does so himself.
        records.sort(key=lambda each: (each.priority, -each.weight, str(each.target), each.port))
        places: list[str] = []
        for record in records[: bounds.NAME_ANSWERS_MAX]:
            target = record.target.name.decode("ascii", "replace")
            places += await self._look_up(target, record.port) or ()
        return places[: bounds.NAME_ANSWERS_MAX] or None

    async def _look_up(self, name: str, port: int) -> list[str] | None:
        """Ask for the addresses of a host, of both kinds at once."""
        four = self._ask(self._resolver.lookupAddress(name), dns.Record_A)
        six = self._ask(self._resolver.lookupIPV6Address(name), dns.Record_AAAA)
        asked = [Deferred.fromCoroutine(four), Deferred.fromCoroutine(six)]
        answers = await DeferredList(asked, consumeErrors=True)
        hosts_four, hosts_six = (records or () for _, records in answers)
        places = sorted(f"ipv4://{record.dottedQuad()}:{port}" for record in hosts_four)
        places += sorted(f"ipv6://[{_text_of(record)}]:{port}" for record in hosts_six)
        return places[: bounds.NAME_ANSWERS_MAX] or None

    async def _ask(self, asking: Deferred[Any], kind: type[Any]) -> list[Any] | None:
        try:
            answers, _, _ = await asking
        except _NO_ANSWER as failed:
            _LOG.debug("{name}: {reason!r}", name=self._name, reason=failed)
            return None
        return [answer.payload for answer in answers if isinstance(answer.payload, kind)]


def _text_of(record: dns.Record_AAAA) -> str:
    return socket.inet_ntop(socket.AF_INET6, record.address)


def _checked(addresses: Iterable[str]) -> tuple[str, ...]:
    kept = tuple(addresses)
    for text in kept:
        if not parse_address(text).is_dialable:
            raise AddressError(text, "it names no port to connect to")
    return kept
