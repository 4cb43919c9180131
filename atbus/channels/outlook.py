"""
What TLS would say of a certificate, asked before anybody dials: the other side's checks, at home.

OpenSSL follows the chain as it does in a handshake, with dates, signatures, authorities between and
revocation lists. What a certificate is meant for it asks in a handshake only, so that is read here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto

from atbus.channels.tls_fault import CERTIFICATE_FAULTS, TlsFault

_PURPOSES = (
    (ExtendedKeyUsageOID.SERVER_AUTH, "it is not meant for listeners (serverAuth)"),
    (ExtendedKeyUsageOID.CLIENT_AUTH, "it is not meant for who dials (clientAuth)"),
)
# What OpenSSL wants at its usual level (2), and the curves that have names in TLS 1.3.
_RSA_BITS_MIN = 2048
_DIGEST_BYTES_MIN = 28
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_KINDS = (rsa.RSAPublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
_STRANGE_KEY = "its key is of a kind that TLS 1.3 does not know"
# No signature of it, and of nobody above it, is by one of those who are believed.
_SIGNED_BY_NOBODY = frozenset({2, 18, 19, 20, 21})


class Standing(enum.IntEnum):
    """How a certificate stands with those who look at it, the worst first."""

    OVER = 0
    """Its time is over, or that of one behind it: nobody takes it, and nobody will."""
    REFUSED = 1
    """It is refused now, but may be good later, or for whoever believes somebody else."""
    GOOD = 2
    """Nothing is wrong with it."""


@attrs.frozen
class Outlook:
    """
    What others would say of a certificate.

    :param faults: Why they would refuse it; empty when they would not.
    :param expires: When the first of it and of those between it and the authority ends.
    :param is_foreign: Whether a fault is that nobody has signed it who is believed: whoever
        believes others may take it.
    :param is_over: Whether its time is over, or that of one behind it.
    """

    faults: tuple[str, ...]
    expires: datetime
    is_foreign: bool = False
    is_over: bool = False

    @property
    def standing(self) -> Standing:
        """How good it is, to be compared with others."""
        if not self.faults:
            return Standing.GOOD
        return Standing.OVER if self.is_over else Standing.REFUSED


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
    # One clock for all that is said of a certificate.
    store.set_time(now())
    for each in authorities:
        store.add_cert(crypto.X509.from_cryptography(each))
    for revocation in revocations:
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
        store.add_crl(revocation)
    behind = [crypto.X509.from_cryptography(each) for each in between]
    context = crypto.X509StoreContext(store, crypto.X509.from_cryptography(own), behind)
    faults, expires = [], own.not_valid_after_utc
    is_foreign = is_over = False
    try:
        verified = context.get_verified_chain()
    except crypto.X509StoreContextError as error:
        number, depth, said = error.errors
        _, text = CERTIFICATE_FAULTS.get(number, (TlsFault.OTHER, said))
        faults.append(text if not depth else f"that of an authority above it: {text}")
        is_foreign = number in _SIGNED_BY_NOBODY
        # OpenSSL stops at the first thing that is wrong, and this may be what never gets better.
        dates = outlook_by_dates(chain)
        faults += (each for each in dates.faults if each not in faults)
        is_over = dates.is_over
    else:
        ends = [each.to_cryptography().not_valid_after_utc for each in verified]
        expires = min(ends)
    weaknesses = [each for certificate in chain for each in weak_signatures_of(certificate)]
    weaknesses += weak_keys_of(own)
    return Outlook((*faults, *weaknesses, *misuses_of(own)), expires, is_foreign, is_over)


def outlook_by_dates(chain: Sequence[x509.Certificate]) -> Outlook:
    """
    Say what anybody says of a certificate today, whomever he believes.

    :param chain: The certificate, then what stands behind it in its file.
    :returns: What he says, of dates alone.
    """
    faults, is_over = [], False
    for each in chain:
        above = "" if each is chain[0] else "that of an authority above it: "
        if seconds_until(each.not_valid_after_utc) <= 0:
            is_over = True
            faults.append(f"{above}it has expired")
        elif seconds_until(each.not_valid_before_utc) > 0:
            faults.append(f"{above}it is not valid yet")
    expires = min(each.not_valid_after_utc for each in chain)
    return Outlook(tuple(faults), expires, is_over=is_over)


def next_change(certificates: Iterable[x509.Certificate]) -> datetime | None:
    """
    Say when certificates have to be judged again, though nobody replaces any.

    :param certificates: Anybody's.
    :returns: When the next of them begins or ends; None when none will.
    """
    moments = (
        moment
        for each in certificates
        for moment in (each.not_valid_before_utc, each.not_valid_after_utc)
    )
    return min((each for each in moments if seconds_until(each) > 0), default=None)


def now() -> datetime:
    """Ask the calendar."""
    return datetime.now(tz=UTC)


def seconds_until(moment: datetime) -> float:
    """
    Ask the calendar how long it is until a moment.

    :param moment: With its time zone.
    :returns: Seconds; negative when it is over.
    """
    return (moment - now()).total_seconds()


def is_current(certificate: x509.Certificate) -> bool:
    """
    Tell whether a certificate has begun and has not ended.

    :param certificate: Anybody's.
    """
    begun = seconds_until(certificate.not_valid_before_utc) <= 0
    return begun and seconds_until(certificate.not_valid_after_utc) > 0


def weak_keys_of(certificate: x509.Certificate) -> list[str]:
    """
    Say why nobody uses the key of a certificate for TLS 1.3.

    :param certificate: The node's.
    :returns: In words; nothing when it can be used.
    """
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return [_STRANGE_KEY]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS_MIN:
        return [f"its key is too short, {key.key_size} bits where RSA has {_RSA_BITS_MIN}"]
    is_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES
    return [] if is_curve or isinstance(key, _KINDS) else [_STRANGE_KEY]


def weak_signatures_of(certificate: x509.Certificate) -> list[str]:
    """
    Say why OpenSSL believes nobody who has signed a certificate in this way.

    :param certificate: The node's, or one behind it.
    :returns: In words; nothing when it does.
    """
    if certificate.issuer == certificate.subject:
        # Who is believed needs no signature.
        return []
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ["it is signed in a way that nobody knows"]
    if algorithm is not None and algorithm.digest_size < _DIGEST_BYTES_MIN:
        return [f"it is signed by way of {algorithm.name}, which is not believed"]
    return []


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
