"""Conversations over TLS that must not come to anything, each refused for a reason of its own."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from atbus import limits
from atbus.channels.authority import Issued
from atbus.errors import ConnectFailed, RegistrationRefused
from atbus.handshake.certificate import parse_identity
from atbus.testing.examples import example_messages
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from atbus.wire import codec
from atbus.wire.messages import MessageType
from tests.channels.certificates import DAY
from tests.channels.test_tls import say
from tests.security.nodes import CHILD, ROOT, NodesCase, Row, stranger

SIBLING = CHILD + 1
DENIED = CHILD + 2


class MatrixTests(NodesCase):
    """A root with a good neighbor, and those who come with something that is not good."""

    async def test_security_bad_tls(self) -> None:
        """
        Each of twelve bad conversations is refused before its time is over, for a reason that
        nothing else is refused for, in the log and in a counter; who is good hears nothing of it.
        """
        revoked = self.files.issue(parse_identity(f"atbus://test/{SIBLING:#x}/0"))
        lists = self.directory / "revoked.pem"
        lists.write_bytes(self.files.authority.revoke([revoked.certificate], timedelta(days=1)))
        denied = [f"{DENIED:#x}"]
        # Who is not slow would not be noticed then.
        self.patch(limits, "HANDSHAKE_SECONDS", 1000.0)
        await self.start_root(tls_revoked=str(lists), denied=denied)
        self.plain_root = self.node(f"{ROOT + 1:#x}/0", listen=["ipv4://127.0.0.1:0"])
        await self.plain_root.start()
        rows = self.rows(revoked)
        self.assertEqual(len(rows), 12)
        await self.refuse(rows, self.plain_root)

    def rows(self, revoked: Issued) -> dict[str, Row]:
        """Name the conversations by what they are refused for."""
        files = self.files
        other = files.new_authority("other")
        server_only: dict[str, Any] = {"purposes": [ExtendedKeyUsageOID.SERVER_AUTH]}
        # No node would begin with that.
        foreign, uri = stranger(), f"atbus://other/{SIBLING:#x}/0"
        bad = files.options(files.issue(uris=[uri]))
        foreign.load_cert_chain(bad.certificate, bad.key)
        hello = codec.encode(example_messages()[MessageType.HELLO])
        port, plain_port = (node.addresses[0].port for node in (self.tls_root, self.plain_root))
        return {
            "TLS EXPIRED": lambda: self.dial(files.issue(lifetime=timedelta(minutes=-1))),
            "TLS NOT_YET_VALID": lambda: self.dial(files.issue(begins_in=DAY / 2)),
            "TLS AUTHORITY": lambda: self.dial(files.issue(authority=other)),
            "TLS REVOKED": lambda: self.dial(revoked),
            "TLS PURPOSE": lambda: self.dial(files.issue(**server_only)),
            "TLS NO_CERTIFICATE": lambda: deferToThread(say, port, b"", stranger()),
            "TLS VERSION": lambda: deferToThread(say, port, b"", stranger(ssl.TLSVersion.TLSv1_1)),
            "TLS NOT_TLS": lambda: deferToThread(say, port, hello, None),
            "closed NOT_ATBUS": lambda: deferToThread(say, plain_port, frame_of(0), stranger()),
            "TLS IDENTITY": lambda: deferToThread(say, port, b"", foreign),
            "closed NOT_ADMITTED": self.come_though_denied,
            "TLS HOST": self.dial_a_wrong_name,
        }

    async def test_security_refused_by_tls(self) -> None:
        """Whose certificate is not taken is told why, once, and dials no more for half a minute."""
        await self.start_root()
        other = self.files.new_authority("other")
        identity = parse_identity(f"atbus://test/{CHILD:#x}/0")
        child = self.child(CHILD, self.files.issue(identity, authority=other))
        told: Deferred[str] = Deferred()
        child.events.on_error.observe(lambda status, why: told.callback(f"{status.name} {why}"))
        starting = child.start()
        starting.addErrback(lambda _: None)
        why = await told
        self.assertRegex(why, "^CONNECT_FAILED .*come to nothing: .*unknown ca$")
        await deferLater(self.reactor, 0)
        upstream = child._parts.running.upstream
        assert upstream is not None
        assert upstream._call is not None
        wait_seconds = upstream._call.getTime() - child._parts.context.now
        self.assertGreater(wait_seconds, limits.REFUSED_SECONDS / 2)
        await child.stop()
        await starting

    # The conversations.

    async def dial(self, issued: Issued) -> None:
        """Dial with a certificate, and wait for the end."""
        receiver = RecordingReceiver()
        scheme = self.scheme_of(self.files.credentials(issued))
        connecting = scheme.connect(self.tls_root.addresses[0], receiver)
        try:
            await connecting
        except ConnectFailed:
            return
        await receiver.end()

    async def come_though_denied(self) -> None:
        """Register an id that is on the list of those who are denied."""
        node = self.child(DENIED)
        await error_of(node.start(), RegistrationRefused)
        await node.stop()

    async def dial_a_wrong_name(self) -> None:
        """Have the root dial somebody whose certificate is issued for another name."""
        elsewhere = self.files.credentials(self.files.issue(hosts=["elsewhere.example"]))
        listener = await self.listen_at(self.scheme_of(elsewhere), Reception())
        await error_of(self.tls_root.connect(str(listener.address)), ConnectFailed)
