"""Attacks by way of somebody's browser, on what a gateway tells over HTTP."""

from __future__ import annotations

import re

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from atbus.errors import ConfigurationError
from atbus.nats.gateway import Gateway
from atbus.node.config import NodeConfig
from tests.nats.harbor import HarborTests

PATHS = ("/varz", "/connz?subs=1", "/healthz", "/varz?callback=f")


def pages_of(answer: str) -> set[str]:
    """Give the names of what a page tells, and its status."""
    return {answer.split()[1], *re.findall(r'"(\w+)":', answer)}


class BrowserTests(HarborTests):
    """A gateway with a place for monitors, and a client with a name that is an attack."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.alone(monitor="127.0.0.1:8222")
        client = self.caller(self.one)
        client.says(b'CONNECT {"verbose":false,"name":"<script>alert(1)</script>"}\r\nPING\r\n')

    def asks(self, path: str, *headers: str, method: str = "GET", of: Gateway | None = None) -> str:
        """Ask; give the whole answer, with small letters."""
        port = self.quays[(of or self.one).node].ports[1]
        protocol = port.factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        said = "\r\n".join([f"{method} {path} HTTP/1.1", "Connection: close", *headers, "", ""])
        protocol.dataReceived(said.encode())
        self.network.settle(0.0)
        protocol.connectionLost(Failure(ConnectionDone()))
        answer: str = transport.value().decode().lower()
        return answer

    def test_security_monitor_page(self) -> None:
        """
        It is off unless asked for, and off loopback only by a word more; a page of another site,
        and a name that others have given to this host, are told nothing; nothing is a page to a
        browser, can be framed, or changes anything.
        """
        self.assertIsNone(NodeConfig(id=1, nats={"listen": "127.0.0.1:1"}).nats.get("monitor"))
        error: ConfigurationError = self.assertRaises(
            ConfigurationError, NodeConfig, id=1, nats={"monitor": "0.0.0.0:8222"}
        )
        self.assertIn("allow_insecure", str(error))
        for path in PATHS:
            for good in ("localhost", "LOCALHOST:8222", "127.0.0.1:8222", "[::1]:8222", "[::1]"):
                answer = self.asks(path, f"Host: {good}", "Sec-Fetch-Site: none")
                self.assertIn(" 200 ", answer.splitlines()[0])
                self.assertIn("content-security-policy: default-src 'none'", answer)
                self.assertIn("frame-ancestors 'none'", answer)
                self.assertIn("x-content-type-options: nosniff", answer)
                self.assertNotIn("text/html", answer)
                self.assertNotIn("access-control-", answer)
            for bad in ("evil.example", "localhost.evil.example:8222", "127.0.0.1.x", "", "[::1"):
                self.refused(self.asks(path, f"Host: {bad}"))
            for site in ("cross-site", "same-site", "anything"):
                self.refused(self.asks(path, "Host: localhost", f"Sec-Fetch-Site: {site}"))
            for method in ("POST", "PUT", "DELETE", "ANYTHING"):
                # As at nats-server it is a question, and no more than that.
                shown = self.one.clients.copy(), self.one.settings, self.one.is_leaving
                answer = self.asks(path, "Host: localhost", method=method)
                self.assertEqual(pages_of(answer), pages_of(self.asks(path, "Host: localhost")))
                now = self.one.clients, self.one.settings, self.one.is_leaving
                self.assertEqual(shown, now)
                self.refused(self.asks(path, "Host: evil.example", method=method))
                self.refused(self.asks(path, "Sec-Fetch-Site: cross-site", method=method))
        open_to_others = self.alone(monitor="0.0.0.0:8222", allow_insecure=True)
        answer = self.asks("/varz", "Host: node.example:8222", of=open_to_others)
        self.assertIn(" 200 ", answer.splitlines()[0])
        self.refused(self.asks("/varz", "Sec-Fetch-Site: cross-site", of=open_to_others))

    def refused(self, answer: str) -> None:
        """Look whether an answer tells nothing of the gateway."""
        self.assertIn(" 403 ", answer.splitlines()[0])
        self.assertNotIn("{", answer)
        self.assertNotIn("script", answer)
