"""ZooKeeper over TLS, with certificates on both sides."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from atbus.busid import Subnet
from atbus.channels.authority import Authority
from atbus.discovery.zookeeper.options import TlsFiles
from atbus.discovery.zookeeper.states import Connected, SessionNews
from atbus.handshake.certificate import CertificateIdentity
from tests.interop.test_zookeeper_records import SessionCase


class TlsTests(SessionCase):
    """A server that shows a certificate, and wants to see one."""

    folder: ClassVar[Path]

    @classmethod
    def server_options(cls, folder: Path) -> dict[str, Any]:
        cls.folder = folder
        ours, theirs = cls.authority("ours"), cls.authority("theirs")
        server = cls.certificate(ours, "server")
        cls.certificate(ours, "node")
        cls.certificate(theirs, "stranger")
        # A server wants both in one file.
        both = folder / "both.pem"
        parts = [Path(part).read_bytes() for part in (server.key_file, server.certificate_file)]
        both.write_bytes(b"".join(parts))
        lines = [
            f"ssl.keyStore.location={both}",
            "ssl.keyStore.type=PEM",
            f"ssl.trustStore.location={folder / 'ours.pem'}",
            "ssl.trustStore.type=PEM",
            "ssl.hostnameVerification=false",
        ]
        return {"secure": True, "lines": lines}

    @classmethod
    def authority(cls, name: str) -> Authority:
        """Make an authority, with its certificate in a file."""
        issued = Authority.new(name, 1)
        issued.write(cls.folder / f"{name}.pem", cls.folder / f"{name}.key")
        return Authority(issued.certificate, issued.key)

    @classmethod
    def certificate(cls, authority: Authority, name: str) -> TlsFiles:
        """Have a certificate issued, for this host."""
        identity = CertificateIdentity("zookeeper", Subnet(1, 0))
        issued = authority.issue(identity, ["127.0.0.1"], timedelta(days=1))
        files = cls.folder / f"{name}.pem", cls.folder / f"{name}.key"
        issued.write(*files)
        return TlsFiles(certificate_file=str(files[0]), key_file=str(files[1]))

    async def outcome(self, ca: str, name: str) -> str:
        """Try to use the server; say what came of it."""
        tls = TlsFiles(
            ca_file=str(self.folder / f"{ca}.pem"),
            certificate_file=str(self.folder / f"{name}.pem") if name else "",
            key_file=str(self.folder / f"{name}.key") if name else "",
        )
        session = self.session(servers=(self.servers[0].secure_address,), tls=tls)
        told: list[SessionNews] = []
        session.changed.add(told.append)
        session.changed.add(self.changes.note)
        await self.changes.until(lambda: bool(told))
        await session.close()
        return "good" if isinstance(told[0], Connected) else str(told[0])

    async def test_both_sides_are_known(self) -> None:
        """
        With the right authority and certificate it works; without either nobody talks to anybody,
        and the reason is told.
        """
        self.assertEqual(await self.outcome("ours", "node"), "good")
        self.assertIn("CERTIFICATE_VERIFY_FAILED", await self.outcome("theirs", "node"))
        for stranger in ("stranger", ""):
            self.assertIn("Connection dropped", await self.outcome("ours", stranger))
