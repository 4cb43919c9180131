"""What is known of a node that is registered here."""

from __future__ import annotations

import enum

import attrs

from atbus.address import Address
from atbus.busid import BusId, Subnet


class Position(enum.Enum):
    """On which side of us a neighbor is."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    PEER = "peer"


@attrs.frozen
class Neighbor:
    """
    A node that is registered here.

    :param bus_id: Its id, never 0.
    :param subnets: What it owns; its own id belongs to it in any case.
    :param position: On which side of us it is.
    :param listens: The addresses it announced.
    :param passes: Whether it is a peer that was our upstream, or is about to be: others speak
        through it.
    :param certified: The ids that its certificate names; None without one. It speaks for no others,
        unless it is our upstream or `passes`.
    """

    bus_id: BusId
    subnets: tuple[Subnet, ...]
    position: Position
    listens: tuple[Address, ...] = ()
    passes: bool = False
    certified: Subnet | None = None

    def is_certified(self, bus_id: int) -> bool:
        """
        Tell whether its certificate does not forbid it to speak for a node.

        :param bus_id: The node.
        :returns: Whether there is none, or its range holds the node, or others speak through it.
        """
        if self.certified is None or self.passes or self.position is Position.UPSTREAM:
            return True
        return self.certified.contains(bus_id)
