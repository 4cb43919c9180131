"""etcd over TLS, with certificates on both sides."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from random import Random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from atbus.busid import Subnet
from atbus.channels.authority import Authority
from atbus.channels.timers import MonotonicTimers
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.faults import EtcdUnreachable
from atbus.discovery.etcd.options import ClusterOptions, TlsFiles
from atbus.errors import ConfigurationError
from atbus.handshake.certificate import CertificateIdentity
from tests.interop.etcd_server import require_etcd, start_etcd


class TlsTests(TestCase):
    """A server that shows a certificate, and wants to see one."""

    timeout = 120

    def setUp(self) -> None:
        require_etcd()
        from twisted.internet import reactor  # noqa: TID251  # real servers, real sockets

        self.reactor = reactor
        self.timers = MonotonicTimers(reactor)
        self.addCleanup(self.timers.stop)
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-etcd-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.ours = self.authority("ours")
        self.server = self.certificate(self.ours, "server")

    def authority(self, name: str) -> Authority:
        """Make an authority, with its certificate in a file."""
        issued = Authority.new(name, 1)
        issued.write(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return Authority(issued.certificate, issued.key)

    def certificate(self, authority: Authority, name: str) -> TlsFiles:
        """Have a certificate issued, for this host."""
        identity = CertificateIdentity("etcd", Subnet(1, 0))
        issued = authority.issue(identity, ["127.0.0.1"], timedelta(days=1))
        files = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued.write(*files)
        return TlsFiles(certificate_file=str(files[0]), key_file=str(files[1]))

    def start(self) -> str:
        """Start the server, and give its URL."""
        (server,) = start_etcd(
            self.folder,
            scheme="https",
            arguments=(
                f"--cert-file={self.server.certificate_file}",
                f"--key-file={self.server.key_file}",
                f"--trusted-ca-file={self.folder / 'ours.pem'}",
                "--client-cert-auth",
            ),
        )
        self.addCleanup(server.stop)
        return server.url

    async def outcome(self, url: str, ca: str, files: TlsFiles) -> str:
        """Try to use the server; say what came of it."""
        tls = TlsFiles(
            ca_file=str(self.folder / f"{ca}.pem"),
            certificate_file=files.certificate_file,
            key_file=files.key_file,
        )
        options = ClusterOptions(endpoints=(url,), tls=tls, request_seconds=10.0)
        cluster = EtcdCluster(options, self.reactor, self.timers, Random(1))
        try:
            await cluster.range(packer.prefix_range(b"/"))
        except EtcdUnreachable:
            return "unreachable"
        finally:
            await cluster.close()
        return "good"

    async def test_both_sides_are_known(self) -> None:
        """
        With the right authority and certificate it works; without either nobody talks to anybody.
        """
        url = self.start()
        theirs = self.authority("theirs")
        ours = self.certificate(self.ours, "node")
        stranger = self.certificate(theirs, "stranger")
        self.assertEqual(await self.outcome(url, "ours", ours), "good")
        self.assertEqual(await self.outcome(url, "theirs", ours), "unreachable")
        self.assertEqual(await self.outcome(url, "ours", stranger), "unreachable")
        self.assertEqual(await self.outcome(url, "ours", TlsFiles()), "unreachable")

    async def test_files_are_read_again(self) -> None:
        """
        An authority and a certificate that have changed in their files count for the next
        connection; files that cannot be used change nothing.
        """
        url = self.start()
        theirs = self.authority("theirs")
        for authority, name in ((self.ours, "ours"), (theirs, "theirs")):
            self.certificate(authority, f"node-of-{name}")
        ca_file = self.folder / "ca.pem"
        tls = TlsFiles(
            ca_file=str(ca_file),
            certificate_file=str(self.folder / "node.pem"),
            key_file=str(self.folder / "node.key"),
        )

        def use(name: str) -> None:
            shutil.copy(self.folder / f"{name}.pem", ca_file)
            for kind in ("pem", "key"):
                there = self.folder / f"node-of-{name}.{kind}"
                shutil.copy(there, self.folder / f"node.{kind}")

        use("theirs")
        options = ClusterOptions(endpoints=(url,), tls=tls, request_seconds=10.0)
        cluster = EtcdCluster(options, self.reactor, self.timers, Random(1))
        self.addCleanup(cluster.close)
        everything = packer.prefix_range(b"/")
        await self.assertFailure(
            Deferred.fromCoroutine(cluster.range(everything)), EtcdUnreachable
        )
        use("ours")
        cluster.refresh_files()
        await cluster.range(everything)
        ca_file.write_bytes(b"none")
        with self.assertRaises(ConfigurationError):
            cluster.refresh_files()
        await cluster.range(everything)
