"""Clients over WebSocket."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.websocket import WebSocketClientEndpoint, WebSocketTransport

from atbus.nats.gateway import Gateway
from tests.channels.certificates import Files
from tests.nats.frames import UPGRADE, frame
from tests.nats.sockets import PATIENCE_SECONDS, SocketCase
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF, QUIET


class Browser:
    """A client that sends and hears messages."""

    def __init__(self, reactor: Any) -> None:
        self.heard = b""
        self.transport: Any = None
        self.is_gone = False
        self._reactor = reactor
        self._waiting: tuple[bytes, Deferred[None]] | None = None

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        self.transport = transport

    def negotiationFinished(self) -> None:
        """It is connected."""

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        # When it is asked whether we are there is no matter.
        self.heard = (self.heard + data).replace(b"PING\r\n", b"")
        self._look()

    def textMessageReceived(self, message: str) -> None:
        raise AssertionError("a gateway sends bytes")

    def pongReceived(self, payload: bytes) -> None:
        """Nothing was asked."""

    def connectionLost(self, reason: Failure) -> None:
        self.is_gone = True
        self.heard += EOF
        self._look()

    def _look(self) -> None:
        if self._waiting is not None and self.heard.endswith((self._waiting[0], EOF)):
            waiting, self._waiting = self._waiting, None
            waiting[1].callback(None)

    async def hears(self, end: bytes) -> bytes:
        """Wait until what was heard ends so, or the connection does."""
        if not self.heard.endswith((end, EOF)):
            met: Deferred[None] = Deferred()
            met.addTimeout(PATIENCE_SECONDS, self._reactor)
            self._waiting = end, met
            await met
        heard, self.heard = self.heard, b""
        return heard


class Browsers:
    """Makes a `Browser` of each connection."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def buildProtocol(self, url: str) -> Browser:
        return Browser(self._reactor)


class BrowserCase(SocketCase):
    """Clients over WebSocket."""

    async def browser(self, gateway: Gateway) -> Browser:
        """Connect, and hang up after the test."""
        address = gateway.address("websocket")
        assert address is not None
        endpoint = self.endpoint(address[1])
        browser: Browser = await endpoint.connect(Browsers(self.reactor))
        self.addCleanup(self._leave, browser)
        return browser

    def endpoint(self, port: int) -> WebSocketClientEndpoint:
        """Say how to connect."""
        return WebSocketClientEndpoint.new(self.reactor, f"ws://127.0.0.1:{port}/any/path")

    def _leave(self, browser: Browser) -> Deferred[bytes] | None:
        if browser.is_gone:
            return None
        browser.transport.transport.abortConnection()
        return Deferred.fromCoroutine(browser.hears(EOF))


class WebSocketTests(BrowserCase):
    """A gateway that listens for WebSocket as well."""

    def test_the_same_protocol(self) -> Deferred[None]:
        """The bytes are those of TCP, wherever messages begin and end."""
        return Deferred.fromCoroutine(self.the_same_protocol())

    async def the_same_protocol(self) -> None:
        gateway = await self.gateway(websocket="127.0.0.1:0")
        browser = await self.browser(gateway)
        info = info_of(await browser.hears(b" \r\n"))
        self.assertEqual((info["client_id"], info["client_ip"]), (1, "127.0.0.1"))
        said = QUIET + b"SUB a 1\r\nPUB a 5\r\nhello\r\nPING\r\n"
        for place in range(0, len(said), 7):
            browser.transport.sendBytesMessage(said[place : place + 7])
        self.assertEqual(await browser.hears(b"PONG\r\n"), b"MSG a 1 5\r\nhello\r\nPONG\r\n")
        self.assertEqual(gateway.clients[1].kind, "websocket")

    def test_paths_of_others(self) -> Deferred[None]:
        """Leafs and MQTT are not taken for clients; what only looks like their path is served."""
        return Deferred.fromCoroutine(self.paths_of_others())

    async def paths_of_others(self) -> None:
        gateway = await self.gateway(websocket="127.0.0.1:0")
        address = gateway.address("websocket")
        assert address is not None
        for path, is_served in (
            (b"/leafnode", False),
            (b"/mqtt", False),
            (b"/any/mqtt?x=1", False),
            (b"/leafnodes", True),
            (b"/mqtt/", True),
            (b"/?/mqtt", True),
        ):
            talker = await self.talker(address[1])
            talker.says(UPGRADE.replace(b"/any", path))
            heard = await talker.hears(b" \r\n" if is_served else b" served here")
            status = b"HTTP/1.1 101 " if is_served else b"HTTP/1.1 404 "
            self.assertTrue(heard.startswith(status), (path, heard))
        self.assertEqual(len(gateway.clients), 3)

    def test_what_is_no_request(self) -> Deferred[None]:
        """Who asks for another version, or for none, is told which one there is."""
        return Deferred.fromCoroutine(self.what_is_no_request())

    async def what_is_no_request(self) -> None:
        gateway = await self.gateway(websocket="127.0.0.1:0")
        address = gateway.address("websocket")
        assert address is not None
        for header in (b"Sec-WebSocket-Version: 13", b"Upgrade: websocket", b"Sec-WebSocket-Key"):
            self.assertIn(header, UPGRADE)
            talker = await self.talker(address[1])
            talker.says(UPGRADE.replace(header, b"X: 1"))
            heard = (await talker.hears(b"\r\n\r\n")).lower()
            self.assertTrue(heard.startswith(b"http/1.1 400 "), (header, heard))
            self.assertIn(b"\r\nsec-websocket-version: 13\r\n", heard)
        talker = await self.talker(address[1])
        talker.says(UPGRADE)
        self.assertNotIn(b"sec-websocket-version", (await talker.hears(b" \r\n")).lower())
        self.assertEqual(len(gateway.clients), 1)

    def test_who_is_too_slow(self) -> Deferred[None]:
        """He is not reset: he reads what his socket has, and the end."""
        return Deferred.fromCoroutine(self.who_is_too_slow())

    async def who_is_too_slow(self) -> None:
        limits: dict[str, Any] = {"pending_bytes_max": 200_000, "payload_bytes_max": 200_000}
        gateway = await self.gateway(websocket="127.0.0.1:0", write_seconds=60.0, **limits)
        ports = gateway.address(), gateway.address("websocket")
        publisher, slow = [await self.talker((port or ("", 0))[1]) for port in ports]
        slow.says(UPGRADE)
        await slow.hears(b" \r\n")
        slow.says(frame(QUIET + b"SUB a 1\r\nPING\r\n"))
        await slow.hears(b"PONG\r\n")
        slow.transport.pauseProducing()
        while gateway.slow_consumers == 0:
            publisher.says(b"PUB a 90000\r\n" + b"x" * 90_000 + b"\r\nPING\r\n")
            await publisher.hears(b"PONG\r\n")
        slow.transport.resumeProducing()
        heard = await slow.hears(EOF)
        self.assertTrue(slow.ended_well)
        self.assertTrue(len(heard) > 90_000, len(heard))

    def test_both_kinds_meet(self) -> Deferred[None]:
        """A client over TCP and one over WebSocket hear each other, large payloads as well."""
        return Deferred.fromCoroutine(self.both_kinds_meet())

    async def both_kinds_meet(self) -> None:
        gateway = await self.gateway(websocket="127.0.0.1:0")
        address = gateway.address()
        assert address is not None
        browser, talker = await self.browser(gateway), await self.talker(address[1])
        browser.transport.sendBytesMessage(QUIET + b"SUB a 1\r\nPING\r\n")
        await browser.hears(b"PONG\r\n")
        large = b"x" * 1_000_000
        talker.says(QUIET + b"PUB a %d\r\n%b\r\n" % (len(large), large))
        heard = await browser.hears(b"x\r\n")
        self.assertEqual(heard, b"MSG a 1 %d\r\n%b\r\n" % (len(large), large))

    def test_the_end(self) -> Deferred[None]:
        """A client that says something wrong is told, and closed."""
        return Deferred.fromCoroutine(self.the_end())

    async def the_end(self) -> None:
        gateway = await self.gateway(websocket="127.0.0.1:0")
        browser = await self.browser(gateway)
        await browser.hears(b" \r\n")
        browser.transport.sendBytesMessage(b"FOO\r\n")
        heard = await browser.hears(EOF)
        self.assertEqual(heard, b"-ERR 'Unknown Protocol Operation'\r\n" + EOF)
        self.assertEqual(len(gateway.closed), 1)


class SecureTests(BrowserCase):
    """A gateway that listens for WebSocket, with a certificate for localhost."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, folder)
        self.own = Files(folder).options()
        self.authority = ssl.Certificate.loadPEM((folder / "authority.pem").read_bytes())

    def endpoint(self, port: int) -> WebSocketClientEndpoint:
        """Connect by TLS, and look at the certificate."""
        url = f"wss://localhost:{port}/any/path"
        policy = BrowserLikePolicyForHTTPS(self.authority)
        return WebSocketClientEndpoint.new(self.reactor, url, policy)

    async def enters(self) -> Gateway:
        """Start a gateway."""
        own = self.own
        return await self.gateway(
            websocket="127.0.0.1:0",
            tls_seconds=60.0,
            certificate_file=own.certificate,
            key_file=own.key,
        )

    def test_inside_of_tls(self) -> Deferred[None]:
        """The same clients are served, from the first byte on inside of TLS."""
        return Deferred.fromCoroutine(self.inside_of_tls())

    async def inside_of_tls(self) -> None:
        gateway = await self.enters()
        browser = await self.browser(gateway)
        await browser.hears(b" \r\n")
        browser.transport.sendBytesMessage(QUIET + b"SUB a 1\r\nPUB a 5\r\nhello\r\nPING\r\n")
        heard = await browser.hears(b"PONG\r\n")
        self.assertEqual(heard, b"MSG a 1 5\r\nhello\r\nPONG\r\n")
        self.assertEqual(gateway.clients[1].kind, "websocket")
        # Below WebSocket and TLS there is a kernel that tells what was taken.
        self.assertTrue(gateway.clients[1].taken_bytes > 0)

    def test_in_the_clear(self) -> Deferred[None]:
        """Who does not begin TLS is told nothing, and closed."""
        return Deferred.fromCoroutine(self.in_the_clear())

    async def in_the_clear(self) -> None:
        gateway = await self.enters()
        address = gateway.address("websocket")
        assert address is not None
        talker = await self.talker(address[1])
        talker.says(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n")
        self.assertNotIn(b"HTTP", await talker.hears(EOF))
        self.assertEqual(gateway.clients, {})
