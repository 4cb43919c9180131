"""TLS sessions: what a second connection to the same listener saves, and what it never skips."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from atbus import limits
from atbus.channels import tls
from atbus.channels.credentials import Credentials
from atbus.channels.interfaces import IChannelListener
from atbus.channels.tls import TlsStreamProtocol
from atbus.errors import ConnectFailed
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from tests.channels.test_tls import TlsTests


def is_resumed(channel: Any) -> bool:
    """Ask OpenSSL whether a connection began with a session of an earlier one."""
    assert isinstance(channel, TlsStreamProtocol)
    handle = channel._transport.getHandle()
    library: Any = SSL
    return bool(library._lib.SSL_session_reused(handle._ssl))


class SessionTests(TlsTests):
    """A listener, and somebody who dials it several times."""

    async def met(
        self,
        listener: IChannelListener,
        ours: Credentials,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> tuple[bool, bytes]:
        """
        Connect, hear a frame, and part.

        :param meanwhile: What happens while the connection is there.
        :returns: Whether a session was resumed, and what the two sides alone know.
        """
        reception, receiver = self.reception, RecordingReceiver()
        before = len(reception.receivers)
        channel = await self.scheme_of(ours).connect(listener.address, receiver)
        guest = (await reception.guests(before + 1))[before]
        guest.channel.send([frame_of(5)])
        await receiver.received(1)
        self.assertEqual(is_resumed(channel), is_resumed(guest.channel))
        self.assertEqual(channel.exporter, guest.channel.exporter)
        self.assertEqual(str(guest.channel.identity), str(ours.identity))
        resumed = is_resumed(channel)
        meanwhile()
        channel.close()
        await receiver.end()
        await guest.end()
        return resumed, channel.exporter

    async def begin(self, theirs: Credentials) -> IChannelListener:
        """Listen with these credentials."""
        self.reception = Reception()
        return await self.listen_at(self.scheme_of(theirs), self.reception)

    async def test_the_next_connection_resumes(self) -> None:
        """Who comes again is known again, without its certificate; secrets are new each time."""
        ours = self.files.credentials()
        listener = await self.begin(self.files.credentials())
        met = [await self.met(listener, ours) for _ in range(3)]
        self.assertEqual([resumed for resumed, _ in met], [False, True, True])
        self.assertEqual(len({exporter for _, exporter in met}), 3)
        self.assertFalse((await self.met(listener, self.files.credentials()))[0])

    async def test_new_files_end_sessions(self) -> None:
        """When the files of either side change, certificates are judged anew."""
        issued = self.files.issue()
        options = self.files.options(issued)
        lists = self.directory / "revoked.pem"
        lists.write_bytes(self.files.authority.revoke([], timedelta(days=1)))
        theirs = self.files.credentials(revoked=str(lists))
        ours = Credentials(options)
        listener = await self.begin(theirs)
        await self.met(listener, ours)
        self.assertTrue((await self.met(listener, ours))[0])
        lists.write_bytes(self.files.authority.revoke([], timedelta(days=2)))
        self.assertTrue(theirs.refresh())
        self.assertFalse((await self.met(listener, ours))[0])
        lists.write_bytes(self.files.authority.revoke([issued.certificate], timedelta(days=3)))
        receiver = RecordingReceiver()
        try:
            await self.scheme_of(ours).connect(listener.address, receiver)
        except ConnectFailed:
            return
        await receiver.end()
        self.assertEqual(len(self.reception.receivers), 3)

    async def test_new_files_of_who_dials(self) -> None:
        """Who believes others now than when a session began does not resume it."""
        ours = self.files.credentials()
        listener = await self.begin(self.files.credentials())
        await self.met(listener, ours)
        self.assertTrue((await self.met(listener, ours))[0])
        self.renew(ours)
        self.assertFalse((await self.met(listener, ours))[0])

    async def test_new_files_while_connected(self) -> None:
        """
        A connection that was there when the files changed and ends later leaves no session, and the
        next one is made by the new files.
        """
        ours = self.files.credentials()
        listener = await self.begin(self.files.credentials())
        await self.met(listener, ours, lambda: self.renew(ours))
        met = [await self.met(listener, ours) for _ in range(2)]
        self.assertEqual([resumed for resumed, _ in met], [False, True])

    def renew(self, ours: Credentials) -> None:
        """Write a new certificate over that of somebody, who uses it from now on."""
        paths = Path(ours.options.certificate), Path(ours.options.key)
        for path in paths:
            path.unlink()
        self.files.issue().write(*paths)
        self.assertTrue(ours.refresh())

    async def test_what_has_expired_is_not_resumed(self) -> None:
        """A session does not outlive the certificate that it began with."""
        ours = self.files.credentials(close_on_expiry=False)
        listener = await self.begin(self.files.credentials(close_on_expiry=False))
        await self.met(listener, ours)
        self.patch(tls, "seconds_until", lambda _moment: -1.0)
        connecting = self.scheme_of(ours).connect(listener.address, RecordingReceiver())
        refused = error_of(connecting, ConnectFailed)
        error = await self.in_time(refused, "a session of who has expired is resumed")
        self.assertIn("it has expired", error.detail)

    async def test_what_is_revoked_is_not_resumed(self) -> None:
        """A session does not outlive the word that its certificate is revoked."""
        ours = self.files.credentials()
        listener = await self.begin(self.files.credentials())
        await self.met(listener, ours)
        self.patch(ours, "is_revoked", lambda _peer: True)
        connecting = self.scheme_of(ours).connect(listener.address, RecordingReceiver())
        refused = error_of(connecting, ConnectFailed)
        error = await self.in_time(refused, "a session of who is revoked is resumed")
        self.assertIn("it has been revoked", error.detail)

    def test_how_many_are_kept(self) -> None:
        """Of the listeners that were dialed the last ones are known again, as many as is said."""
        ours = self.files.credentials()
        for number in range(limits.PENDING_HANDSHAKES_MAX + 5):
            ours.remember_session(str(number), number)
        ours.remember_session("none", None)
        self.assertIsNone(ours.session_for("4"))
        self.assertEqual(ours.session_for("5"), 5)
        self.assertIsNone(ours.session_for("none"))
