"""
TLS for clients: the certificates of a gateway, made into contexts.

The files are read when the gateway starts. Clients of NATS verify the gateway as browsers do, so
these are ordinary certificates of servers, and not those with which the bus encrypts itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from twisted.internet import ssl
from twisted.internet.ssl import CertificateOptions

from atbus.errors import ConfigurationError
from atbus.nats.leaf_settings import Remote
from atbus.nats.settings import TlsSettings

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def make_context(settings: TlsSettings) -> Any:
    """
    Make what connections are encrypted with.

    :param settings: Where the files are.
    :returns: A factory of contexts, as Twisted wants it.
    :raises ConfigurationError: A file cannot be used.
    """
    chain = _certificates(settings.certificate_file)
    key = _read(settings.key_file)
    try:
        own = ssl.PrivateCertificate.loadPEM(chain[0] + b"\n" + key)
        further = [ssl.Certificate.loadPEM(each).original for each in chain[1:]]
        trust = None
        if settings.verify:
            authorities = map(ssl.Certificate.loadPEM, _certificates(settings.ca_file))
            trust = ssl.trustRootFromCertificates(authorities)
        return CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            extraCertChain=further,
            trustRoot=trust,
        )
    except Exception as error:
        raise ConfigurationError([f"nats.certificate_file: {error!r}"]) from error


def _certificates(path: str) -> list[bytes]:
    found = _PEM.findall(_read(path))
    if not found:
        raise ConfigurationError([f"nats: {path} has no certificate in it"])
    return found


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError([f"nats: {path}: {error.strerror or error}"]) from error


def client_context(remote: Remote, place: str) -> Any:
    """
    Make what a connection to a server of NATS is encrypted with.

    :param place: Where it is: the name that its certificate must have.
    :returns: What Twisted's ``startTLS`` wants; it also verifies the server.
    :raises ConfigurationError: A file cannot be used.
    """
    try:
        trust = None
        if remote.ca_file:
            authorities = map(ssl.Certificate.loadPEM, _certificates(remote.ca_file))
            trust = ssl.trustRootFromCertificates(authorities)
        own = None
        if remote.certificate_file:
            pem = _read(remote.certificate_file) + b"\n" + _read(remote.key_file)
            own = ssl.PrivateCertificate.loadPEM(pem)
        host = place.rpartition(":")[0].strip("[]")
        return ssl.optionsForClientTLS(host, trustRoot=trust, clientCertificate=own)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError([f"nats.leaf_remotes: {error!r}"]) from error
