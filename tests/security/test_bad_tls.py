"""Conversations over TLS that must not come to anything, each refused for a reason of its own."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from atbus import limits
from atbus.channels.authority import Issued
from atbus.errors import ConnectFailed, RegistrationRefused
from atbus.handshake.certificate import parse_identity
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.testing.examples import example_messages
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from atbus.wire import codec
from atbus.wire.messages import MessageType
from tests.channels.certificates import DAY
from tests.channels.test_tls import TlsTests, say

ROOT, CHILD = 0x12340000, 0x12340101
SIBLING = CHILD + 1
DENIED = CHILD + 2

Row = Callable[[], Awaitable[object]]


class MatrixTests(TlsTests):
    """A root with a good neighbor, and those who come with something that is not good."""

    timeout = 600

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
        self.tls_root = self.node(
            f"{ROOT:#x}/16",
            id=ROOT,
            subnets=[(0, 16)],
            listen=["tls+ipv4://127.0.0.1:0"],
            tls_revoked=str(lists),
            denied=denied,
        )
        self.plain_root = self.node(f"{ROOT + 1:#x}/0", listen=["ipv4://127.0.0.1:0"])
        await self.tls_root.start()
        await self.plain_root.start()
        self.tls_root.on_request(lambda _source, payload: payload)
        good = self.child(CHILD)
        await good.start()
        kept = dict(good.endpoints)
        lines = self.what_is_told()
        rows = self.rows(revoked)
        self.assertEqual(len(rows), 12)
        for expected, row in rows.items():
            before = self.counted()
            del lines[:]
            await row()
            while self.counted() == before:
                await deferLater(self.reactor, 0.01)
            self.assertEqual(self.counted() - before, Counter([expected]))
            self.assertTrue(any(expected.split()[1] in line for line in lines), lines)
            self.assertEqual(await good.request(ROOT, b"still there"), b"still there")
        self.assertEqual((dict(good.endpoints), list(self.tls_root.endpoints)), (kept, [CHILD]))

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

    def node(self, certified: str, **how: Any) -> Node:
        """Make a node whose certificate names a range; its id is that, unless told otherwise."""
        identity = parse_identity(f"atbus://test/{certified}")
        options = self.files.options(self.files.issue(identity))
        config = NodeConfig(
            id=how.pop("id", identity.subnet.first),
            tls_certificate=options.certificate,
            tls_key=options.key,
            tls_authorities=options.authorities,
            tls_realm="test",
            **how,
        )
        node = Node(config, self.reactor)
        self.addCleanup(node.stop)
        return node

    def child(self, bus_id: int) -> Node:
        """Make a node below the root."""
        return self.node(f"{bus_id:#x}/0", upstream=str(self.tls_root.addresses[0]))

    def counted(self) -> Counter[str]:
        """Give all that the two nodes have counted of refusals."""
        counts: Counter[str] = Counter()
        for node in (self.tls_root, self.plain_root):
            refused, closed = node.statistics.tls_refused, node.statistics.closed
            counts.update({f"TLS {fault.name}": count for fault, count in refused.items()})
            counts.update({f"closed {status.name}": count for status, count in closed.items()})
        return counts

    def what_is_told(self) -> list[str]:
        """Collect what is logged, and what the two nodes tell of refusals."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def log(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        for node in (self.tls_root, self.plain_root):
            node.events.on_error.observe(lambda status, why: lines.append(f"{status.name}: {why}"))
        return lines

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


def stranger(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Make what a program has that shows no certificate, and does this version at best."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["atbus/1"])
    if version is not ssl.TLSVersion.TLSv1_3:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    return context
