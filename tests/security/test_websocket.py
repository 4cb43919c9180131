"""Attacks by somebody who comes in by WebSocket and is not known."""

from __future__ import annotations

import gc
import tempfile
import tracemalloc
from io import BytesIO
from typing import Any

from atbus.nats import bounds
from tests.nats.frames import CLOSE, CONTINUATION, UPGRADE, frame, frames_in
from tests.nats.harbor import Caller, HarborTests
from tests.nats.transcripts import EOF

READ_BYTES = 16 * 1024
NAMES = 64


class UnfinishedTests(HarborTests):
    """Messages that do not end, of somebody who has not said who he is."""

    def test_security_unfinished_messages(self) -> None:
        """
        Before a login, frames that say they are very long, fragments without end and bodies of
        requests fill nothing: beyond a line of 4 KiB the connection ends.
        """
        gateway = self.alone(websocket="127.0.0.1:8080", token="geheim")
        content, line = b"x" * READ_BYTES, b"CONNECT {" + b" " * bounds.LINE_BYTES
        for first, second in (
            (frame(b"", says=1 << 32), content),
            (frame(b"", is_last=False), frame(content, CONTINUATION, is_last=False)),
            (frame(line[:4_000], says=1 << 32), content),
            (frame(line[:4_000], is_last=False), frame(line, CONTINUATION, is_last=False)),
        ):
            stranger = self.stranger()
            stranger.says(UPGRADE)
            self.network.settle(0.01)
            stranger.hears()
            stranger.says(first)
            self.assertFalse(stranger.is_gone)
            stranger.says(second)
            self.network.settle(0.1)
            self.assertTrue(stranger.is_gone)
            found = frames_in(stranger.hears().removesuffix(EOF))
            self.assertEqual(found[-1][0], CLOSE)
        self.assertEqual(gateway.clients, {})

    def test_security_unfinished_requests(self) -> None:
        """What comes with a request is not kept, in memory or elsewhere."""
        gateway = self.alone(websocket="127.0.0.1:8080", token="geheim")
        files: list[BytesIO] = []

        def file() -> BytesIO:
            files.append(BytesIO())
            return files[-1]

        self.patch(tempfile, "TemporaryFile", file)
        for length in (b"Content-Length: 4294967296", b"Transfer-Encoding: chunked"):
            stranger = self.stranger()
            stranger.says(b"POST / HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % length)
            tracemalloc.start()
            for _ in range(64):
                stranger.says(b"4000\r\n" + bytes(READ_BYTES) + b"\r\n")
            kept, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertTrue(kept < 8 * READ_BYTES, kept)
            stranger.hangs_up()
        self.assertEqual((gateway.clients, files), ({}, []))

    def test_security_names_of_headers(self) -> None:
        """
        Names of headers that are longer than any there is are not read, at no door: Twisted
        remembers names for as long as the process lives.
        """
        self.alone(websocket="127.0.0.1:8080", monitor="127.0.0.1:8222")
        question = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        monitor, door = (self.door(number) for number in (8222, 8080))
        most = bounds.HEADER_NAME_BYTES
        for place, request, good in ((monitor, question, b" 200 "), (door, UPGRADE[:-2], b" 101 ")):
            for length in (most, most + 1, READ_BYTES - 200):
                tracemalloc.start()
                self.addCleanup(tracemalloc.stop)
                for number in range(NAMES):
                    stranger = self.stranger(place)
                    name = b"%d-%d-" % (place, number)
                    stranger.says(request + name.ljust(length, b"x") + b": 1\r\n\r\n")
                    self.network.settle(0.01)
                    self.assertEqual(good in stranger.hears(), length <= most)
                    stranger.hangs_up()
                del stranger
                gc.collect()
                kept, _ = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                self.assertLess(kept / NAMES, READ_BYTES / 2, length)

    def test_security_late_requests(self) -> None:
        """
        Who does not ask for frames has as long as a login over TCP has, whatever he says meanwhile;
        who has asked stays.
        """
        gateway = self.alone(websocket="127.0.0.1:8080")
        strangers = [self.stranger() for _ in range(3)]
        strangers[2].says(UPGRADE)
        for _ in range(int(bounds.AUTHENTICATION_SECONDS / 0.25) - 1):
            strangers[1].says(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.network.settle(0.25)
        self.assertEqual([each.is_gone for each in strangers], [False] * 3)
        self.network.settle(0.3)
        self.assertEqual([each.is_gone for each in strangers], [True, True, False])
        self.network.settle(10)
        self.assertEqual(len(gateway.clients), 1)
        strangers[2].hangs_up()

    def door(self, number: int) -> int:
        """Give the place of a port among those of the gateway."""
        [quay] = self.quays.values()
        hosts: list[Any] = [port.getHost() for port in quay.ports]
        return [host.port for host in hosts].index(number)

    def stranger(self, door: int = 1) -> Caller:
        """Connect."""
        return Caller(self.network.clock, self.quays[next(iter(self.quays))].ports[door])
