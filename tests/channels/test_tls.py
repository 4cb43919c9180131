"""
TLS: whom it lets in, whom it does not and why, and that frames travel as on any other channel.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import trustme
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread

from atbus import limits
from atbus.address import Address, Scheme, parse_address
from atbus.channels.authority import Issued
from atbus.channels.credentials import Credentials
from atbus.channels.interfaces import ChannelOptions, IChannelListener, IChannelScheme
from atbus.channels.tls import TlsScheme, TlsStreamFactory, TlsStreamProtocol
from atbus.channels.tls_fault import TlsFault
from atbus.errors import ConnectFailed, ListenFailed, Status
from atbus.handshake.certificate import parse_identity
from atbus.testing.channels import ChannelContract
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from tests.channels.certificates import DAY, Files, authority_below
from tests.channels.sockets import SocketTests

_T = TypeVar("_T")

PATIENCE_SECONDS = 60.0
"""How long a busy machine may take for what follows from what was done."""


class TlsTests(SocketTests):
    """Has files of certificates, and schemes that use them."""

    timeout = 600

    def setUp(self) -> None:
        super().setUp()
        self.files = Files(self.directory)

    def scheme_of(self, credentials: Credentials | None, **how: Any) -> TlsScheme:
        """Make the scheme of a node with these credentials."""
        options = ChannelOptions(frame_limit=1 << 20, tls=credentials, **how)
        return TlsScheme(self.reactor, options, self.timers)

    async def listen_at(
        self, scheme: TlsScheme, reception: Reception, text: str = "tls+ipv4://127.0.0.1:0"
    ) -> IChannelListener:
        """Listen until the test is over."""
        listener = await scheme.listen(parse_address(text), reception)
        self.addCleanup(listener.stop)
        return listener

    async def in_time(self, waiting: Coroutine[Any, Any, _T], what: str) -> _T:
        """
        Wait for something, but not for ever; when it fails no connection is left.

        :param what: What is wrong when it takes too long.
        """

        def give_up(_result: object, _seconds: float) -> NoReturn:
            raise AssertionError(what)

        try:
            result: Deferred[_T] = Deferred.fromCoroutine(waiting)
            return await result.addTimeout(PATIENCE_SECONDS, self.reactor, give_up)
        except AssertionError:
            for one in (*self.reactor.getReaders(), *self.reactor.getWriters()):
                if isinstance(one, Connection):
                    one.abortConnection()
            raise

    async def outcome(
        self, dialler: Credentials, listener: Credentials, text: str = "tls+ipv4://127.0.0.1:0"
    ) -> tuple[str, str]:
        """Connect two nodes; gives why the dialler failed or was cut off, and who came in."""
        reception, receiver = Reception(), RecordingReceiver()
        receiver.host = reception
        listening = await self.listen_at(self.scheme_of(listener), reception, text)
        try:
            channel = await self.scheme_of(dialler).connect(listening.address, receiver)
        except ConnectFailed as error:
            return error.detail, " ".join(reception.peers)
        # In TLS 1.3 the dialler is through before the listener has seen its certificate.
        await reception.until(
            lambda: bool(receiver.ends or (reception.receivers and reception.receivers[0].calls))
        )
        if not reception.receivers:
            return receiver.ends[0][1], ""
        channel.abort("seen enough")
        await receiver.end()
        await reception.receivers[0].end()
        return "", " ".join(reception.peers)


class ContractTests(ChannelContract, TlsTests):
    """TLS over IPv4 keeps the contract of channels."""

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        options.tls = Files(self.directory).credentials()
        return TlsScheme(self.reactor, options, self.timers)

    def make_address(self) -> Address:
        return Address(Scheme.TLS_IPV4, "127.0.0.1", 0)

    def setUp(self) -> None:
        SocketTests.setUp(self)
        ChannelContract.setUp(self)


class SchemeTests(TlsTests):
    async def test_all_addresses(self) -> None:
        """IPv4, IPv6 and names work alike, and what is unspecified is this host."""
        ours = self.files.credentials()
        for text in ("tls+ipv4://127.0.0.1:0", "tls+ipv6://::1:0", "tls+dns://localhost:0"):
            why, peers = await self.outcome(ours, self.files.credentials(), text)
            self.assertEqual(why, "", text)
            self.assertTrue(peers.startswith("tls+ipv"), peers)
        why, _ = await self.outcome(ours, self.files.credentials(), "tls+ipv4://0.0.0.0:0")
        self.assertEqual(why, "")

    async def test_what_both_sides_know(self) -> None:
        """Each side knows which ids the other one may register, and both have one exporter."""
        ids = [parse_identity(f"atbus://test/0x{n}000/12") for n in (1, 2)]
        one, two = (self.files.credentials(self.files.issue(identity)) for identity in ids)
        reception, receiver = Reception(), RecordingReceiver()
        listener = await self.listen_at(self.scheme_of(two), reception)
        channel = await self.scheme_of(one).connect(listener.address, receiver)
        [guest] = await reception.guests(1)
        self.assertEqual((guest.channel.identity, channel.identity), (ids[0], ids[1]))
        self.assertEqual(guest.channel.exporter, channel.exporter)
        self.assertEqual(len(channel.exporter), 32)
        other = await self.scheme_of(one).connect(listener.address, RecordingReceiver())
        self.assertNotEqual(other.exporter, channel.exporter)
        guests = await reception.guests(2)
        for each in (channel, other):
            each.abort("seen enough")
        for guest in guests:
            await guest.end()

    async def test_without_credentials(self) -> None:
        """A node without a certificate is told what it needs."""
        scheme = self.scheme_of(None)
        address = parse_address("tls+ipv4://127.0.0.1:7000")
        for error in (
            await error_of(scheme.listen(address, Reception()), ListenFailed),
            await error_of(scheme.connect(address, RecordingReceiver()), ConnectFailed),
        ):
            self.assertIn("needs a certificate", error.detail)


class RefusalTests(TlsTests):
    """Whoever is refused is told apart in the log, on either side."""

    async def refused(self, dialler: Credentials, listener: Credentials) -> str:
        """Connect two nodes that must not connect; nobody may come in."""
        why, peers = await self.outcome(dialler, listener)
        self.assertEqual(peers, "")
        self.assertNotEqual(why, "")
        return why

    async def test_a_listener_that_is_not_believed(self) -> None:
        """The dialler says what is wrong with the listener's certificate."""
        files, ours = self.files, self.files.credentials()
        other = files.new_authority("other")
        server_only: dict[str, Any] = {"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}
        client_only: dict[str, Any] = {"purposes": [ExtendedKeyUsageOID.CLIENT_AUTH]}
        for issued, fault in (
            (files.issue(lifetime=timedelta(minutes=-1)), "it has expired"),
            (files.issue(authority=other), "its authority is not believed"),
            (files.issue(hosts=["elsewhere.example"]), "not issued for 127.0.0.1"),
            (files.issue(hosts=[]), "not issued for 127.0.0.1"),
            (files.issue(**client_only), "not meant for this purpose"),
        ):
            self.assertIn(fault, await self.refused(ours, files.credentials(issued)))
        self.assertEqual(
            (await self.outcome(ours, files.credentials(files.issue(**server_only))))[0], ""
        )

    async def test_a_dialler_that_is_not_believed(self) -> None:
        """The listener takes nobody in whose certificate is not good."""
        files, ours = self.files, self.files.credentials()
        other = files.new_authority("other")
        for issued in (
            files.issue(lifetime=timedelta(minutes=-1)),
            files.issue(authority=other),
            files.issue(purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
        ):
            await self.refused(files.credentials(issued), ours)

    async def test_why_the_other_side_refuses(self) -> None:
        """
        Who dials is told the alert of a listener that does not take his certificate, though he was
        through; a listener whose own certificate is refused has a reason for that.
        """
        files, lists = self.files, self.directory / "revoked.pem"
        revoked = files.issue()
        lists.write_bytes(files.authority.revoke([revoked.certificate], DAY))
        stale = self.directory / "stale.pem"
        stale.write_bytes(files.authority.revoke([], timedelta(minutes=-1)))
        for dialler, lists_of_ours, alert in (
            (files.issue(authority=files.new_authority("other")), "", "unknown ca"),
            (files.issue(lifetime=timedelta(minutes=-1)), "", "certificate expired"),
            (revoked, str(lists), "certificate revoked"),
            (files.issue(), str(stale), "certificate expired"),
        ):
            told: list[TlsFault] = []
            reception, receiver = Reception(), RecordingReceiver()
            ours = self.files.credentials(revoked=lists_of_ours)
            listener = await self.listen_at(self.scheme_of(ours), reception)
            scheme = self.scheme_of(
                files.credentials(dialler),
                tls_refused=lambda *what: told.append(what[2]),  # noqa: B023
            )
            await scheme.connect(listener.address, receiver)
            wanted = f"the other side refuses us, by TLS: {alert}"
            self.assertEqual(await receiver.end(), (Status.CONNECT_FAILED, wanted))
            self.assertEqual((told, reception.peers), ([TlsFault.OURS_REFUSED], []))
        heard: Deferred[TlsFault] = Deferred()
        ours = files.credentials(files.issue(lifetime=timedelta(minutes=-1)))
        scheme = self.scheme_of(ours, tls_refused=lambda *what: heard.callback(what[2]))
        listener = await self.listen_at(scheme, Reception())
        connecting = self.scheme_of(files.credentials()).connect(
            listener.address, RecordingReceiver()
        )
        await error_of(connecting, ConnectFailed)
        self.assertIs(await heard, TlsFault.OURS_REFUSED)

    async def test_another_realm(self) -> None:
        """A good certificate of another bus is no good here."""
        files = self.files
        other = files.credentials(files.issue(parse_identity("atbus://other/0x5/0")), realm="other")
        why = await self.refused(files.credentials(), other)
        self.assertIn("of the realm other, not test", why)
        await self.refused(other, files.credentials())

    async def test_a_plain_peer(self) -> None:
        """Whoever speaks no TLS here is cut off, and hears nothing that helps it."""
        reception = Reception()
        listener = await self.listen_at(self.scheme_of(self.files.credentials()), reception)
        answer = await deferToThread(
            say, listener.address.port, b"GET / HTTP/1.0\r\n\r\n" * 100, None
        )
        self.assertLess(len(answer), 100)
        self.assertEqual(reception.peers, [])

    async def test_tls_of_yesterday(self) -> None:
        """TLS 1.2 is spoken only where it is allowed; anything older nowhere."""
        for allowed, version in ((False, "TLSv1_2"), (True, "TLSv1_2"), (True, "TLSv1_1")):
            reception = Reception()
            ours = self.files.options(allow_tls_1_2=allowed)
            listener = await self.listen_at(self.scheme_of(Credentials(ours)), reception)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(ours.certificate, ours.key)
            context.load_verify_locations(ours.authorities)
            context.set_alpn_protocols(["atbus/1"])
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
            await deferToThread(say, listener.address.port, b"", context)
            taken = allowed and version == "TLSv1_2"
            if taken:
                await (await reception.guests(1))[0].end()
            self.assertEqual(len(reception.peers), int(taken), (allowed, version))

    async def test_something_else_over_tls(self) -> None:
        """A program that does not say that it speaks atbus is not taken for a node."""
        reception = Reception()
        ours = self.files.options()
        listener = await self.listen_at(self.scheme_of(Credentials(ours)), reception)
        for protocols in ([], ["h2", "http/1.1"]):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(ours.certificate, ours.key)
            context.load_verify_locations(ours.authorities)
            if protocols:
                context.set_alpn_protocols(protocols)
            await deferToThread(say, listener.address.port, frame_of(10), context)
        self.assertEqual(reception.peers, [])

    async def test_silence(self) -> None:
        """Connections that never begin their handshake end, and are never too many."""
        self.patch(limits, "HANDSHAKE_SECONDS", 0.2)
        self.patch(limits, "PENDING_HANDSHAKES_MAX", 3)
        ours = self.files.credentials()
        listener = await self.listen_at(self.scheme_of(ours), Reception())
        address = ("127.0.0.1", listener.address.port)
        silent = [socket.create_connection(address) for _ in range(6)]
        for one in silent:
            self.addCleanup(one.close)
            self.assertEqual(await deferToThread(read_to_end, one), b"")
        self.assertEqual(ours.watching, set())

    async def test_who_may_not_begin(self) -> None:
        """Whoever the node does not let begin is closed before a byte of his is read."""
        asked: list[tuple[str, str]] = []
        scheme = self.scheme_of(
            self.files.credentials(),
            lets_begin=lambda address, peer: asked.append((str(address), peer)),
        )
        listener = await self.listen_at(scheme, Reception())
        with socket.create_connection(("127.0.0.1", listener.address.port)) as one:
            name = f"tls+ipv4://127.0.0.1:{one.getsockname()[1]}"
            self.assertEqual(await deferToThread(read_to_end, one), b"")
        self.assertEqual(asked, [(str(listener.address), name)])

    async def test_handshakes_for_nothing(self) -> None:
        """
        Who makes us answer a handshake that comes to nothing is noted; not who says nothing, and
        not who was good.
        """
        noted: list[str] = []
        bad = self.scheme_of(self.files.credentials(), bad_handshake=noted.append)
        reception = Reception()
        listener = await self.listen_at(bad, reception)
        with socket.create_connection(("127.0.0.1", listener.address.port)) as probe:
            probe.shutdown(socket.SHUT_WR)
            await deferToThread(read_to_end, probe)
        good = RecordingReceiver()
        channel = await self.scheme_of(self.files.credentials()).connect(listener.address, good)
        await reception.guests(1)
        channel.abort("seen enough")
        await reception.receivers[0].end()
        self.assertEqual(noted, [])
        await deferToThread(say, listener.address.port, b"GET / HTTP/1.0\r\n\r\n", None)
        self.assertEqual(len(noted), 1)
        for text in ("other", "test"):
            own = self.files.new_authority("stranger")
            issued = self.files.issue(parse_identity(f"atbus://{text}/0x5/0"), authority=own)
            stranger = self.files.credentials(issued, realm=text)
            receiver = RecordingReceiver()
            try:
                await self.scheme_of(stranger).connect(listener.address, receiver)
            except ConnectFailed:
                pass
            else:
                await receiver.end()
        await reception.until(lambda: len(noted) == 3)
        self.assertTrue(all(peer.startswith("tls+ipv4://127.0.0.1:") for peer in noted), noted)

    def test_one_address_among_others(self) -> None:
        """
        One address of another host has its share of the handshakes at once; its own oldest gives
        way. When all places are taken, one gives way of whoever has the most of them.
        """
        self.patch(limits, "PENDING_HANDSHAKES_MAX", 6)
        self.patch(limits, "PENDING_HANDSHAKES_PER_ADDRESS_MAX", 3)
        factory = TlsStreamFactory(
            self.files.credentials(),
            address=parse_address("tls+ipv4://127.0.0.1:1"),
            accept=Reception(),
            greet=str,
            dialled=False,
            options=ChannelOptions(),
            timers=self.timers,
        )
        began: list[StringTransport] = []
        away, here, also = (f"tls+ipv4://{host}:1" for host in ("192.0.2.1", "127.0.0.1", "::1"))
        for peer in (away, here, also, away, away, away, away, here, here, here, also):
            protocol = TlsStreamProtocol(factory)
            protocol.transport = StringTransport()
            began.append(protocol.transport)
            factory.begin(protocol, peer)
        places = ["::1", *["192.0.2.1"] * 2, *["127.0.0.1"] * 2, "::1"]
        self.assertEqual(list(factory.handshakes.values()), places)
        gave_way = [place for place, each in enumerate(began) if each.disconnecting]
        self.assertEqual(gave_way, [0, 1, 3, 4, 7])


class RevocationTests(TlsTests):
    def revoke(self, *certificates: bytes) -> str:
        """Write a revocation list."""
        path = self.directory / "revoked.pem"
        path.write_bytes(self.files.authority.revoke(certificates, DAY))
        return str(path)

    async def test_revoked_before(self) -> None:
        """A revoked certificate opens nothing."""
        bad = self.files.issue()
        ours = self.files.credentials(revoked=self.revoke(bad.certificate))
        self.assertEqual((await self.outcome(self.files.credentials(), ours))[0], "")
        why, peers = await self.outcome(ours, self.files.credentials(bad))
        self.assertIn("it has been revoked", why)
        _, peers = await self.outcome(self.files.credentials(bad), ours)
        self.assertEqual(peers, "")

    async def test_revoked_meanwhile(self) -> None:
        """A channel ends when the other side's certificate is revoked; others go on."""
        bad = self.files.issue()
        ours = self.files.credentials(revoked=self.revoke())
        reception = Reception()
        listener = await self.listen_at(self.scheme_of(ours), reception)
        ends = []
        for credentials in (self.files.credentials(bad), self.files.credentials()):
            ends.append(RecordingReceiver())
            await self.scheme_of(credentials).connect(listener.address, ends[-1])
        guests = await reception.guests(2)
        self.assertFalse(ours.refresh())
        self.revoke(bad.certificate)
        self.assertTrue(ours.refresh())
        await self.in_time(ends[0].end(), "a link lives on whose certificate was revoked")
        [revoked] = [guest for guest in guests if guest.ends]
        self.assertEqual(
            revoked.ends[0], (Status.ACCESS_DENIED, "the other side's certificate has been revoked")
        )
        self.assertEqual(ends[1].ends, [])
        ends[1].channel.abort("seen enough")
        for guest in guests:
            await guest.end()

    async def test_expired_meanwhile(self) -> None:
        """A channel ends with the other side's certificate."""
        await self.ends_soon(lambda lifetime: self.files.issue(lifetime=lifetime))

    async def test_one_above_expires_meanwhile(self) -> None:
        """It ends as well with the certificate of an authority between."""
        top = trustme.CA()
        (self.directory / "authority.pem").write_bytes(
            self.files.authority.certificate + top.cert_pem.bytes()
        )

        def issue(lifetime: timedelta) -> Issued:
            between = authority_below(top, lifetime)
            issued = self.files.issue(authority=between)
            return Issued(issued.certificate + between.certificate, issued.key)

        await self.ends_soon(issue)

    async def ends_soon(self, issue: Callable[[timedelta], Issued]) -> None:
        """Connect with a certificate that is good for a moment."""
        # One that expires before it has come in, on a busy machine, comes again with a longer one.
        for seconds in (1.5, 6, 24, 96):
            soon = issue(timedelta(seconds=seconds))
            ours = self.files.credentials(close_on_expiry=True)
            reception, receiver = Reception(), RecordingReceiver()
            receiver.host = reception
            listener = await self.listen_at(self.scheme_of(ours), reception)
            await self.scheme_of(self.files.credentials(soon)).connect(listener.address, receiver)
            await reception.until(lambda: bool(receiver.ends or reception.peers))  # noqa: B023
            if reception.peers:
                break
        [guest] = await reception.guests(1)
        status, detail = await guest.end()
        self.assertEqual(status, Status.ACCESS_DENIED)
        self.assertIn("has expired", detail)
        await receiver.end()


def say(port: int | None, data: bytes, context: ssl.SSLContext | None) -> bytes:
    """Connect as a foreign program, say something, and read until the other side ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as plain:
        try:
            if context is None:
                plain.sendall(data)
                return read_to_end(plain)
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(data)
                secure.settimeout(120)
                if secure.version() == "TLSv1.2":
                    return b""
                return secure.recv(100)
        except OSError:
            return b""


def read_to_end(plain: socket.socket) -> bytes:
    """Read until the other side ends."""
    plain.settimeout(120)
    data = b""
    try:
        while piece := plain.recv(4096):
            data += piece
    except ConnectionError:
        pass
    return data
