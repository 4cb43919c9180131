"""``send``, ``request``, ``command``, ``ping``, ``trace`` and ``drain``, as real processes."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from atbus.cli.outcome import ExitCode
from tests.cli.bus_case import ROOT, BusTestCase


class SendTests(BusTestCase):
    """Messages."""

    async def test_send(self) -> None:
        """A message is there when the command says so; it says so to people only."""
        await self.start_bus()
        ended = await self.atbus("send", "0x10101", "h\u00e9llo", "--kind", "7")
        self.assertEqual((ended.code, ended.out), (ExitCode.DONE, ""))
        self.assertIn("delivered to 0x10101", ended.err)
        messages = self.received[0x10101].messages
        self.assertEqual(messages, [(0x10000, 7, "h\u00e9llo".encode())])

    async def test_send_what_is_read(self) -> None:
        """Without a text stdin is sent, whatever bytes it has."""
        await self.start_bus()
        ended = await self.atbus("send", "1.1.1", "-o", "json", stdin=b"\xff\x00")
        self.assertEqual(ended.code, ExitCode.USAGE)
        ended = await self.atbus("send", "0.1.1.1", "-o", "json", stdin=b"\xff\x00")
        self.assertEqual((ended.code, ended.json["status"]), (ExitCode.DONE, "OK"))
        self.assertEqual(self.received[0x10101].messages, [(0x10000, 0, b"\xff\x00")])

    async def test_nobody_there(self) -> None:
        """A target that nobody knows is told apart from one that does not listen."""
        await self.start_bus()
        ended = await self.atbus("send", "0x10177", "x")
        self.assertEqual((ended.code, ended.out), (ExitCode.NOBODY, ""))
        self.assertRegex(ended.err, r"\Aatbus: .*NO_ROUTE\n\Z")
        self.nodes[-1].receiver = None
        ended = await self.atbus("send", "0x10001", "x", "-o", "json")
        self.assertEqual(ended.code, ExitCode.REFUSED)
        self.assertEqual(ended.json["error"]["error"], "NO_RESPONDERS")

    async def test_too_large(self) -> None:
        """A message that no command can carry is refused by name."""
        await self.start_bus()
        ended = await self.atbus("send", "0x10101", "-o", "json", stdin=b"x" * 100_000)
        self.assertEqual(ended.code, ExitCode.REFUSED)
        self.assertEqual(ended.json["error"]["error"], "MESSAGE_TOO_LARGE")


class AskTests(BusTestCase):
    """Requests and commands."""

    async def test_request(self) -> None:
        """The reply is on stdout as it is, nothing before it and nothing behind."""
        await self.start_bus()
        ended = await self.atbus("request", "0x10101", "shout")
        self.assertEqual((ended.code, ended.out, ended.err), (ExitCode.DONE, "SHOUT\n", ""))
        ended = await self.atbus("request", "0x10101", "-o", "json", stdin=b"a\n")
        self.assertEqual((ended.json["reply"], ended.json["reply_base64"]), ("A\n", "QQo="))

    async def test_command(self) -> None:
        """The lines of the answer are lines of stdout; "--" ends the options."""
        await self.start_bus()
        ended = await self.atbus("command", "0x10101", "say", "two words")
        self.assertEqual((ended.code, ended.out), (ExitCode.DONE, "say\ntwo words\n"))
        ended = await self.atbus("command", "-o", "json", "0x10101", "--", "say", "--help")
        self.assertEqual(ended.json, {"target": "0x10101", "lines": ["say", "--help"]})

    async def test_no_answer_in_time(self) -> None:
        """A program that thinks too long is not waited for; ``--timeout`` reaches all the way."""
        await self.start_bus()
        thinking: Deferred[bytes] = Deferred()
        self.addCleanup(thinking.callback, b"")
        self.nodes[2].on_request(lambda _source, _payload: thinking)
        ended = await self.atbus("request", "0x10101", "x", "--timeout", "0.4", "-o", "json")
        self.assertEqual(ended.code, ExitCode.TIMED_OUT)
        self.assertEqual(ended.json["error"]["error"], "TIMEOUT")


class DistanceTests(BusTestCase):
    """Pings and traces."""

    async def test_ping(self) -> None:
        """Each answer is a line; several are summed up."""
        await self.start_bus()
        ended = await self.atbus("ping", "0x10101", "-c", "2", "--interval", "0.01", via=0x10001)
        self.assertEqual(ended.code, ExitCode.DONE)
        self.assertRegex(ended.out, r"\A1: 0x10101 answered in .*\n2: 0x10101 answered in .*\n\Z")
        self.assertIn("2 of 2 answered", ended.err)
        ended = await self.atbus("ping", "0x10101", "-o", "json")
        self.assertEqual((ended.json["sent"], ended.json["answered"]), (1, 1))

    async def test_ping_nobody(self) -> None:
        """No answer at all is the reason why there was none."""
        await self.start_bus()
        ended = await self.atbus("ping", "0x10177", "-c", "2", "--interval", "0", "-o", "json")
        self.assertEqual(ended.code, ExitCode.NOBODY)
        self.assertEqual(ended.json["error"]["error"], "NO_ROUTE")

    async def test_trace(self) -> None:
        """Each node on the way is a line, in order, with its distance."""
        await self.start_bus()
        ended = await self.atbus("trace", "0x10101", via=0x10001)
        self.assertEqual(ended.code, ExitCode.DONE)
        rows = [line.split() for line in ended.out.splitlines()[1:]]
        self.assertEqual(
            [(row[0], row[1], row[-1]) for row in rows],
            [("1", "0x10000", "HOP_LIMIT"), ("2", "0x10100", "HOP_LIMIT"), ("3", "0x10101", "OK")],
        )
        self.assertIn("from 0x10001 to 0x10101", ended.err)

    async def test_trace_to_nobody(self) -> None:
        """The last line of a trace that does not arrive is the node that gave up, and why."""
        await self.start_bus()
        ended = await self.atbus("trace", "0x10177", "-o", "json", via=0x10001)
        self.assertEqual(ended.code, ExitCode.NOBODY)
        last = ended.json["hops"][-1]
        self.assertEqual((last["id"], last["status"]), ("0x10100", "NO_ROUTE"))


class Watched(ProcessProtocol):
    """A command that is interrupted when it has written something."""

    transport: Any

    def __init__(self) -> None:
        self.out = self.err = b""
        self.ended: Deferred[int] = Deferred()

    def outReceived(self, data: bytes) -> None:
        if not self.out:
            self.transport.signalProcess(signal.SIGINT)
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        error: Any = reason.value
        self.ended.callback(error.exitCode)


class InterruptTests(BusTestCase):
    """Ctrl-C."""

    async def test_interrupted(self) -> None:
        """An interrupted command ends at once, says goodbye to the bus, and ends with 130."""
        await self.start_bus()
        watched = Watched()
        words = ["-m", "atbus", "ping", "0x10101", "-c", "1000", "--timeout", "60"]
        words += ["--via", self.address(0x10000)]
        self.reactor.spawnProcess(
            watched,
            sys.executable,
            [sys.executable, *words, "--token", "an access token"],
            env=os.environ,
            path=str(ROOT),
        )
        code = await watched.ended
        self.assertEqual((code, watched.err), (ExitCode.INTERRUPTED, b"atbus: interrupted\n"))


class DrainTests(BusTestCase):
    """Proxies that are to be empty."""

    async def test_somebody_moves(self) -> None:
        """The command ends when those below have another upstream, and says who has moved."""
        root, proxy = self.address(0x10000), self.address(0x10100)
        await self.start_node(0x10000, topology="records")
        await self.start_node(0x10100, topology="records", upstream=root)
        await self.start_node(0x10102, topology="records", upstreams=[proxy, root])
        ended = await self.atbus("drain", "0x10100", "-o", "json")
        self.assertEqual((ended.code, ended.err), (ExitCode.DONE, ""))
        self.assertEqual((ended.json["moved"], ended.json["stayed"]), (["0x10102"], {}))
        self.assertIn(0x10102, self.nodes[0].endpoints)

    async def test_somebody_cannot(self) -> None:
        """Who has nowhere to go is named, with the reason, and the command has failed."""
        await self.start_bus()
        ended = await self.atbus("drain", "0x10100")
        self.assertEqual(ended.code, ExitCode.FAILED)
        self.assertRegex(ended.out, r"(?m)^stayed.0x10101 +NO_ROUTE$")
        self.assertTrue(self.nodes[1].draining)
