"""How much of a client is read at once."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats.pace import ReadPace
from tests.nats.sockets import SocketCase
from tests.nats.transcripts import QUIET


class PaceTests(SynchronousTestCase):
    """What a read has taken decides about the next one."""

    def test_payloads(self) -> None:
        """Who sends much that costs little is read in large pieces."""
        pace = ReadPace()
        sizes = []
        for _ in range(6):
            sizes.append(pace.read_bytes)
            pace.took(pace.read_bytes, 0.0005)
        self.assertEqual(sizes, [1024 * size for size in (16, 32, 64, 128, 256, 256)])

    def test_many_short_sentences(self) -> None:
        """Who says much in few bytes is read in smaller ones, though never byte by byte."""
        pace = ReadPace()
        for _ in range(5):
            pace.took(pace.read_bytes, 0.0005)
        sizes = []
        for _ in range(8):
            sizes.append(pace.read_bytes)
            pace.took(pace.read_bytes, 0.006)
        self.assertEqual(sizes, [1024 * size for size in (256, 128, 64, 32, 16, 8, 4, 4)])

    def test_what_stays(self) -> None:
        """A read that was not full, and one that took its time, change nothing."""
        pace = ReadPace()
        pace.took(pace.read_bytes - 1, 0.0)
        pace.took(pace.read_bytes, 0.003)
        self.assertEqual(pace.read_bytes, bounds.READ_BYTES_LEAST)


class SocketTests(SocketCase):
    """A client over a real socket."""

    def test_reads_follow(self) -> Deferred[None]:
        """A client is read as its pace says: a stranger little, who sends payloads much."""
        return Deferred.fromCoroutine(self.reads_follow())

    async def reads_follow(self) -> None:
        gateway = await self.gateway()
        _, port = gateway.address() or ("", 0)
        talker = await self.talker(port)
        await talker.hears(b"\r\n")
        connection: Any = next(iter(gateway.clients.values()))._wire
        pace, transport = connection._pace, connection.transport
        self.assertEqual(transport.bufferSize, bounds.READ_BYTES_LEAST)
        # A clock that stands still, and one that leaps whenever it is looked at.
        self.patch(gateway, "seconds", lambda: 0.0)
        talker.says(QUIET + b"PUB a 900000\r\n" + bytes(900_000) + b"\r\nPING\r\n")
        await talker.hears(b"PONG\r\n")
        before = pace.read_bytes
        self.assertGreater(before, bounds.READ_BYTES_LEAST)
        self.assertEqual(transport.bufferSize, before)
        self.patch(gateway, "seconds", itertools.count().__next__)
        talker.says(b"PING\r\n")
        await talker.hears(b"PONG\r\n")
        self.assertLess(transport.bufferSize, before)
        self.assertEqual(transport.bufferSize, pace.read_bytes)
