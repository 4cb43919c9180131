"""Certificates that are renewed while a gateway runs, on real sockets."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from atbus.channels.authority import Issued
from atbus.channels.tls_files import TlsOptions
from atbus.nats.gateway import Gateway
from atbus.node.reload import reconfigure
from tests.channels.certificates import Files
from tests.nats.sockets import SocketCase
from tests.nats.transcripts import QUIET


class CertificateTests(SocketCase):
    """A gateway where TLS comes first, over TCP and by WebSocket."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, folder)
        self.files = Files(folder)
        self.own = self.files.options()

    @staticmethod
    def table(own: TlsOptions) -> dict[str, Any]:
        """Write what stands in the table of a gateway."""
        return {"certificate_file": own.certificate, "key_file": own.key}

    async def shown(self, gateway: Gateway, name: str) -> str:
        """Say which certificate is shown at a door."""
        address = gateway.address(name)
        assert address is not None
        return _bare(await deferToThread(ssl.get_server_certificate, address))

    def renew(self, issued: Issued | None = None, *, with_key: bool = True) -> str:
        """Put other files in the place of those of the gateway; gives the certificate."""
        new = self.files.options(issued)
        for old, path in ((self.own.key, new.key), (self.own.certificate, new.certificate)):
            if with_key or path is not new.key:
                copy = Path(f"{path}.copy")
                shutil.copy(path, copy)
                copy.replace(old)
        return _first(new)

    def test_new_files(self) -> Deferred[None]:
        """
        The next connection is shown the new certificate, at both doors, without a word to the
        process. While the key is another one's the old one is shown; who is there stays.
        """
        return Deferred.fromCoroutine(self.new_files())

    async def new_files(self) -> None:
        files: dict[str, Any] = self.table(self.own)
        doors: dict[str, Any] = {"websocket": "127.0.0.1:0", "tls_first": True, "tls_seconds": 60.0}
        gateway = await self.gateway(**doors, **files)
        old = _first(self.own)
        address = gateway.address()
        assert address is not None
        client = await deferToThread(_connect, address)
        self.addCleanup(client.close)
        for with_key in (False, True):
            wanted = self.renew(with_key=with_key)
            for door in ("listen", "websocket"):
                shown = await self.shown(gateway, door)
                self.assertEqual(shown, wanted if with_key else old)
        client.sendall(b"PING\r\n")
        self.assertEqual(await deferToThread(client.recv, 100), b"PONG\r\n")

    def test_worse(self) -> Deferred[None]:
        """
        While the new certificate is one that has expired the old one is shown, at both doors, also
        after a reload; then comes a good one.
        """
        return Deferred.fromCoroutine(self.worse())

    async def worse(self) -> None:
        files: dict[str, Any] = self.table(self.own)
        doors: dict[str, Any] = {"websocket": "127.0.0.1:0", "tls_first": True, "tls_seconds": 60.0}
        gateway = await self.gateway(**doors, **files)
        old = _first(self.own)
        self.renew(self.files.issue(lifetime=timedelta(minutes=-1)))
        for more in ({}, {"connections_max": 1000}):
            table = {**gateway.node.config.nats, **more}
            reconfigure(gateway.node, gateway.node.config.replace(nats=table))
            for door in ("listen", "websocket"):
                self.assertEqual(await self.shown(gateway, door), old)
        good = self.renew()
        for door in ("listen", "websocket"):
            self.assertEqual(await self.shown(gateway, door), good)
        self.flushLoggedErrors()

    def test_other_names(self) -> Deferred[None]:
        """After a reload the files that are named now are used."""
        return Deferred.fromCoroutine(self.other_names())

    async def other_names(self) -> None:
        files: dict[str, Any] = self.table(self.own)
        gateway = await self.gateway(tls_first=True, tls_seconds=60.0, **files)
        new = self.files.options()
        table = {**gateway.node.config.nats, **self.table(new)}
        reconfigure(gateway.node, gateway.node.config.replace(nats=table))
        self.assertEqual(await self.shown(gateway, "listen"), _first(new))


def _first(own: TlsOptions) -> str:
    """Give the certificate that is shown, without those behind it."""
    return _bare(Path(own.certificate).read_text())


def _bare(text: str) -> str:
    """Give the first certificate in a text, whatever stands around it."""
    start, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return "".join(text.partition(start)[2].partition(end)[0].split())


def _connect(address: tuple[str, int]) -> ssl.SSLSocket:
    """Connect as a client, and log in."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_socket(socket.create_connection(address))
    client.sendall(QUIET + b"PING\r\n")
    heard = b""
    while not heard.endswith(b"PONG\r\n"):
        heard += client.recv(10_000)
    return client
