"""Clients of a gateway over real sockets, in the clear."""

from __future__ import annotations

import socket

from twisted.internet.defer import Deferred

from tests.nats.sockets import SocketCase
from tests.nats.transcripts import QUIET

#: More than a socket takes at once, in messages of a size that does not divide it.
COUNT, SIZE = 2_000, 4_999


class SlowTests(SocketCase):
    """A client that does not read for a while."""

    def test_nothing_is_lost_or_out_of_order(self) -> Deferred[None]:
        """What its socket does not take waits for it, and comes whole and in order."""
        return Deferred.fromCoroutine(self.nothing_is_lost())

    async def nothing_is_lost(self) -> None:
        gateway = await self.gateway()
        _, port = gateway.address() or ("", 0)
        slow, publisher = await self.talker(port), await self.talker(port)
        for each in (slow, publisher):
            each.says(QUIET + b"SUB a 1\r\nPING\r\n" if each is slow else QUIET + b"PING\r\n")
            await each.hears(b"PONG\r\n")
        slow.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        slow.transport.pauseProducing()
        messages = [b"%07d" % number * (SIZE // 7) for number in range(COUNT)]
        size = len(messages[0])
        for message in messages:
            publisher.says(b"PUB a %d\r\n%b\r\n" % (size, message))
        publisher.says(b"PING\r\n")
        await publisher.hears(b"PONG\r\n")
        # It has all been published; of a client that is behind, something waits in the gateway.
        waiting = next(iter(gateway.clients.values()))
        self.assertTrue(waiting.pending_bytes > 0)
        # What it takes is known though not all is taken that the kernel has.
        before = waiting.taken_bytes
        slow.transport.resumeProducing()
        slow.says(b"PING\r\n")
        heard = await slow.hears(b"PONG\r\n")
        expected = b"".join(b"MSG a 1 %d\r\n%b\r\n" % (size, each) for each in messages)
        self.assertTrue(heard == expected + b"PONG\r\n")
        self.assertTrue(before < len(expected) // 2 < waiting.taken_bytes, before)
