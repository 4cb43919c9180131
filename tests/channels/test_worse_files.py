"""New certificates of a node that runs, which others would refuse."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from ssl import DER_cert_to_PEM_cert, PEM_cert_to_DER_cert

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels import outlook
from atbus.channels.authority import Authority, Issued
from atbus.channels.credentials import Credentials
from atbus.channels.tls_files import TlsOptions
from atbus.errors import ConfigurationError
from tests.channels.certificates import DAY, Files

HOUR = timedelta(hours=1)
UTF8_STRING = 12


class WorseFilesTests(SynchronousTestCase):
    """What is in use stays so, unless the new one stands as well with others, or better."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.files = Files(self.folder)
        self.lists = self.folder / "revoked.pem"
        self.lists.write_bytes(self.files.authority.revoke([], 9 * DAY))

    def begin(self, issued: Issued) -> Credentials:
        """Make what a node has that starts with a certificate."""
        return self.files.credentials(issued, revoked=str(self.lists))

    @staticmethod
    def put(options: TlsOptions, issued: Issued) -> None:
        """Put a pair where the old one is."""
        paths = Path(options.certificate), Path(options.key)
        for path in paths:
            path.unlink()
        issued.write(*paths)

    def put_worse(self, credentials: Credentials, issued: Issued, why: str) -> None:
        """Put a pair that does not come into use, and is told of once."""
        own = credentials._used.own
        self.put(credentials.options, issued)
        self.assertFalse(credentials.refresh())
        place = f"certificate: {credentials.options.certificate}"
        self.assertEqual(credentials.faults, [f"{place}: worse than the one in use: {why}"])
        faults = credentials.faults
        self.assertFalse(credentials.refresh())
        self.assertIs(credentials.faults, faults)
        self.assertEqual(credentials._used.own, own)

    def put_better(self, credentials: Credentials, issued: Issued) -> None:
        """Put a pair that comes into use."""
        self.put(credentials.options, issued)
        self.assert_used(credentials, issued)

    def assert_used(self, credentials: Credentials, issued: Issued) -> None:
        """Check that a pair comes into use now."""
        self.assertTrue(credentials.refresh())
        self.assertEqual(credentials.faults, [])
        chain = x509.load_pem_x509_certificates(issued.certificate)
        self.assertEqual(credentials._used.own.chain, chain)

    def go_to(self, moment: timedelta) -> None:
        """Let the calendar say that it is so much later."""
        later = datetime.now(tz=UTC) + moment
        self.patch(outlook, "now", lambda: later)

    def expired(self) -> Issued:
        """Make a certificate that is over."""
        return self.files.issue(lifetime=timedelta(minutes=-1))

    def early(self) -> Issued:
        """Make a certificate that begins in an hour."""
        return self.files.issue(begins_in=HOUR)

    def test_each_fault(self) -> None:
        """A good one gives way to none that others refuse, for whatever reason."""
        credentials = self.begin(self.files.issue())
        revoked = self.files.issue()
        self.lists.write_bytes(self.files.authority.revoke([revoked.certificate], 9 * DAY))
        self.assertTrue(credentials.refresh())
        other = self.files.new_authority("other")
        for issued, why in (
            (self.expired(), "it has expired"),
            (self.early(), "it is not valid yet"),
            (revoked, "it has been revoked"),
            (self.files.issue(authority=other), "its authority is not believed"),
            (
                self.files.issue(authority=other, lifetime=timedelta(minutes=-1)),
                "its authority is not believed; it has expired",
            ),
            (
                self.files.issue(purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
                "it is not meant for who dials (clientAuth)",
            ),
        ):
            self.put_worse(credentials, issued, why)
        self.put_better(credentials, self.files.issue())

    def test_key_of_another(self) -> None:
        """A certificate without its key is not used, also where the one in use is over."""
        for begun in (self.files.issue(), self.expired()):
            credentials, new = self.begin(begun), self.files.issue()
            options, own = credentials.options, credentials._used.own
            Path(options.certificate).write_bytes(new.certificate)
            self.assertFalse(credentials.refresh())
            fault = f"key: {options.key}: is not that of {options.certificate}"
            self.assertEqual((credentials.faults, credentials._used.own), ([fault], own))
            Path(options.key).write_bytes(new.key)
            self.assert_used(credentials, new)

    def test_authority_that_comes_later(self) -> None:
        """One of a new authority is used as soon as that is believed."""
        credentials, other = self.begin(self.files.issue()), self.files.new_authority("other")
        issued = self.files.issue(authority=other)
        self.put_worse(credentials, issued, "its authority is not believed")
        believed = Path(credentials.options.authorities)
        believed.write_bytes(believed.read_bytes() + other.certificate)
        self.lists.write_bytes(self.lists.read_bytes() + other.revoke([], 9 * DAY))
        self.assert_used(credentials, issued)

    def test_authority_that_goes(self) -> None:
        """One in use whose authority goes with the same change is no better than an early one."""
        credentials, other = self.begin(self.files.issue()), self.files.new_authority("other")
        issued = self.files.issue(authority=other, begins_in=HOUR)
        Path(credentials.options.authorities).write_bytes(other.certificate)
        self.lists.write_bytes(other.revoke([], 9 * DAY))
        self.put_better(credentials, issued)

    def test_while_a_list_has_lapsed(self) -> None:
        """All are refused then; a stranger's is still worse than one that will be good again."""
        issued = self.files.issue(lifetime=50 * DAY)
        credentials, next_one = self.begin(issued), self.files.issue(lifetime=50 * DAY)
        self.go_to(10 * DAY)
        self.assertEqual(credentials.outlook().faults, ("the revocation list has expired",))
        foreign = self.files.issue(
            authority=self.files.new_authority("other"), lifetime=50 * DAY
        )
        self.put_worse(credentials, foreign, "its authority is not believed")
        self.put_better(credentials, next_one)
        self.put_worse(credentials, foreign, "its authority is not believed")
        self.lists.write_bytes(self.files.authority.revoke([], 30 * DAY))
        self.assertTrue(credentials.refresh())
        self.assertEqual(credentials.outlook().faults, ())

    def test_less_bad(self) -> None:
        """Of two that others refuse one whose time is not over is used, and else the new one."""
        credentials = self.begin(self.expired())
        self.put_better(credentials, self.expired())
        self.assertEqual(credentials.outlook().faults, ("it has expired",))
        self.put_better(credentials, self.early())
        self.put_worse(credentials, self.expired(), "it has expired")
        foreign = self.files.issue(authority=self.files.new_authority("other"))
        self.put_better(credentials, foreign)
        self.put_better(credentials, self.files.issue())

    def test_when_its_time_comes(self) -> None:
        """One that was not valid yet is used once it is, though no file is another then."""
        credentials, issued = self.begin(self.files.issue()), self.early()
        self.put_worse(credentials, issued, "it is not valid yet")
        self.go_to(HOUR / 2)
        self.assertFalse(credentials.refresh())
        self.go_to(HOUR * 1.1)
        self.assert_used(credentials, issued)
        self.assertFalse(credentials.refresh())

    def test_when_the_time_of_the_other_is_over(self) -> None:
        """One that others refuse is used when the one in use is no better any more."""
        foreign = self.files.issue(authority=self.files.new_authority("other"), lifetime=5 * DAY)
        for worse, why in (
            (self.expired(), "it has expired"),
            (foreign, "its authority is not believed"),
        ):
            credentials = self.begin(self.files.issue(lifetime=DAY))
            self.put_worse(credentials, worse, why)
            told = credentials.faults
            # Nothing to tell again, whatever else begins or ends meanwhile.
            self.go_to(DAY / 2)
            self.assertFalse(credentials.refresh())
            self.assertIs(credentials.faults, told)
            self.go_to(DAY * 1.1)
            self.assert_used(credentials, worse)
            self.go_to(timedelta())

    def test_told_once_over_time(self) -> None:
        """What is judged again because something has ended, and is as bad as before, is no news."""
        credentials = self.begin(self.files.issue(lifetime=5 * DAY))
        believed = Path(credentials.options.authorities)
        believed.write_bytes(believed.read_bytes() + Authority.new("other", days=1).certificate)
        self.assertTrue(credentials.refresh())
        self.put_worse(credentials, self.expired(), "it has expired")
        told, moment = credentials.faults, credentials._judge_at
        self.go_to(DAY * 1.1)
        self.assertFalse(credentials.refresh())
        self.assertIs(credentials.faults, told)
        self.assertNotEqual(credentials._judge_at, moment)

    def test_whom_we_believe(self) -> None:
        """Revocation lists and authorities come into use beside a certificate that does not."""
        good, other = self.files.issue(lifetime=5 * DAY), self.files.new_authority("other")
        for worse in (self.expired(), Issued(good.certificate[:-30], good.key)):
            credentials, told = self.begin(good), Counter[str]()
            credentials.watching.add(partial(told.update, ["watch"]))
            believed = Path(credentials.options.authorities)
            before = believed.read_bytes()
            self.put(credentials.options, worse)
            self.assertFalse(credentials.refresh())
            self.lists.write_bytes(other.revoke([], DAY) + self.lists.read_bytes())
            self.assertTrue(credentials.refresh())
            self.assertEqual(len(credentials.faults), 1)
            believed.write_bytes(before + other.certificate)
            self.assertTrue(credentials.refresh())
            self.assertFalse(credentials.refresh())
            self.assertEqual(len(credentials.faults), 1)
            self.assertEqual(len(credentials._used.authorities), 2)
            self.assertEqual(len(credentials._used.revocations), 2)
            self.assertEqual(told["watch"], 2)
            believed.write_bytes(before)
            self.lists.write_bytes(self.files.authority.revoke([], 9 * DAY))

    def test_refused_by_openssl_alone(self) -> None:
        """
        What cryptography reads and OpenSSL does not - a name that is no text - is a fault of its
        file, when a node starts and while it runs; it is no error of whoever looks at it.
        """
        options = self.files.options(revoked=str(self.lists))
        credentials = Credentials(options)
        for name, path in (
            ("certificate", options.certificate),
            ("authorities", options.authorities),
            ("revoked", options.revoked),
        ):
            good = Path(path).read_bytes()
            Path(path).write_text(_nameless(good.decode()))
            self.assertFalse(credentials.refresh())
            [fault] = credentials.faults
            self.assertIn(f"{name}: {path}: ", fault)
            self.assertIn("mstring wrong tag", fault)
            error = self.assertRaises(ConfigurationError, Credentials, options)
            self.assertEqual(error.faults, [fault])
            Path(path).write_bytes(good)
            self.assertTrue(credentials.refresh())


def _nameless(text: str) -> str:
    """Make the first name in a certificate, or in a list, one of bytes."""
    if "X509 CRL" not in text:
        return DER_cert_to_PEM_cert(_of_bytes(PEM_cert_to_DER_cert(text)))
    der = x509.load_pem_x509_crl(text.encode()).public_bytes(Encoding.DER)
    pem = DER_cert_to_PEM_cert(_of_bytes(der))
    return pem.replace("CERTIFICATE", "X509 CRL")


def _of_bytes(der: bytes) -> bytes:
    # Behind what names its kind.
    place = der.index(b"\x06\x03\x55\x04") + 5
    assert der[place] == UTF8_STRING
    return der[:place] + b"\x04" + der[place + 1 :]
