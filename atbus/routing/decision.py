"""
What a router says about a message: the four answers of `atbus.routing.interfaces.IRouter`.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from atbus.busid import BusId
from atbus.errors import Status
from atbus.routing.relation import Relation


@attrs.frozen
class Deliver:
    """
    The target is this node.

    :param rule: The rule that decided, for people.
    """

    rule: str = "self"


@attrs.frozen
class Forward:
    """
    Send it to a neighbor, whose data connection is usable.

    :param bus_id: The next hop.
    :param relation: How the *target* stands to us.
    :param rule: The rule that decided, for people.
    """

    bus_id: BusId
    relation: Relation
    rule: str


@attrs.frozen
class Hold:
    """
    The next hop is registered and has no usable data connection at this moment: wait, bounded.

    :param bus_id: The next hop.
    :param relation: How the *target* stands to us.
    :param rule: The rule that decided, for people.
    """

    bus_id: BusId
    relation: Relation
    rule: str


@attrs.frozen
class Refuse:
    """
    There is no way.

    :param status: `NO_ROUTE`, or `LOOP` when the only way leads back.
    :param rule: The rule that decided, for people.
    """

    status: Status
    rule: str


Decision: TypeAlias = Deliver | Forward | Hold | Refuse


def hop_of(decision: Decision) -> BusId | None:
    """
    Say to whom a decision leads.

    :param decision: It.
    :returns: The neighbor that takes the message, now or later; None when no neighbor does.
    """
    return decision.bus_id if isinstance(decision, Forward | Hold) else None
