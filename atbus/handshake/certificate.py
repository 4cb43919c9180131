"""
What a certificate says about a node, and what it may therefore register.

A node's certificate has one URI among its alternative names::

    atbus://realm/0x12340000/16

It names the realm, which all nodes of one bus share, and a range of bus ids, as a prefix and the
number of its free bits; ``/0`` is one id. It is compared letter by letter: there is one way to
write each range, no wildcard, and no other field of the certificate counts. A certificate without
such a name, or with two, is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

import attrs

from atbus.busid import Subnet
from atbus.errors import BusIdError

#: What a name of ours begins with.
SCHEME: Final = "atbus://"

_NAME = re.compile(
    r"atbus://(?P<realm>[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?)"
    r"/0x(?P<prefix>0|[1-9a-f][0-9a-f]{0,15})/(?P<bits>0|[1-9][0-9]?)"
)


@attrs.frozen
class CertificateIdentity:
    """
    The ids that a certificate lets its owner register.

    :param realm: Whose bus it is: lower-case letters, digits, dots and hyphens.
    :param subnet: The ids.
    """

    realm: str
    subnet: Subnet

    def __str__(self) -> str:
        return f"{SCHEME}{self.realm}/{self.subnet.first:#x}/{self.subnet.mask_bits}"

    def allows(self, bus_id: int, subnets: Collection[Subnet]) -> bool:
        """
        Tell whether a node may register so.

        :param bus_id: Its id; 0 for a temporary node, which speaks for nobody.
        :param subnets: What it answers for besides its own id.
        :returns: Whether all of it is inside the range.
        """
        is_ours = not bus_id or self.subnet.contains(bus_id)
        return is_ours and all(self.subnet.contains_subnet(subnet) for subnet in subnets)


def parse_identity(name: str) -> CertificateIdentity:
    """
    Read the name of a node in its certificate.

    :param name: The URI.
    :returns: What it says.
    :raises ValueError: It is not written just so; the error says what is wrong with it.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is not {SCHEME}realm/0x.../bits")
    try:
        subnet = Subnet(int(found["prefix"], 16), int(found["bits"]))
    except BusIdError as error:
        raise ValueError(f"{name!r}: {error.fault}") from error
    if f"{subnet.first:x}" != found["prefix"]:
        raise ValueError(f"{name!r}: the prefix of this range is {subnet.first:#x}")
    return CertificateIdentity(found["realm"], subnet)


def find_identity(names: Iterable[str], realm: str) -> CertificateIdentity:
    """
    Find the one name of a node among the URIs of a certificate.

    :param names: All URIs that the certificate is issued for.
    :param realm: The realm that it has to be of.
    :returns: What it says.
    :raises ValueError: There is none, there is more than one, it is malformed, or of another realm.
    """
    ours = [name for name in names if name.lower().startswith(SCHEME)]
    if len(ours) != 1:
        count = "no name" if not ours else f"{len(ours)} names"
        raise ValueError(f"the certificate has {count} {SCHEME}..., it needs one")
    identity = parse_identity(ours[0])
    if identity.realm != realm:
        raise ValueError(f"the certificate is of the realm {identity.realm}, not {realm}")
    return identity
