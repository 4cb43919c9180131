"""
What every node must know in the end, said by whoever sees the whole network at once.

It shares no code with the route table. The rule is that of the wire protocol, section 6.6, on sets:
a node knows its subtree, the subtrees of its peers, and what its upstream knows. Whoever has not
asked knows itself and its neighbors only; of whoever does not tell, its neighbors alone speak.
"""

from __future__ import annotations

from functools import cache

from atbus.testing.route_world import RouteNode, RouteWorld


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

    def neighbors(key: int) -> list[tuple[int, bool, bool]]:
        """Give each neighbor that tells, with whether it is above, or below."""
        found = []
        for other, line in living[key].lines.items():
            if other in living and not line.is_cut:
                above = line.is_tree and line.lower == key
                found.append((other, above, line.is_tree and not above))
        return found

    def asks(key: int) -> bool:
        node = living[key]
        match node.mode.value:
            case "auto":
                return node.tells and any(not above for _, above, _ in neighbors(key))
            case mode:
                return node.tells and mode == "full"

    @cache
    def below(key: int) -> frozenset[int]:
        found = {key}
        for other, _, is_below in neighbors(key):
            if is_below:
                found |= below(other) if hears(key, other) else {other}
        return frozenset(found)

    def hears(key: int, other: int) -> bool:
        return asks(key) and living[other].tells and living[other].mode.value != "off"

    @cache
    def known(key: int) -> frozenset[int]:
        found = set(below(key))
        for other, above, is_below in neighbors(key):
            if not hears(key, other):
                found.add(other)
            elif above:
                found |= known(other)
            elif not is_below:
                found |= below(other)
        return frozenset(found)

    ids = {key: node.bus_id for key, node in living.items()}
    return {key: frozenset(ids[each] for each in known(key) if each != key) for key in living}
