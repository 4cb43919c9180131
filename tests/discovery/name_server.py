"""A real name server on loopback, for tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns, server
from twisted.names.authority import FileAuthority

_SOA = dns.Record_SOA(mname=b"ns.example", rname=b"a.example")


class _Zone(FileAuthority):
    """What the server knows; it comes from no file."""

    soa: Any
    records: Any
    silent: set[bytes]

    def _lookup(self, name: bytes, *question: Any) -> Deferred[Any]:
        if name in self.silent:
            return Deferred()
        found: Deferred[Any] = super()._lookup(name, *question)  # type: ignore[no-untyped-call]
        return found

    def loadFile(self, filename: str) -> None:
        self.soa = (b"example", _SOA)
        self.records = {b"example": [_SOA]}
        self.silent = set()


class NameServer:
    """
    The server of the zone ``example``.

    :param reactor: Twisted's.
    """

    def __init__(self, reactor: Any) -> None:
        zone = _Zone("nothing")
        #: For each name what is known of it; may be changed at any time.
        self.records: dict[bytes, list[Any]] = zone.records
        #: Names of which it says nothing, as if the question had been lost.
        self.silent: set[bytes] = zone.silent
        factory = server.DNSServerFactory(authorities=[zone])
        speaker = dns.DNSDatagramProtocol(factory)
        self._port: Any = reactor.listenUDP(0, speaker, interface="127.0.0.1")
        #: Where it is asked.
        self.place: tuple[str, int] = ("127.0.0.1", self._port.getHost().port)

    def stop(self) -> Deferred[None] | None:
        """Answer no more."""
        stopped: Deferred[None] | None = self._port.stopListening()
        return stopped
