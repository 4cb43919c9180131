"""
What TLS would say of a certificate, asked before anybody dials: the other side's checks, at home.

OpenSSL follows the chain as it does in a handshake, with dates, signatures, authorities between and
revocation lists. What a certificate is meant for it asks in a handshake only, so that is read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import attrs
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from atbus.channels.tls_fault import CERTIFICATE_FAULTS, TlsFault

_PURPOSES = (
    (ExtendedKeyUsageOID.SERVER_AUTH, "it is not meant for listeners (serverAuth)"),
    (ExtendedKeyUsageOID.CLIENT_AUTH, "it is not meant for who dials (clientAuth)"),
)
# No signature of it, and of nobody above it, is by one of those who are believed.
_SIGNED_BY_NOBODY = frozenset({2, 18, 19, 20, 21})


@attrs.frozen
class Outlook:
    """
    What others would say of a certificate.

    :param faults: Why they would refuse it; empty when they would not.
    :param expires: When the first of it and of those between it and the authority ends.
    :param is_foreign: Whether a fault is that nobody has signed it who is believed: whoever
        believes others may take it.
    """

    faults: tuple[str, ...]
    expires: datetime
    is_foreign: bool = False


def outlook_of(
    chain: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    revocations: Sequence[x509.CertificateRevocationList] = (),
) -> Outlook:
    """
    Say what a node that believes some authorities says of a certificate today.

    :param chain: The certificate, then what stands behind it in its file.
    :param authorities: Those who are believed.
    :param revocations: Their lists; without any, none is asked for.
    :returns: What it says.
    """
    own, *between = chain
    store = crypto.X509Store()
    for each in authorities:
        store.add_cert(crypto.X509.from_cryptography(each))
    for revocation in revocations:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
        store.add_crl(revocation)
    behind = [crypto.X509.from_cryptography(each) for each in between]
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(own), behind)
    faults, expires, is_foreign = [], own.not_valid_after_utc, False
    try:
        verified = context.get_verified_chain()
    except crypto.X509StoreContextError as error:
        number, depth, said = error.errors
        _, text = CERTIFICATE_FAULTS.get(number, (TlsFault.OTHER, said))
        faults.append(text if not depth else f"that of an authority above it: {text}")
        is_foreign = number in _SIGNED_BY_NOBODY
    else:
        ends = [each.to_cryptography().not_valid_after_utc for each in verified]
        expires = min(ends)
    return Outlook((*faults, *misuses_of(own)), expires, is_foreign)


def is_current(certificate: x509.Certificate) -> bool:
    """
    Tell whether a certificate has begun and has not ended.

    :param certificate: Anybody's.
    """
    now = datetime.now(tz=UTC)
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def misuses_of(certificate: x509.Certificate) -> list[str]:
    """
    Say what a node does with its certificate that it is not meant for.

    :param certificate: The node's.
    :returns: In words; nothing when it says of no purpose, or of any.
    """
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    any_purpose = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes
    return [] if any_purpose else [text for oid, text in _PURPOSES if oid not in purposes]
