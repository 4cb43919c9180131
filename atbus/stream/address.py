"""Where a stream leads."""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from atbus.busid import format_bus_id


@implementer(IAddress)
@attrs.frozen
class BusAddress:
    """
    A service of a node.

    :param bus_id: The node's id. Of the other end of a stream it is as good as the proof of it:
        nobody but those who may speak for the node can have sent it.
    :param service: What the service is called; the client's end has the same.
    """

    bus_id: int
    service: str

    def __str__(self) -> str:
        return f"atbus:{format_bus_id(self.bus_id)}:{self.service}"
