"""Protocols that know nothing of the bus: HTTP, AMP and TLS, as Twisted has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS, wrapServerTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.protocols.amp import AMP, Command, Integer, RemoteAmpError, String
from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from atbus.node.traffic import Traffic
from atbus.stream import BusClientEndpoint, BusServerEndpoint
from tests.channels.certificates import Files
from tests.stream.case import OTHER, Diaries, StreamTests


class Echo(Resource):
    """Answers with what it was sent, or with a lot."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """Answer with the path, as often as is asked for."""
        path: bytes = request.path
        return path * int(request.args.get(b"times", [b"1"])[0])

    def render_POST(self, request: Any) -> bytes:
        """Answer with the body."""
        body: bytes = request.content.read()
        return body[::-1]


@implementer(IAgentEndpointFactory)
class OverTheBus:
    """Finds the endpoint of a URL: its host is the service."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        """Give it."""
        return BusClientEndpoint(self.node, OTHER, uri.host.decode())


class Double(Command):
    """Asks for twice a number."""

    arguments: ClassVar = [(b"number", Integer()), (b"ballast", String())]
    response: ClassVar = [(b"number", Integer())]


class Doubling(AMP):
    """Answers it."""

    @Double.responder
    def double(self, number: int, ballast: bytes) -> dict[str, int]:
        """Do it."""
        if not number:
            raise ValueError("nothing to double")
        return {"number": 2 * number}


class ProtocolTests(StreamTests):
    """Two leaves, three hops from each other."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.leaves()

    def test_http(self) -> None:
        """A stock server of twisted.web, and its stock client."""
        site = Site(Echo(), reactor=self.network.clock)
        site.noisy = False
        port = self.serve(self.other, site, "echo")
        agent = Agent.usingEndpointFactory(self.network.clock, OverTheBus(self.one))

        def get(path: bytes) -> bytes:
            response = self.network.result_of(agent.request(b"GET", b"http://echo" + path))
            self.assertEqual(response.code, 200)
            body: bytes = self.network.result_of(readBody(response))
            return body

        self.assertEqual(get(b"/path"), b"/path")
        self.assertEqual(get(b"/x?times=500000"), b"/x" * 500_000)
        self.network.settle(1)
        self.assertEqual(len(self.station(self.one)), 0)
        port.stopListening()

    def test_amp(self) -> None:
        """Questions and answers, many at once, and one that fails."""
        factory = Factory.forProtocol(Doubling)
        factory.noisy = False
        self.serve(self.other, factory, "double")
        asking = Factory.forProtocol(AMP)
        asking.noisy = False
        amp = self.network.result_of(self.opening(self.one, OTHER, asking, "double"))
        ballast = bytes(60_000)
        waiting = [amp.callRemote(Double, number=n, ballast=ballast) for n in range(1, 30)]
        answers = [self.network.result_of(each)["number"] for each in waiting]
        self.assertEqual(answers, [2 * n for n in range(1, 30)])
        failing: Deferred[Any] = amp.callRemote(Double, number=0, ballast=b"")
        self.failure_of(failing, RemoteAmpError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        amp.transport.loseConnection()
        self.network.settle(1)
        self.assertEqual(len(self.station(self.other)), 0)


class TlsTests(StreamTests):
    """TLS from end to end: Twisted's own, over a stream."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.leaves()
        folder = Path(self.mktemp())
        folder.mkdir()
        files = Files(folder)
        issued = files.issue(hosts=["web.bus"])
        self.authority = Certificate.loadPEM((folder / "authority.pem").read_bytes())
        key = KeyPair.load(issued.key, crypto.FILETYPE_PEM)
        mine = PrivateCertificate.fromCertificateAndKeyPair(
            Certificate.loadPEM(issued.certificate), key
        )
        self.served = Diaries(answers=b"secret answer")
        endpoint = BusServerEndpoint(self.other, "web")
        clock = self.network.clock
        wrapped = wrapServerTLS(mine.options(), endpoint, clock)
        self.successResultOf(wrapped.listen(self.served))
        self.passed = b""
        forward = Traffic._forward

        def look(traffic: Any, link: Any, frame: bytes, head: Any, origin: Any) -> None:
            self.passed += frame
            forward(traffic, link, frame, head, origin)

        self.patch(Traffic, "_forward", look)

    def connect(self, name: str) -> Any:
        """Open a stream and begin TLS over it."""
        options = optionsForClientTLS(name, trustRootFromCertificates([self.authority]))
        endpoint = wrapClientTLS(
            options, BusClientEndpoint(self.one, OTHER, "web"), self.network.clock
        )
        client: Any = self.network.result_of(endpoint.connect(Diaries()))
        client.transport.write(b"secret question")
        self.network.settle(1)
        return client

    def test_end_to_end(self) -> None:
        """Who is at the other end is proven, and nobody on the way reads what passes."""
        client = self.connect("web.bus")
        (server,) = self.served.made
        self.assertEqual((client.data, server.data), (b"secret answer", b"secret question"))
        self.assertGreater(len(self.passed), 1_000)
        self.assertNotIn(b"secret", self.passed)
        client.transport.loseConnection()
        self.network.settle(1)
        self.assertEqual((client.end, server.end), ("ConnectionDone", "ConnectionDone"))
        self.assertEqual(len(self.station(self.one)), 0)

    def test_somebody_else(self) -> None:
        """A certificate of another name ends the stream before anything is said."""
        client = self.connect("another.bus")
        self.assertEqual((client.data, self.served.made[0].data), (b"", b""))
        self.assertNotEqual(client.end, "")
        self.assertNotIn(b"secret", self.passed)
