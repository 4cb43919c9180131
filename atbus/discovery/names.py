"""
Names that become addresses: the answers of a name server.

Where several nodes share a name, as the pods behind a headless service of Kubernetes do, each of
them finds all the others, itself left out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.names import client, dns
from twisted.names.error import DomainError, ResolverError
from zope.interface import implementer

from atbus.discovery import bounds
from atbus.discovery.addresses import Found, Told
from atbus.discovery.interfaces import IAddressSource
from atbus.discovery.waiting import Bell, Routine
from atbus.errors import LocalProtocolError

T = TypeVar("T")

_LOG: Final = Logger(namespace="atbus.discovery")

# What a name server says when it has nothing to say, or nothing that can be used.
_NO_ANSWER: Final = (DomainError, ResolverError)


class _OwnCalls:
    """
    A reactor of which somebody's delayed calls can be ended: Twisted's resolver leaves its own.

    :param reactor: Twisted's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[IDelayedCall] = []

    def callLater(self, *call: Any, **more: Any) -> IDelayedCall:
        self._calls = [each for each in self._calls if each.active()]
        made: IDelayedCall = self._reactor.callLater(*call, **more)
        self._calls.append(made)
        return made

    def end(self) -> None:
        """Have none of them made any more."""
        calls, self._calls = self._calls, []
        for call in calls:
            if call.active():
                call.cancel()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class NameServers:
    """
    Several name servers, of which the next one is asked when one does not answer.

    :param places: Their IP addresses and ports.
    :param reactor: Where they are asked.
    """

    def __init__(self, places: Sequence[tuple[str, int]], reactor: Any) -> None:
        self._calls = _OwnCalls(reactor)
        self._resolver = client.Resolver(
            servers=list(places), timeout=bounds.NAME_PATIENCE_SECONDS, reactor=self._calls
        )

    async def ask(self, name: str, kind: type[T]) -> list[T] | None:
        """
        Ask for what is known of a name.

        :param name: The name.
        :param kind: The class of the records that are wanted.
        :returns: They, in any order; None when nothing is known of it, or nothing that makes sense.
        :raises TimeoutError: Nobody has answered.
        """
        look_up = getattr(self._resolver, _QUESTIONS[kind])
        try:
            answers, _, _ = await look_up(name)
        except OSError as failed:
            # There is no network, or no way to the server.
            raise defer.TimeoutError(str(failed)) from failed
        except _NO_ANSWER as failed:
            _LOG.debug("{name}: {reason!r}", name=name, reason=failed)
            return None
        return [answer.payload for answer in answers if isinstance(answer.payload, kind)]

    def close(self) -> None:
        """Wait for no answer any more."""
        self._calls.end()


_QUESTIONS: Final[dict[type, str]] = {
    dns.Record_A: "lookupAddress",
    dns.Record_AAAA: "lookupIPV6Address",
    dns.Record_SRV: "lookupService",
}


@implementer(IAddressSource)
class DnsAddresses:
    """
    What a name server says of a name, asked again and again.

    All addresses of the name with one port; or, when the name begins with an underscore as in
    ``_atbus._tcp.example``, those of the services that it names, in their order of priority.

    :param name: The name.
    :param port: The port, where the name is not that of a service.
    :param servers: Whom to ask; closed by `stop`.
    :param timers: The clock.
    :param is_own: Tells of an address whether it is ours.
    :param refresh_seconds: Between two questions.
    :param is_tls: Whether the addresses are dialled through TLS.
    """

    def __init__(
        self,
        name: str,
        port: int,
        servers: NameServers,
        timers: IReactorTime,
        *,
        is_own: Callable[[str], bool] = lambda _: False,
        refresh_seconds: float = bounds.NAME_REFRESH_SECONDS,
        is_tls: bool = False,
    ) -> None:
        self._name = name
        self._port = port
        self._servers = servers
        self._is_own = is_own
        self._refresh_seconds = refresh_seconds
        self._scheme = "tls+ip" if is_tls else "ip"
        self._bell = Bell(timers)
        self._work = Routine()

    def start(self, found: Found) -> None:
        """Begin to ask; see `IAddressSource`."""
        if self._work.is_running:
            raise LocalProtocolError("the addresses are looked up already")
        told = Told(found)
        self._work.start(lambda is_wanted: self._run(is_wanted, told))

    async def _run(self, is_wanted: Callable[[], bool], told: Told) -> None:
        await self._bell.wait(0.0)
        while is_wanted():
            try:
                places = await self._look()
            except defer.TimeoutError:
                # Some of it may be known, but who is told believes that it is all there is.
                places = None
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
        self._servers.close()
        return succeed(None)

    async def _look(self) -> list[str] | None:
        """Ask once; None when there was no answer."""
        if not self._name.startswith("_"):
            return await self._look_up(self._name, self._port)
        records = await self._servers.ask(self._name, dns.Record_SRV)
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
        four = Deferred.fromCoroutine(self._servers.ask(name, dns.Record_A))
        six = Deferred.fromCoroutine(self._servers.ask(name, dns.Record_AAAA))
        try:
            hosts_four, hosts_six = await four or (), await six or ()
        except (CancelledError, defer.TimeoutError):
            six.addErrback(
                lambda failure: failure.trap(CancelledError, defer.TimeoutError) and None
            )
            six.cancel()
            raise
        four_of, six_of = f"{self._scheme}v4://", f"{self._scheme}v6://"
        places = sorted(f"{four_of}{record.dottedQuad()}:{port}" for record in hosts_four)
        places += sorted(f"{six_of}[{_text_of(record)}]:{port}" for record in hosts_six)
        return places[: bounds.NAME_ANSWERS_MAX] or None


def _text_of(record: dns.Record_AAAA) -> str:
    return socket.inet_ntop(socket.AF_INET6, record.address)
