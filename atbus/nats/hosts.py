"""
Where this host can be reached, for a gateway that listens at all of its addresses.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

#: Where something listens that listens everywhere, over IPv4 or over both.
ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104  # names, nothing binds

# Linux: the request for the address of an interface, where in the answer it is, and where the
# addresses of the sixth version are listed.
_ADDRESS_OF: Final = 0x8915
_ADDRESS_AT: Final = 20
_ANSWER: Final = "256s"
_SIX: Final = Path("/proc/net/if_inet6")


def hosts_at(host: str) -> tuple[str, ...]:
    """
    List the hosts to dial to reach what listens somewhere.

    :param host: Where it listens.
    :returns: Itself; instead of an unspecified one the first IPv4 address of each interface of
        this host, behind those its IPv6 addresses if it is ``::``. Loopback and what is valid on
        one link only are left out, unless there is nothing else.
    """
    if host not in ANYWHERE:
        return (host,)
    found = [*_four(), *(_six() if host == "::" else ())]
    reachable = [
        each
        for each in dict.fromkeys(found)
        if not (ip_address(each).is_loopback or ip_address(each).is_link_local)
    ]
    return tuple(reachable) or ("::1" if host == "::" else "127.0.0.1",)


def _four() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            question = struct.pack(_ANSWER, name.encode())
            try:
                answer = fcntl.ioctl(asking, _ADDRESS_OF, question)
            except OSError:
                # It has none.
                continue
            yield socket.inet_ntoa(answer[_ADDRESS_AT : _ADDRESS_AT + 4])


def _six() -> Iterator[str]:
    try:
        lines = _SIX.read_text(encoding="ascii").splitlines()
    except OSError:
        # This system knows only the fourth version.
        return
    for line in lines:
        yield str(IPv6Address(bytes.fromhex(line.split()[0])))
