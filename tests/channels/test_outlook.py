"""What TLS would say of a certificate, asked before anybody dials."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels.authority import Authority
from atbus.channels.outlook import Outlook, outlook_of
from atbus.handshake.certificate import parse_identity
from tests.channels.certificates import NODE, Files, authority_below, signed_again

# Nothing that is at hand signs so any more.
SIGNED_BY_SHA1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBADCBpwIBATAJBgcqhkjOPQQBMAwxCjAIBgNVBAMMAWEwIBcNMjYxMTMwMDkw
NjMwWhgPMjA4MTA5MDIwOTA2MzBaMAwxCjAIBgNVBAMMAWIwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAASZGnl+CHuSSrMwsqsFB0TgG1y+q/DddJOMwPVuv8dEPSyM
uJ/dMRG0igNyT4Yoq7H4xFwj5dHhv/knysuFmB00MAkGByqGSM49BAEDSQAwRgIh
AIIbiSUZgXChC0X7TUvjMp/BWxp0XelfguJHRL8PJcuBAiEAxryNaFDlHxFhzBfb
+OkF1782/z8MieYPaHJUZmk/UjM=
-----END CERTIFICATE-----
"""


def _read(text: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text)


class OutlookTests(SynchronousTestCase):
    """The faults that a handshake would find."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.files = Files(self.folder)
        self.believed = _read(self.files.authority.certificate)

    def outlook(self, text: bytes, *, revoked: bytes = b"") -> Outlook:
        """Look at a certificate with what stands behind it."""
        lists = [x509.load_pem_x509_crl(revoked)] if revoked else []
        return outlook_of(_read(text), self.believed, lists)

    def fault(self, text: bytes, *, revoked: bytes = b"") -> str:
        """Give the one thing that is wrong with it."""
        [fault] = self.outlook(text, revoked=revoked).faults
        return fault

    def test_good(self) -> None:
        """One that is good for both sides; it ends when its own time is over."""
        issued = self.files.issue(lifetime=timedelta(hours=5))
        outlook = self.outlook(issued.certificate)
        self.assertEqual((outlook.faults, outlook.is_foreign), ((), False))
        self.assertEqual(outlook.expires, _read(issued.certificate)[0].not_valid_after_utc)

    def test_dates(self) -> None:
        """One that is over, and one that has not begun."""
        over = self.files.issue(lifetime=timedelta(minutes=-1))
        self.assertEqual(self.fault(over.certificate), "it has expired")
        early = self.files.issue(begins_in=timedelta(hours=1))
        self.assertEqual(self.fault(early.certificate), "it is not valid yet")

    def test_purposes(self) -> None:
        """A node listens and dials: it needs to be meant for both."""
        for purpose, lacking in (
            (ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth"),
            (ExtendedKeyUsageOID.CLIENT_AUTH, "serverAuth"),
        ):
            issued = self.files.issue(purposes=[purpose])
            self.assertIn(lacking, self.fault(issued.certificate))

    def test_keys_and_signatures(self) -> None:
        """A key that TLS 1.3 has no use for, and a signature that is too weak, are told of."""
        issued = self.files.issue()
        for key, fault in (
            (rsa.generate_private_key(65537, 2048), ""),
            (ed25519.Ed25519PrivateKey.generate(), ""),
            (rsa.generate_private_key(65537, 1024), "too short, 1024 bits"),
            (ec.generate_private_key(ec.SECP256K1()), "TLS 1.3 does not know"),
        ):
            faults = self.outlook(self.again(issued.certificate, key)).faults
            self.assertEqual((len(faults), fault in "".join(faults)), (bool(fault), True))
        believed = "it is signed by way of sha1, which is not believed"
        self.assertIn(believed, self.outlook(SIGNED_BY_SHA1).faults)
        self.assertIn(believed, self.outlook(issued.certificate + SIGNED_BY_SHA1).faults)

    def again(self, certificate: bytes, key: Any) -> bytes:
        """Have our authority sign it again, with another key in it."""
        return signed_again(self.files.authority, certificate, key)

    def test_signed_by_somebody_else(self) -> None:
        """A good certificate behind one that nobody has signed does not make that good."""
        other = self.files.new_authority("other")
        foreign = self.files.issue(authority=other)
        good = self.files.issue()
        for text in (foreign.certificate, foreign.certificate + good.certificate):
            outlook = self.outlook(text)
            self.assertEqual((len(outlook.faults), outlook.is_foreign), (1, True))

    def test_signed_by_a_node(self) -> None:
        """A node's certificate is no authority, whoever has signed it."""
        node = self.files.issue()
        below = parse_identity("atbus://test/0x5/0")
        by_it = Authority(node.certificate, node.key).issue(below, (), timedelta(hours=1))
        outlook = self.outlook(by_it.certificate + node.certificate)
        self.assertEqual(len(outlook.faults), 1)
        self.assertIn("authority", outlook.faults[0])
        self.assertFalse(outlook.is_foreign)

    def test_an_authority_between(self) -> None:
        """It ends when the authority between does, and is refused once that has ended."""
        for days in (1, -1):
            top = trustme.CA()
            self.believed = _read(top.cert_pem.bytes())
            between = authority_below(top, timedelta(days=days))
            issued = between.issue(NODE, (), timedelta(days=30))
            outlook = self.outlook(issued.certificate + between.certificate)
            if days > 0:
                self.assertEqual(outlook.faults, ())
                ends = _read(between.certificate)[0].not_valid_after_utc
                self.assertEqual(outlook.expires, ends)
            else:
                [fault] = outlook.faults
                self.assertEqual(fault, "that of an authority above it: it has expired")

    def test_revocation_lists(self) -> None:
        """One that has it, one that is over, and one of somebody else."""
        issued = self.files.issue()
        revoked = self.files.authority.revoke([issued.certificate], timedelta(days=1))
        self.assertEqual(self.fault(issued.certificate, revoked=revoked), "it has been revoked")
        over = self.files.authority.revoke([], timedelta(minutes=-1))
        said = self.fault(issued.certificate, revoked=over)
        self.assertEqual(said, "the revocation list has expired")
        other = self.files.new_authority("other").revoke([], timedelta(days=1))
        said = self.fault(issued.certificate, revoked=other)
        self.assertEqual(said, "there is no revocation list of its authority")
