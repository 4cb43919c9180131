"""
Which node to connect to, so that messages to a target need not go through the tree.

The target itself is looked at first, then those above it, one after the other: a proxy that is
connected serves all that is below it. The rules, for each of them in turn:

1. When it is connected already, or stands above this node or below it, there is nothing to do: the
   way through it is the way of the tree.
2. One of which nothing is known ends the search.
3. A node that passes on what others send connects only to others that do: to proxies, and to nodes
   that have somebody below them. Else each proxy would connect to each leaf of all the others.
4. The policy allows it and it says where it can be reached from here; else the next one above it
   may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from atbus.address import Address, parse_address
from atbus.busid import format_bus_id
from atbus.errors import AddressError
from atbus.routing.dial_plan import usable_addresses
from atbus.routing.policy import Rule, Verdict, verdict_on
from atbus.routing.record import Record
from atbus.routing.table import Table


@attrs.frozen
class Dial:
    """
    Connect to this node.

    :param bus_id: The target, or the nearest one above it that will do.
    :param address: Where.
    :param rule: The rule of the policy that allows it, for people.
    """

    bus_id: int
    address: Address
    rule: str

    def __str__(self) -> str:
        return f"{format_bus_id(self.bus_id)} at {self.address}: {self.rule}"


@attrs.frozen
class Stay:
    """
    Leave things as they are.

    :param reason: Why, for people.
    :param denied: Whether it is the policy that is in the way.
    """

    reason: str
    denied: bool = False

    def __str__(self) -> str:
        return self.reason


Choice: TypeAlias = Dial | Stay


def choose(
    table: Table, policy: Sequence[Rule], own: Record, target: int, *, relayed: bool = False
) -> Choice:
    """
    Decide which connection would bring messages nearer to their target.

    :param table: What is known of neighbors and others.
    :param policy: The rules of this node.
    :param own: The record of this node.
    :param target: Where messages go.
    :param relayed: Whether others send them, and this node passes them on.
    :returns: Whom to dial, or why nobody.
    """
    tree = table.registry.tree
    if tree.is_below(target, own.bus_id):
        return Stay("the way of the tree leads down: who is below us registers itself")
    above_us = tree.chain_of(own.bus_id)
    reason, denied = "", False
    for candidate in (target, *tree.chain_of(target)):
        name = format_bus_id(candidate)
        if candidate == own.bus_id or candidate in above_us:
            return Stay(reason or f"the way of the tree leads through {name}", denied)
        if table.get(candidate) is not None:
            return Stay(reason or f"{name} is connected", denied)
        record = table.registry.get(candidate)
        if record is None:
            return Stay(reason or f"nothing is known of {name}", denied)
        if relayed and not (record.is_proxy or tree.downstreams_of(candidate)):
            reason = reason or f"{name} is no proxy"
            continue
        verdict = verdict_on(policy, own, record)
        addresses = [each for each in reachable(own, record) if verdict.permits(each)]
        if addresses:
            return Dial(candidate, addresses[0], verdict.rule)
        if not reason:
            reason, denied = _why_not(own, record, verdict)
    return Stay(reason, denied)


def peer_address(
    table: Table, policy: Sequence[Rule], own: Record, record: Record
) -> Address | None:
    """
    Say where to dial a node that is to be a peer, whether there are messages to it or not.

    :param table: What is known of neighbors and others.
    :param policy: The rules of this node.
    :param own: The record of this node.
    :param record: That of the other one.
    :returns: The address; None when it is leaving, when the policy does not allow it or it cannot
        be reached from here, and when it stands above this node or below it.
    """
    tree = table.registry.tree
    is_kin = tree.is_below(record.bus_id, own.bus_id) or tree.is_below(own.bus_id, record.bus_id)
    if is_kin or record.is_draining:
        return None
    verdict = verdict_on(policy, own, record)
    return next((each for each in reachable(own, record) if verdict.permits(each)), None)


def reachable(own: Record, record: Record) -> list[Address]:
    """
    Choose where a node can be dialled from here.

    :param own: The record of this node.
    :param record: That of the other one.
    :returns: Addresses of streams, the best first.
    """
    known: list[Address] = []
    for text in record.addresses:
        try:
            known.append(parse_address(text))
        except AddressError:
            # Of a kind that we do not know yet; that is no fault.
            continue
    same_host = own.shares_host(record)
    found = usable_addresses(known, same_host=same_host, same_process=False)
    return [address for address in found if address.is_duplex]


def _why_not(own: Record, record: Record, verdict: Verdict) -> tuple[str, bool]:
    """Say why a node is not connected to, and whether the policy is the reason."""
    name = format_bus_id(record.bus_id)
    addresses = reachable(own, record)
    if not addresses:
        return f"{name} says of no address where it can be reached from here", False
    return f"{name}: {verdict.refusal(addresses[0])}", True
