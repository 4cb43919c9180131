"""Talking to a bus as a temporary node."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import protocol
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.protocol import connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from atbus.cli import session
from atbus.cli.options import Via
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.cli.session import Conversation, converse, speaks_tls
from atbus.handshake.certificate import parse_identity
from tests.channels.certificates import Files
from tests.cli.bus_case import TOKEN, BusTestCase


async def ask_status(conversation: Conversation) -> Any:
    """Ask what any node answers."""
    return await conversation.ask(0, "atbus.status")


class Stranger(protocol.Protocol):
    """
    Speaks another protocol.

    :param guests: Where it is as long as it is connected.
    """

    transport: Any

    def __init__(
        self,
        guests: set[Stranger],
        *,
        greeting: bytes = b"",
        answer: bytes = b"",
        leaves: bool = False,
    ) -> None:
        self._guests = guests
        self._greeting = greeting
        self._answer = answer
        self._leaves = leaves
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._guests.add(self)
        self.transport.write(self._greeting)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self._answer)
        if self._leaves:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._guests.discard(self)
        self.gone.callback(None)


class ConverseTests(BusTestCase):
    """A registration, a question, and the end."""

    async def failure(self, via: Via, question: Any = ask_status) -> CommandFailed:
        """Ask, and expect that it comes to nothing."""
        asking = Deferred.fromCoroutine(converse(self.reactor, via, question))
        failure: CommandFailed = await self.assertFailure(asking, CommandFailed)
        return failure

    def stranger(self, **what: Any) -> Via:
        """Listen with another protocol."""
        guests: set[Stranger] = set()
        factory: Any = protocol.Factory()
        factory.buildProtocol = lambda _address: Stranger(guests, **what)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self._hang_up, guests)
        self.addCleanup(maybeDeferred, port.stopListening)
        address = f"ipv4://127.0.0.1:{port.getHost().port}"
        return Via(address=address, timeout_seconds=60.0)

    def _hang_up(self, guests: set[Stranger]) -> Deferred[Any]:
        present = list(guests)
        for guest in present:
            guest.transport.abortConnection()
        return gatherResults([guest.gone for guest in present])

    async def test_an_answer(self) -> None:
        """
        A temporary node registers, asks, gets its answer, and is gone without a trace.

        Scenario: AA6
        """
        await self.start_bus()
        status = await converse(self.reactor, self.via(), ask_status)
        self.assertEqual(status["id"], "0x10000")
        # What the root still knows are its two children.
        self.assertEqual(set(self.nodes[0].endpoints), {0x10100, 0x10001})
        links = await converse(
            self.reactor, self.via(), lambda conversation: conversation.ask(0, "atbus.links")
        )
        self.assertEqual([row["id"] for row in links].count("0x0"), 1)

    async def test_another_node_answers(self) -> None:
        """The node that we talk to asks a distant one in our stead."""
        await self.start_bus()

        async def question(conversation: Conversation) -> Any:
            return await conversation.lines(0x10101, "say", b"\xff")

        lines = await converse(self.reactor, self.via(0x10001), question)
        self.assertEqual(lines, [b"say", b"\xff"])

    async def test_nobody_listens(self) -> None:
        """
        Where nobody listens the command ends at once, and says so.

        Scenario: AA6
        """
        failure = await self.failure(self.via())
        self.assertEqual((failure.code, failure.error), (ExitCode.NOBODY, "CONNECT_FAILED"))
        self.assertIn(self.address(0x10000), str(failure))

    async def test_no_such_node(self) -> None:
        """A node that nobody knows: the answer comes from the node that gave up."""
        await self.start_bus()

        async def question(conversation: Conversation) -> Any:
            return await conversation.lines(0x10177, "say")

        failure = await self.failure(self.via(), question)
        self.assertEqual((failure.code, failure.error), (ExitCode.NOBODY, "NO_ROUTE"))
        self.assertIn("0x10100", str(failure))

    async def test_a_wrong_token(self) -> None:
        """Without a token of the bus nobody gets in, and learns why."""
        await self.start_bus()
        for tokens in ((), ("wrong",)):
            via = Via(address=self.address(0x10000), tokens=tokens, timeout_seconds=60.0)
            failure = await self.failure(via)
            self.assertEqual((failure.code, failure.error), (ExitCode.REFUSED, "ACCESS_DENIED"))
            self.assertNotIn(TOKEN, str(failure))

    async def test_over_tls(self) -> None:
        """With a certificate the command talks to a node that listens with TLS, by its rights."""
        files = Files(self.folder)
        listener = files.options(files.issue(parse_identity("atbus://test/0x10000/16")))
        node = await self.start_node(
            0x10000,
            listen=["tls+ipv4://127.0.0.1:0"],
            tls_certificate=listener.certificate,
            tls_key=listener.key,
            tls_authorities=listener.authorities,
            tls_realm="test",
            rights=[{"action": "allow", "ids": ["0x1"], "commands": ["*"]}],
        )
        for identity in ("0x1", "0x2"):
            ours = files.options(files.issue(parse_identity(f"atbus://test/{identity}/0")))
            via = Via(
                address=str(node.addresses[0]),
                tokens=(TOKEN,),
                timeout_seconds=60.0,
                certificate_file=ours.certificate,
                key_file=ours.key,
                ca_file=ours.authorities,
                realm="test",
            )
            if identity == "0x1":
                status = await converse(self.reactor, via, ask_status)
                self.assertEqual(status["id"], "0x10000")
            else:
                failure = await self.failure(via)
                self.assertEqual((failure.code, failure.error), (ExitCode.REFUSED, "NO_RIGHT"))
                self.assertIn("no rule of rights allows commands to 0x2", str(failure))

    async def test_options_that_do_not_fit(self) -> None:
        """What is missing for TLS, or cannot be read, is told by the names of the options."""
        files = ("certificate", "key", "ca")
        mistakes: tuple[tuple[dict[str, Any], list[str]], ...] = (
            ({}, ["--via: tls+ipv4://127.0.0.1:1 needs --certificate-file"]),
            (
                {"certificate_file": "/no"},
                ["--key-file: missing; TLS needs it", "--ca-file: missing; TLS needs it"],
            ),
            (
                {f"{name}_file": "/no" for name in files},
                [f"--{name}-file: /no: No such file or directory" for name in files],
            ),
        )
        for how, faults in mistakes:
            failure = await self.failure(Via(address="tls+ipv4://127.0.0.1:1", **how))
            self.assertEqual((failure.code, failure.error), (ExitCode.USAGE, "USAGE"))
            self.assertEqual(list(failure.faults), faults)

    async def test_an_unknown_command(self) -> None:
        """What the node does not know it refuses."""
        await self.start_bus()
        failure = await self.failure(self.via(), lambda asked: asked.ask(0, "atbus.dance"))
        self.assertEqual((failure.code, failure.error), (ExitCode.REFUSED, "UNKNOWN_COMMAND"))

    async def test_an_answer_that_makes_no_sense(self) -> None:
        """What answers and is no node like ours is told of in a sentence."""
        for lines in ([], [b"{}", b"{}"], [b"{"], [b"\xff"], [b"[" * 100_000]):
            failure = self.assertRaises(CommandFailed, session.read_answer, lines)
            self.assertEqual((failure.code, failure.error), (ExitCode.FAILED, "HANDLER_FAILED"))
        self.assertEqual(session.read_answer([b'{"a": 1}']), {"a": 1})

    async def test_a_silent_port(self) -> None:
        """
        Who takes the connection and says nothing is waited for as long as was asked.

        Scenario: AA6
        """
        via = self.stranger()
        failure = await self.failure(Via(address=via.address, timeout_seconds=0.3))
        self.assertEqual((failure.code, failure.error), (ExitCode.TIMED_OUT, "TIMEOUT"))
        self.assertIn("0.3 s", str(failure))

    async def test_a_late_answer(self) -> None:
        """A node whose program takes too long is not waited for longer than was asked."""
        await self.start_bus()
        thinking: Deferred[list[bytes]] = Deferred()
        self.addCleanup(thinking.callback, [])
        self.nodes[0].on_command(lambda _source, _words: thinking)
        failure = await self.failure(
            self.via(timeout_seconds=0.5), lambda asked: asked.lines(0, "think")
        )
        self.assertEqual((failure.code, failure.error), (ExitCode.TIMED_OUT, "TIMEOUT"))

    async def test_wrong_ports_are_recognized(self) -> None:
        """A web server, an SSH server and one that hangs up are named for what they are."""
        for what, part in (
            ({"answer": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "web server"),
            ({"answer": b"<!DOCTYPE HTML>\n", "leaves": True}, "web server"),
            ({"greeting": b"SSH-2.0-OpenSSH_9.2\r\n"}, "SSH"),
            ({"leaves": True}, "is that a port of a bus?"),
            ({"answer": b"\0" * 100}, "is that a port of a bus?"),
        ):
            via = self.stranger(**what)
            failure = await self.failure(via)
            self.assertEqual((failure.code, failure.error), (ExitCode.NOBODY, "NOT_ATBUS"), what)
            self.assertIn(part, str(failure))
            self.assertIn(via.address, str(failure))

    async def test_a_port_with_tls(self) -> None:
        """A port that hangs up is asked once more whether it wanted TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(self.folder))
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        serving = deferToThread(_serve_tls, listener, context)
        port = listener.getsockname()[1]
        via = Via(address=f"ipv4://127.0.0.1:{port}")
        self.patch(session, "_PROBE_SECONDS", 60.0)
        self.assertTrue(await deferToThread(speaks_tls, via))
        await serving
        self.assertFalse(await deferToThread(speaks_tls, self.stranger(leaves=True)))
        self.assertFalse(await deferToThread(speaks_tls, self.via()))


def _serve_tls(listener: socket.socket, context: ssl.SSLContext) -> None:
    plain, _ = listener.accept()
    context.wrap_socket(plain, server_side=True).close()


def _certificate(folder: Path) -> Path:
    """Write a key and a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(pem))
    return path
