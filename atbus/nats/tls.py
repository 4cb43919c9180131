"""
TLS for clients, leafs and routes: the certificates of a gateway, made into contexts.

The files are looked at for each new connection, and read again when they have changed. Clients of
NATS verify the gateway as browsers do, so these are ordinary certificates of servers, and not those
with which the bus encrypts itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from atbus.channels.tls_files import UNREADABLE
from atbus.errors import ConfigurationError
from atbus.nats.cluster_settings import ClusterSettings
from atbus.nats.files import Latest
from atbus.nats.leaf_settings import Remote
from atbus.nats.own_certificate import OwnCertificate, certificates_in
from atbus.nats.settings import TlsSettings


def _context(settings: TlsSettings, certificate: OwnCertificate) -> Any:
    """Make a factory of contexts, as Twisted wants it."""
    try:
        trust = _trust(settings.ca_file) if settings.verify else None
        context = certificate.read().accepting(trust)
        context.getContext()
        return context
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError([f"nats.certificate_file: {error!r}"]) from error


def listener_contexts(settings: TlsSettings, before: Latest[Any] | None = None) -> Latest[Any]:
    """
    Make what connections are encrypted with that others begin, again whenever a file changes.

    :param settings: Where the files are.
    :param before: What was made by other settings until now, if anything was.
    :raises ConfigurationError: A file cannot be used.
    """
    own = _own(settings.certificate_file, settings.key_file, before)
    files = (settings.certificate_file, settings.key_file, settings.ca_file)
    return Latest(files, lambda: _context(settings, own), own)


def remote_contexts(
    remote: Remote, before: Latest[Mapping[str, Any]] | None = None
) -> Latest[Mapping[str, Any]]:
    """
    Make what connections to a remote are encrypted with, by place, likewise.

    :raises ConfigurationError: A file cannot be used.
    """
    files = (remote.ca_file, remote.certificate_file, remote.key_file)
    if not remote.certificate_file:
        return Latest(files, lambda: client_contexts(remote, None))
    own = _own(remote.certificate_file, remote.key_file, before)
    return Latest(files, lambda: client_contexts(remote, own), own)


def route_contexts(
    settings: ClusterSettings, before: Latest[RouteContexts] | None = None
) -> Latest[RouteContexts]:
    """
    Make what routes are encrypted with, likewise.

    :raises ConfigurationError: A file cannot be used.
    """
    files = (settings.certificate_file, settings.key_file, settings.ca_file)
    own = _own(settings.certificate_file, settings.key_file, before)
    return Latest(files, lambda: RouteContexts(settings, own), own)


def _own(certificate_file: str, key_file: str, before: Latest[Any] | None) -> OwnCertificate:
    return OwnCertificate(certificate_file, key_file, None if before is None else before.own)


@implementer(IOpenSSLServerConnectionCreator)
class NewestContext:
    """
    What a listener behind which everything is TLS makes each of its connections with.

    :param newest: Gives the context that is the newest then.
    """

    def __init__(self, newest: Callable[[], Any]) -> None:
        self._newest = newest

    def serverConnectionForTLS(self, protocol: Any) -> Any:  # Twisted's name
        """Make one."""
        return self._newest().serverConnectionForTLS(protocol)


def _trust(ca_file: str) -> Any:
    """Give whom to believe; without a file the authorities of the system."""
    if not ca_file:
        return ssl.platformTrust()
    return ssl.trustRootFromCertificates(map(ssl.Certificate.loadPEM, certificates_in(ca_file)))


def _authorities(ca_file: str) -> list[x509.Certificate]:
    """Read whom to believe, to be looked at; nobody where it is the system that says so."""
    if not ca_file:
        return []
    try:
        return x509.load_pem_x509_certificates(b"\n".join(certificates_in(ca_file)))
    except UNREADABLE:
        # OpenSSL takes more than can be looked at here.
        return []


def client_contexts(remote: Remote, certificate: OwnCertificate | None) -> Mapping[str, Any]:
    """
    Make what connections to servers of NATS are encrypted with.

    :param remote: Where they are, and whom we believe.
    :param certificate: What is shown to them; None for nothing.
    :returns: By place, for whose name the server's certificate must be: what Twisted's ``startTLS``
        wants; it also verifies the server.
    :raises ConfigurationError: A file cannot be used.
    """
    try:
        trust = _trust(remote.ca_file)
        if certificate is None:
            return {
                place: ssl.optionsForClientTLS(_host(place), trustRoot=trust)
                for place in remote.places
            }
        own = certificate.read()
        return {place: own.dialing(_host(place), trust) for place in remote.places}
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError([f"nats.leaf_remotes: {error!r}"]) from error


class RouteContexts:
    """
    What routes are encrypted with; both sides show a certificate, as between servers.

    :param settings: Where the files are.
    :param certificate: What is shown.
    :raises ConfigurationError: One of them cannot be used.
    """

    def __init__(self, settings: ClusterSettings, certificate: OwnCertificate) -> None:
        try:
            self._trust = _trust(settings.ca_file)
            # Members believe the same authorities.
            self._own = certificate.read(_authorities(settings.ca_file))
            #: For those that others have dialed.
            self.accepting = self._own.accepting(self._trust)
            self.accepting.getContext()
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError([f"nats.cluster: {error!r}"]) from error
        names = [host for host in map(_host, settings.routes) if not _is_address(host)]
        self._name = names[0] if names else ""

    def dialing(self, place: str, *, is_configured: bool) -> Any:
        """
        Make what a route is encrypted with that we dial.

        A member tells of others by their address, which need not be in their certificate: then the
        first name in the configuration has to be, as with servers.

        :param place: Where; the certificate has to be for this host.
        :param is_configured: Whether it stands in the configuration.
        :returns: What Twisted's ``startTLS`` wants; it also verifies the other side.
        """
        host = _host(place)
        if self._name and not is_configured and _is_address(host):
            host = self._name
        return self._own.dialing(host, self._trust)


def _host(place: str) -> str:
    return place.rpartition(":")[0].strip("[]")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
