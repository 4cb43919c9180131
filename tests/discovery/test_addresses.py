"""Names that become addresses."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase, TestCase

from atbus.channels.timers import MonotonicTimers
from atbus.discovery import bounds
from atbus.discovery.addresses import FileAddresses, StaticAddresses, read_addresses
from atbus.discovery.interfaces import IAddressSource
from atbus.discovery.names import DnsAddresses, NameServers
from atbus.errors import AddressError
from atbus.testing.addresses import AddressSourceContract
from atbus.testing.clock import HeapClock
from tests.discovery.name_server import NameServer

ONE, TWO = "ipv4://10.0.0.1:7000", "unix:///run/two.sock"


class StaticTests(SynchronousTestCase):
    """Addresses that somebody gives."""

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.told: list[tuple[str, ...]] = []
        self.source = StaticAddresses([ONE], self.clock)

    def test_others_may_be_given(self) -> None:
        """Others that are given are told soon; what is wrong changes nothing."""
        self.source.start(self.told.append)
        self.clock.advance(0.1)
        self.source.replace([TWO, ONE])
        self.assertEqual(len(self.told), 1)
        self.clock.advance(0.1)
        self.assertEqual(self.told, [(ONE,), (TWO, ONE)])
        self.assertRaises(AddressError, self.source.replace, [TWO, "nonsense"])
        self.assertRaises(AddressError, StaticAddresses, ["ipv4://10.0.0.1:0"], self.clock)
        self.successResultOf(self.source.stop())
        self.source.replace([TWO])
        self.clock.advance(0.1)
        self.assertEqual(len(self.told), 2)


class FileTests(SynchronousTestCase):
    """Addresses in a file."""

    def setUp(self) -> None:
        folder = tempfile.mkdtemp(prefix="atbus-")
        self.addCleanup(shutil.rmtree, folder)
        self.path = Path(folder) / "peers.txt"
        self.clock = HeapClock()
        self.told: list[tuple[str, ...]] = []
        self.source = FileAddresses(str(self.path), self.clock, refresh_seconds=2.0)
        self.addCleanup(self.source.stop)

    def write(self, text: str) -> None:
        """Put another file in the place of the one that is there."""
        new = self.path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self.path)

    def test_a_file_is_read(self) -> None:
        """One address on each line; remarks and empty lines do not matter."""
        self.write(f"# two proxies\n{TWO}   # the near one\n\n  {ONE}\n")
        self.assertEqual(read_addresses(str(self.path)), (TWO, ONE))

    def test_a_file_that_changes_is_read_again(self) -> None:
        """A file that comes, is written, or is replaced is read within its time; else it is not."""
        self.source.start(self.told.append)
        self.clock.advance(2.1)
        self.assertEqual(self.told, [])
        self.write(ONE)
        self.clock.advance(2.1)
        with self.path.open("a") as file:
            file.write(f"\n{TWO}")
        self.clock.advance(2.1)
        self.write(TWO)
        self.clock.advance(2.1)
        self.assertEqual(self.told, [(ONE,), (ONE, TWO), (TWO,)])
        # One that looks the same is not read, unless somebody says so.
        there = self.path.stat()
        self.path.write_text(TWO.replace("two", "six"), encoding="utf-8")
        os.utime(self.path, ns=(there.st_atime_ns, there.st_mtime_ns))
        self.clock.advance(2.1)
        self.assertEqual(len(self.told), 3)
        self.source.refresh()
        self.clock.advance(0.1)
        self.assertEqual(self.told[3:], [("unix:///run/six.sock",)])

    def test_a_file_with_a_fault_changes_nothing(self) -> None:
        """What cannot be used is not, and not by half; it is used when it is mended."""
        self.write(ONE)
        self.source.start(self.told.append)
        self.clock.advance(0.1)
        for fault in (f"{TWO}\nnonsense", "ipv4://10.0.0.1", "#" * 70_000, "\udcff"):
            self.path.write_bytes(fault.encode("utf-8", "surrogateescape"))
            self.source.refresh()
            self.clock.advance(2.1)
        self.path.unlink()
        self.clock.advance(2.1)
        self.assertEqual(self.told, [(ONE,)])
        self.write("")
        self.clock.advance(2.1)
        self.assertEqual(self.told, [(ONE,), ()])


class SourceCase(TestCase):
    """Sources on the reactor's clock."""

    timeout = 120

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # real sockets

        self.reactor: Any = reactor
        self.timers = MonotonicTimers(reactor)
        self.addCleanup(self.timers.stop)
        super().setUp()


class StaticContractTests(AddressSourceContract, SourceCase):
    """A list keeps the contract of address sources."""

    def setUp(self) -> None:
        super().setUp()
        self.addresses: Sequence[str] = ()
        self.sources: list[StaticAddresses] = []

    def know(self, addresses: Sequence[str]) -> None:
        self.addresses = addresses
        for source in self.sources:
            source.replace(addresses)

    def know_nothing(self) -> None:
        """A list always has an answer."""

    def make_source(self, is_own: Callable[[str], bool]) -> IAddressSource:
        source = StaticAddresses(self.addresses, self.timers, is_own=is_own)
        self.sources.append(source)
        return source


class FileContractTests(AddressSourceContract, SourceCase):
    """A file keeps the contract of address sources."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.mkdtemp(prefix="atbus-")
        self.addCleanup(shutil.rmtree, folder)
        self.path = Path(folder) / "addresses"

    def know(self, addresses: Sequence[str]) -> None:
        self.path.write_text("\n".join(addresses), encoding="utf-8")

    def know_nothing(self) -> None:
        self.path.unlink()

    def make_source(self, is_own: Callable[[str], bool]) -> IAddressSource:
        return FileAddresses(str(self.path), self.timers, is_own=is_own)


class NameCase(SourceCase):
    """Sources that ask a real name server."""

    def setUp(self) -> None:
        super().setUp()
        self.server = NameServer(self.reactor)
        self.addCleanup(self.server.stop)

    def ask(self, name: str, port: int, **options: Any) -> DnsAddresses:
        """Make a source that asks it."""
        servers = NameServers([self.server.place], self.reactor)
        return DnsAddresses(name, port, servers, self.timers, **options)


class NoAnswer(DatagramProtocol):
    """Hears questions, and says nothing."""


class NameContractTests(AddressSourceContract, NameCase):
    """The hosts of a name keep the contract of address sources."""

    def know(self, addresses: Sequence[str]) -> None:
        hosts = [address.removeprefix("ipv4://").partition(":")[0] for address in addresses]
        self.server.records[b"bus.example"] = [dns.Record_A(host) for host in reversed(hosts)]

    def know_nothing(self) -> None:
        del self.server.records[b"bus.example"]

    def make_source(self, is_own: Callable[[str], bool]) -> IAddressSource:
        return self.ask("bus.example", 7000, is_own=is_own)

    async def test_hosts_of_both_kinds(self) -> None:
        """Hosts with the short and with the long addresses are found, through TLS if wanted."""
        records = [dns.Record_AAAA("fd00::1"), dns.Record_A("10.0.0.1")]
        self.server.records[b"bus.example"] = records
        source = self.ask("bus.example", 7000, is_tls=True)
        self.addCleanup(source.stop)
        source.start(self.found)
        await self.until(lambda: bool(self.told))
        self.assertEqual(self.told, [("tls+ipv4://10.0.0.1:7000", "tls+ipv6://[fd00::1]:7000")])

    async def test_a_name_with_too_many_hosts(self) -> None:
        """Of more addresses than are believed the first ones are used."""
        self.patch(bounds, "NAME_ANSWERS_MAX", 3)
        hosts = [f"10.0.0.{number}" for number in range(1, 9)]
        self.know([f"ipv4://{host}:7000" for host in hosts])
        source = self.ask("bus.example", 7000)
        self.addCleanup(source.stop)
        source.start(self.found)
        await self.until(lambda: bool(self.told))
        self.assertEqual(self.told, [tuple(f"ipv4://{host}:7000" for host in hosts[:3])])

    async def test_a_name_that_is_lost_changes_nothing(self) -> None:
        """A server that knows nothing of the name has no answer; what was found stays true."""
        self.know([ONE])
        source = self.ask("bus.example", 7000, refresh_seconds=0.01)
        self.addCleanup(source.stop)
        source.start(self.found)
        await self.until(lambda: bool(self.told))
        self.know_nothing()
        self.assertIsNone(await source._look())
        self.know(["ipv4://10.0.0.2:7000"])
        await self.until(lambda: len(self.told) > 1)
        self.assertEqual(self.told, [(ONE,), ("ipv4://10.0.0.2:7000",)])

    async def test_a_stop_waits_for_nobody(self) -> None:
        """A source that is stopped while it asks leaves nothing behind."""
        self.know([ONE])
        source = self.ask("bus.example", 7000)
        source.start(self.found)
        other = self.source()
        asking = Deferred.fromCoroutine(source._look())
        source.stop()
        asking.cancel()
        await self.failUnlessFailure(asking, CancelledError)
        other.start(self.found)
        await self.until(lambda: bool(self.told))
        self.assertEqual(self.told, [(ONE,)])

    async def test_a_silent_server_is_left_for_another(self) -> None:
        """A name server that does not answer is passed over."""
        silent: Any = self.reactor.listenUDP(0, NoAnswer(), interface="127.0.0.1")
        self.addCleanup(silent.stopListening)
        self.patch(bounds, "NAME_PATIENCE_SECONDS", (0.1, 3))
        self.know([ONE])
        places = [("127.0.0.1", silent.getHost().port), self.server.place]
        servers = NameServers(places, self.reactor)
        source = DnsAddresses("bus.example", 7000, servers, self.timers)
        self.addCleanup(source.stop)
        source.start(self.found)
        await self.until(lambda: self.told == [(ONE,)])


class ServiceContractTests(AddressSourceContract, NameCase):
    """The services of a name keep the contract of address sources."""

    name = b"_atbus._tcp.example"

    def know(self, addresses: Sequence[str]) -> None:
        services = []
        for number, address in enumerate(addresses):
            host, port = address.removeprefix("ipv4://").split(":")
            target = f"host{number}.example".encode()
            # The least priority comes first, whatever the order of the answer.
            services.append(dns.Record_SRV(10 * number, 0, int(port), target))
            self.server.records[target] = [dns.Record_A(host)]
        self.server.records[self.name] = services[::-1]

    def know_nothing(self) -> None:
        del self.server.records[self.name]

    def make_source(self, is_own: Callable[[str], bool]) -> IAddressSource:
        return self.ask(self.name.decode(), 0, is_own=is_own)

    async def test_half_an_answer_is_none(self) -> None:
        """While nobody tells where one of the services is, nothing new is told of the others."""
        self.patch(bounds, "NAME_PATIENCE_SECONDS", (1, 1))
        self.know([ONE, "ipv4://10.0.0.2:7000"])
        self.server.silent.add(b"host1.example")
        source = self.ask(self.name.decode(), 0, refresh_seconds=0.01)
        self.addCleanup(source.stop)
        with self.assertRaises(defer.TimeoutError):
            await source._look()
        source.start(self.found)
        self.server.silent.clear()
        await self.until(lambda: bool(self.told))
        self.assertEqual(self.told, [(ONE, "ipv4://10.0.0.2:7000")])
