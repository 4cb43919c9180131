"""
The files that a node has for TLS: what is in them, and whether they are others by now.

There are three things in them, and each may be good while another is not: what the node proves
itself with, a certificate and its key; whom it believes; and whom these have revoked.

A certificate and its key are two files, which nobody can replace at once. So the file of the key
may have several, of which the one that fits is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto

from atbus.busid import Subnet
from atbus.channels.outlook import (
    Outlook,
    Standing,
    outlook_of,
    seconds_until,
    weak_keys_of,
)
from atbus.handshake.certificate import CertificateIdentity, find_identity
from atbus.pem import keys_in, whole

#: What cryptography says of a certificate that OpenSSL lets pass and it does not.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)

_LIST_ENDS: Final = b"-----END X509 CRL-----"

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class TlsOptions:
    """
    Where the files are, and how strict we are.

    :param certificate: Path of our certificate, with the chain up to an authority, in PEM.
    :param key: Path of its private key, in PEM.
    :param authorities: Path of the certificates of those whom we believe, in PEM.
    :param revoked: Path of revocation lists of these authorities, in PEM; empty for none.
    :param realm: The realm that all certificates of the bus are of.
    :param allow_tls_1_2: Whether a peer that cannot do better may use TLS 1.2.
    :param close_on_expiry: Whether a connection ends when the other side's certificate does.
    :param bus_id: What the certificate has to let its owner register; 0 for no id.
    :param subnets: Likewise.
    """

    certificate: str
    key: str
    authorities: str
    revoked: str = ""
    realm: str
    allow_tls_1_2: bool = False
    close_on_expiry: bool = True
    bus_id: int = 0
    subnets: tuple[Subnet, ...] = ()


@attrs.frozen
class Own:
    """
    What a node proves itself with.

    :param chain: Its certificate, then what stands behind it in the file.
    :param identity: The ids that it lets the node register.
    :param key: That of the certificate.
    """

    chain: list[x509.Certificate]
    identity: CertificateIdentity
    key: Any = attrs.field(eq=False, repr=False)

    def show_in(self, context: Any) -> None:
        """
        Let the connections of a context prove it.

        :param context: Of pyOpenSSL.
        :raises OpenSSL.SSL.Error: OpenSSL does not take it.
        :raises OpenSSL.crypto.Error: It cannot even read it.
        """
        own, *chain = self.chain
        context.use_certificate(own)
        for certificate in chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(self.key)


@attrs.frozen
class Contents:
    """
    What is in all the files.

    :param own: What the node proves itself with.
    :param authorities: Whom it believes.
    :param revocations: Their lists; empty for none.
    """

    own: Own
    authorities: list[x509.Certificate]
    revocations: list[x509.CertificateRevocationList]

    def outlook(self) -> Outlook:
        """Say what a node that believes the same says of our certificate now."""
        return outlook_of(self.own.chain, self.authorities, self.revocations)

    def rank(self) -> tuple[Standing, Standing]:
        """
        Say how good our certificate is, to be compared with others for the same place.

        :returns: How it stands now, and how it would if no list had lapsed: with one that has, all
            are refused alike, those of strangers and those that will be good again with the next.
        """
        standing = self.outlook().standing
        ends = (each.next_update_utc for each in self.revocations)
        if all(end is None or seconds_until(end) > 0 for end in ends):
            return standing, standing
        return standing, outlook_of(self.own.chain, self.authorities).standing


@attrs.define(eq=False)
class Reading:
    """
    What can be used of the files as they are, and what is wrong with the others.

    :param own: As in `Contents`; None where there is a fault. So are the other two.
    :param faults: By option, with the file.
    """

    own: Own | None = None
    authorities: list[x509.Certificate] | None = None
    revocations: list[x509.CertificateRevocationList] | None = None
    faults: list[str] = attrs.field(factory=list)

    @classmethod
    def of(cls, options: TlsOptions) -> Reading:
        """
        Read the files.

        :param options: Where they are.
        """
        reading = cls()
        chain = reading._read("certificate", options.certificate, x509.load_pem_x509_certificates)
        keys = reading._read("key", options.key, _keys)
        reading.authorities = reading._read("authorities", options.authorities, _authorities)
        reading.revocations = []
        if options.revoked:
            reading.revocations = reading._read("revoked", options.revoked, _revocations)
        if chain is not None and keys is not None:
            reading.own = reading._own(chain, keys, options)
        return reading

    def beside(self, before: Contents) -> Contents:
        """
        Give what can be used, and in the place of the rest what was there before.

        :param before: What is in use.
        """
        return Contents(
            before.own if self.own is None else self.own,
            before.authorities if self.authorities is None else self.authorities,
            before.revocations if self.revocations is None else self.revocations,
        )

    def _read(self, name: str, path: str, parse: Callable[[bytes], list[T]]) -> list[T] | None:
        try:
            return parse(whole(Path(path).read_bytes()))
        except OSError as error:
            self.faults.append(f"{name}: {path}: {error.strerror}")
        except (*UNREADABLE, crypto.Error) as error:
            self.faults.append(f"{name}: {path}: {error}")
        return None

    def _own(
        self, chain: list[x509.Certificate], keys: list[Any], options: TlsOptions
    ) -> Own | None:
        place = f"certificate: {options.certificate}"
        weak = weak_keys_of(chain[0])
        if weak:
            self.faults += (f"{place}: {what}" for what in weak)
            return None
        ours = chain[0].public_key()
        key = next((key for key in keys if key.public_key() == ours), None)
        if key is None:
            self.faults.append(f"key: {options.key}: is not that of {options.certificate}")
        try:
            own = Own(chain, _identity(chain[0], options), key)
            if key is not None:
                own.show_in(SSL.Context(SSL.TLS_METHOD))
                return own
        except x509.ExtensionNotFound:
            self.faults.append(f"{place}: has no alternative name")
        except UNREADABLE as error:
            self.faults.append(f"{place}: {error}")
        except (SSL.Error, crypto.Error) as error:
            self.faults.append(f"{place}: of no use for TLS: {error}")
        return None


def _keys(text: bytes) -> list[Any]:
    return [load_pem_private_key(each, None) for each in keys_in(text)]


def _authorities(text: bytes) -> list[x509.Certificate]:
    found = x509.load_pem_x509_certificates(text)
    for each in found:
        # What is inside is not read before somebody asks for it, and OpenSSL reads it otherwise.
        anchor_of(each)
        crypto.X509.from_cryptography(each)
    return found


def _revocations(text: bytes) -> list[x509.CertificateRevocationList]:
    store = crypto.X509Store()
    parts = text.split(_LIST_ENDS)[:-1]
    found = [x509.load_pem_x509_crl(part + _LIST_ENDS) for part in parts]
    for each in found:
        # Likewise.
        each.issuer.rfc4514_string()
        store.add_crl(each)
    if not found:
        raise ValueError("no revocation list in PEM")
    return found


def _identity(certificate: x509.Certificate, options: TlsOptions) -> CertificateIdentity:
    """Say what our certificate lets us register, which has to be what we shall."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    identity = find_identity(uris, options.realm)
    if not identity.allows(options.bus_id, options.subnets):
        claimed = ", ".join(map(str, options.subnets)) or f"{options.bus_id:#x}"
        raise ValueError(f"allows {identity.subnet}, this node is to register {claimed}")
    return identity


def anchor_of(certificate: x509.Certificate) -> bytes:
    """
    Tell authorities apart: by name and key, whichever certificate of theirs it is.

    :param certificate: That of an authority.
    :returns: The same for each that it has for this key.
    """
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(certificate.subject.public_bytes() + key).digest()


def stamps_of(options: TlsOptions) -> tuple[object, ...]:
    """
    Tell one content of the files from the next, as far as the file system does.

    :param options: Where they are.
    :returns: Something else when one of them is another.
    """
    paths = (options.certificate, options.key, options.authorities, options.revoked)
    return tuple(map(_stamp, paths))


def _stamp(path: str) -> object:
    if not path:
        # Not the directory in which the process runs.
        return None
    try:
        status = Path(path).stat()
    except OSError as error:
        return error.errno
    # The time of its last change as well: who could not read it may read it now.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
