"""Processes whose certificates are renewed while they run."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from pathlib import Path

from twisted.internet.threads import deferToThread

from atbus.busid import Subnet
from atbus.channels.tls_files import TlsOptions
from atbus.handshake.certificate import CertificateIdentity
from tests.channels.certificates import Files, tls_table
from tests.processes.harness import UP, NodeProcess, ProcessCase

ROOT, CHILD = 0x12340000, 0x12340101
ATTEMPTS = 20


class CertificateTests(ProcessCase):
    """A node that listens with TLS, and one below it."""

    def setUp(self) -> None:
        super().setUp()
        self.files = Files(self.folder)

    def options(self, bus_id: int, bits: int = 0) -> TlsOptions:
        """Make the files of a node."""
        return self.files.options(
            self.files.issue(CertificateIdentity("test", Subnet(bus_id, bits)))
        )

    @staticmethod
    def put(path: Path, content: bytes) -> None:
        """Put a new file in the place of another one, as whoever renews certificates does."""
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)

    def renew(self, options: TlsOptions) -> bytes:
        """Put a new certificate and key where the old ones are; gives the certificate."""
        issued = self.files.issue(CertificateIdentity("test", Subnet(ROOT, 16)))
        self.put(Path(options.key), issued.key)
        self.put(Path(options.certificate), issued.certificate)
        return ssl.PEM_cert_to_DER_cert(issued.certificate.decode())

    async def begin(self) -> tuple[NodeProcess, NodeProcess]:
        """Start both, and wait until they know each other."""
        self.root_options, self.child_options = self.options(ROOT, 16), self.options(CHILD)
        listen = 'subnets = ["0/16"]\nlisten = ["tls+ipv4://127.0.0.1:0"]'
        table = tls_table(self.root_options)
        root = self.start("root", f'id = "{ROOT:#x}"\n{listen}\n{table}')
        await root.says(UP)
        self.port = int((await root.says(r"tls\+ipv4://127\.0\.0\.1:(\d+)"))[1])
        upstream = f'upstream = "tls+ipv4://127.0.0.1:{self.port}"'
        table = tls_table(self.child_options)
        child = self.start("child", f'id = "{CHILD:#x}"\n{upstream}\n{table}')
        await child.says(UP)
        await root.says(f"knows {CHILD:#x} as downstream")
        return root, child

    async def shown(self) -> bytes:
        """Connect as another program, and say which certificate the node has shown."""
        for _ in range(ATTEMPTS):
            try:
                return await deferToThread(_shown, self.port, self.child_options)
            except OSError:
                # On a busy machine a handshake may take longer than the node waits for it.
                continue
        raise AssertionError("no handshake came to its end")

    async def test_renewed(self) -> None:
        """
        After SIGHUP new connections get the new certificate, and so they do when only the files
        have changed; connections that are there stay.
        """
        root, child = await self.begin()
        first = await self.shown()
        second = self.renew(self.root_options)
        root.kill(signal.SIGHUP)
        await root.says("finds nothing new in its configuration")
        told = root.output.index("new files for TLS are in use")
        self.assertLess(told, root.output.index("finds nothing new"))
        self.assertEqual(await self.shown(), second)
        third = self.renew(self.root_options)
        root.forget()
        await root.says("new files for TLS are in use")
        self.assertEqual(await self.shown(), third)
        self.assertEqual(len({first, second, third}), 3)
        for process in (root, child):
            self.assertNotIn("has lost", process.output)
            self.assertNotIn("Traceback", process.output)


def _shown(port: int, options: TlsOptions) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(os.fspath(options.certificate), os.fspath(options.key))
    context.load_verify_locations(options.authorities)
    context.set_alpn_protocols(["atbus/1"])
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as encrypted,
    ):
        shown = encrypted.getpeercert(binary_form=True)
    assert shown is not None
    return shown
