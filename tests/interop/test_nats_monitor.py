"""What a gateway and a real nats-server tell of the same clients over HTTP."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater

from tests.documents import DOCS
from tests.interop.nats_server import NatsServer, require_nats_server
from tests.nats.sockets import SocketCase, Talker

ONE = (
    b'CONNECT {"verbose":false,"name":"one","lang":"x","version":"1.0","headers":true}\r\n'
    b"SUB a.* q 1\r\nUNSUB 1 50\r\nSUB b 2\r\nPING\r\n"
)
TWO = b'CONNECT {"verbose":false,"pedantic":false,"name":"two"}\r\nPING\r\n'
SAID = b"PUB a.b 2\r\nhi\r\nPUB b 3\r\nyes\r\nPUB nobody 1\r\nx\r\nPING\r\n"
COUNTS = ("in_msgs", "out_msgs", "in_bytes", "out_bytes", "subscriptions")
CLOSED = "/connz?state=closed"
#: What says who it is, and when.
DIFFERENT = {"cid", "port", "start", "last_activity", "uptime", "idle", "rtt", "stop"}
#: What a server counts in that has written its last words or has not.
DIFFERENT |= {"pending_bytes"}
#: Parts of nats-server's that say only where nothing is.
ABSENT = {"system_account", "http_base_path", "https_port", "gomaxprocs"}
PAGES = ("/varz", "/connz?subs=1", CLOSED, "/routez", "/subsz?subs=1", "/healthz")


class MonitorTests(SocketCase):
    """The same conversations with both."""

    def test_the_same_is_told(self) -> Deferred[None]:
        """Pages have what a nats-server's have, and counters are right as soon as PONG is there."""
        require_nats_server()
        return Deferred.fromCoroutine(self.the_same_is_told())

    async def the_same_is_told(self) -> None:
        server = NatsServer("-m", "-1")
        server.start()
        self.addCleanup(server.stop)
        gateway = await self.gateway(monitor="127.0.0.1:0")
        ours, monitor = gateway.address(), gateway.address("monitor")
        assert ours is not None
        assert monitor is not None
        theirs = await self.tells(server.port, server.monitor_port)
        told = await self.tells(ours[1], monitor[1])
        page = (DOCS / "reference/nats.rst").read_text()
        for name in PAGES:
            missing = theirs[name].keys() - told[name].keys()
            unsaid = {each for each in missing if f"``{each}``" not in page}
            self.assertEqual(unsaid - ABSENT, set(), name)
        for name in PAGES[1:3]:
            for left, right in zip(
                theirs[name]["connections"], told[name]["connections"], strict=True
            ):
                self.assertEqual(left.keys() - right.keys(), set())
                for each in (left, right):
                    # A server has no order in them.
                    each["subscriptions_list"] = sorted(each.get("subscriptions_list", []))
                same = left.keys() - DIFFERENT
                self.assertEqual({n: right[n] for n in same}, {n: left[n] for n in same})

    async def tells(self, port: int, monitor: int) -> dict[str, dict[str, Any]]:
        """Let three clients come, of which one goes; ask for all pages."""
        talkers: list[Talker] = []
        for _ in range(3):
            talkers.append(await self.talker(port))
            # It has its number now, and the next one will have the next.
            await talkers[-1].hears(b" \r\n")
        one, two, three = talkers
        for talker, said in ((one, ONE), (two, TWO)):
            talker.says(said)
            await talker.hears(b"PONG\r\n")
        three.says(b"FOO\r\n")
        await three.hears(b"<EOF>")
        for number in range(1, 11):
            two.says(SAID)
            await two.hears(b"PONG\r\n")
            found = (await self.asks(monitor, "/connz"))["connections"]
            counts = {each.get("name"): [each[count] for count in COUNTS] for each in found}
            self.assertEqual(counts["two"], [3 * number, 0, 6 * number, 0, 0])
            self.assertEqual(counts["one"], [0, 2 * number, 0, 5 * number, 2])
        # It is among those that ended a moment after its end.
        while not (await self.asks(monitor, CLOSED))["connections"]:
            await deferLater(self.reactor, 0.02, lambda: None)
        return {page: await self.asks(monitor, page) for page in PAGES}

    async def asks(self, port: int, page: str) -> dict[str, Any]:
        """Ask for a page."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        talker: Talker = await connectProtocol(endpoint, Talker(self.reactor))
        talker.says(f"GET {page} HTTP/1.0\r\n\r\n".encode())
        head, _, body = (await talker.hears(b"<EOF>")).partition(b"\r\n\r\n")
        self.assertTrue(re.match(rb"HTTP/1\.\d 200 ", head), head)
        return dict(json.loads(body.removesuffix(b"<EOF>")))
