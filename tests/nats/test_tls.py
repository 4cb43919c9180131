"""TLS: behind INFO, before it, or as the client likes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from atbus.errors import ConfigurationError
from atbus.nats import bounds
from atbus.nats.faults import Reason
from atbus.nats.gateway import Gateway
from atbus.nats.settings import TlsSettings
from atbus.nats.tls import listener_contexts
from tests.channels.certificates import Files
from tests.nats.sockets import SocketCase, Talker
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF, QUIET


class TlsTests(SocketCase):
    """A gateway with a certificate for localhost."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, folder)
        self.files = Files(folder)
        self.own = self.files.options()
        self.authorities = str(folder / "authority.pem")

    async def enters(self, **nats: Any) -> tuple[Gateway, Talker]:
        """Start a gateway with TLS, and connect to it."""
        files = {"certificate_file": self.own.certificate, "key_file": self.own.key}
        gateway = await self.gateway(**{"tls_seconds": 30.0, **files, **nats})
        address = gateway.address()
        assert address is not None
        return gateway, await self.talker(address[1])

    def begins_tls(self, talker: Talker, *, shows: bool = False) -> None:
        """Begin TLS as a client does, with a certificate of its own if it shows one."""
        authority = ssl.Certificate.loadPEM(Path(self.authorities).read_bytes())
        own = None
        if shows:
            files = self.files.options()
            text = Path(files.certificate).read_bytes() + Path(files.key).read_bytes()
            own = ssl.PrivateCertificate.loadPEM(text)
        options = ssl.optionsForClientTLS("localhost", trustRoot=authority, clientCertificate=own)
        talker.transport.startTLS(options)

    async def is_served(self, talker: Talker) -> bool:
        """Log in, and wait for the PONG or the end."""
        talker.says(QUIET + b"PING\r\n")
        return (await talker.hears(b"PONG\r\n")).endswith(b"PONG\r\n")

    def test_behind_info(self) -> Deferred[None]:
        """INFO says that there is TLS; the client begins it, and is served inside."""
        return Deferred.fromCoroutine(self.behind_info())

    async def behind_info(self) -> None:
        gateway, talker = await self.enters()
        info = info_of(await talker.hears(b" \r\n"))
        self.assertTrue(info["tls_required"])
        self.assertNotIn("tls_verify", info)
        self.begins_tls(talker)
        self.assertTrue(await self.is_served(talker))
        version, cipher = gateway.clients[1].tls or ("", "")
        self.assertIn(version, ("1.2", "1.3"))
        self.assertTrue(cipher)
        self.assertTrue(gateway.clients[1].taken_bytes > 0)

    def test_without_it(self) -> Deferred[None]:
        """Who goes on in the clear is closed."""
        return Deferred.fromCoroutine(self.without_it())

    async def without_it(self) -> None:
        _, talker = await self.enters()
        await talker.hears(b" \r\n")
        talker.says(QUIET + b"PING\r\n")
        self.assertNotIn(b"PONG", await talker.hears(EOF))

    def test_before_info(self) -> Deferred[None]:
        """With TLS first nothing is said in the clear."""
        return Deferred.fromCoroutine(self.before_info())

    async def before_info(self) -> None:
        _, talker = await self.enters(tls_first=True)
        self.begins_tls(talker)
        self.assertTrue(info_of(await talker.hears(b" \r\n"))["tls_required"])
        self.assertTrue(await self.is_served(talker))

    def test_as_the_client_likes(self) -> Deferred[None]:
        """A client may begin at once; one that waits is told INFO first."""
        return Deferred.fromCoroutine(self.as_the_client_likes())

    async def as_the_client_likes(self) -> None:
        # No client is so slow that it is not hasty, whatever else the machine does.
        self.patch(bounds, "TLS_FIRST_SECONDS", 60.0)
        gateway, hasty = await self.enters(tls_first="auto")
        self.begins_tls(hasty)
        address = gateway.address()
        assert address is not None
        await hasty.hears(b" \r\n")
        self.assertTrue(await self.is_served(hasty))
        self.patch(bounds, "TLS_FIRST_SECONDS", 0.01)
        patient = await self.talker(address[1])
        self.assertTrue(info_of(await patient.hears(b" \r\n"))["tls_required"])
        self.begins_tls(patient)
        self.assertTrue(await self.is_served(patient))

    def test_how_long_a_client_may_wait(self) -> Deferred[None]:
        """The time after which INFO is told may be given; who is faster begins TLS."""
        return Deferred.fromCoroutine(self.how_long_a_client_may_wait())

    async def how_long_a_client_may_wait(self) -> None:
        self.patch(bounds, "TLS_FIRST_SECONDS", 3_600.0)
        _, patient = await self.enters(tls_first="10ms")
        self.assertTrue(info_of(await patient.hears(b" \r\n"))["tls_required"])
        self.begins_tls(patient)
        self.assertTrue(await self.is_served(patient))
        self.patch(bounds, "TLS_FIRST_SECONDS", 0.0)
        _, hasty = await self.enters(tls_first="1m")
        self.begins_tls(hasty)
        await hasty.hears(b" \r\n")
        self.assertTrue(await self.is_served(hasty))

    def test_or_not_at_all(self) -> Deferred[None]:
        """Where TLS is optional its first byte decides."""
        return Deferred.fromCoroutine(self.or_not_at_all())

    async def or_not_at_all(self) -> None:
        gateway, plain = await self.enters(tls_optional=True)
        info = info_of(await plain.hears(b" \r\n"))
        self.assertTrue(info["tls_available"])
        self.assertNotIn("tls_required", info)
        self.assertTrue(await self.is_served(plain))
        address = gateway.address()
        assert address is not None
        other = await self.talker(address[1])
        await other.hears(b" \r\n")
        self.begins_tls(other)
        self.assertTrue(await self.is_served(other))

    def test_certificates_of_clients(self) -> Deferred[None]:
        """Who has to show one and has none is not served."""
        return Deferred.fromCoroutine(self.certificates_of_clients())

    async def certificates_of_clients(self) -> None:
        gateway, known = await self.enters(tls_verify=True, ca_file=self.authorities)
        self.assertTrue(info_of(await known.hears(b" \r\n"))["tls_verify"])
        self.begins_tls(known, shows=True)
        self.assertTrue(await self.is_served(known))
        address = gateway.address()
        assert address is not None
        stranger = await self.talker(address[1])
        await stranger.hears(b" \r\n")
        self.begins_tls(stranger)
        self.assertFalse(await self.is_served(stranger))

    def test_who_does_not_begin(self) -> Deferred[None]:
        """A client that does not begin TLS in time is closed."""
        return Deferred.fromCoroutine(self.who_does_not_begin())

    async def who_does_not_begin(self) -> None:
        gateway, talker = await self.enters(tls_seconds=0.05)
        self.assertTrue((await talker.hears(EOF)).endswith(EOF))
        self.assertEqual([each.reason for each in gateway.closed], [Reason.TLS_HANDSHAKE])


class FileTests(TestCase):
    """Files of certificates."""

    def test_files_half_written(self) -> None:
        """Of authorities that are being written none is forgotten with all its clients."""
        folder = Path(self.mktemp())
        folder.mkdir()
        own = Files(folder).options()
        path = Path(own.authorities)
        text = path.read_bytes()
        path.write_bytes(text + text[:-5])
        settings = TlsSettings(
            certificate_file=own.certificate, key_file=own.key, ca_file=str(path), verify=True
        )
        error = self.assertRaises(ConfigurationError, listener_contexts, settings)
        self.assertIn(f"nats: {path}: it ends too early", error.faults[0])

    def test_files_that_cannot_be_used(self) -> None:
        """A gateway with them is refused, and told which file it is."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "empty.pem").write_text("nothing")
        for name in ("none.pem", "empty.pem"):
            path = str(folder / name)
            settings = TlsSettings(certificate_file=path, key_file=path)
            fault = self.assertRaises(ConfigurationError, listener_contexts, settings)
            self.assertIn(path, str(fault))
