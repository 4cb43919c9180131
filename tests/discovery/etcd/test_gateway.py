"""One request to one server, which may be none, or mean harm."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.tcp import Client
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import _nameEncoder

from atbus.channels.timers import MonotonicTimers
from atbus.discovery import bounds
from atbus.discovery.etcd.faults import Cause, EtcdRefused, EtcdUnreachable, EtcdUnreadable
from atbus.discovery.etcd.gateway import Gateway, LineSplitter
from atbus.discovery.etcd.options import TlsFiles
from atbus.errors import ConfigurationError, DiscoveryError


class LineTests(SynchronousTestCase):
    """A stream, cut into lines."""

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.data())
    def test_a_stream_may_be_cut_anywhere(self, lines: list[bytes], data: st.DataObject) -> None:
        """Wherever the network cuts it, the same lines come out."""
        lines = [stripped for line in lines if (stripped := line.rstrip(b"\r"))]
        stream = b"".join(line + b"\n" for line in lines)
        splitter = LineSplitter(50)
        found = []
        while stream:
            size = data.draw(st.integers(1, 9))
            found += splitter.feed(stream[:size])
            stream = stream[size:]
        self.assertEqual(found, lines)

    def test_a_line_has_an_end(self) -> None:
        """A line that is too long is refused before all of it is there."""
        splitter = LineSplitter(10)
        self.assertEqual(splitter.feed(b"x" * 10 + b"\ny"), [b"x" * 10])
        self.assertRaises(EtcdUnreadable, splitter.feed, b"y" * 10)


class Peer(Protocol):
    """A server that says what it was told to, whatever it hears."""

    def __init__(self, answers: list[bytes], heard: list[bytes]) -> None:
        self._answers = answers
        self._heard = heard

    def dataReceived(self, data: bytes) -> None:
        self._heard.append(data)
        if self._answers and self.transport is not None:
            answer = self._answers.pop(0)
            self.transport.write(answer)
            if b"Content-Length" not in answer and b"chunked" not in answer:
                self.transport.loseConnection()


def http(status: str, body: bytes, *more: str) -> bytes:
    """Write an answer of HTTP."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more])
    return head.encode() + b"\r\n\r\n" + body


class GatewayTests(TestCase):
    """What becomes of answers."""

    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # real sockets

        self.reactor: Any = reactor
        timers = MonotonicTimers(reactor)
        self.addCleanup(timers.stop)
        self.gateway = Gateway(reactor, timers)
        self.answers: list[bytes] = []
        self.heard: list[bytes] = []
        self.peers: list[Peer] = []
        factory: Any = Factory.forProtocol(self.peer)
        port: Any = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(self.gateway.close)
        self.url = f"http://127.0.0.1:{port.getHost().port}"

    def peer(self) -> Peer:
        """Make the server's side of a connection."""
        self.peers.append(Peer(self.answers, self.heard))
        return self.peers[-1]

    def ask(self, *answers: bytes, seconds: float = 15.0) -> Deferred[dict[str, Any]]:
        """Ask something and have it answered."""
        self.answers += answers
        return self.gateway.post(self.url, "/v3/kv/range", {}, seconds=seconds, token="t0ken")

    async def fault(self, asking: Awaitable[object]) -> DiscoveryError:
        """Wait for something that fails."""
        try:
            await asking
        except DiscoveryError as failed:
            return failed
        raise AssertionError("it did not fail")

    async def test_an_answer_is_read(self) -> None:
        """An object comes back as one, and the token was sent along."""
        self.assertEqual(await self.ask(http("200 OK", b'{"a": 1}\n')), {"a": 1})
        self.assertIn(b"Authorization: t0ken", self.heard[0])

    async def test_an_answer_that_is_none(self) -> None:
        """What is no JSON, or too much of it, is called unreadable, and read no further."""
        self.assertIsInstance(await self.fault(self.ask(http("200 OK", b"[]"))), EtcdUnreadable)
        self.patch(bounds, "ETCD_ANSWER_BYTES", 1_000)
        much = http("200 OK", b"x" * 100_000)
        self.assertIsInstance(await self.fault(self.ask(much)), EtcdUnreadable)

    async def test_a_refusal_without_end(self) -> None:
        """Of what is said about a refusal no more is read than is told."""
        self.patch(bounds, "ETCD_FAULT_BYTES", 1_000)
        much = http("500 Internal Server Error", b"x" * 100_000)
        self.assertIsInstance(await self.fault(self.ask(much)), EtcdUnreadable)

    async def test_a_head_without_end(self) -> None:
        """However many headers a server has, no more are read than an answer may have."""
        line = b"X-Header: " + b"x" * 90 + b"\r\n"
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + line * 10_000 + b"\r\n{}",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000 + http("200 OK", b"{}"),
        ):
            failed = await self.fault(self.ask(answer))
            self.assertIsInstance(failed, EtcdUnreadable)
            self.assertIn("more than 16384 bytes", str(failed))
        # What a proxy writes into a head does no harm, nor does a long answer behind it.
        much = http("200 OK", b'{"a": "' + b"x" * 200_000 + b'"}', *["Via: 1.1 a.proxy"] * 500)
        self.assertEqual(len((await self.ask(much))["a"]), 200_000)

    async def test_the_name_of_a_header(self) -> None:
        """A name that is too long is not remembered: its answer is none."""
        name = "x-" + "y" * (bounds.ETCD_HEADER_NAME_BYTES - 2)
        self.assertEqual(await self.ask(http("200 OK", b"{}", f"{name}: z")), {})
        failed = await self.fault(self.ask(http("200 OK", b"{}", f"{name}y: z")))
        self.assertIsInstance(failed, EtcdUnreadable)
        self.assertIn("the name of a header has more than 256 bytes", str(failed))
        known = _nameEncoder._canonicalHeaderCache
        self.assertIn(name.encode(), known)
        self.assertNotIn(f"{name}y".encode(), known)

    async def test_connections_that_are_kept(self) -> None:
        """Of connections that were needed at once a few stay for the next request."""
        both = bounds.ETCD_IDLE_CONNECTIONS + 3
        self.answers += [http("200 OK", b"{}")] * both
        await DeferredList([self.ask() for _ in range(both)], fireOnOneErrback=True)
        kept = self.gateway._pool._connections.values()
        self.assertEqual(sum(map(len, kept)), bounds.ETCD_IDLE_CONNECTIONS)

    async def test_what_is_not_http(self) -> None:
        """A server that speaks something else, or breaks off, counts as one that is not there."""
        for answer in (b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"[:-1]):
            self.heard.clear()
            asking = self.ask(answer, seconds=1.0)
            self.assertIsInstance(await self.fault(asking), EtcdUnreachable, answer)

    async def test_nobody_there(self) -> None:
        """A port on which nobody listens is told by its address."""
        failed = await self.fault(
            self.gateway.post("http://127.0.0.1:1", "/v3/kv/range", {}, seconds=15.0)
        )
        self.assertIsInstance(failed, EtcdUnreachable)
        self.assertIn("http://127.0.0.1:1", str(failed))

    async def test_an_old_etcd_is_named(self) -> None:
        """A server that has only older paths is told with its version, and what is needed."""
        failed = await self.fault(
            self.ask(
                http("404 Not Found", b"404 page not found\n"),
                http("200 OK", b'{"etcdserver":"3.2.26","etcdcluster":"3.2.0"}'),
            )
        )
        assert isinstance(failed, EtcdRefused)
        self.assertIs(failed.cause, Cause.VERSION)
        self.assertIn("is etcd 3.2.26", str(failed))
        self.assertIn("3.4 or newer", str(failed))

    async def test_who_gives_up_is_not_told_of_it(self) -> None:
        """A request that was cancelled ends as cancelled, before and after its answer began."""
        for answer in ([], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]):
            asking = self.ask(*answer)
            while_waiting: Deferred[None] = Deferred()
            self.reactor.callLater(0.05, while_waiting.callback, None)
            await while_waiting
            asking.cancel()
            await self.assertFailure(asking, CancelledError)

    async def test_a_stream_is_told_line_by_line(self) -> None:
        """Each line is told; what the one who is told raises ends the stream."""
        told: list[bytes] = []

        def take(line: bytes) -> None:
            told.append(line)
            if line == b"{3}":
                raise EtcdUnreadable("enough")

        chunks = b"6\r\n{1}\n{2\r\n6\r\n}\n{3}\n\r\n"
        self.answers.append(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        streaming = self.gateway.stream(self.url, "/v3/watch", {}, take, seconds=15.0)
        self.assertIn("enough", str(await self.fault(streaming)))
        self.assertEqual(told, [b"{1}", b"{2}", b"{3}"])

    async def test_a_stream_waits_for_who_is_told(self) -> None:
        """While a line is being taken nothing more is read; then the rest is told, and the end."""
        told: list[bytes] = []
        first: Deferred[None] = Deferred()
        begun: Deferred[None] = Deferred()

        def take(line: bytes) -> Deferred[None] | None:
            told.append(line)
            if line != b"0":
                return None
            begun.callback(None)
            return first

        self.answers.append(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n0\n\r\n")
        streaming = self.gateway.stream(self.url, "/v3/watch", {}, take, seconds=15.0)
        await begun
        (peer,) = self.peers
        assert peer.transport is not None
        peer.transport.write(b"4\r\n1\n2\n\r\n")
        while any(isinstance(each, Client) for each in self.reactor.getReaders()):
            await deferLater(self.reactor, 0.01)
        peer.transport.write(b"2\r\n3\n\r\n0\r\n\r\n")
        self.assertEqual(told, [b"0"])
        self.assertFalse(streaming.called)
        first.callback(None)
        await streaming
        self.assertEqual(told, [b"0", b"1", b"2", b"3"])

    async def test_a_close_ends_everything(self) -> None:
        """When the gateway is closed, requests fail and no connection is left."""
        await self.ask(http("200 OK", b"{}"))
        asking = self.ask()
        await self.gateway.close()
        self.assertIsInstance(await self.fault(asking), EtcdUnreachable)


class CertificateTests(SynchronousTestCase):
    """Files that TLS needs."""

    def test_a_file_that_is_none_is_told_at_once(self) -> None:
        """A certificate that cannot be read is a fault of the configuration."""
        folder = Path(tempfile.mkdtemp())
        empty = folder / "empty.pem"
        empty.touch()
        self.addCleanup(folder.rmdir)
        self.addCleanup(empty.unlink)
        for files in (
            TlsFiles(ca_file="/no/such/file"),
            TlsFiles(ca_file=str(empty)),
            TlsFiles(certificate_file=str(empty)),
        ):
            with self.assertRaises(ConfigurationError):
                Gateway(None, MonotonicTimers(Clock(), wall_clock=False), tls=files)
