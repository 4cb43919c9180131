"""Names that become addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import client, dns, server
from twisted.names.authority import FileAuthority
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from atbus.channels.timers import MonotonicTimers
from atbus.discovery.addresses import DnsAddresses, StaticAddresses
from atbus.discovery.interfaces import IAddressSource
from atbus.errors import AddressError, LocalProtocolError
from atbus.testing.clock import HeapClock

SOA = dns.Record_SOA(mname=b"ns.example", rname=b"a.example")

ONE, TWO = "ipv4://10.0.0.1:7000", "unix:///run/two.sock"


class StaticTests(SynchronousTestCase):
    """Addresses that somebody gives."""

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.told: list[tuple[str, ...]] = []
        self.source = StaticAddresses([ONE], self.clock)

    def test_they_are_told_once(self) -> None:
        """They are told after the start has returned, and again when they are others."""
        verifyObject(IAddressSource, self.source)
        self.source.start(self.told.append)
        self.assertEqual(self.told, [])
        self.assertRaises(LocalProtocolError, self.source.start, self.told.append)
        self.clock.advance(0.1)
        self.source.refresh()
        self.clock.advance(0.1)
        self.assertEqual(self.told, [(ONE,)])
        self.source.replace([TWO, ONE])
        self.assertEqual(len(self.told), 1)
        self.clock.advance(0.1)
        self.assertEqual(self.told, [(ONE,), (TWO, ONE)])

    def test_after_the_stop_nothing_is_told(self) -> None:
        """A source that was stopped is silent; what is wrong changes nothing."""
        self.source.start(self.told.append)
        self.clock.advance(0.1)
        self.assertRaises(AddressError, self.source.replace, [TWO, "nonsense"])
        self.successResultOf(self.source.stop())
        self.successResultOf(self.source.stop())
        self.source.replace([TWO])
        self.clock.advance(0.1)
        self.assertEqual(self.told, [(ONE,)])
        self.assertRaises(AddressError, StaticAddresses, ["ipv4://10.0.0.1:0"], self.clock)


class Zone(FileAuthority):
    """What a name server knows, for tests; it comes from no file."""

    soa: Any
    records: Any

    def loadFile(self, filename: str) -> None:
        self.soa = (b"example", SOA)
        self.records = {b"example": [SOA]}


class DnsTests(TestCase):
    """What a real name server says."""

    timeout = 10
    reactor: Any

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # real sockets

        self.reactor = reactor
        self.timers = MonotonicTimers(reactor)
        self.addCleanup(self.timers.stop)
        zone = Zone("nothing")
        self.records: dict[bytes, list[Any]] = zone.records
        self.factory = server.DNSServerFactory(authorities=[zone])
        speaker = dns.DNSDatagramProtocol(self.factory)
        port: Any = self.reactor.listenUDP(0, speaker, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.resolver = client.Resolver(
            servers=[("127.0.0.1", port.getHost().port)], timeout=(5,), reactor=reactor
        )
        self.told: list[tuple[str, ...]] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def found(self, addresses: tuple[str, ...]) -> None:
        """Keep what is told."""
        self.told.append(addresses)
        waiting, self._waiting = self._waiting, []
        for condition, met in waiting:
            if condition():
                met.callback(None)
            else:
                self._waiting.append((condition, met))

    async def times(self, count: int) -> None:
        """Wait until something was told so often."""
        if len(self.told) < count:
            met: Deferred[None] = Deferred()
            self._waiting.append((lambda: len(self.told) >= count, met))
            await met

    def source(self, name: str, **options: Any) -> DnsAddresses:
        """Begin to ask for a name."""
        made = DnsAddresses(name, 7000, self.resolver, self.timers, **options)
        self.addCleanup(made.stop)
        made.start(self.found)
        return made

    async def test_all_addresses_of_a_name(self) -> None:
        """All addresses of a name are told but our own; and again when they have changed."""
        name = b"bus.example"
        hosts = [dns.Record_A(f"10.0.0.{number}") for number in (3, 1, 2)]
        self.records[name] = [*hosts, dns.Record_AAAA("fd00::1")]
        source = self.source("bus.example", is_own=lambda text: "10.0.0.2:" in text)
        verifyObject(IAddressSource, source)
        await self.times(1)
        expected = ("ipv4://10.0.0.1:7000", "ipv4://10.0.0.3:7000", "ipv6://[fd00::1]:7000")
        self.assertEqual(self.told, [expected])
        self.records[name] = hosts[:1]
        source.refresh()
        await self.times(2)
        self.assertEqual(self.told[1], ("ipv4://10.0.0.3:7000",))

    async def test_services_in_their_order(self) -> None:
        """A name of services gives their addresses and ports, those of the least priority first."""
        self.records |= {
            b"_atbus._tcp.example": [
                dns.Record_SRV(20, 0, 7002, b"two.example"),
                dns.Record_SRV(10, 0, 7001, b"one.example"),
            ],
            b"one.example": [dns.Record_A("10.0.0.9")],
            b"two.example": [dns.Record_A("10.0.0.1")],
        }
        self.source("_atbus._tcp.example")
        await self.times(1)
        self.assertEqual(self.told, [("ipv4://10.0.0.9:7001", "ipv4://10.0.0.1:7002")])

    async def test_no_answer_is_no_answer(self) -> None:
        """A name that cannot be found is asked for again; what was known before stays true."""
        self.records[b"bus.example"] = [dns.Record_A("10.0.0.1")]
        source = self.source("bus.example", refresh_seconds=0.05)
        await self.times(1)
        del self.records[b"bus.example"]
        source.refresh()
        await source._look()
        self.records[b"bus.example"] = [dns.Record_A("10.0.0.2")]
        await self.times(2)
        self.assertEqual(self.told, [("ipv4://10.0.0.1:7000",), ("ipv4://10.0.0.2:7000",)])
