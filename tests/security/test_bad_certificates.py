"""Certificates of another program (trustme), shown to a node and by those that it dials."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trustme
from twisted.internet.threads import deferToThread

from atbus import limits
from atbus.channels.authority import Authority, Issued
from atbus.errors import ConnectFailed
from atbus.handshake.certificate import parse_identity
from atbus.testing.recording import error_of
from tests.channels.certificates import DAY, HOSTS, Files
from tests.channels.test_tls import say
from tests.security.nodes import CHILD, ROOT, NodesCase, Row, stranger

BELOW = CHILD + 1
SECONDS_MAX = 120.0


class ForeignFiles(Files):
    """Files of nodes whose authority is trustme's; only the certificates that name ids are not."""

    def __init__(self, folder: Path) -> None:
        self.top = trustme.CA()
        super().__init__(folder)

    def new_authority(self, name: str) -> Authority:
        """Write the file that believes it."""
        self.top.cert_pem.write_to_path(str(self.folder / f"{name}.pem"))
        return authority_of(self.top)


class ForeignTests(NodesCase):
    """A root that believes an authority of trustme's, and what others have of it."""

    def setUp(self) -> None:
        super().setUp()
        files = ForeignFiles(self.directory)
        self.files, self.top = files, files.top
        self.between = self.top.create_child_ca()
        # Who is not slow would not be noticed then.
        self.patch(limits, "HANDSHAKE_SECONDS", 1000.0)

    async def test_security_bad_certificates(self) -> None:
        """
        What is shown to a listener, and what a listener shows, is refused for what is wrong with
        it; with all those between it and the authority a certificate is as good as any.
        """
        await self.start_root()
        await self.refuse({**self.shown_by_diallers(), **self.shown_by_listeners()})
        name = parse_identity(f"atbus://test/{BELOW:#x}/0")
        issued = authority_of(self.between).issue(name, HOSTS, DAY)
        whole = Issued(issued.certificate + self.between.cert_pem.bytes(), issued.key)
        below = self.child(BELOW, whole)
        await below.start()
        self.assertEqual(await below.request(ROOT, b"I am here"), b"I am here")

    def bad_ones(self) -> dict[str, trustme.Blob]:
        """Make certificates with their keys, by what is wrong with them."""
        now, issue = datetime.now(tz=UTC), self.top.issue_cert
        between = self.between.issue_cert(*HOSTS)
        alone = between.private_key_pem.bytes() + between.cert_chain_pems[0].bytes()
        named = issue(*HOSTS, "atbus@test", common_name=f"atbus://test/{BELOW:#x}/0")
        made = {
            "EXPIRED": issue(*HOSTS, not_before=now - 2 * DAY, not_after=now - DAY),
            "NOT_YET_VALID": issue(*HOSTS, not_before=now + DAY, not_after=now + 2 * DAY),
            "AUTHORITY of others": trustme.CA().issue_cert(*HOSTS),
            "IDENTITY that there is none": issue(*HOSTS),
            "IDENTITY in another field": named,
            "IDENTITY of one who is vouched for by another": between,
        }
        bad = {name: leaf.private_key_and_cert_chain_pem for name, leaf in made.items()}
        return {**bad, "AUTHORITY without the one between": trustme.Blob(alone)}

    def shown_by_diallers(self) -> dict[str, Row]:
        """Name what diallers are refused for."""
        port = self.tls_root.addresses[0].port
        rows: dict[str, Row] = {"TLS NO_CERTIFICATE": lambda: dial(port, None)}
        for name, certificate in self.bad_ones().items():
            rows[f"TLS {name}"] = partial(dial, port, certificate)
        return rows

    def shown_by_listeners(self) -> dict[str, Row]:
        """Name what the root refuses those for that it dials."""
        elsewhere = self.top.issue_cert("elsewhere.example", "127.0.0.2", "*.0.0.1")
        bad = {**self.bad_ones(), "HOST": elsewhere.private_key_and_cert_chain_pem}
        return {f"TLS {name} of a listener": partial(self.reach, bad[name]) for name in bad}

    async def reach(self, certificate: trustme.Blob) -> None:
        """Have the root dial somebody who shows a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["atbus/1"])
        show(certificate, context)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(SECONDS_MAX)
            serving = deferToThread(serve, server, context)
            port = server.getsockname()[1]
            connecting = self.tls_root.connect(f"tls+ipv4://127.0.0.1:{port}")
            await error_of(connecting, ConnectFailed)
            await serving


def dial(port: int | None, certificate: trustme.Blob | None) -> Awaitable[object]:
    """Dial a node as a foreign program."""
    context = stranger()
    if certificate is not None:
        show(certificate, context)
    return deferToThread(say, port, b"", context)


def show(certificate: trustme.Blob, context: ssl.SSLContext) -> None:
    """Have a program show a certificate and those behind it in the file."""
    with certificate.tempfile() as path:
        context.load_cert_chain(path)


def serve(server: socket.socket, context: ssl.SSLContext) -> None:
    """Take one connection, until its other side ends it."""
    connection, _ = server.accept()
    connection.settimeout(SECONDS_MAX)
    with connection:
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(100)
        except OSError:
            return


def authority_of(made: trustme.CA) -> Authority:
    """Let an authority of trustme's sign what it cannot make itself: names of ids."""
    return Authority(made.cert_pem.bytes(), made.private_key_pem.bytes())
