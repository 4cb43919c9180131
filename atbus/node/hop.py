"""The answer to "where would a message go now?"."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import attrs

from atbus.address import Address
from atbus.errors import Status, Undeliverable
from atbus.node.endpoint import Endpoint, Gate
from atbus.routing.relation import Relation

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.traffic import Traffic


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


def describe_hop(
    context: Context,
    traffic: Traffic,
    target: int,
    *,
    exclude: Collection[int] = (),
    no_upstream: bool = False,
) -> NextHop:
    """
    Describe the next hop to *target*.

    An endpoint that is being left is none: what is sent now waits, and takes another way.

    :raises Undeliverable: There is none.
    """
    hop = traffic.hop_to(target, exclude=exclude, no_upstream=no_upstream)
    while isinstance(hop, Endpoint) and hop.gate is Gate.RETURNING:
        exclude = (*exclude, hop.bus_id)
        hop = traffic.hop_to(target, exclude=exclude, no_upstream=no_upstream)
    rule = context.table.next_hop(
        target, exclude=frozenset(exclude), no_upstream=no_upstream
    ).rule
    if isinstance(hop, Status):
        status = Status.NO_ROUTE if hop is Status.OK else hop
        raise Undeliverable(status, target, 0, context.bus_id, rule)
    link = hop.data_link
    return NextHop(
        id=hop.bus_id,
        endpoint=hop,
        connection=None if link is None else link.connection,
        address=None if link is None else link.connection.address,
        relation=context.table.relation_to(target),
        rule=rule,
    )
