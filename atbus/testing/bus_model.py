"""
What every node of a bus must know and do in the end, said by whoever sees the whole bus at once.

The truth is who is really registered where; the rest follows from it. It shares no code with the
nodes: neither their tables, nor their registry of records, nor the chains cached there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import attrs

from atbus.errors import Undeliverable
from atbus.node.endpoint import Gate
from atbus.node.node import Node
from atbus.routing.record import Record, Stamp
from atbus.testing.route_model import Place, known_by

#: Who is reached over whom: the next hop of each node towards each other one.
Hops = dict[tuple[int, int], int]

_OPPOSITE = {"upstream": "downstream", "downstream": "upstream", "peer": "peer"}


@attrs.frozen
class BusModel:
    """
    One look at a bus that is at rest.

    :param nodes: All of it, by id.
    """

    nodes: Mapping[int, Node]
    #: How each neighbor of each node stands to it.
    links: Mapping[int, Mapping[int, str]] = attrs.field(init=False)

    @links.default
    def _look(self) -> Mapping[int, Mapping[int, str]]:
        return {
            bus_id: {other: each.position.value for other, each in node.endpoints.items()}
            for bus_id, node in self.nodes.items()
        }

    def upstream_of(self, bus_id: int) -> int:
        """Say who is above a node; 0 for nobody."""
        found = [other for other, position in self.links[bus_id].items() if position == "upstream"]
        return found[0] if found else 0

    def chain_of(self, bus_id: int) -> list[int]:
        """List who is above a node, from below."""
        chain = []
        while bus_id := self.upstream_of(bus_id):
            chain.append(bus_id)
        return chain

    def faults(self) -> list[str]:
        """
        Compare what nodes know with what they must know.

        :returns: What is wrong, a sentence each.
        """
        return [*self._one_sided_links()] or [*self._wrong_tables(), *self._wrong_ways()]

    def _one_sided_links(self) -> Iterator[str]:
        """Two nodes think the same of the link between them, and it is whole."""
        for bus_id, links in self.links.items():
            if list(links.values()).count("upstream") > 1:
                yield f"{bus_id:#x} has several upstreams"
            for other, position in links.items():
                seen = self.links.get(other, {}).get(bus_id)
                if seen != _OPPOSITE[position]:
                    yield f"{other:#x} is {position} of {bus_id:#x}, which is its {seen}"
                elif not self.nodes[bus_id].endpoints[other].available:
                    yield f"{bus_id:#x} has no data connection to {other:#x}"
                elif (gate := self.nodes[bus_id].endpoints[other].gate) is not Gate.OPEN:
                    yield f"the way from {bus_id:#x} to {other:#x} is {gate.value}"

    # Tables.

    def known(self) -> dict[int, frozenset[int]]:
        """Say whom each node must know, besides itself, by section 6.6 of the wire protocol."""
        return known_by({bus_id: self._place(bus_id) for bus_id in self.nodes})

    def _place(self, bus_id: int) -> Place:
        links = self.links[bus_id]
        mode = self.nodes[bus_id].config.route_table
        # Who has had other neighbors goes on being told until it has another upstream.
        is_told = len(self.nodes[bus_id].records()) > 1 + len(links)
        is_above_others = is_told or any(position != "upstream" for position in links.values())
        return Place(
            asks=mode == "full" or (mode == "auto" and is_above_others),
            tells=mode != "off",
            above=self.upstream_of(bus_id),
            below=frozenset(other for other, position in links.items() if position == "downstream"),
            peers=frozenset(other for other, position in links.items() if position == "peer"),
        )

    def _wrong_tables(self) -> Iterator[str]:
        tables = {
            bus_id: {each.bus_id: each for each in node.records()}
            for bus_id, node in self.nodes.items()
        }
        own = {bus_id: table[bus_id] for bus_id, table in tables.items()}
        for bus_id, record in own.items():
            if record.upstream_id != self.upstream_of(bus_id):
                yield f"{bus_id:#x} says that it is below {record.upstream_id:#x}"
        for bus_id, expected in self.known().items():
            table = tables[bus_id]
            for other in sorted(expected - set(table)):
                yield f"{bus_id:#x} does not know {other:#x}"
            for other in sorted(set(table) - expected - {bus_id}):
                yield f"{bus_id:#x} knows a ghost: {table[other]}"
            for other in sorted(expected & set(table)):
                if not _says(table[other], own[other]):
                    yield f"{bus_id:#x} has {table[other]} of {other:#x}, it is {own[other]}"

    # Ways.

    def hops(self) -> Hops:
        """Ask each node for its next hop to every other one; 0 for none."""
        found: Hops = {}
        for bus_id, target in itertools.permutations(self.nodes, 2):
            try:
                found[bus_id, target] = self.nodes[bus_id].next_hop(target).id
            except Undeliverable:
                found[bus_id, target] = 0
        return found

    def way(self, hops: Hops, source: int, target: int) -> list[int]:
        """
        Follow next hops.

        :returns: All nodes on the way, both ends included, as far as it leads; the last one twice
            when it goes in a circle.
        """
        way = [source]
        while way[-1] != target and (hop := hops[way[-1], target]):
            way.append(hop)
            if hop in way[:-1]:
                break
        return way

    def _wrong_ways(self) -> Iterator[str]:
        """Next hops are those of the rules, and lead to every node without meeting one twice."""
        hops = self.hops()
        known = self.known()
        for (bus_id, target), hop in hops.items():
            must = self._hop(bus_id, target, known[bus_id])
            if hop != must:
                yield f"from {bus_id:#x} to {target:#x} by {hop:#x}, it must be {must:#x}"
        for source, target in hops:
            way = self.way(hops, source, target)
            if way[-1] != target:
                yield f"from {source:#x} to {target:#x}: {' '.join(f'{each:#x}' for each in way)}"

    def _hop(self, bus_id: int, target: int, known: frozenset[int]) -> int:
        """Find the nearest neighbor at or above the target, as far as one knows; else go up."""
        above = target
        while above and (above == target or above in known) and above != bus_id:
            if above in self.links[bus_id]:
                return above
            above = self.upstream_of(above) if above in known else 0
        return self.upstream_of(bus_id)


def _says(record: Record, truth: Record) -> bool:
    """Tell whether a record says the truth; one that others have made, of the place at least."""
    if not record.stamp.seq:
        return record.upstream_id in (0, truth.upstream_id)
    return attrs.evolve(record, stamp=Stamp(record.stamp.epoch)) == attrs.evolve(
        truth, stamp=Stamp(truth.stamp.epoch)
    )
