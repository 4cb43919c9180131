"""
What a node proves itself with over TLS, and whom it believes: files, made into OpenSSL contexts.

The files are looked at again before each connection and by `Credentials.refresh`, so a certificate
that was renewed is used without a restart. Files that cannot be used are told once, and what was
there before stays in use: a half-written file must not take a bus down. So it does in the place of
a certificate that stands worse with others than the one in use - an expired one, say - until that
one is no better. Whom we believe, and who is revoked, changes meanwhile.

Files that change while they are read are read again: whoever writes old and new key, the new
certificate, and the new key, in this order, leaves no moment in which a node could not start.

Certificates are read with cryptography, connections are made by pyOpenSSL; nothing of the two is
visible outside this module, `atbus.channels.tls_files` and `atbus.channels.tls`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import attrs
from cryptography import x509
from OpenSSL import SSL, crypto

from atbus import limits
from atbus.channels.outlook import Outlook, next_change, seconds_until
from atbus.channels.tls_fault import CERTIFICATE_FAULTS, TlsFault, TlsRefused
from atbus.channels.tls_files import (
    UNREADABLE,
    Contents,
    Reading,
    TlsOptions,
    anchor_of,
    stamps_of,
)
from atbus.errors import ConfigurationError
from atbus.handshake.certificate import CertificateIdentity, find_identity

#: Names the protocol to whoever shares a port among several (RFC 7301).
ALPN: Final = b"atbus/1"

# How long a listener lets a session shorten a handshake. As long as a clock is believed: what has
# expired meanwhile is looked at, but not who signed it.
_SESSION_SECONDS: Final = round(limits.CERTIFICATE_LOOK_SECONDS)

# SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets and has no name for.
_ONE_RECORD_A_WRITE: Final = 1

# How often files are read that change meanwhile.
_READS_MAX: Final = 5

# A certificate: who issued it, and its number there.
_Numbered = tuple[str, int]


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
        return cls(tuple(map(_number, chain[:-1])), anchor_of(chain[-1]), expires)


class Credentials:
    """
    The contexts for new connections, made of the files as they are.

    :param options: Where the files are.
    :raises ConfigurationError: They cannot be used; it lists every fault, with the file.
    """

    def __init__(self, options: TlsOptions) -> None:
        self.options = options
        #: Why some of the files, as they are now, are not in use; empty when all are.
        self.faults: list[str] = []
        #: Called each time other files are in use; they end what would not be opened now.
        self.watching: set[Callable[[], None]] = set()
        #: What our own certificate lets us register.
        self.identity: CertificateIdentity
        self._stamps: tuple[object, ...] = ()
        self._used: Contents
        # When a certificate that is not used is looked at again, though it is the same.
        self._judge_at: datetime | None = None
        self._anchors: frozenset[bytes] = frozenset()
        self._contexts: dict[bool, Any] = {}
        # What is left of connections that we dialled, by address: the next one is cheaper with it.
        self._sessions: OrderedDict[str, Any] = OrderedDict()
        # Who has vouched for a certificate: sessions do not tell again.
        self._above: OrderedDict[_Numbered, _Above] = OrderedDict()
        self._stamps, reading = self._read(stamps_of(options))
        if reading.own is None or reading.authorities is None or reading.revocations is None:
            raise ConfigurationError(reading.faults)
        self._use(Contents(reading.own, reading.authorities, reading.revocations))

    def refresh(self) -> bool:
        """
        Look whether the files have changed, and use what can be used of them.

        :returns: Whether something new is in use. What is not, and why, is in `faults`, which is
            the same list as before when there is nothing new to tell.
        """
        stamps, moment = stamps_of(self.options), self._judge_at
        is_changed = stamps != self._stamps
        if not is_changed and (moment is None or seconds_until(moment) > 0):
            return False
        self._stamps, reading = self._read(stamps)
        used = self._used
        found = self._best(reading.beside(used), reading.faults)
        if is_changed or reading.faults != self.faults:
            self.faults = reading.faults
        if reading.faults and found == used:
            return False
        self._use(found)
        for look_again in list(self.watching):
            look_again()
        return True

    def _read(self, stamps: tuple[object, ...]) -> tuple[tuple[object, ...], Reading]:
        """Read the files; gives what they were like before that, too."""
        for _ in range(_READS_MAX):
            before, reading = stamps, Reading.of(self.options)
            stamps = stamps_of(self.options)
            if stamps == before or not reading.faults:
                break
        return before, reading

    def _best(self, found: Contents, faults: list[str]) -> Contents:
        """
        Keep the certificate that is in use, if the one that was found stands worse with others.

        Both are judged by those whom we believe from now on.
        """
        self._judge_at = None
        kept = attrs.evolve(found, own=self._used.own)
        if found.own == kept.own:
            return found
        if found.rank() >= kept.rank():
            return found
        # Of the two one begins or ends, and then it may be the other way round.
        self._judge_at = next_change((*found.own.chain, *kept.own.chain, *found.authorities))
        why = "; ".join(found.outlook().faults)
        faults.append(f"certificate: {self.options.certificate}: worse than the one in use: {why}")
        return kept

    def _use(self, contents: Contents) -> None:
        self._used = contents
        self.identity = contents.own.identity
        self._anchors = frozenset(map(anchor_of, contents.authorities))
        self._contexts = {dials: self._context(contents) for dials in (True, False)}
        self._contexts[False].set_alpn_select_callback(_choose_protocol)
        self._contexts[False].set_session_id(self.options.realm.encode()[:32])
        self._contexts[True].set_alpn_protos([ALPN])
        # Who is believed may be others now, and a session would not ask.
        self._sessions.clear()

    def outlook(self) -> Outlook:
        """
        Say what a node with the same authorities and lists says of our certificate now.

        :returns: What it says; nobody reads the files again for that.
        """
        return self._used.outlook()

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

    def _context(self, contents: Contents) -> Any:
        context = SSL.Context(SSL.TLS_METHOD)
        oldest = SSL.TLS1_2_VERSION if self.options.allow_tls_1_2 else SSL.TLS1_3_VERSION
        context.set_min_proto_version(oldest)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        # An idle connection keeps none: they are 34 KiB.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        # A piece of a queue is four records, and each call costs a third of a record's encryption.
        context.clear_mode(_ONE_RECORD_A_WRITE)
        context.set_timeout(_SESSION_SECONDS)
        contents.own.show_in(context)
        store = context.get_cert_store()
        assert store is not None
        for authority in contents.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        if contents.revocations:
            # Of the node's own certificate alone: those between are looked up by `is_revoked`, for
            # OpenSSL would refuse everybody where their issuers' lists are not in the file.
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
        for revocations in contents.revocations:
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
        except UNREADABLE as error:
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
            for revocations in self._used.revocations
        )

    def is_believed(self, peer: PeerCertificate) -> bool:
        """
        Tell whether the authority that vouches for a certificate is one of those that we believe.

        One that has a new certificate for the same name and key is the same.

        :param peer: What the other side has proven.
        :returns: Whether it is; True as well where it was forgotten who that is.
        """
        return not peer.anchor or peer.anchor in self._anchors


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
    except UNREADABLE as error:
        text = f"the certificate cannot be read: {error}"
        raise TlsRefused(TlsFault.IDENTITY, text) from error
    try:
        identity = find_identity(uris, realm)
    except ValueError as error:
        raise TlsRefused(TlsFault.IDENTITY, str(error)) from error
    return PeerCertificate(identity, certificate.serial_number, issuer, expires)


def _number(certificate: x509.Certificate) -> _Numbered:
    return certificate.issuer.rfc4514_string(), certificate.serial_number


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
