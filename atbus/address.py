"""
Addresses: where a node listens and what can be dialed.

Written ``scheme://host`` or ``scheme://host:port`` (docs: reference, addresses). The scheme decides
everything else: how far the address reaches (`Locality`), whether replies come back the same way
(duplex), and in which order addresses of one node are tried (rank).

Two invariants hold for every `Address`, however it was made: those of the tcp family have a port
(0: any, which only a listener can use) and the others have none; the host is in its one
canonical form, so that equal addresses are equal values and `str` round trips.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from typing import Final

import attrs

from atbus import limits
from atbus.errors import AddressError


class Scheme(enum.Enum):
    """How frames travel; the value is how it is written (``pipe`` is read as ``unix``)."""

    MEM = "mem"
    SHM = "shm"
    UNIX = "unix"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DNS = "dns"
    TLS_IPV4 = "tls+ipv4"
    TLS_IPV6 = "tls+ipv6"
    TLS_DNS = "tls+dns"


class Locality(enum.IntEnum):
    """From how far away an address can be reached; smaller is nearer."""

    PROCESS = 0
    HOST = 1
    NETWORK = 2


#: As the host of a mem or shm listener: the node chooses the name.
AUTO_NAME: Final = "auto"

_IPV4: Final = frozenset({Scheme.IPV4, Scheme.TLS_IPV4})
_IPV6: Final = frozenset({Scheme.IPV6, Scheme.TLS_IPV6})
_DNS: Final = frozenset({Scheme.DNS, Scheme.TLS_DNS})
_TLS: Final = frozenset({Scheme.TLS_IPV4, Scheme.TLS_IPV6, Scheme.TLS_DNS})
_TCP: Final = _IPV4 | _IPV6 | _DNS

_BY_NAME: Final = {scheme.value: scheme for scheme in Scheme} | {"pipe": Scheme.UNIX}

# The cheapest way first: a call, shared memory, a local socket, the network.
_RANKS: Final = {Scheme.MEM: 0, Scheme.SHM: 1, Scheme.UNIX: 2}
_TCP_RANK: Final = 3

_PORT_MAX: Final = 65535
_PORT = re.compile(r"[0-9]{1,5}")
_DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


@attrs.frozen
class Address:
    """
    One address of a node.

    :param scheme: How frames travel.
    :param host: A name (mem, shm), a path (unix), an address literal or a name to resolve.
    :param port: The TCP port, 0 for any; None when the scheme has no ports.
    :raises AddressError: When the host is not one for this scheme, or the port out of bounds.
    """

    scheme: Scheme
    host: str
    port: int | None = None

    def __attrs_post_init__(self) -> None:
        text = f"{self.scheme.value}://{self.host}"
        if self.port is not None:
            text = f"{text}:{self.port}"
        if self.scheme in _TCP:
            # No port means any port, as in libatbus.
            port = 0 if self.port is None else self.port
            if not 0 <= port <= _PORT_MAX:
                raise AddressError(text, f"port outside 0..{_PORT_MAX}")
            object.__setattr__(self, "port", port)
        elif self.port is not None:
            raise AddressError(text, f"{self.scheme.value} has no ports")
        # The class is frozen; only here, before anybody has seen the value, is it completed.
        object.__setattr__(self, "host", _canonical_host(self.scheme, self.host, text))

    @property
    def is_duplex(self) -> bool:
        """Whether replies come back the same way; mem and shm go one way only."""
        return self.scheme not in (Scheme.MEM, Scheme.SHM)

    @property
    def is_tls(self) -> bool:
        """Whether the channel is encrypted."""
        return self.scheme in _TLS

    @property
    def is_tcp(self) -> bool:
        """Whether this is a TCP socket, with or without TLS; then there is a port."""
        return self.scheme in _TCP

    @property
    def rank(self) -> int:
        """The place in the order of preference: 0 mem, 1 shm, 2 unix, 3 the tcp family."""
        return _RANKS.get(self.scheme, _TCP_RANK)

    @property
    def is_loopback(self) -> bool:
        """
        Whether this is an address literal that never leaves the host.

        A name is not, not even ``localhost``: what it resolves to is known to the resolver only.
        """
        literal = self._literal
        return literal is not None and literal.is_loopback

    @property
    def is_unspecified(self) -> bool:
        """Whether this is the literal for all interfaces, which only a listener can use."""
        literal = self._literal
        return literal is not None and literal.is_unspecified

    @property
    def locality(self) -> Locality:
        """From how far away this can be reached; a loopback literal from this host only."""
        if self.scheme is Scheme.MEM:
            return Locality.PROCESS
        if self.scheme in (Scheme.SHM, Scheme.UNIX) or self.is_loopback:
            return Locality.HOST
        return Locality.NETWORK

    @property
    def is_dialable(self) -> bool:
        """Whether it names one place: neither any port nor a name still to be chosen."""
        if self.scheme in _TCP:
            return bool(self.port)
        return self.scheme is Scheme.UNIX or self.host != AUTO_NAME

    def dial_address(self) -> Address:
        """
        Give the address to dial for a listener at this one.

        :returns: The loopback address for a listener on all interfaces, else the same address.
        """
        if not self.is_unspecified:
            return self
        return attrs.evolve(self, host="127.0.0.1" if self.scheme in _IPV4 else "::1")

    @property
    def _literal(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        if self.scheme in _IPV4:
            return ipaddress.IPv4Address(self.host)
        if self.scheme in _IPV6:
            return ipaddress.IPv6Address(self.host)
        return None

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.scheme in _IPV6 else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme.value}://{host}{port}"


def parse_address(text: str) -> Address:
    """
    Read an address.

    The port follows the *last* colon, so an IPv6 literal needs no brackets when there is a port.

    :param text: ``scheme://host[:port]``; the scheme in any case.
    :returns: The address in canonical form.
    :raises AddressError: When it is not an address; names the fault.
    """
    # First, because only printable text is sure to have a length in bytes.
    if not text.isprintable():
        raise AddressError(text, "an unprintable character")
    if len(text.encode()) > limits.ADDRESS_BYTES:
        raise AddressError(text, f"longer than {limits.ADDRESS_BYTES} bytes")
    name, separator, rest = text.partition("://")
    if not separator:
        raise AddressError(text, "no scheme://")
    scheme = _BY_NAME.get(name.lower())
    if scheme is None:
        raise AddressError(text, f"unknown scheme, expected one of {', '.join(_BY_NAME)}")
    host, port = _split_port(text, scheme, rest) if scheme in _TCP else (rest, None)
    return Address(scheme, host, port)


def as_address(value: str | Address) -> Address:
    """
    Take an address as it is, or read it.

    :param value: An address, or its text.
    :returns: The address.
    :raises AddressError: The text is none, or it is no text.
    """
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise AddressError(str(value), f"expected a text, not {type(value).__name__}")
    return parse_address(value)


def _split_port(text: str, scheme: Scheme, rest: str) -> tuple[str, int | None]:
    if scheme in _IPV6:
        if rest.startswith("[") and rest.endswith("]"):
            return rest[1:-1], None
        if _is_ipv6_without_port(rest):
            return rest, None
    host, colon, port = rest.rpartition(":")
    if not colon:
        return rest, None
    if not _PORT.fullmatch(port):
        raise AddressError(text, "the port is not a number")
    if scheme in _IPV6 and host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, int(port)


def _is_ipv6_without_port(rest: str) -> bool:
    # "::1" is an address although ":" and port 1 could be meant; "::1:80" is "::1" and port 80.
    host, _, port = rest.rpartition(":")
    return not (_is_ipv6(host) and _PORT.fullmatch(port)) and _is_ipv6(rest)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _canonical_host(scheme: Scheme, host: str, text: str) -> str:
    if not host:
        raise AddressError(text, "nothing after scheme://")
    if not host.isprintable():
        raise AddressError(text, "an unprintable character")
    if scheme in _DNS:
        if not _DNS_NAME.fullmatch(host.lower()):
            raise AddressError(text, "not a host name")
        return host.lower()
    try:
        if scheme in _IPV4:
            return str(ipaddress.IPv4Address(host))
        if scheme in _IPV6:
            return str(ipaddress.IPv6Address(host))
    except ValueError as error:
        raise AddressError(text, f"not an {scheme.value} literal") from error
    return host
