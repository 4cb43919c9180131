"""
What a gateway shows to others: a certificate with its key, the best that there was in its files.

One that others would refuse does not take the place of a good one while that lasts, as with the
bus's own (`atbus.channels.credentials`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from twisted.internet import ssl
from twisted.internet.ssl import CertificateOptions

from atbus.channels.outlook import (
    Outlook,
    next_change,
    outlook_by_dates,
    outlook_of,
    seconds_until,
)
from atbus.channels.tls_files import UNREADABLE
from atbus.errors import ConfigurationError
from atbus.pem import open_to_us, whole

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Own:
    """
    What the files have now.

    :param certificate_file: Our certificate, and what leads from it to an authority.
    :param key_file: Its key.
    :raises ConfigurationError: A file cannot be read.
    """

    def __init__(self, certificate_file: str, key_file: str) -> None:
        chain = certificates_in(certificate_file)
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

    def chain(self) -> list[x509.Certificate]:
        """Give our certificate and those behind it, to be looked at."""
        return [each.to_cryptography() for each in (self.certificate.original, *self.further)]

    def outlook(self, authorities: Sequence[x509.Certificate]) -> Outlook:
        """
        Say what others say of it now.

        :param authorities: Whom they believe; nobody where that is not known, and then it is
            looked at the certificate's dates alone.
        """
        chain = self.chain()
        return outlook_of(chain, authorities) if authorities else outlook_by_dates(chain[:1])


class OwnCertificate:
    """
    What is shown, which is what the files have unless that is worse than what was shown before.

    :param certificate_file: As in `Own`.
    :param key_file: Likewise.
    :param before: What was shown until now, perhaps of other files; None for nothing.
    """

    def __init__(
        self, certificate_file: str, key_file: str, before: OwnCertificate | None = None
    ) -> None:
        self.paths = certificate_file, key_file
        #: The one that is shown; None before any was read.
        self.shown: Own | None = None
        if before is not None and before.paths == self.paths:
            self.shown = before.shown
        #: Why what the files have is not shown; empty when it is.
        self.fault = ""
        self._judge_at: datetime | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is to be read again though its files are the same: a date has come."""
        return self._judge_at is not None and seconds_until(self._judge_at) <= 0

    def read(self, authorities: Sequence[x509.Certificate] = ()) -> Own:
        """
        Give what is shown from now on.

        :param authorities: Whom those believe to whom it is shown; nobody when that is not known.
        :raises ConfigurationError: The files cannot be used.
        """
        self.fault, self._judge_at = "", None
        found = Own(*self.paths)
        # What OpenSSL does not take is found only now.
        found.accepting(None).getContext()
        self.shown = self._best(found, self.shown, authorities)
        return self.shown

    def _best(
        self, found: Own, shown: Own | None, authorities: Sequence[x509.Certificate]
    ) -> Own:
        if shown is None:
            return found
        try:
            outlook, before = found.outlook(authorities), shown.outlook(authorities)
        except UNREADABLE:
            # OpenSSL takes more than can be looked at here.
            return found
        if outlook.standing >= before.standing:
            return found
        self._judge_at = next_change((*found.chain(), *shown.chain(), *authorities))
        why = "; ".join(outlook.faults)
        self.fault = f"nats: {self.paths[0]}: worse than the one in use: {why}"
        return shown


def certificates_in(path: str) -> list[bytes]:
    """
    Read certificates.

    :param path: A file in PEM.
    :returns: Each of them, in PEM.
    :raises ConfigurationError: It cannot be read, or has none.
    """
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
