"""A client that takes too little, at real nats-servers and at a gateway: what it can still read."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.nats.sockets import SocketCase, Talker
from tests.nats.transcripts import EOF, QUIET

PENDING_BYTES = 200_000
#: What is published again and again: something long, and the question whether anybody gets it.
SAID = b"PUB a 90000\r\n" + b"x" * 90_000 + b"\r\nPUB a r 0\r\n\r\n"
SENT = b"MSG a 1 90000\r\n" + b"x" * 90_000 + b"\r\nMSG a 1 r 0\r\n\r\n"


class SlowTests(SocketCase):
    """Clients that read nothing, on real sockets."""

    def serves(self, binary: str | None) -> int:
        """Start a server; gives its port."""
        require_nats_server(binary)
        config = Path(self.mktemp())
        limits = f"max_pending: {PENDING_BYTES}\nmax_payload: {PENDING_BYTES}\n"
        config.write_text(limits + 'write_deadline: "60s"\n')
        server = NatsServer("-c", str(config), binary=binary)
        server.start()
        self.addCleanup(server.stop)
        return server.port

    def test_what_was_sent_is_read(self) -> Deferred[None]:
        """At both servers and here it gets what its socket has, and the end, and is not reset."""
        return Deferred.fromCoroutine(self.what_was_sent())

    async def what_was_sent(self) -> None:
        gateway = await self.gateway(pending_bytes_max=PENDING_BYTES, write_seconds=60.0)
        address = gateway.address()
        assert address is not None
        for port in (self.serves(BINARY), self.serves(NEWER_BINARY), address[1]):
            slow, publisher = await self.talker(port), await self.talker(port)
            handle = slow.transport.getHandle()
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            for each in (slow, publisher):
                await each.hears(b" \r\n")
                each.says(QUIET + b"SUB a 1\r\n" * (each is slow) + b"PING\r\n")
                await each.hears(b"PONG\r\n")
            slow.transport.pauseProducing()
            await self.overwhelm(publisher)
            slow.transport.resumeProducing()
            heard = await slow.hears(EOF)
            self.assertTrue(slow.ended_well)
            whole, rest = divmod(len(heard) - len(EOF), len(SENT))
            self.assertTrue(whole > 0, whole)
            self.assertTrue(heard == SENT * whole + SENT[:rest] + EOF)

    async def overwhelm(self, publisher: Talker) -> None:
        """Publish until the only one who would get it is gone, as a question shows."""
        for _ in range(100_000):
            publisher.says(b"SUB r 2\r\n" + SAID + b"UNSUB 2\r\nPING\r\n")
            if b"503" in await publisher.hears(b"PONG\r\n"):
                return
        raise AssertionError("nobody is too slow")
