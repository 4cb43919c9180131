"""An authority for small deployments, and what it makes."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels.authority import Authority
from atbus.channels.outlook import outlook_of
from tests.channels.certificates import DAY, NODE, authority_below


def made(realm: str = "shop") -> Authority:
    """Make an authority."""
    issued = Authority.new(realm, days=10)
    return Authority(issued.certificate, issued.key)


def read(text: bytes) -> list[x509.Certificate]:
    """Read certificates."""
    return x509.load_pem_x509_certificates(text)


class AuthorityTests(SynchronousTestCase):
    def test_several_of_a_realm(self) -> None:
        """
        While authorities are changed, the nodes of each of them are believed, in whatever order
        they stand in the file, with revocation lists and without.
        """
        authorities = [made() for _ in range(3)]
        # The lists of those who are revoked name authorities, and nothing else of them.
        names = {read(each.certificate)[0].subject for each in authorities}
        self.assertEqual(len(names), 3)
        issued = [each.issue(NODE, (), DAY) for each in authorities]
        lists = [x509.load_pem_x509_crl(each.revoke([], DAY)) for each in authorities]
        for believed in permutations(authorities):
            text = b"".join(each.certificate for each in believed)
            for each in issued:
                for revocations in ([], lists):
                    outlook = outlook_of(read(each.certificate), read(text), revocations)
                    self.assertEqual(outlook.faults, ())

    def test_whose_key_is_named_by_others(self) -> None:
        """The key of an authority that others have made is called as that calls it itself."""
        called = x509.SubjectKeyIdentifier(b"as they like")
        for each in (authority_below(trustme.CA(), 10 * DAY), _called(made(), called)):
            [own] = read(each.certificate)
            [node] = read(each.issue(NODE, (), DAY).certificate)
            said = node.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            try:
                its = own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            except x509.ExtensionNotFound:
                its = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
            self.assertEqual(said.key_identifier, its.digest)
        self.assertEqual(its, called)

    def test_a_realm_of_any_length(self) -> None:
        """The longest realm that a certificate may name has an authority."""
        [own] = read(made("r" * 63).certificate)
        self.assertIn("O=" + "r" * 63, own.subject.rfc4514_string())

    def test_the_key_of_another(self) -> None:
        """A certificate and a key that are no pair are no authority: nobody would believe it."""
        one, other = (Authority.new("shop", days=10) for _ in range(2))
        error = self.assertRaises(ValueError, Authority, one.certificate, other.key)
        self.assertIn("is not that of the certificate", str(error))

    def test_half_a_pair(self) -> None:
        """Where one of two files is there already, the other one is not made."""
        folder = Path(self.mktemp())
        folder.mkdir()
        certificate, key = folder / "a.pem", folder / "a.key"
        issued = Authority.new("shop", days=10)
        for there, other in ((certificate, key), (key, certificate)):
            there.write_text("old")
            self.assertRaises(FileExistsError, issued.write, certificate, key)
            self.assertEqual((there.read_text(), other.exists()), ("old", False))
            there.unlink()
        issued.write(certificate, key)
        self.assertEqual(key.read_bytes(), issued.key)

    def test_who_vouches(self) -> None:
        """It says until when it is believed, and whether it is believed about others at all."""
        authority = made()
        [own] = read(authority.certificate)
        self.assertEqual(authority.expires, own.not_valid_after_utc)
        node = authority.issue(NODE, (), DAY)
        may = [each.may_vouch for each in (authority, Authority(node.certificate, node.key))]
        self.assertEqual(may, [True, False])


def _called(authority: Authority, called: x509.SubjectKeyIdentifier) -> Authority:
    """Give an authority's key another name than we would."""
    [before] = read(authority.certificate)
    builder = x509.CertificateBuilder(
        before.issuer,
        before.subject,
        before.public_key(),
        before.serial_number,
        before.not_valid_before_utc,
        before.not_valid_after_utc,
    )
    for extension in before.extensions:
        is_its = isinstance(extension.value, x509.SubjectKeyIdentifier)
        builder = builder.add_extension(called if is_its else extension.value, extension.critical)
    text = builder.sign(authority._key, hashes.SHA256()).public_bytes(Encoding.PEM)
    key = authority._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Authority(text, key)
