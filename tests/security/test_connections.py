"""Attacks on what is decided while a connection begins: with whom, how many, and as whom."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels import tls, unix
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.tls_fault import TlsFault
from atbus.channels.unix import UnixScheme
from atbus.errors import ConnectFailed, RegistrationRefused, Status, Undeliverable
from atbus.handshake import bounds
from atbus.handshake.certificate import CertificateIdentity
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from tests.channels.sockets import SocketTests
from tests.channels.test_tls import TlsTests, read_to_end, say
from tests.security.nodes import CHILD, ROOT, NodesCase
from tests.security.test_bad_certificates import serve

PROXY = 0x12340200


class ProtocolTests(TlsTests):
    """Somebody has a good certificate, and is not atbus."""

    async def test_security_other_protocols(self) -> None:
        """
        Whoever does not say in the handshake that it speaks atbus is no node, on either side, for
        that reason; what it is sent is for something else.
        """
        told: list[TlsFault] = []
        credentials = self.files.credentials()
        ours = credentials.options
        scheme = self.scheme_of(credentials, tls_refused=lambda *given: told.append(given[2]))
        reception = Reception()
        listener = await self.listen_at(scheme, reception)
        for protocols in ([], ["h2", "http/1.1"]):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(ours.certificate, ours.key)
            context.load_verify_locations(ours.authorities)
            if protocols:
                context.set_alpn_protocols(protocols)
            await deferToThread(say, listener.address.port, frame_of(10), context)
        self.assertEqual((told, reception.peers), ([TlsFault.NOT_ATBUS] * 2, []))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ours.certificate, ours.key)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(60)
            serving = deferToThread(serve, server, context)
            address = Address(Scheme.TLS_IPV4, "127.0.0.1", server.getsockname()[1])
            error = await error_of(scheme.connect(address, RecordingReceiver()), ConnectFailed)
            await serving
        self.assertIn("does not say that it speaks atbus", error.detail)
        self.assertEqual(told, [TlsFault.NOT_ATBUS] * 3)

    async def test_security_silent_tls(self) -> None:
        """
        However many connections never begin their handshake, so many are kept at most, of one
        address a part of them, and whoever comes then gets in all the same.
        """
        self.patch(limits, "HANDSHAKE_SECONDS", 1000.0)
        self.patch(limits, "PENDING_HANDSHAKES_MAX", 5)
        self.patch(limits, "PENDING_HANDSHAKES_PER_ADDRESS_MAX", 2)
        for most, origin in ((5, ""), (2, "192.0.2.1")):
            # Whoever is on this host is not counted by address, so these say that they are not.
            self.patch(tls, "origin_of", lambda _peer, origin=origin: origin)
            reception = Reception()
            listener = await self.listen_at(self.scheme_of(self.files.credentials()), reception)
            address = ("127.0.0.1", listener.address.port)
            silent = [socket.create_connection(address) for _ in range(8)]
            for one in silent:
                self.addCleanup(one.close)
            for one in silent[: 8 - most]:
                one.settimeout(60)
                self.assertEqual(await deferToThread(read_to_end, one), b"")
            for one in silent[8 - most :]:
                one.setblocking(False)
                self.assertRaises(BlockingIOError, one.recv, 1)
            good = RecordingReceiver()
            await self.scheme_of(self.files.credentials()).connect(listener.address, good)
            [guest] = await reception.guests(1)
            good.channel.abort("seen enough")
            await guest.end()


class RangeTests(NodesCase):
    """Somebody has a good certificate, and registers as somebody else."""

    async def test_security_certificate_range(self) -> None:
        """Who registers an id, or a range, that his certificate does not name is refused."""
        await self.start_root()
        upstream = str(self.tls_root.addresses[0])
        for how in ({"id": CHILD + 1}, {"id": CHILD, "subnets": [(0, 8)]}):
            # Its own configuration would not let it try.
            with mock.patch.object(CertificateIdentity, "allows", return_value=True):
                node = self.node(f"{CHILD:#x}/0", upstream=upstream, **how)
            error = await error_of(node.start(), RegistrationRefused)
            self.assertIs(error.status, Status.NOT_ADMITTED)
            self.assertIn("its certificate allows", error.detail)
            await node.stop()
        self.assertEqual(list(self.tls_root.endpoints), [])

    async def test_security_certified_speech(self) -> None:
        """
        Who has a certificate for one id, and lets somebody register below it, speaks for nobody
        else: neither messages nor commands of that one are taken, nor what is told of it.

        So it is also when a registry has a record that says who is below it. A proxy whose
        certificate names the range of those below it does speak for them.
        """
        await self.start_root(
            topology="records", records=[{"id": CHILD + 2, "upstream": CHILD}]
        )
        told = self.what_is_told([self.tls_root])
        self.tls_root.on_request(lambda source, payload: payload)
        upstream = str(self.tls_root.addresses[0])
        how: dict[str, Any] = {"upstream": upstream, "listen": ["ipv4://127.0.0.1:0"]}
        child = self.node(f"{CHILD:#x}/0", topology="records", **how)
        proxy = self.node(f"{PROXY:#x}/8", topology="records", **how)
        await child.start()
        await proxy.start()
        self.assertEqual(await child.request(ROOT, b"mine"), b"mine")
        certified = await self.below(proxy, PROXY + 1)
        self.assertEqual(await certified.request(ROOT, b"theirs"), b"theirs")
        self.assertTrue(await certified.command(ROOT, b"atbus.ping"))
        self.assertEqual(self.tls_root.next_hop(PROXY + 1).id, PROXY)
        for forged in (CHILD + 1, CHILD + 2):
            below = await self.below(child, forged)
            error = await error_of(below.request(ROOT, b"forged"), Undeliverable)
            self.assertIs(error.status, Status.SOURCE_REFUSED)
            # Who has brought it is told, whether there is a way to it or not.
            error = await error_of(below.command(ROOT, b"atbus.ping"), Undeliverable)
            self.assertIs(error.status, Status.SOURCE_REFUSED)
        # Who was above somebody may speak for him a while longer: not so who never might.
        records = [{"id": CHILD + 2, "upstream": PROXY}]
        reconfigure(self.tls_root, self.tls_root.config.replace(records=records))
        error = await error_of(below.request(ROOT, b"forged"), Undeliverable)
        self.assertIs(error.status, Status.SOURCE_REFUSED)
        counted = self.tls_root.statistics
        self.assertEqual(counted.refused, {Status.SOURCE_REFUSED: 5})
        self.assertEqual(set(counted.route_words_ignored), {Status.SOURCE_REFUSED})
        self.assertNotIn(CHILD + 1, self.tls_root._parts.context.table.registry)
        [line] = [each for each in told if "certificate does not name" in each]
        self.assertIn(f"tells of {CHILD + 1:#x}", line)

    async def test_security_denied_tools(self) -> None:
        """A tool that shows the certificate of a denied node is refused, and cut off meanwhile."""
        await self.start_root(denied=[hex(CHILD)])
        upstream = str(self.tls_root.addresses[0])
        tool = self.node(f"{CHILD:#x}/0", id=0, upstream=upstream)
        error = await error_of(tool.start(), RegistrationRefused)
        self.assertIs(error.status, Status.NOT_ADMITTED)
        self.assertIn("denied", error.detail)
        await tool.stop()
        other = self.node(f"{CHILD + 1:#x}/0", id=0, upstream=upstream)
        await other.start()
        self.assertTrue(await other.command(ROOT, b"atbus.ping"))
        ended: Deferred[object] = Deferred()
        self.tls_root.events.on_close_connection.observe(lambda *_: ended.callback(None))
        denied = [hex(CHILD), hex(CHILD + 1)]
        reconfigure(self.tls_root, self.tls_root.config.replace(denied=denied))
        await ended

    async def below(self, upstream: Node, bus_id: int) -> Node:
        """Start a node without any certificate below another one."""
        address = str(upstream.addresses[0])
        node = Node(NodeConfig(id=bus_id, topology="records", upstream=address), self.reactor)
        self.addCleanup(node.stop)
        await node.start()
        return node


class UserTests(SocketTests):
    """Somebody else on this host found the socket, or took its place, or many come at once."""

    async def test_security_local_storms(self) -> None:
        """
        However many come to a unix socket at once, no more begin than may, and the others wait:
        each registers at its first attempt. Who says nothing gives way to them.
        """
        self.patch(bounds, "LOCAL_SILENT_SECONDS", 0.01)
        path = str(self.unix_address())
        how: dict[str, Any] = {"handshake_seconds": 600.0}
        root = Node(
            NodeConfig(id=ROOT, listen=[path], subnets=[(0, 16)], pending_handshakes=4, **how),
            self.reactor,
        )
        self.addCleanup(root.stop)
        await root.start()
        silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for one in silent:
            self.addCleanup(one.close)
            one.connect(path.removeprefix("unix://"))
        await self.start_many(path, 1, **how)
        # Of the silent ones as many are closed as places are needed.
        self.assertEqual(set(root.statistics.closed), {Status.OVERLOADED})
        for one in silent:
            one.close()
        # However busy this machine is, these are not silent.
        self.patch(bounds, "LOCAL_SILENT_SECONDS", 600.0)
        ended = root.statistics.closed[Status.OVERLOADED]
        await self.start_many(path, 30, **how)
        self.assertEqual(len(root.endpoints), 31)
        self.assertEqual(root.statistics.closed[Status.OVERLOADED], ended)
        self.assertEqual(root.statistics.turned_away, 0)

    async def start_many(self, upstream: str, count: int, **how: Any) -> None:
        """Start nodes, all at once."""
        first = CHILD + 100 * count
        nodes = [
            Node(NodeConfig(id=first + number, upstream=upstream, **how), self.reactor)
            for number in range(count)
        ]
        for node in nodes:
            self.addCleanup(node.stop)
        await gatherResults([node.start() for node in nodes])

    async def test_security_users_of_sockets(self) -> None:
        """The kernel is asked who is at the other end, by who listens and by who dials."""
        scheme = UnixScheme(self.reactor, ChannelOptions(), self.timers)
        here, there = (Address(Scheme.UNIX, str(self.directory / name)) for name in "ab")
        stranger = mock.Mock(size=unix._CREDENTIALS.size)
        stranger.unpack.return_value = (77, 1001, 1001)
        self.patch(unix, "_CREDENTIALS", stranger)
        self.patch(os, "geteuid", lambda: 1000)
        # A stranger dials; then one listens.
        reception, receiver = Reception(), RecordingReceiver()
        with mock.patch.object(unix, "_greet_listener", see_nobody):
            self.addCleanup((await scheme.listen(here, reception)).stop)
            await scheme.connect(here, receiver)
            await receiver.end()
        self.assertEqual(reception.peers, [])
        with mock.patch.object(unix, "_greet_dialler", see_nobody):
            self.addCleanup((await scheme.listen(there, reception)).stop)
            error = await error_of(scheme.connect(there, RecordingReceiver()), ConnectFailed)
            self.assertIn("belongs to user 1001", error.detail)
            await reception.until(lambda: bool(reception.receivers))
            await reception.receivers[0].end()


def see_nobody(_transport: object) -> str:
    """Take whoever is at the other end for one of ours."""
    return "unix:pid=77,uid=1000"
