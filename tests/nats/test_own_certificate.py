"""New certificates of a gateway that runs, which others would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels import outlook
from atbus.channels.authority import Authority, Issued
from atbus.errors import ConfigurationError
from atbus.nats.cluster_settings import ClusterSettings
from atbus.nats.files import Latest
from atbus.nats.leaf_settings import Remote
from atbus.nats.own_certificate import Own
from atbus.nats.settings import TlsSettings
from atbus.nats.tls import listener_contexts, remote_contexts, route_contexts
from tests.channels.certificates import DAY, Files, signed_again

HOUR = timedelta(hours=1)
PLACE = "localhost:7422"


class OwnCertificateTests(SynchronousTestCase):
    """A good one is shown until another one stands as well with others."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.files = Files(self.folder)
        self.own = self.files.options()
        self.ca = str(self.folder / "ca.pem")
        Path(self.ca).write_bytes(self.files.authority.certificate)

    def listener(self, before: Latest[Any] | None = None, **how: Any) -> Latest[Any]:
        """Make what clients meet."""
        settings = TlsSettings(certificate_file=self.own.certificate, key_file=self.own.key, **how)
        return listener_contexts(settings, before)

    def remote(self, before: Latest[Any] | None = None) -> Latest[Any]:
        """Make what a server meets that is dialed."""
        remote = Remote(
            places=(PLACE,),
            ca_file=self.ca,
            certificate_file=self.own.certificate,
            key_file=self.own.key,
        )
        return remote_contexts(remote, before)

    def routes(self, before: Latest[Any] | None = None, **how: Any) -> Latest[Any]:
        """Make what other members meet."""
        settings = ClusterSettings(
            **{
                "name": "shop",
                "listen": "127.0.0.1:0",
                "ca_file": self.ca,
                "certificate_file": self.own.certificate,
                "key_file": self.own.key,
                **how,
            }
        )
        return route_contexts(settings, before)

    def put(self, issued: Issued) -> None:
        """Put a pair where the old one is."""
        paths = Path(self.own.certificate), Path(self.own.key)
        for path in paths:
            path.unlink()
        issued.write(*paths)

    @contextmanager
    def told(self, text: str) -> Iterator[None]:
        """Check that one line is told, or none."""
        with capturedLogs() as events:
            yield
        self.assertEqual(list(map(formatEvent, events)), [text] if text else [])

    def assert_shown(self, latest: Latest[Any], issued: Issued) -> None:
        """Check what is shown to who connects now."""
        [certificate, *_] = x509.load_pem_x509_certificates(issued.certificate)
        made = latest.get()
        assert latest.own is not None
        assert latest.own.shown is not None
        self.assertEqual(latest.own.shown.chain()[0], certificate)
        if hasattr(made, "certificate"):
            self.assertEqual(made.certificate.to_cryptography(), certificate)

    def worse(self, why: str) -> str:
        """Write what the log says."""
        place = f"nats: {self.own.certificate}"
        return f"{place}: worse than the one in use: {why}; what was there before is used"

    def used(self, *more: str) -> str:
        """Write what it says of files that are used."""
        return f"new files are in use: {', '.join((*more, self.own.certificate, self.own.key))}"

    def expired(self) -> Issued:
        """Make a certificate that is over."""
        return self.files.issue(lifetime=timedelta(minutes=-1))

    def go_to(self, moment: timedelta) -> None:
        """Let the calendar say that it is so much later."""
        later = datetime.now(tz=UTC) + moment
        self.patch(outlook, "now", lambda: later)

    def test_dates(self) -> None:
        """Neither one that is over nor one that is early, to clients, to servers, to members."""
        for make in (self.listener, self.remote, self.routes):
            good = self.files.issue()
            self.put(good)
            latest = make()
            for issued, why in (
                (self.expired(), "it has expired"),
                (self.files.issue(begins_in=HOUR), "it is not valid yet"),
            ):
                self.put(issued)
                with self.told(self.worse(why)):
                    self.assert_shown(latest, good)
                with self.told(""):
                    self.assert_shown(latest, good)
            better = self.files.issue()
            # What stands behind it may be for others, and old.
            self.put(Issued(better.certificate + self.expired().certificate, better.key))
            latest.get()
            with self.told(""):
                self.assert_shown(latest, better)

    def test_less_bad(self) -> None:
        """At the beginning, and where the one that is shown is over, what is there is shown."""
        first, second, early = self.expired(), self.expired(), self.files.issue(begins_in=HOUR)
        self.put(first)
        with self.told(""):
            latest = self.listener()
            self.assert_shown(latest, first)
        for issued in (second, early):
            self.put(issued)
            with self.told(self.used()):
                self.assert_shown(latest, issued)
        self.put(self.expired())
        with self.told(self.worse("it has expired")):
            self.assert_shown(latest, early)

    def test_in_time(self) -> None:
        """An early one is shown when it begins, another one when the time of the first is over."""
        for new, moment in (
            (self.files.issue(begins_in=HOUR), HOUR),
            (self.files.issue(lifetime=timedelta(minutes=-1)), DAY),
        ):
            good = self.files.issue()
            self.put(good)
            latest = self.listener()
            self.put(new)
            latest.get()
            self.go_to(moment * 0.9)
            with self.told(""):
                self.assert_shown(latest, good)
            self.go_to(moment * 1.1)
            with self.told(self.used()):
                self.assert_shown(latest, new)
            self.go_to(timedelta())

    def test_told_once_over_time(self) -> None:
        """What is judged again because something has ended, and is as bad as before, is no news."""
        good = self.files.issue(lifetime=5 * DAY)
        self.put(good)
        believed = self.files.authority.certificate + Authority.new("other", days=1).certificate
        Path(self.ca).write_bytes(believed)
        latest = self.routes()
        self.put(self.expired())
        latest.get()
        assert latest.own is not None
        self.go_to(DAY * 1.1)
        self.assertTrue(latest.own.is_due)
        with self.told(""):
            self.assert_shown(latest, good)
        self.assertFalse(latest.own.is_due)

    def test_whom_others_believe(self) -> None:
        """
        Members believe the same authorities, so to them one of another is not shown before that
        is believed; whom clients believe is not known.
        """
        other, good = self.files.new_authority("other"), self.files.issue()
        self.put(good)
        clients, members = self.listener(), self.routes()
        foreign = self.files.issue(authority=other)
        self.put(foreign)
        with self.told(self.used()):
            self.assert_shown(clients, foreign)
        with self.told(self.worse("its authority is not believed")):
            members.get()
        self.assert_shown(members, good)
        Path(self.ca).write_bytes(other.certificate)
        with self.told(f"{self.used()}, {self.ca}"):
            self.assert_shown(members, foreign)

    def test_whom_we_believe(self) -> None:
        """Others are believed at once, though the certificate in the files is worse."""
        latest, good = self.listener(ca_file=self.ca, verify=True), self.files.issue()
        self.put(good)
        before = latest.get()
        self.put(self.expired())
        other = self.files.new_authority("other")
        Path(self.ca).write_bytes(other.certificate)
        self.assert_shown(latest, good)
        made = latest.get()
        self.assertIsNot(made, before)
        [trusted] = made.trustRoot._caCerts
        [authority] = x509.load_pem_x509_certificates(other.certificate)
        self.assertEqual(trusted.to_cryptography(), authority)

    def test_reload(self) -> None:
        """Other settings with the same files do not bring it either, other files do."""
        for make in (self.listener, self.remote, self.routes):
            good, expired = self.files.issue(), self.expired()
            self.put(good)
            latest = make()
            self.put(expired)
            with self.told(self.worse("it has expired")):
                renewed = make(latest)
            with self.told(""):
                self.assert_shown(renewed, good)
            kept, self.own = self.own, self.files.options(expired)
            with self.told(""):
                self.assert_shown(make(renewed), expired)
            self.own = kept

    def test_key_of_another(self) -> None:
        """
        A certificate without its key, or with one that is too short, is not shown, also where the
        one in use is over.
        """
        expired, new = self.expired(), self.files.issue()
        short = rsa.generate_private_key(65537, 1024)
        weak = Issued(
            signed_again(self.files.authority, new.certificate, short),
            short.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
        self.put(expired)
        for make in (self.listener, self.remote, self.routes):
            latest = make()
            for unusable in (Issued(new.certificate, expired.key), weak):
                self.put(unusable)
                self.assert_shown(latest, expired)
                self.assertRaises(ConfigurationError, make)
            # Nor does anything have to be better than that one.
            early = self.files.issue(begins_in=HOUR)
            self.put(early)
            self.assert_shown(latest, early)
            self.put(expired)

    def test_what_cannot_be_judged(self) -> None:
        """What OpenSSL takes and cannot be looked at is shown, as it always was."""
        good, new = self.files.issue(), self.expired()
        self.put(good)
        latest = self.listener()
        self.put(new)

        def unreadable(_own: Own) -> list[x509.Certificate]:
            raise x509.InvalidVersion("unknown", 3)

        self.patch(Own, "chain", unreadable)
        with self.told(self.used()):
            made = latest.get()
        [certificate] = x509.load_pem_x509_certificates(new.certificate)
        self.assertEqual(made.certificate.to_cryptography(), certificate)
