"""
What every node must know in the end, said by whoever sees the whole network at once.

It shares no code with the route table. The rule is that of the wire protocol, section 6.6, on sets:
a node knows its subtree, the subtrees of its peers, and what its upstream knows. Whoever has not
asked knows itself and its neighbors only; of whoever does not tell, its neighbors alone speak.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import attrs

from atbus.testing.route_world import RouteNode, RouteWorld


@attrs.frozen
class Place:
    """
    Where a node stands, and what it wants to know.

    :param asks: Whether it asks its neighbors for what they know.
    :param tells: Whether it tells them what it knows, if they ask.
    :param above: Its upstream; 0 for none.
    :param below: Those whose upstream it is.
    :param peers: Those beside it.
    """

    asks: bool
    tells: bool
    above: int
    below: frozenset[int]
    peers: frozenset[int]


def known_by(places: Mapping[int, Place]) -> dict[int, frozenset[int]]:
    """
    Say whom each node must know.

    :param places: All nodes, none of them above itself.
    :returns: For each of them the others.
    """

    def hears(key: int, other: int) -> bool:
        return places[key].asks and places[other].tells

    @cache
    def below(key: int) -> frozenset[int]:
        found = {key}
        for other in places[key].below:
            found |= below(other) if hears(key, other) else {other}
        return frozenset(found)

    @cache
    def known(key: int) -> frozenset[int]:
        place = places[key]
        found = set(below(key))
        for other in place.peers:
            found |= below(other) if hears(key, other) else {other}
        if place.above:
            found |= known(place.above) | {key} if hears(key, place.above) else {place.above}
        return frozenset(found)

    return {key: known(key) - {key} for key in places}


def faults(world: RouteWorld) -> list[str]:
    """
    Compare every table with what it must be.

    :param world: After a time without changes that is longer than all waits.
    :returns: What is wrong, a sentence each.
    """
    living = {key: node for key, node in world.nodes.items() if node.machine is not None}
    expected = _expected(living)
    found: list[str] = []
    for key, node in living.items():
        found += _faults_of(node, expected[key], {each.bus_id: each for each in living.values()})
    return found


def _faults_of(
    node: RouteNode, expected: frozenset[int], living: dict[int, RouteNode]
) -> list[str]:
    assert node.machine is not None
    name = f"0x{node.bus_id:x}"
    found: list[str] = []
    table = {record.bus_id: record for record in node.machine.known.records()}
    if table != node.table:
        found.append(f"{name}: its program was told something else than its table says")
    missing, ghosts = sorted(expected - set(table)), sorted(set(table) - expected)
    found += [f"{name} does not know 0x{bus_id:x}" for bus_id in missing]
    found += [f"{name} knows a ghost: {table[bus_id]}" for bus_id in ghosts]
    for bus_id in sorted(expected & set(table)):
        other = living[bus_id]
        assert other.machine is not None
        newest = other.machine.own
        if table[bus_id] != newest and table[bus_id].stamp.seq:
            found.append(f"{name} has {table[bus_id]} of 0x{bus_id:x}, it is at {newest}")
    if node.machine.tombstone_count:
        found.append(f"{name} keeps {node.machine.tombstone_count} tombstones")
    return found


def _expected(living: dict[int, RouteNode]) -> dict[int, frozenset[int]]:
    """Say whom each node must know, besides itself."""
    places = {key: _place(key, living) for key in living}
    ids = {key: node.bus_id for key, node in living.items()}
    return {key: frozenset(ids[each] for each in known) for key, known in known_by(places).items()}


def _place(key: int, living: dict[int, RouteNode]) -> Place:
    node = living[key]
    above, below, peers = 0, set(), set()
    for other, line in node.lines.items():
        if other not in living or line.is_cut:
            continue
        if not line.is_tree:
            peers.add(other)
        elif line.lower == key:
            above = other
        else:
            below.add(other)
    mode = node.mode.value
    return Place(
        asks=node.tells and (mode == "full" or (mode == "auto" and bool(below or peers))),
        tells=node.tells and mode != "off",
        above=above,
        below=frozenset(below),
        peers=frozenset(peers),
    )
