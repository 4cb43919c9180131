"""
Where the ways to those below a node lead, worked out once for all that stand there.

Whoever stands below a node, and is no neighbor, is reached as the others below that node are, and
mostly as that node itself. So the way up from a target ends at the first node of which this is
known already, and what was found is noted for every node on it: after a change each of them is
passed once, however many targets are asked for and however deep they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

import attrs

from atbus import limits
from atbus.busid import BusId
from atbus.routing.decision import Decision, hop_of
from atbus.routing.relation import Tree

#: A decision, and its next hop.
Decided: TypeAlias = tuple[Decision, BusId | None]


@attrs.define(eq=False)
class Branch:
    """
    What those below a node have in common, as long as nothing changes.

    :param top: The uppermost known of those above them; we, when they are below us.
    :param child: The node directly below us on the way to them; 0 when they are elsewhere.
    :param hop: The neighbor that the way leads through by the records; 0 for none.
    """

    top: int
    child: int = 0
    hop: int = 0
    #: What was decided for those of them that stand to us alike; by whether their upstream is ours.
    decided: dict[bool, Decided] = attrs.field(factory=dict, init=False)

    def through(self, neighbor: int) -> Branch:
        """
        Go down through a neighbor.

        On the way down our child is the best neighbor there is; elsewhere the nearest is.

        :param neighbor: It, standing directly below.
        :returns: What those below it have in common.
        """
        if self.child and self.hop == self.child:
            return self
        return Branch(self.top, self.child, neighbor)


_NOTHING: Final[Mapping[int, Branch]] = {}


class Branches:
    """
    The branches of a tree, seen from one node.

    :param tree: Who is below whom.
    :param neighbors: Who is registered here; shared with the table.
    """

    def __init__(self, tree: Tree, neighbors: Collection[int]) -> None:
        self._tree = tree
        self._neighbors = neighbors
        # What was found, by node, for those below it; and how many nodes are above those.
        self._known: dict[int, Branch] = {}
        self._heights: dict[int, int] = {}

    def clear(self) -> None:
        """Forget what was found: something has changed."""
        self._known.clear()
        self._heights.clear()

    def once(self, target: int, own_id: int, decide: Callable[[int], Decision]) -> Decided:
        """
        Decide about a target, once for all that are reached alike and stand to us alike.

        :param target: Any id.
        :param own_id: Our own id.
        :param decide: Decides, without any neighbor being excluded.
        :returns: What was decided about it or another one like it, with its next hop.
        """
        tree = self._tree
        above = tree.upstream_of(target)
        if (
            above in (0, own_id)
            or target == own_id
            or target in self._neighbors
            or own_id not in tree
            or target in tree.chain_of(own_id)
        ):
            return _with_hop(decide(target))
        decided = self._below(above, own_id).decided
        is_sibling = above == tree.upstream_of(own_id)
        known = decided.get(is_sibling)
        if known is None:
            known = decided[is_sibling] = _with_hop(decide(target))
        return known

    def of(self, target: int, own_id: int, exclude: Collection[int]) -> Branch:
        """
        Find the branch in which a node stands.

        :param target: The node, not we, and placed.
        :param own_id: Our own id.
        :param exclude: Neighbors that must not be used.
        :returns: What it has in common with others.
        """
        above = self._tree.upstream_of(target)
        if not above:
            return Branch(target)
        if above == own_id:
            return Branch(own_id, target)
        return self._avoiding(above, own_id, exclude) if exclude else self._below(above, own_id)

    def _below(self, bus_id: int, own_id: int) -> Branch:
        """Say what those below a node have in common, and remember it until all is forgotten."""
        known = self._known.get(bus_id)
        if known is not None:
            return known
        way, branch, end = self._climb(bus_id, own_id, self._known)
        height = self._heights.get(end, 0)
        if height + len(way) >= limits.CHAIN_NODES_MAX:
            # Deeper than what can be placed; where it is cut off depends on where it begins.
            return self._avoiding(bus_id, own_id, ())
        for each in reversed(way):
            if each in self._neighbors:
                branch = branch.through(each)
            height += 1
            self._known[each] = branch
            self._heights[each] = height
        return branch

    def _avoiding(self, bus_id: int, own_id: int, exclude: Collection[int]) -> Branch:
        """Say the same when some neighbors must not be used; nothing is remembered."""
        way, branch, _ = self._climb(bus_id, own_id, _NOTHING)
        for each in reversed(way):
            if each in self._neighbors and each not in exclude:
                branch = branch.through(each)
        return branch

    def _climb(
        self, bus_id: int, own_id: int, known: Mapping[int, Branch]
    ) -> tuple[list[int], Branch, int]:
        """
        Go up from a node.

        :returns: The nodes on the way, from below; the branch in which the uppermost of them
            stands; and the node above that one, where the way ended.
        """
        way: list[int] = []
        above = bus_id
        while above and above != own_id and len(way) < limits.CHAIN_NODES_MAX:
            found = known.get(above)
            if found is not None:
                return way, found, above
            way.append(above)
            above = self._tree.upstream_of(above)
        if above and above == own_id and len(way) < limits.CHAIN_NODES_MAX:
            return way, Branch(own_id, way[-1]), above
        return way, Branch(way[-1]), above


def _with_hop(decision: Decision) -> Decided:
    return decision, hop_of(decision)
