"""
Why connections over TLS are not used, told apart for logs and counters.
"""

from __future__ import annotations

import enum
import re
from typing import Final


class TlsFault(enum.IntEnum):
    """What was wrong with a connection that ended in its handshake, or because of it."""

    OTHER = 0
    """OpenSSL, or the other side, says something else; the log has it."""
    NOT_TLS = 1
    """What came first is no TLS."""
    VERSION = 2
    """The other side cannot do a version that is allowed here."""
    NOT_ATBUS = 3
    """It does not say that it speaks atbus (ALPN)."""
    NO_CERTIFICATE = 4
    """It has shown none."""
    AUTHORITY = 5
    """Its certificate is signed by nobody who is believed."""
    NOT_YET_VALID = 6
    """Its certificate begins later."""
    EXPIRED = 7
    """Its certificate is over."""
    REVOKED = 8
    """Its certificate is on a revocation list."""
    PURPOSE = 9
    """Its certificate is made for something else."""
    IDENTITY = 10
    """Its certificate names no ids of this realm, or more than one range."""
    HOST = 11
    """Its certificate is not issued for what was dialled."""
    SLOW = 12
    """It took too long, or gave way to others."""
    ENDED = 13
    """It has ended before, without a word."""
    OURS_REFUSED = 14
    """The other side does not take our certificate, or misses it; the words say why."""


class TlsRefused(ValueError):
    """
    A connection is not for us.

    :param fault: What is wrong.
    :param text: The same in words.
    """

    def __init__(self, fault: TlsFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


#: OpenSSL's numbers for a bad certificate (X509_STORE_CTX_get_error), those that occur.
CERTIFICATE_FAULTS: Final = {
    2: (TlsFault.AUTHORITY, "its authority is not known"),
    3: (TlsFault.AUTHORITY, "there is no revocation list of its authority"),
    7: (TlsFault.AUTHORITY, "its signature is wrong"),
    9: (TlsFault.NOT_YET_VALID, "it is not valid yet"),
    10: (TlsFault.EXPIRED, "it has expired"),
    12: (TlsFault.AUTHORITY, "the revocation list has expired"),
    18: (TlsFault.AUTHORITY, "it is signed by itself"),
    19: (TlsFault.AUTHORITY, "it is signed by an authority that is not believed"),
    20: (TlsFault.AUTHORITY, "its authority is not believed"),
    21: (TlsFault.AUTHORITY, "its authority is not believed"),
    23: (TlsFault.REVOKED, "it has been revoked"),
    24: (TlsFault.AUTHORITY, "it is signed by what is no authority"),
    26: (TlsFault.PURPOSE, "it is not meant for this purpose"),
}

_ALERT: Final = re.compile(r"\balert (.+)")

# Parts of what OpenSSL says otherwise; the first that fits counts.
_SAID: Final = (
    ("peer did not return a certificate", TlsFault.NO_CERTIFICATE),
    ("unsupported protocol", TlsFault.VERSION),
    ("alert protocol version", TlsFault.VERSION),
    ("no application protocol", TlsFault.NOT_ATBUS),
    ("wrong version number", TlsFault.NOT_TLS),
    ("record layer failure", TlsFault.NOT_TLS),
    ("packet length too long", TlsFault.NOT_TLS),
    ("http request", TlsFault.NOT_TLS),
    ("unknown protocol", TlsFault.NOT_TLS),
    ("alert bad certificate", TlsFault.OURS_REFUSED),
    ("alert certificate", TlsFault.OURS_REFUSED),
    ("alert unknown ca", TlsFault.OURS_REFUSED),
    ("alert unsupported certificate", TlsFault.OURS_REFUSED),
)


def alert_in(said: str) -> str:
    """
    Find the alert of the other side in what OpenSSL says.

    :param said: Its words.
    :returns: Its name, such as ``unknown ca``; empty when there is none.
    """
    found = _ALERT.search(said)
    return found[1] if found else ""


def fault_named(said: str) -> TlsFault:
    """
    Tell faults apart by what OpenSSL says.

    :param said: Its words.
    :returns: The fault; OTHER for what is not known.
    """
    for part, fault in _SAID:
        if part in said:
            return fault
    return TlsFault.OTHER
