"""Plain TCP: names, options of sockets, and who may listen where."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.address import Address, Scheme, parse_address
from atbus.channels.interfaces import ChannelOptions, IChannelListener
from atbus.channels.tcp import TcpScheme, peer_text
from atbus.errors import ConnectFailed, ListenFailed
from atbus.testing.recording import Reception, RecordingReceiver, error_of
from tests.channels.sockets import SocketTests

_OPEN = ChannelOptions(allow_insecure=True)


@implementer(IHostnameResolver)
class Resolver:
    """Knows some names; others it does not know, or never answers about."""

    def __init__(self, names: dict[str, list[str]], silent: bool = False) -> None:
        self._names = names
        self._silent = silent

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: object = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for literal in self._names.get(hostName, []):
            kind = IPv4Address if ipaddress.ip_address(literal).version == 4 else IPv6Address
            resolutionReceiver.addressResolved(kind("TCP", literal, portNumber))
        if not self._silent:
            resolutionReceiver.resolutionComplete()
        return resolution


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing goes on."""


class TcpTests(SocketTests):
    """Over the loopback interface."""

    async def listen(
        self, text: str, reception: Reception | None = None, options: ChannelOptions = _OPEN
    ) -> IChannelListener:
        scheme = TcpScheme(self.reactor, options, self.timers)
        listener = await scheme.listen(parse_address(text), reception or Reception())
        self.addCleanup(listener.stop)
        return listener

    async def dial(self, text: str) -> RecordingReceiver:
        receiver = RecordingReceiver()
        scheme = TcpScheme(self.reactor, _OPEN, self.timers)
        await scheme.connect(parse_address(text), receiver)
        return receiver

    async def test_every_way_to_a_listener_on_all_interfaces(self) -> None:
        """
        A listener on all interfaces is reached by an IPv4 literal, an IPv6 literal, a name, and by
        the unspecified addresses themselves; each gives one channel on both sides.

        Scenario: B10, D1
        """
        reception = Reception()
        listener = await self.listen("ipv6://[::]:0", reception)
        port = listener.address.port
        self.assertNotEqual(port, 0)
        hosts = (
            "ipv4://127.0.0.1",
            "ipv6://[::1]",
            "dns://localhost",
            "ipv4://0.0.0.0",
            "ipv6://[::]",
        )
        diallers = [await self.dial(f"{host}:{port}") for host in hosts]
        guests = await reception.guests(len(hosts))
        for host, dialler in zip(hosts, diallers, strict=True):
            self.assertEqual(dialler.calls, ["channel_opened"], host)
            self.assertEqual(dialler.channel.address, parse_address(f"{host}:{port}"))
        peers = [parse_address(guest.channel.peer).host for guest in guests]
        # Which of its two addresses a name leads to is the resolver's affair.
        del peers[2]
        self.assertEqual(peers, ["127.0.0.1", "::1", "127.0.0.1", "::1"])
        for dialler in diallers:
            dialler.channel.close()
            await dialler.end()

    async def test_an_ipv4_listener_on_all_interfaces(self) -> None:
        """
        Dialing 0.0.0.0 reaches a listener on all IPv4 interfaces of this host.

        Scenario: B10
        """
        listener = await self.listen("ipv4://0.0.0.0:0")
        dialler = await self.dial(str(listener.address))
        self.assertEqual(dialler.channel.peer, f"ipv4://127.0.0.1:{listener.address.port}")
        dialler.channel.close()
        await dialler.end()

    async def test_what_the_kernel_is_told(self) -> None:
        """Both ends send at once, and give a vanished host up when the heartbeat would."""
        await self.see_what_the_kernel_is_told(2.5, 3, told=(3, 3, 10_000))

    async def test_a_heartbeat_more_patient_than_the_kernel(self) -> None:
        """A heartbeat as patient as can be does no harm: the kernel is as patient as it can be."""
        await self.see_what_the_kernel_is_told(86_400, 1_000, told=(32_767, 127, 2**31 - 1))

    async def see_what_the_kernel_is_told(
        self, seconds: float, tolerance: int, told: tuple[int, int, int]
    ) -> None:
        reception = Reception()
        options = ChannelOptions(heartbeat_seconds=seconds, tolerance=tolerance)
        listener = await self.listen("ipv4://127.0.0.1:0", reception, options)
        receiver = RecordingReceiver()
        await TcpScheme(self.reactor, options, self.timers).connect(listener.address, receiver)
        [guest] = await reception.guests(1)
        for end in (receiver, guest):
            channel: Any = end.channel
            sock = channel.transport.getHandle()
            for level, option, value in (
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, told[0]),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, told[0]),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, told[1]),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, told[2]),
            ):
                self.assertEqual(sock.getsockopt(level, option), value)
        receiver.channel.close()
        await receiver.end()

    async def test_plain_tcp_off_this_host(self) -> None:
        """
        A listener that other machines could reach is refused, and told what to do instead; a
        loopback one is not.
        """
        strict = ChannelOptions()
        for text in ("ipv4://0.0.0.0:0", "ipv6://[::]:0", "ipv4://192.0.2.1:0"):
            error = await error_of(self.listen(text, options=strict), ListenFailed)
            self.assertIn("allow_insecure", error.detail)
            self.assertIn("tls+", error.detail)
        for text in ("ipv4://127.0.0.1:0", "ipv6://[::1]:0", "dns://localhost:0"):
            await self.listen(text, options=strict)

    async def test_a_place_of_somebody_else(self) -> None:
        """
        An address of another machine cannot be listened on, and the answer says so at once.

        Scenario: B15
        """
        error = await error_of(self.listen("ipv4://192.0.2.1:0"), ListenFailed)
        self.assertIn("192.0.2.1", str(error))
        self.assertIn("assign", error.detail)

    async def test_port_0(self) -> None:
        """
        Port 0 means any port to a listener, and nothing to a dialer.

        Scenario: B15
        """
        error = await error_of(self.dial("ipv4://127.0.0.1:0"), ConnectFailed)
        self.assertIn("port 0", error.detail)


class NameTests(SynchronousTestCase):
    """Names, and dials that nobody answers, over a reactor that connects to nothing."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.timers = Clock()
        self.options = ChannelOptions(allow_insecure=False, connect_timeout_seconds=5)
        self.scheme = TcpScheme(self.reactor, self.options, self.timers)
        self.name = Address(Scheme.DNS, "db.example", 7000)

    def test_a_name_that_is_not_known(self) -> None:
        """
        A name that does not resolve is an answer of its own, with the name, on either side.

        Scenario: D8
        """
        self.reactor.nameResolver = Resolver({})
        dialling = self.scheme.connect(self.name, RecordingReceiver())
        connect_error = self.failureResultOf(dialling, ConnectFailed).value
        self.assertIn("db.example", str(connect_error))
        listening = self.scheme.listen(self.name, Reception())
        listen_error = self.failureResultOf(listening, ListenFailed).value
        self.assertIn("the name db.example is not known", str(listen_error))

    def test_a_name_that_leads_elsewhere(self) -> None:
        """A name is as insecure to listen on as the address it resolves to."""
        self.reactor.nameResolver = Resolver({"db.example": ["192.0.2.7"]})
        listening = self.scheme.listen(self.name, Reception())
        self.assertIn("allow_insecure", self.failureResultOf(listening, ListenFailed).value.detail)

    def test_a_name_with_two_addresses(self) -> None:
        """All addresses of a name are tried; the dial fails when the last one has."""
        self.reactor.nameResolver = Resolver({"db.example": ["2001:db8::1", "192.0.2.7"]})
        dialling = self.scheme.connect(self.name, RecordingReceiver())
        self.reactor.advance(1)
        self.reactor.advance(1)
        hosts = [client[0] for client in self.reactor.tcpClients]
        self.assertEqual(hosts, ["2001:db8::1", "192.0.2.7"])
        self.assertNoResult(dialling)
        self.timers.advance(5)
        self.failureResultOf(dialling, ConnectFailed)

    def test_a_host_that_does_not_answer(self) -> None:
        """A dial that nobody answers is given up after its time, and nothing goes on trying."""
        for seconds, timeout_seconds in ((5.0, None), (0.5, 0.5)):
            receiver = RecordingReceiver()
            dialling = self.scheme.connect(
                Address(Scheme.IPV4, "192.0.2.7", 7000), receiver, timeout_seconds
            )
            self.timers.advance(seconds - 0.1)
            self.assertNoResult(dialling)
            self.timers.advance(0.1)
            error = self.failureResultOf(dialling, ConnectFailed).value
            self.assertIn(f"no answer within {seconds:g} s", str(error))
            self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)
            self.assertEqual(receiver.calls, [])
        self.assertEqual(self.timers.getDelayedCalls(), [])

    def test_a_resolver_that_does_not_answer(self) -> None:
        """The time for a dial includes the look-up of its name."""
        self.reactor.nameResolver = Resolver({}, silent=True)
        dialling = self.scheme.connect(self.name, RecordingReceiver())
        self.timers.advance(5)
        error = self.failureResultOf(dialling, ConnectFailed).value
        self.assertIn("no answer within 5 s", str(error))

    def test_cancelling(self) -> None:
        """A cancelled dial stops trying and leaves no timer, whatever it was waiting for."""
        self.reactor.nameResolver = Resolver({}, silent=True)
        for address in (Address(Scheme.IPV6, "2001:db8::7", 7000), self.name):
            dialling = self.scheme.connect(address, RecordingReceiver())
            dialling.cancel()
            self.failureResultOf(dialling, CancelledError)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.timers.getDelayedCalls(), [])

    def test_the_other_side_as_text(self) -> None:
        """An IPv4 host is written as one, also when it came in through an IPv6 socket."""
        for peer, text in (
            (IPv4Address("TCP", "192.0.2.7", 5), "ipv4://192.0.2.7:5"),
            (IPv6Address("TCP", "::ffff:192.0.2.7", 5), "ipv4://192.0.2.7:5"),
            (IPv6Address("TCP", "2001:db8::1", 5), "ipv6://[2001:db8::1]:5"),
        ):
            self.assertEqual(peer_text(peer), text)

    def test_options_of_a_slow_heartbeat(self) -> None:
        """What the kernel is told follows heartbeat and tolerance together."""
        self.assertEqual(attrs.evolve(self.options, heartbeat_seconds=8).unheard_seconds, 24)
