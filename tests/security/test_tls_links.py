"""Attacks on TLS links, with real sockets."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import cast

from twisted.internet.threads import deferToThread

from atbus import limits
from atbus.channels import tls
from atbus.channels.authority import Issued
from atbus.channels.credentials import Credentials
from atbus.channels.interfaces import IChannelListener
from atbus.channels.tls_fault import TlsFault, TlsRefused
from atbus.channels.tls_files import TlsOptions
from atbus.errors import ConnectFailed, Status
from atbus.handshake import bounds
from atbus.handshake.certificate import parse_identity
from atbus.node import doorway
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from tests.channels.certificates import DAY, ChainFiles, renewed
from tests.channels.test_tls import TlsTests, say
from tests.channels.test_tls_sessions import is_resumed


class LinkTests(TlsTests):
    async def test_security_old_tls(self) -> None:
        """Who cannot do TLS 1.3 gets no connection, unless that is configured."""
        for allowed in (False, True):
            reception = Reception()
            credentials = self.files.credentials(allow_tls_1_2=allowed)
            listener = await self.listen_at(self.scheme_of(credentials), reception)
            why = await deferToThread(refusal_of, listener.address.port)
            self.assertEqual("VERSION" in why, not allowed, why)
            self.assertEqual(reception.peers, [])

    async def test_security_revoked_authority(self) -> None:
        """
        Who is vouched for by an authority that is revoked loses his links, those that resumed a
        session as well, and gets no other. Nobody needs a list about authorities.
        """
        files, lists = ChainFiles(self.directory), self.directory / "revoked.pem"
        lists.write_bytes(files.authority.revoke([], DAY))
        ours, theirs = files.credentials(revoked=str(lists)), files.credentials()
        reception = Reception()
        listener = await self.listen_at(self.scheme_of(ours), reception)
        links = [
            await self.meet_again(listener, reception, theirs),
            await self.meet(listener, reception, files.credentials()),
        ]
        lists.write_bytes(lists.read_bytes() + files.top.revoke([files.authority.certificate], DAY))
        self.assertTrue(ours.refresh())
        for guest, receiver in links:
            status, detail = await self.in_time(guest.end(), "whom nobody vouches for stays")
            self.assertEqual((status, "revoked" in detail), (Status.ACCESS_DENIED, True))
            await receiver.end()
        self.assertEqual((await self.outcome(files.credentials(), ours))[1], "")
        self.assertIn("it has been revoked", (await self.outcome(ours, files.credentials()))[0])

    async def test_security_removed_authority(self) -> None:
        """
        Who is vouched for by an authority that is not believed any more loses his links, those that
        resumed a session as well, gets no other, and does not slip in while the files change. Who
        has an authority of which there is another certificate for the same key keeps them.
        """
        other, believed = self.files.new_authority("other"), self.directory / "believed.pem"
        believed.write_bytes(self.files.authority.certificate + other.certificate)
        ours = self.files.credentials(authorities=str(believed))
        theirs = self.files.credentials(self.files.issue(authority=other))
        reception = Reception()
        listener = await self.listen_at(self.scheme_of(ours), reception)
        links = [
            await self.meet_again(listener, reception, theirs),
            await self.meet(
                listener, reception, self.files.credentials(self.files.issue(authority=other))
            ),
        ]
        good, receiver_of_good = await self.meet(listener, reception, self.files.credentials())
        channel = cast("tls.TlsStreamProtocol", links[1][0].channel)
        connection = channel._transport.getHandle()
        believed.write_bytes(renewed(self.files.authority))
        self.assertTrue(ours.refresh())
        for guest, receiver in links:
            status, detail = await self.in_time(guest.end(), "whom nobody vouches for stays")
            self.assertEqual(status, Status.ACCESS_DENIED)
            self.assertIn("is not believed any more", detail)
            await receiver.end()
        self.assertEqual(good.ends, [])
        good.channel.abort("seen enough")
        await receiver_of_good.end()
        self.assertIn("refuses us", (await self.outcome(theirs, ours))[0])
        error: TlsRefused = self.assertRaises(TlsRefused, channel._factory.examine, connection)
        self.assertIs(error.fault, TlsFault.AUTHORITY)

    async def test_security_worse_certificate(self) -> None:
        """
        A certificate that others refuse does not take the place of a good one, so nobody is kept
        out for it; and it does not keep in who is revoked, no more than a file that is damaged.
        """
        lists = self.directory / "revoked.pem"
        lists.write_bytes(self.files.authority.revoke([], DAY))
        ours, reception = self.files.credentials(revoked=str(lists)), Reception()
        listener = await self.listen_at(self.scheme_of(ours), reception)
        expired = self.files.issue(lifetime=timedelta(minutes=-1))
        other = self.files.issue(authority=self.files.new_authority("other"))
        revoked: list[bytes] = []
        for worse in (expired, other, Issued(b"damaged", b"damaged")):
            overwrite(ours.options, worse)
            issued = self.files.issue()
            guest, receiver = await self.meet(listener, reception, self.files.credentials(issued))
            self.assertTrue(ours.faults)
            revoked.append(issued.certificate)
            lists.write_bytes(self.files.authority.revoke(revoked, DAY))
            self.assertTrue(ours.refresh())
            status, detail = await self.in_time(guest.end(), "who is revoked keeps its link")
            self.assertEqual((status, "revoked" in detail), (Status.ACCESS_DENIED, True))
            await receiver.end()

    async def test_security_forgotten_authority(self) -> None:
        """A resumed link of which it is forgotten who vouched for it ends when the files change."""
        self.patch(limits, "ENDPOINTS_MAX", 0)
        files = ChainFiles(self.directory)
        ours, theirs = files.credentials(), files.credentials()
        reception = Reception()
        listener = await self.listen_at(self.scheme_of(ours), reception)
        guest, receiver = await self.meet_again(listener, reception, theirs)
        known, other = await self.meet(listener, reception, files.credentials())
        os.utime(ours.options.authorities, (0, 0))
        self.assertTrue(ours.refresh())
        status, detail = await self.in_time(guest.end(), "a link that may be revoked stays")
        self.assertEqual((status, "asked again" in detail), (Status.ACCESS_DENIED, True))
        await receiver.end()
        self.assertEqual(known.ends, [])
        known.channel.abort("seen enough")
        await other.end()

    async def meet(
        self, listener: IChannelListener, reception: Reception, credentials: Credentials
    ) -> tuple[RecordingReceiver, RecordingReceiver]:
        """Connect, and give the two ends: the listener's, and that of who has dialed."""
        receiver, before = RecordingReceiver(), len(reception.receivers)
        await self.scheme_of(credentials).connect(listener.address, receiver)
        guest = (await reception.guests(before + 1))[before]
        # What shortens the next handshake comes no later than the first frame.
        guest.channel.send([frame_of(5)])
        await receiver.received(1)
        return guest, receiver

    async def meet_again(
        self, listener: IChannelListener, reception: Reception, credentials: Credentials
    ) -> tuple[RecordingReceiver, RecordingReceiver]:
        """Connect, part, and connect with what the first connection has left."""
        for one in await self.meet(listener, reception, credentials):
            one.channel.close()
            await one.end()
        guest, receiver = await self.meet(listener, reception, credentials)
        self.assertTrue(is_resumed(guest.channel))
        return guest, receiver

    async def test_security_expired_or_revoked(self) -> None:
        """
        A link ends when its certificate is revoked, or is over, though it was good; and none begins
        by a session that was good.
        """
        self.assertTrue(NodeConfig().tls_close_on_expiry)
        # Of a certificate that is over, what is left is looked at so often.
        self.patch(limits, "CERTIFICATE_LOOK_SECONDS", 0.05)
        lists = self.directory / "revoked.pem"
        lists.write_bytes(self.files.authority.revoke([], timedelta(days=1)))
        ours = self.files.credentials(revoked=str(lists))
        issued = self.files.issue()
        reception = Reception()
        listener = await self.listen_at(self.scheme_of(ours), reception)
        receiver = RecordingReceiver()
        await self.scheme_of(self.files.credentials(issued)).connect(listener.address, receiver)
        [guest] = await reception.guests(1)
        lists.write_bytes(self.files.authority.revoke([issued.certificate], timedelta(days=1)))
        self.assertTrue(ours.refresh())
        status, detail = await self.in_time(guest.end(), "who is revoked keeps its link")
        self.assertEqual((status, "revoked" in detail), (Status.ACCESS_DENIED, True))
        await receiver.end()
        # This side does not look, so it is the listener that does.
        good, receiver = self.files.credentials(close_on_expiry=False), RecordingReceiver()
        await self.scheme_of(good).connect(listener.address, receiver)
        guest = (await reception.guests(2))[1]
        # Only what has been open for a while shows that it is looked at again.
        guest.channel.send([frame_of(5)])
        await receiver.received(1)
        self.patch(tls, "seconds_until", lambda _moment: -1.0)
        status, detail = await self.in_time(guest.end(), "who has expired keeps its link")
        self.assertEqual((status, "expired" in detail), (Status.ACCESS_DENIED, True))
        await receiver.end()
        connecting = self.scheme_of(good).connect(listener.address, RecordingReceiver())
        error = error_of(connecting, ConnectFailed)
        refused = await self.in_time(error, "a session of who has expired is resumed")
        self.assertIn("it has expired", refused.detail)

    async def test_security_tls_storms(self) -> None:
        """
        Who begins TLS handshakes is counted before OpenSSL is asked for anything: after thirty for
        nothing his connections are closed unread; of all so many may come in a second.
        """
        # Whoever is on this host is not counted by address, so this one says that he is not.
        self.patch(doorway, "origin_of", lambda peer: peer and "192.0.2.1")
        files = self.files.options(self.files.issue(parse_identity("atbus://test/0x10000/16")))
        config = NodeConfig(
            id=0x10000,
            listen=["tls+ipv4://127.0.0.1:0"],
            tls_certificate=files.certificate,
            tls_key=files.key,
            tls_authorities=files.authorities,
            tls_realm="test",
        )
        root = Node(config, self.reactor)
        self.addCleanup(root.stop)
        await root.start()
        errors: list[str] = []
        root.events.on_error.observe(lambda _status, detail: errors.append(detail))
        port = root.addresses[0].port
        for _ in range(bounds.BAD_HANDSHAKES_PER_MINUTE):
            await deferToThread(say, port, b"GET / HTTP/1.0\r\n\r\n", None)
        self.assertEqual(errors, [])
        self.assertEqual(await deferToThread(say, port, b"GET / HTTP/1.0\r\n\r\n", None), b"")
        self.assertEqual(len(errors), 1)
        self.assertIn("192.0.2.1 has begun too many TLS handshakes for nothing", errors[0])
        door, address = root._parts.dialer.doorway, root.addresses[0]
        let_in = sum(door.lets_begin(address, "") for _ in range(10_000))
        self.assertIn(let_in, range(1, 10_000))
        self.assertIn("connections in a second", errors[-1])
        self.assertEqual(root.statistics.turned_away, 1 + 10_000 - let_in)


def overwrite(options: TlsOptions, issued: Issued) -> None:
    """Write a certificate and its key over those of a node."""
    Path(options.certificate).write_bytes(issued.certificate)
    Path(options.key).write_bytes(issued.key)


def refusal_of(port: int | None) -> str:
    """Connect with TLS 1.2 at most and no certificate; say what was wrong with that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["atbus/1"])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
            context.wrap_socket(plain).close()
    except ssl.SSLError as error:
        return error.reason
    return ""
