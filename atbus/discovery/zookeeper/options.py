"""
Which servers, in whose name, and who may read what is written.
"""

from __future__ import annotations

import enum
import ssl
from pathlib import Path
from typing import Final

import attrs

from atbus.discovery import bounds
from atbus.discovery.zookeeper.bounds import RESUME_SECONDS
from atbus.errors import ConfigurationError
from atbus.pem import open_to_us

PORT: Final = 2181
"""Where a server of ZooKeeper listens unless told otherwise."""


class Login(enum.Enum):
    """How one says who one is."""

    DIGEST = "digest"
    SASL = "sasl"


class Access(enum.Enum):
    """Who may do what with what we have written."""

    #: Anybody may do anything.
    OPEN = "open"
    #: Anybody may read; only we, and others of our user, may write.
    READ = "read"
    #: Only we, and others of our user, may do anything.
    PRIVATE = "private"


@attrs.frozen(kw_only=True)
class TlsFiles:
    """
    What an encrypted connection needs.

    :param ca_file: PEM file with the authorities to trust; empty for no TLS.
    :param certificate_file: PEM file with our certificate, and those up to its authority.
    :param key_file: PEM file with its key; empty when the certificate's file has it.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


def check_files(tls: TlsFiles) -> None:
    """
    Make sure that files can be used; kazoo would try again and again.

    :param tls: Which.
    :raises ConfigurationError: One cannot; names the option.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    option, path = "ca_file", tls.ca_file
    try:
        if tls.ca_file:
            context.load_verify_locations(tls.ca_file)
        option, path = "certificate_file", tls.certificate_file
        if tls.certificate_file:
            path = tls.key_file or tls.certificate_file
            open_to_us(Path(path).read_bytes())
            path = tls.certificate_file
            context.load_cert_chain(tls.certificate_file, tls.key_file or None)
    except (OSError, ValueError) as fault:
        where = "" if path in str(fault) else f"{path}: "
        raise ConfigurationError([f"zookeeper.{option}: {where}{fault}"]) from fault


@attrs.frozen(kw_only=True)
class SessionOptions:
    """
    Which ZooKeeper, and how it is treated.

    :param servers: Some of its servers, as ``host:port``.
    :param user: In whose name; empty for nobody.
    :param password: Of that user.
    :param login: How the user says who he is.
    :param access: Who may do what with what we write.
    :param tls: For servers that are reached over TLS.
    :param session_seconds: How long what we have written stays without us; a server makes it at
        least two of its ticks, and at most twenty.
    :param resume_seconds: How long a session is tried to be resumed before it is given up.
    """

    servers: tuple[str, ...]
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    login: Login = Login.DIGEST
    access: Access = Access.OPEN
    tls: TlsFiles = attrs.field(factory=TlsFiles)
    session_seconds: float = bounds.LEASE_SECONDS
    resume_seconds: float = RESUME_SECONDS


def read_server(text: str) -> str:
    """
    Read one server.

    :param text: ``host``, ``host:port``, or ``[address of IPv6]:port``.
    :returns: It, with its port.
    :raises ValueError: It is none; says why.
    """
    host, port = text, str(PORT)
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("expected [address]:port")
        host, port = host + bracket, rest[1:] or port
    elif ":" in text:
        host, _, port = text.partition(":")
    plain = host.strip("[]")
    allowed = set("-._:%") if host != plain else set("-._")
    if not plain or not all(letter.isalnum() or letter in allowed for letter in plain):
        raise ValueError("expected host:port")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16):
        raise ValueError("the port must be 1 to 65535")
    return f"{host}:{int(port)}"
