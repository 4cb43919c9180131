"""An authority and the files of nodes, for tests of TLS."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from atbus.channels.authority import Authority, Issued
from atbus.channels.credentials import Credentials
from atbus.channels.tls_files import TlsOptions
from atbus.handshake.certificate import CertificateIdentity, parse_identity

DAY = timedelta(days=1)
NODE = parse_identity("atbus://test/0x0/63")
HOSTS = ("localhost", "127.0.0.1", "::1")


def tls_table(options: TlsOptions) -> str:
    """Write what a configuration file says of TLS; it has to be the last of it."""
    table = f"""
        [tls]
        realm = "{options.realm}"
        certificate = "{options.certificate}"
        key = "{options.key}"
        authorities = "{options.authorities}"
    """
    return table + (f'revoked = "{options.revoked}"\n' if options.revoked else "")


class Files:
    """
    Makes credentials in a folder, all of one authority unless told otherwise.

    :param folder: Where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = self.new_authority("authority")
        self._count = 0

    def new_authority(self, name: str) -> Authority:
        """Make an authority and the file that believes it."""
        issued = Authority.new(name, days=100)
        (self.folder / f"{name}.pem").write_bytes(issued.certificate)
        return Authority(issued.certificate, issued.key)

    def issue(
        self,
        identity: CertificateIdentity = NODE,
        hosts: Iterable[str] = HOSTS,
        lifetime: timedelta = DAY,
        authority: Authority | None = None,
        **how: Any,
    ) -> Issued:
        """Make a certificate."""
        return (authority or self.authority).issue(identity, hosts, lifetime, **how)

    def options(self, issued: Issued | None = None, **how: Any) -> TlsOptions:
        """Write a certificate's files and say where they are."""
        self._count += 1
        paths = [self.folder / f"node-{self._count}.{end}" for end in ("pem", "key")]
        (issued or self.issue()).write(*paths)
        given = {
            "certificate": str(paths[0]),
            "key": str(paths[1]),
            "authorities": str(self.folder / "authority.pem"),
            "realm": "test",
        }
        return TlsOptions(**{**given, **how})

    def credentials(self, issued: Issued | None = None, **how: Any) -> Credentials:
        """Make credentials."""
        return Credentials(self.options(issued, **how))


class ChainFiles(Files):
    """Files of nodes whose authority is believed for the sake of another one, of trustme's."""

    def __init__(self, folder: Path) -> None:
        self._top = trustme.CA()
        self._between = self._top.create_child_ca()
        self.top = Authority(self._top.cert_pem.bytes(), self._top.private_key_pem.bytes())
        super().__init__(folder)

    def new_authority(self, name: str) -> Authority:
        """Give the one between, and write the file that believes the one above it."""
        self._top.cert_pem.write_to_path(str(self.folder / f"{name}.pem"))
        return Authority(self._between.cert_pem.bytes(), self._between.private_key_pem.bytes())

    def issue(self, *given: Any, **how: Any) -> Issued:
        """Make a certificate, with its authority's behind it."""
        issued = super().issue(*given, **how)
        return Issued(issued.certificate + self.authority.certificate, issued.key)


def authority_below(top: trustme.CA, lifetime: timedelta) -> Authority:
    """Make an authority that another one vouches for until so long from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    above = load_pem_private_key(top.private_key_pem.bytes(), None)
    assert isinstance(above, ec.EllipticCurvePrivateKey)
    ends = datetime.now(tz=UTC) + lifetime
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "between")]))
        .issuer_name(x509.load_pem_x509_certificate(top.cert_pem.bytes()).subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=10))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(above, hashes.SHA256())
    )
    return Authority(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def signed_again(authority: Authority, certificate: bytes, key: Any) -> bytes:
    """Have an authority sign a certificate with another key in it."""
    before = x509.load_pem_x509_certificate(certificate)
    builder = x509.CertificateBuilder(
        before.issuer,
        before.subject,
        key.public_key(),
        x509.random_serial_number(),
        before.not_valid_before_utc,
        before.not_valid_after_utc,
        list(before.extensions),
    )
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def renewed(authority: Authority) -> bytes:
    """Make another certificate of an authority, for the same name and key."""
    before = x509.load_pem_x509_certificate(authority.certificate)
    builder = x509.CertificateBuilder(
        before.issuer,
        before.subject,
        before.public_key(),
        x509.random_serial_number(),
        before.not_valid_before_utc,
        before.not_valid_after_utc + DAY,
        list(before.extensions),
    )
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(Encoding.PEM)
