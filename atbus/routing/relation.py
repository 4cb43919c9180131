"""
How two nodes stand to each other in the tree of upstreams.

A `Tree` knows of each node at most who its upstream is, and computes everything else from that. It
knows the nodes that were placed in it, and those that were named as an upstream only. Rules:

1. The first that holds is the relation of *x* to *y*; the next hop is where *x* would give what is
   for *y* if there were nothing but the tree:

   =====================  ==========================================  ===========================
   relation               condition                                   next hop
   =====================  ==========================================  ===========================
   Invalid                one of them is 0 or unknown                 none
   Self                   they are the same                           *y*
   ImmediateUpstream      *y* is the upstream of *x*                  *y*
   ImmediateDownstream    *x* is the upstream of *y*                  *y*
   SameUpstreamPeer       both have the same upstream                 that upstream
   TransitiveUpstream     *y* is further above *x*                    the upstream of *x*
   TransitiveDownstream   *x* is further above *y*                    the child of *x* on the way
   OtherUpstreamPeer      otherwise                                   the upstream of *x*, else *y*
   =====================  ==========================================  ===========================

2. The first five need no walk. The others need the chain of upstreams of one node, which is
   remembered until the tree changes: whatever the depth, a chain is walked once per version.
3. Nobody stands above itself. A place that would make it so is refused and changes nothing, also
   when the circle leads through nodes that are not placed; and so is one below more nodes than a
   message can pass.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Final

import attrs

from atbus import limits


class Relation(enum.Enum):
    """Where another node stands, seen from this one; the value is its printed name."""

    SELF = "Self"
    IMMEDIATE_UPSTREAM = "ImmediateUpstream"
    TRANSITIVE_UPSTREAM = "TransitiveUpstream"
    IMMEDIATE_DOWNSTREAM = "ImmediateDownstream"
    TRANSITIVE_DOWNSTREAM = "TransitiveDownstream"
    SAME_UPSTREAM_PEER = "SameUpstreamPeer"
    OTHER_UPSTREAM_PEER = "OtherUpstreamPeer"
    INVALID = "Invalid"

    def __str__(self) -> str:
        return self.value

    @property
    def is_upstream(self) -> bool:
        """Tell whether the node is above us."""
        return self in (Relation.IMMEDIATE_UPSTREAM, Relation.TRANSITIVE_UPSTREAM)

    @property
    def is_downstream(self) -> bool:
        """Tell whether the node is below us."""
        return self in (Relation.IMMEDIATE_DOWNSTREAM, Relation.TRANSITIVE_DOWNSTREAM)

    @property
    def is_peer(self) -> bool:
        """Tell whether the node is neither above nor below us."""
        return self in (Relation.SAME_UPSTREAM_PEER, Relation.OTHER_UPSTREAM_PEER)


@attrs.frozen
class Related:
    """
    How one node stands to another.

    :param relation: The relation.
    :param next_hop: Where the way to the other one leads first by the tree alone; 0 for nowhere.
    """

    relation: Relation
    next_hop: int


_UNRELATED: Final = Related(Relation.INVALID, 0)
_NOBODY: Final[Collection[int]] = ()


class Tree:
    """Who is below whom (see the rules at the top of this file)."""

    def __init__(self) -> None:
        self.version = 0
        self._upstreams: dict[int, int] = {}
        # By upstream those placed below it, in the order of coming.
        self._downstreams: dict[int, dict[int, None]] = {}
        self._chains: dict[int, tuple[int, ...]] = {}
        self._remembered_ids = 0

    def __contains__(self, bus_id: int) -> bool:
        """Tell whether a node is known: placed, or named as an upstream."""
        return bus_id in self._upstreams or bus_id in self._downstreams

    def is_placed(self, bus_id: int) -> bool:
        """
        Tell whether it is known where a node stands.

        :param bus_id: Any id.
        :returns: Whether it was placed; not for one that was only named as an upstream.
        """
        return bus_id in self._upstreams

    def place(self, bus_id: int, upstream_id: int) -> bool:
        """
        Put a node below another, with all that is below it; it leaves its former place.

        :param bus_id: The node, not 0.
        :param upstream_id: Its upstream, which need not be known; 0 for none.
        :returns: Whether it stands there now; False when it would stand above itself or too deep.
        """
        former = self._upstreams.get(bus_id)
        if former == upstream_id:
            return True
        if upstream_id and not self._may_stand_below(bus_id, upstream_id):
            return False
        if former:
            self._leave(bus_id, former)
        self._upstreams[bus_id] = upstream_id
        if upstream_id:
            self._downstreams.setdefault(upstream_id, {})[bus_id] = None
        self._changed()
        return True

    def remove(self, bus_id: int) -> None:
        """
        Forget where a node stands.

        While somebody is below it, it stays known, without an upstream; an upstream of it that was
        never placed and has nobody below it any more is unknown again.

        :param bus_id: The node; nothing happens when it is not placed.
        """
        former = self._upstreams.pop(bus_id, None)
        if former is None:
            return
        if former:
            self._leave(bus_id, former)
        self._changed()

    def upstream_of(self, bus_id: int) -> int:
        """
        Say who is directly above a node.

        :param bus_id: Any id.
        :returns: Its upstream; 0 when it has none or is not placed.
        """
        return self._upstreams.get(bus_id, 0)

    def downstreams_of(self, bus_id: int) -> tuple[int, ...]:
        """
        List who is directly below a node.

        :param bus_id: Any id.
        :returns: Those placed there, in the order in which they came.
        """
        return tuple(self._downstreams.get(bus_id, _NOBODY))

    def chain_of(self, bus_id: int) -> tuple[int, ...]:
        """
        List who is above a node.

        :param bus_id: Any id.
        :returns: Its upstream, the upstream of that one, and so on up to one that has none, or of
            whom it is not known.
        """
        chain = self._chains.get(bus_id)
        return self._walk(bus_id) if chain is None else chain

    def is_below(self, bus_id: int, upstream_id: int) -> bool:
        """
        Tell whether a node is in the subtree of another.

        :param bus_id: The node.
        :param upstream_id: The other one.
        :returns: Whether it is below it, at any depth; nobody is below itself.
        """
        return _place_in(self.chain_of(bus_id), upstream_id, self.chain_of(upstream_id)) >= 0

    def relation_between(self, one: int, other: int) -> Related:
        """
        Say how *other* stands to *one* (rule 1).

        :param one: From here it is seen.
        :param other: Of whom something is to be known.
        :returns: The relation and the next hop.
        """
        if one not in self or other not in self:
            return _UNRELATED
        if one == other:
            return Related(Relation.SELF, other)
        above_one, above_other = self.upstream_of(one), self.upstream_of(other)
        if above_one == other:
            return Related(Relation.IMMEDIATE_UPSTREAM, other)
        if above_other == one:
            return Related(Relation.IMMEDIATE_DOWNSTREAM, other)
        if above_one and above_one == above_other:
            return Related(Relation.SAME_UPSTREAM_PEER, above_one)
        above, way = self.chain_of(one), self.chain_of(other)
        if _place_in(above, other, way) >= 0:
            return Related(Relation.TRANSITIVE_UPSTREAM, above_one)
        place = _place_in(way, one, above)
        if place >= 0:
            return Related(Relation.TRANSITIVE_DOWNSTREAM, way[place - 1])
        return Related(Relation.OTHER_UPSTREAM_PEER, above_one or other)

    def _may_stand_below(self, bus_id: int, upstream_id: int) -> bool:
        above = upstream_id
        for _ in range(limits.CHAIN_NODES_MAX):
            if above == bus_id:
                return False
            above = self._upstreams.get(above, 0)
            if not above:
                return True
        return False

    def _leave(self, bus_id: int, upstream_id: int) -> None:
        siblings = self._downstreams[upstream_id]
        del siblings[bus_id]
        if not siblings:
            del self._downstreams[upstream_id]

    def _walk(self, bus_id: int) -> tuple[int, ...]:
        """Walk up until a chain is met that is remembered, and remember this one."""
        way: list[int] = []
        above = self._upstreams.get(bus_id, 0)
        while above and len(way) < limits.CHAIN_NODES_MAX:
            way.append(above)
            known = self._chains.get(above)
            if known is not None:
                # A subtree that was moved deep down can be deeper than what can be placed.
                way += known[: limits.CHAIN_NODES_MAX - len(way)]
                break
            above = self._upstreams.get(above, 0)
        if self._remembered_ids + len(way) > limits.CHAINS_REMEMBERED_IDS_MAX:
            self._forget_chains()
        chain = self._chains[bus_id] = tuple(way)
        self._remembered_ids += len(way) + 1
        return chain

    def _changed(self) -> None:
        self.version += 1
        self._forget_chains()

    def _forget_chains(self) -> None:
        if self._chains:
            self._chains.clear()
        self._remembered_ids = 0


def _place_in(way: tuple[int, ...], bus_id: int, above: tuple[int, ...]) -> int:
    """
    Find a node in the chain of another; the chain of the upper one ends that of the lower one.

    :param way: The chain.
    :param bus_id: The node.
    :param above: Its own chain.
    :returns: Where it is; -1 when it is not there.
    """
    if len(way) == limits.CHAIN_NODES_MAX:
        # It may be cut off, and end elsewhere.
        return way.index(bus_id) if bus_id in way else -1
    place = len(way) - len(above) - 1
    return place if place >= 0 and way[place] == bus_id else -1
