"""The answer to "where would a message go now?"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from atbus.address import Address
from atbus.routing.relation import Relation

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.endpoint import Endpoint


@attrs.frozen(kw_only=True)
class NextHop:
    """
    Say where a message to some node would go now.

    :param id: Bus id of the next hop.
    :param endpoint: The next hop.
    :param connection: The data connection it would take; None while there is none.
    :param address: The address of that connection.
    :param relation: How the *target* stands to us.
    :param rule: The rule that decided, for people.
    """

    id: int
    endpoint: Endpoint
    connection: Connection | None
    address: Address | None
    relation: Relation
    rule: str = ""
