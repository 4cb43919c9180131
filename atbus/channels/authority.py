"""
Make the certificates of a test or of a small bus: an authority, and nodes that it vouches for.

Whoever has an authority already uses that: a node's certificate needs the URI of
`atbus.handshake.certificate` among its alternative names, the names and addresses that others dial,
and the purposes of both server and client.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atbus.handshake.certificate import CertificateIdentity

#: Clocks differ a little: a certificate is valid from before it was made.
_SLACK: Final = timedelta(minutes=5)


@attrs.frozen
class Issued:
    """
    A certificate and its private key.

    :param certificate: In PEM.
    :param key: In PEM, not encrypted.
    """

    certificate: bytes
    key: bytes = attrs.field(repr=False)

    def write(self, certificate: Path, key: Path) -> None:
        """
        Write both to new files; the key is readable by its owner only.

        :raises OSError: One of them cannot be written, or exists; then there is no new file.
        """
        made: list[Path] = []
        try:
            for path, text, mode in (
                (key, self.key, 0o600),
                (certificate, self.certificate, 0o644),
            ):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                made.append(path)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text)
        except OSError:
            # Half a pair beside the other half of an older one would be taken for a pair.
            for path in made:
                path.unlink()
            raise

    def followed_by(self, above: Iterable[x509.Certificate]) -> Issued:
        """
        Put those between the certificate and whom others believe behind it.

        :param above: Their certificates, in order.
        """
        return attrs.evolve(self, certificate=b"".join((self.certificate, *map(_pem, above))))

    def replace(self, certificate: Path, key: Path) -> None:
        """
        Write both in place of files that are there; each is the old one or the new one, whole.

        The key is not touched when it is the same. If it is another, its file has both until the
        certificate is replaced: a node that reads them at any time finds the one that fits.

        :raises OSError: One of them cannot be written; what is there fits, in the file of the key
            may be one that is not needed.
        """
        files = [(certificate, self.certificate, 0o644)]
        old_key = key.read_bytes()
        if old_key != self.key:
            both = old_key.rstrip(b"\n") + b"\n" + self.key
            files = [(key, both, 0o600), *files, (key, self.key, 0o600)]
        written: list[tuple[Path, Path]] = []
        try:
            for number, (path, text, mode) in enumerate(files):
                beside = path.with_name(f".{path.name}.new{number}")
                beside.unlink(missing_ok=True)
                written.append((beside, path))
                descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text)
                    os.fsync(descriptor)
            for beside, path in written:
                beside.replace(path)
        finally:
            for beside, _ in written:
                beside.unlink(missing_ok=True)


class Authority:
    """
    Somebody whose signature the nodes of a bus believe.

    :param certificate: Its own, in PEM.
    :param key: Its private key, in PEM, not encrypted.
    :raises ValueError: One of the two cannot be read, or they are no pair.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self._certificate = x509.load_pem_x509_certificate(certificate)
        self._key = _read_key(key)
        self.certificate = certificate
        if self._certificate.public_key() != self._key.public_key():
            raise ValueError("the key is not that of the certificate")

    @property
    def may_vouch(self) -> bool:
        """Whether its certificate is that of an authority, so that anybody believes it."""
        extensions = self._certificate.extensions
        try:
            return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            return False

    @property
    def expires(self) -> datetime:
        """When nobody believes it any more."""
        return self._certificate.not_valid_after_utc

    @classmethod
    def new(cls, realm: str, days: float) -> Issued:
        """
        Make an authority.

        Each has a name of its own, also among those of one realm: by it OpenSSL finds whose key
        has to fit, and while authorities are changed there are two of them.

        :param realm: The realm of the bus.
        :param days: How long it is to be believed.
        :returns: Its certificate and key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, realm),
                *_name(f"atbus authority {identifier.digest.hex()[:16]}"),
            ]
        )
        builder = (
            _builder(name, name, key.public_key(), timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
        )
        return Issued(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))

    def issue(
        self,
        identity: CertificateIdentity,
        hosts: Iterable[str],
        lifetime: timedelta,
        *,
        uris: Iterable[str] | None = None,
        purposes: Iterable[x509.ObjectIdentifier] = (
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.CLIENT_AUTH,
        ),
        begins_in: timedelta = timedelta(),
        key: bytes | None = None,
    ) -> Issued:
        """
        Vouch for a node.

        :param identity: The ids that it may register.
        :param hosts: The names and addresses under which it is dialled.
        :param lifetime: How long; negative for one that has expired.
        :param uris: Other URIs than the identity's, for tests of what must be refused.
        :param purposes: What the certificate is good for.
        :param begins_in: How long until it begins, shorter than *lifetime*; for such tests as well.
        :param key: The key that it has, in PEM; None for a new one.
        :returns: Its certificate and key.
        :raises ValueError: The key cannot be read.
        """
        own = ec.generate_private_key(ec.SECP256R1()) if key is None else _read_key(key)
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(uri) for uri in uris or (str(identity),)
        ]
        names += [_host(host) for host in hosts]
        builder = (
            _builder(
                _name(f"atbus node {identity.subnet}"),
                self._certificate.subject,
                own.public_key(),
                lifetime,
                begins_in,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
            .add_extension(self._identifier(), critical=False)
        )
        return Issued(_pem(builder.sign(self._key, hashes.SHA256())), key or _key_pem(own))

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        """Say by which key others find this authority: as it calls it itself, if it does."""
        try:
            own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """
        Tell whether a certificate is one of this authority's.

        :param certificate: The node's.
        """
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def revoke(self, certificates: Iterable[bytes], lifetime: timedelta) -> bytes:
        """
        Make a revocation list.

        :param certificates: Those that are not to be believed any more, in PEM.
        :param lifetime: How long the list is good.
        :returns: The list, in PEM.
        """
        now = datetime.now(tz=UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _SLACK)
            .next_update(now + lifetime)
            .add_extension(self._identifier(), critical=False)
        )
        for text in certificates:
            certificate = x509.load_pem_x509_certificate(text)
            revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(now).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    lifetime: timedelta,
    begins_in: timedelta = timedelta(),
) -> x509.CertificateBuilder:
    now = datetime.now(tz=UTC)
    begins = min(now, now + lifetime) + (begins_in or -_SLACK)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(now + lifetime)
    )


def _read_key(text: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        loaded = load_pem_private_key(text, None)
    except TypeError:
        raise ValueError("the key is encrypted, and nobody is asked for its password") from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is none of an elliptic curve")  # noqa: TRY004  # of a file
    return loaded


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
