"""A root that listens with TLS, and what is told and counted when somebody is refused."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from atbus.channels.authority import Issued
from atbus.handshake.certificate import parse_identity
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.channels.test_tls import TlsTests

ROOT, CHILD = 0x12340000, 0x12340101

Row = Callable[[], Awaitable[object]]


class NodesCase(TlsTests):
    """Has a root that listens with TLS, and other nodes with certificates."""

    timeout = 600
    tls_root: Node

    def node(self, certified: str, issued: Issued | None = None, **how: Any) -> Node:
        """
        Make a node.

        :param certified: The range that its certificate names; its first id is the node's, unless
            told otherwise.
        :param issued: The certificate; else one is made.
        """
        identity = parse_identity(f"atbus://test/{certified}")
        options = self.files.options(issued or self.files.issue(identity))
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

    async def start_root(self, **how: Any) -> None:
        """Start the root."""
        listen, subnets = ["tls+ipv4://127.0.0.1:0"], [(0, 16)]
        self.tls_root = self.node(f"{ROOT:#x}/16", id=ROOT, listen=listen, subnets=subnets, **how)
        await self.tls_root.start()

    def child(self, bus_id: int, issued: Issued | None = None) -> Node:
        """Make a node below the root."""
        return self.node(f"{bus_id:#x}/0", issued, upstream=str(self.tls_root.addresses[0]))

    def counted(self, nodes: Iterable[Node]) -> Counter[str]:
        """Give all that some nodes have counted of refusals."""
        counts: Counter[str] = Counter()
        for node in nodes:
            refused, closed = node.statistics.tls_refused, node.statistics.closed
            counts.update({f"TLS {fault.name}": count for fault, count in refused.items()})
            counts.update({f"closed {status.name}": count for status, count in closed.items()})
        return counts

    def what_is_told(self, nodes: Iterable[Node]) -> list[str]:
        """Collect what is logged, and what some nodes tell of refusals."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def log(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        for node in nodes:
            node.events.on_error.observe(lambda status, why: lines.append(f"{status.name}: {why}"))
            node.events.on_tls_refused.observe(
                lambda address, peer, fault, why: lines.append(
                    f"{fault.name} from {peer} at {address}: {why}"
                )
            )
        return lines

    async def refuse(self, rows: Mapping[str, Row], *more: Node) -> None:
        """
        Have conversations that come to nothing, beside a good neighbor.

        Each is refused once, for the reason that is named, which is logged and counted; the
        neighbor notices nothing.

        :param rows: The conversations; each name is the reason, and perhaps more words.
        :param more: Nodes besides the root that refuse.
        """
        self.tls_root.on_request(lambda _source, payload: payload)
        good = self.child(CHILD)
        await good.start()
        kept = dict(good.endpoints)
        nodes = (self.tls_root, *more)
        lines = self.what_is_told(nodes)
        for name, row in rows.items():
            kind, reason = name.split()[:2]
            before = self.counted(nodes)
            del lines[:]
            await row()
            while self.counted(nodes) == before:
                await deferLater(self.reactor, 0.01)
            self.assertEqual(self.counted(nodes) - before, Counter([f"{kind} {reason}"]), name)
            self.assertTrue(any(reason in line for line in lines), (name, lines))
            self.assertEqual(await good.request(ROOT, b"still there"), b"still there")
        self.assertEqual((dict(good.endpoints), list(self.tls_root.endpoints)), (kept, [CHILD]))


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
