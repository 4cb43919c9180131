"""
TLS for clients, leafs and routes: the certificates of a gateway, made into contexts.

The files are looked at for each new connection, and read again when they have changed. Clients of
NATS verify the gateway as browsers do, so these are ordinary certificates of servers, and not those
with which the bus encrypts itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions
from zope.interface import implementer

from atbus.errors import ConfigurationError
from atbus.nats.cluster_settings import ClusterSettings
from atbus.nats.files import Latest
from atbus.nats.leaf_settings import Remote
from atbus.nats.settings import TlsSettings
from atbus.pem import open_to_us, whole

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def make_context(settings: TlsSettings) -> Any:
    """
    Make what connections are encrypted with.

    :param settings: Where the files are.
    :returns: A factory of contexts, as Twisted wants it.
    :raises ConfigurationError: A file cannot be used.
    """
    try:
        own = _Own(settings.certificate_file, settings.key_file)
        context = own.accepting(_trust(settings.ca_file) if settings.verify else None)
        # A key that is another one's is found only now.
        context.getContext()
        return context
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError([f"nats.certificate_file: {error!r}"]) from error


def listener_contexts(settings: TlsSettings) -> Latest[Any]:
    """
    Make what connections are encrypted with that others begin, again whenever a file changes.

    :raises ConfigurationError: A file cannot be used.
    """
    files = (settings.certificate_file, settings.key_file, settings.ca_file)
    return Latest(files, lambda: make_context(settings))


def remote_contexts(remote: Remote) -> Latest[Mapping[str, Any]]:
    """
    Make what connections to a remote are encrypted with, by place, likewise.

    :raises ConfigurationError: A file cannot be used.
    """
    files = (remote.ca_file, remote.certificate_file, remote.key_file)
    return Latest(files, lambda: {place: client_context(remote, place) for place in remote.places})


def route_contexts(settings: ClusterSettings) -> Latest[RouteContexts]:
    """
    Make what routes are encrypted with, likewise.

    :raises ConfigurationError: A file cannot be used.
    """
    files = (settings.certificate_file, settings.key_file, settings.ca_file)
    return Latest(files, lambda: RouteContexts(settings))


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


class _Own:
    """
    What we show.

    :param certificate_file: Our certificate, and what leads from it to an authority.
    :raises ConfigurationError: A file cannot be read.
    """

    def __init__(self, certificate_file: str, key_file: str) -> None:
        chain = _certificates(certificate_file)
        self.certificate = ssl.PrivateCertificate.loadPEM(chain[0] + b"\n" + _read(key_file))
        self.further = [ssl.Certificate.loadPEM(each).original for each in chain[1:]]

    def accepting(self, trust: Any) -> Any:
        """Make what connections are encrypted with that others have begun."""
        return CertificateOptions(
            privateKey=self.certificate.privateKey.original,
            certificate=self.certificate.original,
            extraCertChain=self.further,
            trustRoot=trust,
        )

    def dialing(self, host: str, trust: Any) -> Any:
        """Make what a connection is encrypted with that we begin."""
        return ssl.optionsForClientTLS(
            host,
            trustRoot=trust,
            clientCertificate=self.certificate,
            extraCertificateOptions={"extraCertChain": self.further},
        )


def _trust(ca_file: str) -> Any:
    """Give whom to believe; without a file the authorities of the system."""
    if not ca_file:
        return ssl.platformTrust()
    return ssl.trustRootFromCertificates(map(ssl.Certificate.loadPEM, _certificates(ca_file)))


def _certificates(path: str) -> list[bytes]:
    found = _PEM.findall(_read(path))
    if not found:
        raise ConfigurationError([f"nats: {path} has no certificate in it"])
    return found


def _read(path: str) -> bytes:
    try:
        return open_to_us(whole(Path(path).read_bytes()))
    except OSError as error:
        raise ConfigurationError([f"nats: {path}: {error.strerror or error}"]) from error
    except ValueError as error:
        raise ConfigurationError([f"nats: {path}: {error}"]) from error


def client_context(remote: Remote, place: str) -> Any:
    """
    Make what a connection to a server of NATS is encrypted with.

    :param place: Where it is: the name that its certificate must have.
    :returns: What Twisted's ``startTLS`` wants; it also verifies the server.
    :raises ConfigurationError: A file cannot be used.
    """
    host = _host(place)
    try:
        trust = _trust(remote.ca_file)
        if remote.certificate_file:
            return _Own(remote.certificate_file, remote.key_file).dialing(host, trust)
        return ssl.optionsForClientTLS(host, trustRoot=trust)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError([f"nats.leaf_remotes: {error!r}"]) from error


class RouteContexts:
    """
    What routes are encrypted with; both sides show a certificate, as between servers.

    :param settings: Where the files are.
    :raises ConfigurationError: One of them cannot be used.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        try:
            self._own = _Own(settings.certificate_file, settings.key_file)
            self._trust = _trust(settings.ca_file)
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
