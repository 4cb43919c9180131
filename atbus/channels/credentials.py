"""
What a node proves itself with over TLS, and whom it believes: files, made into OpenSSL contexts.

The files are looked at again before each connection and by `Credentials.refresh`, so a certificate
that was renewed is used without a restart. Files that cannot be used are told once, and the old
ones stay in use: a half-written file must not take a bus down.

A certificate and its key are two files, which nobody can replace at once. So the file of the key
may have several, of which the one that fits is used, and files that change while they are read are
read again: whoever writes old and new key, the new certificate, and the new key, in this order,
leaves no moment in which a node could not start.

Certificates are read with cryptography, connections are made by pyOpenSSL; nothing of the two is
visible outside this module and `atbus.channels.tls`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto

from atbus import limits
from atbus.busid import Subnet
from atbus.channels.outlook import Outlook, outlook_of, weak_keys_of
from atbus.channels.tls_fault import CERTIFICATE_FAULTS, TlsFault, TlsRefused
from atbus.errors import ConfigurationError
from atbus.handshake.certificate import CertificateIdentity, find_identity
from atbus.pem import keys_in, whole

#: Names the protocol to whoever shares a port among several (RFC 7301).
ALPN: Final = b"atbus/1"

# How long a listener lets a session shorten a handshake. As long as a clock is believed: what has
# expired meanwhile is looked at, but not who signed it.
_SESSION_SECONDS: Final = round(limits.CERTIFICATE_LOOK_SECONDS)

# What cryptography says of a certificate that OpenSSL lets pass and it does not.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)

# SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets and has no name for.
_ONE_RECORD_A_WRITE: Final = 1

_NAMES: Final = ("certificate", "key", "authorities", "revoked")

# How often files are read that change meanwhile.
_READS_MAX: Final = 5

# A certificate: who issued it, and its number there.
_Numbered = tuple[str, int]


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
class PeerCertificate:
    """
    What the other side has proven.

    :param identity: The ids that it may register.
    :param serial: The certificate's number, unique per authority.
    :param issuer: The authority's name.
    :param expires: When it ends, or one above it.
    :param between: Issuer and number of the authorities between it and the one that we believe;
        None when that was forgotten, which happens to sessions that are resumed.
    :param anchor: Name and key of the authority that we believe, which vouches for all of them;
        empty when that was forgotten.
    """

    identity: CertificateIdentity
    serial: int
    issuer: str
    expires: datetime
    between: tuple[_Numbered, ...] | None = None
    anchor: bytes = b""


@attrs.frozen
class _Above:
    """
    Those who have vouched for a certificate.

    :param between: All but the one that we believe.
    :param anchor: Name and key of that one.
    :param expires: When the first of them ends.
    """

    between: tuple[_Numbered, ...]
    anchor: bytes
    expires: datetime

    @classmethod
    def read(cls, chain: list[x509.Certificate]) -> _Above | None:
        """Read their certificates, from the next one up; None when it vouches for itself."""
        if not chain:
            return None
        expires = min(each.not_valid_after_utc for each in chain)
        return cls(tuple(map(_number, chain[:-1])), _anchor(chain[-1]), expires)


class Credentials:
    """
    The contexts for new connections, made of the files as they are.

    :param options: Where the files are.
    :raises ConfigurationError: They cannot be used; it lists every fault, with the file.
    """

    def __init__(self, options: TlsOptions) -> None:
        self.options = options
        #: Why the files, as they are now, are not in use; empty when they are.
        self.faults: list[str] = []
        #: Called each time other files are in use; they end what would not be opened now.
        self.watching: set[Callable[[], None]] = set()
        #: What our own certificate lets us register.
        self.identity: CertificateIdentity
        self._stamps: tuple[object, ...] = ()
        self._revocations: list[x509.CertificateRevocationList] = []
        self._chain: list[x509.Certificate] = []
        self._authorities: list[x509.Certificate] = []
        self._anchors: frozenset[bytes] = frozenset()
        self._contexts: dict[bool, Any] = {}
        # What is left of connections that we dialled, by address: the next one is cheaper with it.
        self._sessions: OrderedDict[str, Any] = OrderedDict()
        # Who has vouched for a certificate: sessions do not tell again.
        self._above: OrderedDict[_Numbered, _Above] = OrderedDict()
        if not self.refresh() and self.faults:
            raise ConfigurationError(self.faults)

    def refresh(self) -> bool:
        """
        Look whether the files have changed, and use them if they can be used.

        :returns: Whether new ones are in use. If not, `faults` tells why those that are there
            cannot be used; it stays empty when nothing has changed.
        """
        stamps = self._look()
        if stamps == self._stamps:
            return False
        for _ in range(_READS_MAX):
            self._stamps = stamps
            loaded = _Loaded.read(self.options)
            stamps = self._look()
            if stamps == self._stamps or not loaded.faults:
                break
        contexts = {} if loaded.faults else self._contexts_of(loaded)
        self.faults = loaded.faults
        if not contexts:
            return False
        assert loaded.identity is not None
        self.identity = loaded.identity
        self._revocations = loaded.revocations
        self._chain, self._authorities = loaded.chain, loaded.authorities
        self._anchors = loaded.anchors
        self._contexts = contexts
        self._contexts[False].set_alpn_select_callback(_choose_protocol)
        self._contexts[False].set_session_id(self.options.realm.encode()[:32])
        self._contexts[True].set_alpn_protos([ALPN])
        # Who is believed may be others now, and a session would not ask.
        self._sessions.clear()
        for look_again in list(self.watching):
            look_again()
        return True

    def _look(self) -> tuple[object, ...]:
        return tuple(_stamp(getattr(self.options, name)) for name in _NAMES)

    def outlook(self) -> Outlook:
        """
        Say what a node with the same authorities and lists says of our certificate now.

        :returns: What it says; nobody reads the files again for that.
        """
        return outlook_of(self._chain, self._authorities, self._revocations)

    def context(self, *, dials: bool) -> Any:
        """
        Give the context for a new connection.

        :param dials: Whether this side dials.
        :returns: A pyOpenSSL context.
        """
        return self._contexts[dials]

    def session_for(self, address: str) -> Any:
        """
        Give what shortens the handshake with a listener that we know.

        The other side is who it was then: what it has proven comes with the session. So whoever
        looks at it must look whether it is still good.

        :param address: What is dialled.
        :returns: A session of OpenSSL, or None.
        """
        return self._sessions.get(address)

    def remember_session(self, address: str, session: Any) -> None:
        """
        Keep the session of a connection for the next one to the same listener.

        :param address: What was dialled.
        :param session: OpenSSL's; None when there is none.
        """
        if session is None:
            return
        self._sessions[address] = session
        self._sessions.move_to_end(address)
        if len(self._sessions) > limits.PENDING_HANDSHAKES_MAX:
            self._sessions.popitem(last=False)

    def _contexts_of(self, loaded: _Loaded) -> dict[bool, Any]:
        try:
            return {dials: self._context(loaded) for dials in (True, False)}
        except (SSL.Error, crypto.Error) as error:
            fault = f"certificate: {self.options.certificate}: of no use for TLS: {error}"
            loaded.faults.append(fault)
            return {}

    def _context(self, loaded: _Loaded) -> Any:
        context = SSL.Context(SSL.TLS_METHOD)
        oldest = SSL.TLS1_2_VERSION if self.options.allow_tls_1_2 else SSL.TLS1_3_VERSION
        context.set_min_proto_version(oldest)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        # An idle connection keeps none: they are 34 KiB.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        # A piece of a queue is four records, and each call costs a third of a record's encryption.
        context.clear_mode(_ONE_RECORD_A_WRITE)
        context.set_timeout(_SESSION_SECONDS)
        own, *chain = loaded.chain
        context.use_certificate(own)
        for certificate in chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(loaded.key)
        store = context.get_cert_store()
        assert store is not None
        for authority in loaded.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        if loaded.revocations:
            # Of the node's own certificate alone: those between are looked up by `is_revoked`, for
            # OpenSSL would refuse everybody where their issuers' lists are not in the file.
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
        for revocations in loaded.revocations:
            store.add_crl(revocations)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _note_fault)
        return context

    def peer_of(self, connection: Any) -> PeerCertificate:
        """
        Read what the other side of a connection has proven.

        :param connection: A pyOpenSSL connection whose handshake is done.
        :returns: What its certificate says.
        :raises TlsRefused: It says nothing that we believe.
        """
        certificate = connection.get_peer_certificate()
        if certificate is None:
            raise TlsRefused(TlsFault.NO_CERTIFICATE, "the other side has no certificate")
        content = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        peer = read_certificate(content, self.options.realm)
        above = self._who_is_above(connection, peer)
        if above is None:
            return peer
        expires = min(peer.expires, above.expires)
        return attrs.evolve(peer, between=above.between, anchor=above.anchor, expires=expires)

    def _who_is_above(self, connection: Any, peer: PeerCertificate) -> _Above | None:
        """Say who has vouched for a certificate, if it is known."""
        chain, own = connection.get_verified_chain(), (peer.issuer, peer.serial)
        if chain is None:
            return self._above.get(own)
        try:
            above = _Above.read([each.to_cryptography() for each in chain[1:]])
        except _UNREADABLE as error:
            text = f"the certificate of an authority between cannot be read: {error}"
            raise TlsRefused(TlsFault.AUTHORITY, text) from error
        if above is None:
            return None
        self._above[own] = above
        self._above.move_to_end(own)
        if len(self._above) > limits.ENDPOINTS_MAX:
            self._above.popitem(last=False)
        return above

    def is_revoked(self, peer: PeerCertificate) -> bool:
        """
        Tell whether a certificate, or one between it and the one that we believe, is revoked.

        Whose issuer has no list in the file is good.

        :param peer: What the other side has proven.
        :returns: Whether a list has the number of one of them.
        """
        return any(
            revocations.issuer.rfc4514_string() == issuer
            and revocations.get_revoked_certificate_by_serial_number(serial) is not None
            for issuer, serial in ((peer.issuer, peer.serial), *(peer.between or ()))
            for revocations in self._revocations
        )

    def is_believed(self, peer: PeerCertificate) -> bool:
        """
        Tell whether the authority that vouches for a certificate is one of those that we believe.

        One that has a new certificate for the same name and key is the same.

        :param peer: What the other side has proven.
        :returns: Whether it is; True as well where it was forgotten who that is.
        """
        return not peer.anchor or peer.anchor in self._anchors


@attrs.define(eq=False)
class _Loaded:
    """The contents of the files, or what is wrong with them."""

    chain: list[x509.Certificate] = attrs.field(factory=list)
    key: Any = None
    keys: list[Any] = attrs.field(factory=list)
    authorities: list[x509.Certificate] = attrs.field(factory=list)
    anchors: frozenset[bytes] = frozenset()
    revocations: list[x509.CertificateRevocationList] = attrs.field(factory=list)
    identity: CertificateIdentity | None = None
    faults: list[str] = attrs.field(factory=list)

    @classmethod
    def read(cls, options: TlsOptions) -> _Loaded:
        loaded = cls()
        for name in _NAMES:
            path = getattr(options, name)
            if not path and name == "revoked":
                continue
            try:
                getattr(loaded, f"_read_{name}")(whole(Path(path).read_bytes()))
            except OSError as error:
                loaded.faults.append(f"{name}: {path}: {error.strerror}")
            except _UNREADABLE as error:
                loaded.faults.append(f"{name}: {path}: {error}")
        if not loaded.faults:
            loaded._check(options)  # our own
        return loaded

    def _read_certificate(self, text: bytes) -> None:
        self.chain = x509.load_pem_x509_certificates(text)

    def _read_key(self, text: bytes) -> None:
        self.keys = [load_pem_private_key(each, None) for each in keys_in(text)]

    def _read_authorities(self, text: bytes) -> None:
        self.authorities = x509.load_pem_x509_certificates(text)
        self.anchors = frozenset(map(_anchor, self.authorities))

    def _read_revoked(self, text: bytes) -> None:
        end = b"-----END X509 CRL-----"
        for part in text.split(end)[:-1]:
            found = x509.load_pem_x509_crl(part + end)
            # What is inside is not read before somebody asks for it.
            found.issuer.rfc4514_string()
            self.revocations.append(found)
        if not self.revocations:
            raise ValueError("no revocation list in PEM")

    def _check(self, options: TlsOptions) -> None:
        own = self.chain[0]
        weak = weak_keys_of(own)
        if weak:
            self.faults += (f"certificate: {options.certificate}: {what}" for what in weak)
            return
        ours = own.public_key()
        self.key = next((key for key in self.keys if key.public_key() == ours), None)
        if self.key is None:
            self.faults.append(f"key: {options.key}: is not that of {options.certificate}")
        try:
            names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            self.identity = find_identity(uris, options.realm)
            if not self.identity.allows(options.bus_id, options.subnets):
                claimed = ", ".join(map(str, options.subnets)) or f"{options.bus_id:#x}"
                allowed = self.identity.subnet
                raise ValueError(f"allows {allowed}, this node is to register {claimed}")
        except x509.ExtensionNotFound:
            self.faults.append(f"certificate: {options.certificate}: has no alternative name")
        except _UNREADABLE as error:
            self.faults.append(f"certificate: {options.certificate}: {error}")


def read_certificate(content: bytes, realm: str) -> PeerCertificate:
    """
    Read a certificate of the other side.

    :param content: In DER; signed by an authority that we believe, which may sign anything.
    :param realm: Our realm.
    :returns: What it says.
    :raises TlsRefused: It says nothing that we believe.
    """
    try:
        certificate = x509.load_der_x509_certificate(content)
        issuer, expires = certificate.issuer.rfc4514_string(), certificate.not_valid_after_utc
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    except _UNREADABLE as error:
        text = f"the certificate cannot be read: {error}"
        raise TlsRefused(TlsFault.IDENTITY, text) from error
    try:
        identity = find_identity(uris, realm)
    except ValueError as error:
        raise TlsRefused(TlsFault.IDENTITY, str(error)) from error
    return PeerCertificate(identity, certificate.serial_number, issuer, expires)


def _number(certificate: x509.Certificate) -> _Numbered:
    return certificate.issuer.rfc4514_string(), certificate.serial_number


def _anchor(certificate: x509.Certificate) -> bytes:
    """Tell authorities apart: by name and key, whichever certificate of theirs it is."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(certificate.subject.public_bytes() + key).digest()


def _stamp(path: str) -> object:
    """Tell one content of a file from the next, as far as the file system does."""
    if not path:
        # Not the directory in which the process runs.
        return None
    try:
        status = Path(path).stat()
    except OSError as error:
        return error.errno
    # The time of its last change as well: who could not read it may read it now.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _choose_protocol(_connection: Any, offered: list[bytes]) -> Any:
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def fault_of(connection: Any) -> TlsRefused | None:
    """
    Say why the other side's certificate was refused.

    :param connection: A pyOpenSSL connection whose handshake has failed.
    :returns: The reason; None when it was not the certificate.
    """
    fault: TlsRefused | None = connection.get_app_data().certificate_fault
    return fault


def _note_fault(connection: Any, _certificate: Any, number: int, _depth: int, good: int) -> bool:
    layer = connection.get_app_data()
    if not good and layer.certificate_fault is None:
        fault, what = CERTIFICATE_FAULTS.get(number, (TlsFault.OTHER, f"OpenSSL error {number}"))
        layer.certificate_fault = TlsRefused(fault, f"the certificate of the other side: {what}")
    return bool(good)
