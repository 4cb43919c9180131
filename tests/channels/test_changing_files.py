"""Files of a node that change while it runs, in every way that people and programs have."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from ssl import DER_cert_to_PEM_cert, PEM_cert_to_DER_cert

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.channels import tls_files
from atbus.channels.authority import Issued
from atbus.channels.credentials import Credentials
from atbus.channels.tls_files import TlsOptions
from atbus.handshake.certificate import CertificateIdentity
from tests.channels.certificates import DAY, Files, signed_again

NOBODY = 65_534


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be somebody for whom files have owners, if we are root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def identity(first: int) -> CertificateIdentity:
    """Name a range of 256 ids."""
    return CertificateIdentity("test", Subnet(first, 8))


class ChangingFilesTests(SynchronousTestCase):
    """What was good stays in use until what is there is whole, and then that is used."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.files = Files(self.folder)

    def assert_kept(self, credentials: Credentials, fault: str) -> None:
        """Check that the files are not used, and that they are told of, and read, once."""
        identity = credentials.identity
        self.assertFalse(credentials.refresh())
        [told] = credentials.faults
        self.assertIn(fault, told)
        faults = credentials.faults
        self.assertFalse(credentials.refresh())
        self.assertIs(credentials.faults, faults)
        self.assertIs(credentials.identity, identity)

    def assert_used(self, credentials: Credentials) -> None:
        """Check that the files are used."""
        self.assertTrue(credentials.refresh())
        self.assertEqual(credentials.faults, [])

    def test_authorities_half_written(self) -> None:
        """Of authorities that are being written, none is forgotten: its nodes would be cut off."""
        other = self.files.new_authority("other")
        path = self.folder / "authority.pem"
        text = path.read_bytes() + other.certificate
        path.write_bytes(text)
        credentials = self.files.credentials()
        node = self.files.issue(authority=other)
        believed = credentials._anchors
        for size in (len(text) - 1000, len(text) // 2 + 40, len(text) - 2):
            path.write_bytes(text[:size])
            self.assert_kept(credentials, f"authorities: {path}: ")
            self.assertEqual(credentials._anchors, believed)
        path.write_bytes(text)
        self.assert_used(credentials)
        self.assertEqual(Credentials(self.files.options(node)).outlook().faults, ())

    def test_revocation_lists_half_written(self) -> None:
        """Of lists that are being written, none is forgotten: who is revoked would come back."""
        other, path = self.files.new_authority("other"), self.folder / "revoked.pem"
        revoked = self.files.issue()
        lists = other.revoke([], DAY) + self.files.authority.revoke([revoked.certificate], DAY)
        path.write_bytes(lists)
        credentials = self.files.credentials(revoked, revoked=str(path))
        self.assertEqual(credentials.outlook().faults, ("it has been revoked",))
        path.write_bytes(lists[:-5])
        self.assert_kept(credentials, f"revoked: {path}: it ends too early")
        self.assertEqual(credentials.outlook().faults, ("it has been revoked",))

    def test_that_of_another_node(self) -> None:
        """A pair for other ids is not used, though nothing else is wrong with it."""
        options = self.files.options(self.files.issue(identity(0x500)), bus_id=0x501)
        credentials = Credentials(options)
        for number, is_used in ((0x600, False), (0x500, True)):
            issued = self.files.issue(identity(number))
            Path(options.certificate).write_bytes(issued.certificate)
            Path(options.key).write_bytes(issued.key)
            if is_used:
                self.assert_used(credentials)
            else:
                self.assert_kept(credentials, "allows 0x600/8, this node is to register 0x501")

    def test_of_no_use(self) -> None:
        """What OpenSSL does not take, or no other side would, is not used, and ends nothing."""
        options = self.files.options()
        credentials, issued = Credentials(options), self.files.issue()
        short = rsa.generate_private_key(65537, 1024)
        curve = ec.generate_private_key(ec.SECP256K1())
        for key, fault in ((curve, "does not know"), (short, "too short"), (short, "of no use")):
            text = signed_again(self.files.authority, issued.certificate, key)
            Path(options.certificate).write_bytes(text)
            Path(options.key).write_bytes(
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            )
            self.assert_kept(credentials, fault)
            # What OpenSSL wants of keys may be more than we know of.
            if key is short:
                self.patch(tls_files, "weak_keys_of", lambda _: [])

    def test_damaged(self) -> None:
        """A certificate that is damaged inside is not used, wherever the damage is."""
        options = self.files.options()
        credentials, path = Credentials(options), Path(options.certificate)
        good = PEM_cert_to_DER_cert(path.read_text())
        place = good.index(b"atbus://test") - 2
        for damaged in (
            # A version that there is none of, a second extension of a kind, a name of no kind.
            good.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x22", 1),
            good.replace(b"\x06\x03\x55\x1d\x0f", b"\x06\x03\x55\x1d\x25", 1),
            good[:place] + b"\xa5" + good[place + 1 :],
        ):
            path.write_text(DER_cert_to_PEM_cert(damaged))
            self.assert_kept(credentials, f"certificate: {path}: ")

    def test_damaged_lists(self) -> None:
        """A revocation list whose issuer cannot be read is not used: nobody could be looked up."""
        path, revoked = self.folder / "revoked.pem", self.files.issue()
        good = self.files.authority.revoke([revoked.certificate], DAY)
        path.write_bytes(good)
        credentials = self.files.credentials(revoked=str(path))
        der = x509.load_pem_x509_crl(good).public_bytes(Encoding.DER)
        # The kind of a name, and a letter of it.
        for place in (der.index(b"\x0c"), der.index(b"atbus")):
            damaged = der[:place] + b"\xff" + der[place + 1 :]
            text = base64.encodebytes(damaged).decode()
            path.write_text(f"-----BEGIN X509 CRL-----\n{text}-----END X509 CRL-----\n")
            self.assert_kept(credentials, f"revoked: {path}: ")

    def test_removed(self) -> None:
        """A file that is taken away is missed, once; another one in its place is used."""
        for name in ("certificate", "key", "authorities"):
            options = self.files.options()
            credentials, path = Credentials(options), Path(getattr(options, name))
            text = path.read_bytes()
            path.unlink()
            self.assert_kept(credentials, f"{name}: {path}: No such file")
            path.write_bytes(text)
            self.assert_used(credentials)

    def test_somebody_elses(self) -> None:
        """A file that we may not read yet is used as soon as we may: nothing else changes."""
        # Folders of trial's may be for their user only, and those above them too.
        folder = Path(tempfile.mkdtemp(prefix="atbus-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        options = Files(folder).options()
        for path in folder.iterdir():
            path.chmod(0o644)
        with as_nobody():
            credentials = Credentials(options)
        key = Path(options.key)
        new = key.with_suffix(".new")
        new.write_bytes(key.read_bytes())
        new.chmod(0)
        new.replace(key)
        with as_nobody():
            self.assert_kept(credentials, f"key: {key}: Permission denied")
        key.chmod(0o644)
        with as_nobody():
            self.assert_used(credentials)

    def deploy(self, number: int, issued: Issued) -> TlsOptions:
        """Put files where a container finds them: names that lead through one link, ``..data``."""
        folder = self.folder / f"..2026_{number}"
        folder.mkdir()
        issued.write(folder / "tls.pem", folder / "tls.key")
        (folder / "ca.pem").write_bytes(self.files.authority.certificate)
        link = self.folder / "..data_tmp"
        link.symlink_to(folder.name)
        link.replace(self.folder / "..data")
        for name in ("tls.pem", "tls.key", "ca.pem"):
            with contextlib.suppress(FileExistsError):
                (self.folder / name).symlink_to(f"..data/{name}")
        paths = [str(self.folder / name) for name in ("tls.pem", "tls.key", "ca.pem")]
        return TlsOptions(certificate=paths[0], key=paths[1], authorities=paths[2], realm="test")

    def test_as_containers_have_them(self) -> None:
        """All files are others at once when the one link that leads to them is replaced."""
        credentials = Credentials(self.deploy(1, self.files.issue()))
        before = credentials._used.own.chain
        self.deploy(2, self.files.issue())
        self.assert_used(credentials)
        self.assertNotEqual(credentials._used.own.chain, before)
        self.assertFalse(credentials.refresh())
        (self.folder / "..data").unlink()
        self.assertFalse(credentials.refresh())
        self.assertEqual(len(credentials.faults), 3)
        self.deploy(3, self.files.issue())
        self.assert_used(credentials)
