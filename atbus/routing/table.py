"""
Where messages go, as one node knows it: its neighbors, the records of others, static subnets.

Neighbors are added when they register and removed when they are gone. Of everybody else the table
knows what is in its registry of records, and for ids of which no record says where they are, what
the subnets of neighbors suggest. The rules, first match wins:

1. Our own id is delivered here.
2. A neighbor is reached over its own connection, the upstream like any other.
3. A target that stands below us by its record goes to the child on the way down; when that one is
   no neighbor, to the neighbor that is nearest above the target; else it is refused. It is not sent
   upwards: the upstream would send it back.
4. A target that stands elsewhere by its record goes to the neighbor that is nearest above it. When
   there is none, and who stands at the top of its chain has no record, the rules for static subnets
   are applied to that one; else it goes to the upstream.
5. Of a target without a record the static subnets decide: inside a neighbor's subnets it goes to
   that neighbor; of nested subnets the narrowest wins, and our own subnets take part: a neighbor
   with a wider range than ours never draws away what is ours. The subnets of the upstream take no
   part, for it is the default.
6. What is inside our own subnets, and nobody registered it, is refused and not sent upwards.
7. Everything else goes to the upstream.
8. Without an upstream it is refused.

A neighbor that registered and has no data connection *yet* is answered with `Hold`. A *peer* that
lost its data connection is bypassed as if it were no neighbor, or through the upstream, while there
is a usable one; downstreams have no second way. No answer ever leads back to where the message came
from.

Only a neighbor added with `Position.UPSTREAM` is the upstream. Wide subnets make nobody upstream,
and neither does a record.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from typing import Final

import attrs
from zope.interface import implementer

from atbus import limits
from atbus.busid import BusId, Subnet, find_subnet, format_bus_id, merge_subnets
from atbus.errors import LocalProtocolError, Status
from atbus.routing.branches import Branches
from atbus.routing.decision import Decision, Deliver, Forward, Hold, Refuse, hop_of
from atbus.routing.interfaces import IRouter
from atbus.routing.neighbor import Neighbor, Position
from atbus.routing.registry import Registry
from atbus.routing.relation import Relation
from atbus.routing.subnet_index import SubnetIndex

__all__ = ["Neighbor", "Position", "Table"]

class _Link(enum.Enum):
    """What is known of the data connections of a neighbor."""

    AWAITED = enum.auto()
    USABLE = enum.auto()
    LOST = enum.auto()


_WIDEST_BITS: Final = 64
# What records say of a node of whose chain they do not know the upper end.
_VAGUE: Final = frozenset({Relation.OTHER_UPSTREAM_PEER, Relation.INVALID})
_NOBODY: Final[frozenset[int]] = frozenset()


@implementer(IRouter)
class Table:
    """
    Decide next hops and relations (see the rules at the top of this file).

    :param own_id: The id of this node; 0 for a temporary node, and for one not numbered yet.
    :param own_subnets: What lies below this node. Its own id belongs to it in any case.
    :param registry: What is known of others, shared with those who fill it; an empty one by
        default.
    """

    def __init__(
        self, own_id: int, own_subnets: Iterable[Subnet] = (), registry: Registry | None = None
    ) -> None:
        self.own_id = BusId(own_id)
        self.own_subnets = owned_subnets(own_id, own_subnets)
        self.registry = Registry() if registry is None else registry
        self._version = 0
        self._tree = self.registry.tree
        self._tree_version = self._tree.version
        self._neighbors: dict[int, Neighbor] = {}
        self._links: dict[int, _Link] = {}
        self._index = SubnetIndex()
        self._upstream: BusId | None = None
        self._decisions: dict[int, tuple[Decision, BusId | None]] = {}
        self._branches = Branches(self._tree, self._neighbors.keys())

    @property
    def version(self) -> int:
        """Grows with every change of neighbors and of places that can change an answer."""
        return self._version + self._tree.version

    def renumber(self, own_id: int, own_subnets: Iterable[Subnet] = ()) -> None:
        """
        Take the id that an upstream assigned.

        :param own_id: The id of this node from now on.
        :param own_subnets: What lies below it.
        :raises LocalProtocolError: When a neighbor has this id.
        """
        if own_id in self._neighbors:
            raise LocalProtocolError(f"{format_bus_id(own_id)} is a neighbor")
        self.own_id = BusId(own_id)
        self.own_subnets = owned_subnets(own_id, own_subnets)
        self._changed()

    def add(self, neighbor: Neighbor) -> None:
        """
        Enter a neighbor, without a usable data connection; one already known is replaced by what
        is said now and keeps its connection.

        :param neighbor: Who registered. That it may is for `atbus.routing.admission` to judge.
        :raises LocalProtocolError: When it is this node, has no id, or is a second upstream.
        """
        bus_id = neighbor.bus_id
        if not bus_id or bus_id == self.own_id:
            raise LocalProtocolError(f"{format_bus_id(bus_id)} cannot be a neighbor")
        is_upstream = neighbor.position is Position.UPSTREAM
        if is_upstream and self._upstream not in (None, bus_id):
            raise LocalProtocolError(f"{format_bus_id(bus_id)} would be a second upstream")
        link = self._links.get(bus_id, _Link.AWAITED)
        self.remove(bus_id)
        self._neighbors[bus_id] = neighbor
        self._links[bus_id] = link
        if is_upstream:
            self._upstream = bus_id
        else:
            for subnet in neighbor.subnets:
                self._index.insert(subnet, bus_id)
        self._changed()

    def remove(self, bus_id: int) -> Neighbor | None:
        """
        Forget a neighbor.

        :param bus_id: Whom.
        :returns: What was known of it, or None when it was no neighbor.
        """
        neighbor = self._neighbors.pop(bus_id, None)
        if neighbor is None:
            return None
        del self._links[bus_id]
        for subnet in neighbor.subnets:
            self._index.discard(subnet, neighbor.bus_id)
        if self._upstream == bus_id:
            self._upstream = None
        self._changed()
        return neighbor

    def change_upstream(self, bus_id: int, subnets: Iterable[Subnet]) -> None:
        """
        Make a peer the upstream; the one until now stays as a peer that owns nothing.

        :param bus_id: The peer.
        :param subnets: What it owns.
        :raises LocalProtocolError: When it is no peer.
        """
        neighbor = self._neighbors.get(bus_id)
        if neighbor is None or neighbor.position is not Position.PEER:
            raise LocalProtocolError(f"{format_bus_id(bus_id)} is no peer")
        usable, old = self.is_usable(bus_id), self.upstream
        self.remove(bus_id)
        if old is not None:
            self._neighbors[old.bus_id] = attrs.evolve(
                old, position=Position.PEER, subnets=(), passes=True
            )
            self._upstream = None
        owned = tuple(subnets)
        self.add(attrs.evolve(neighbor, subnets=owned, position=Position.UPSTREAM, passes=False))
        self.set_usable(bus_id, usable)

    def set_usable(self, bus_id: int, usable: bool) -> None:
        """
        Say whether a neighbor has a data connection now; news about strangers is ignored.

        :param bus_id: The neighbor.
        :param usable: Whether frames may be sent to it.
        """
        link = self._links.get(bus_id)
        if link is None or (link is _Link.USABLE) == usable:
            return
        self._links[bus_id] = _Link.USABLE if usable else _Link.LOST
        self._changed()

    def is_usable(self, bus_id: int) -> bool:
        """
        Tell whether a neighbor has a data connection now.

        :param bus_id: Any id.
        :returns: False also for ids that are no neighbors.
        """
        return self._links.get(bus_id) is _Link.USABLE

    def get(self, bus_id: int) -> Neighbor | None:
        """
        Look a neighbor up.

        :param bus_id: Any id.
        :returns: The neighbor of exactly this id, if there is one.
        """
        return self._neighbors.get(bus_id)

    @property
    def neighbors(self) -> tuple[Neighbor, ...]:
        """All neighbors, in the order of their ids."""
        return tuple(self._neighbors[bus_id] for bus_id in sorted(self._neighbors))

    @property
    def upstream(self) -> Neighbor | None:
        """The registered upstream."""
        return None if self._upstream is None else self._neighbors[self._upstream]

    def next_hop(
        self,
        target: int,
        *,
        came_from: int | None = None,
        exclude: Collection[int] = _NOBODY,
        no_upstream: bool = False,
    ) -> Decision:
        """
        Decide where a message goes now; see `IRouter.next_hop`.

        :param target: The destination.
        :param came_from: The neighbor it came from; None when it starts here.
        :param exclude: Neighbors that must not be used.
        :param no_upstream: Whether the default route is closed.
        :returns: `Deliver`, `Forward`, `Hold` or `Refuse`.
        """
        if self._tree_version != self._tree.version:
            self._tree_version = self._tree.version
            self._forget_decisions()
        if exclude or no_upstream:
            decision = self._decide(target, exclude, no_upstream)
            hop = hop_of(decision)
        else:
            known = self._decisions.get(target)
            if known is None:
                known = self._remember(target)
            decision, hop = known
        if hop is not None and hop == came_from:
            return Refuse(Status.LOOP, f"the way leads back to {format_bus_id(hop)}")
        return decision

    def alternative(
        self,
        target: int,
        failed_hop: int,
        came_from: int | None = None,
        *,
        no_upstream: bool = False,
    ) -> Forward | None:
        """
        Decide on a second chance; see `IRouter.alternative`.

        :param target: The destination.
        :param failed_hop: The next hop that did not take the message.
        :param came_from: The neighbor it came from; None when it starts here.
        :param no_upstream: Whether the default route is closed.
        :returns: The upstream, or None when there is no second way.
        """
        upstream = self._upstream
        if upstream is None or no_upstream or upstream in (failed_hop, came_from, target):
            return None
        if target == self.own_id or self._is_ours(target) or not self.is_usable(upstream):
            return None
        rule = f"second chance through upstream after {format_bus_id(failed_hop)}"
        return Forward(upstream, self.relation_to(target), rule)

    def line_of(self, bus_id: int) -> tuple[int, ...]:
        """
        Name a node below us, and all that are above it and below us, by their records.

        :param bus_id: Any id.
        :returns: They, from below; none when it is not below us, as far as is known.
        """
        line = (bus_id, *self._tree.chain_of(bus_id))
        return line[: line.index(self.own_id)] if self.own_id in line else ()

    def relation_to(self, bus_id: int) -> Relation:
        """
        Say how a node stands to us; see `IRouter.relation_to`.

        :param bus_id: Any id.
        :returns: The relation, `INVALID` when nothing is known.
        """
        if not bus_id:
            return Relation.INVALID
        if bus_id == self.own_id:
            return Relation.SELF
        neighbor = self._neighbors.get(bus_id)
        if neighbor is not None and neighbor.position is not Position.PEER:
            is_upstream = neighbor.position is Position.UPSTREAM
            return Relation.IMMEDIATE_UPSTREAM if is_upstream else Relation.IMMEDIATE_DOWNSTREAM
        if self._tree.is_placed(bus_id) or bus_id in self._tree.chain_of(self.own_id):
            relation = self._tree.relation_between(self.own_id, bus_id).relation
            if relation in _VAGUE and self._is_ours(bus_id):
                return Relation.TRANSITIVE_DOWNSTREAM
            if relation is not Relation.INVALID:
                return relation
        return self._relation_by_subnets(bus_id)

    def may_speak(self, neighbor_id: int, source: int) -> bool:
        """
        Tell whether a neighbor may send in the name of another node; see `IRouter.may_speak`.

        :param neighbor_id: The neighbor a message came from.
        :param source: The id it names as its origin.
        :returns: Whether to believe it.
        """
        neighbor = self._neighbors.get(neighbor_id)
        if neighbor is None or not source or source == self.own_id:
            return False
        if source == neighbor_id:
            return True
        if neighbor.position is Position.UPSTREAM or neighbor.passes:
            return not self._is_ours(source)
        if not neighbor.is_certified(source):
            return False
        if _contains(neighbor.subnets, source):
            return True
        chain = self._tree.chain_of(source)
        return neighbor_id in chain or (
            bool(chain)
            and not self._tree.is_placed(chain[-1])
            and _contains(neighbor.subnets, chain[-1])
        )

    def _relation_by_subnets(self, bus_id: int) -> Relation:
        """Say what static subnets suggest of a node that no record tells of."""
        upstream = self.upstream
        is_known = bus_id in self._neighbors
        if not is_known and find_subnet(self.own_subnets, bus_id) is not None:
            return Relation.TRANSITIVE_DOWNSTREAM
        if not is_known and self._index.narrowest(bus_id, _WIDEST_BITS, _NOBODY) is not None:
            return Relation.OTHER_UPSTREAM_PEER
        if upstream is not None and _contains(upstream.subnets, bus_id):
            return Relation.SAME_UPSTREAM_PEER
        if is_known:
            return Relation.OTHER_UPSTREAM_PEER
        return Relation.INVALID if upstream is None else Relation.TRANSITIVE_UPSTREAM

    def _is_ours(self, bus_id: int) -> bool:
        """Tell whether a node is below us by its record, or else by our subnets."""
        if self._tree.is_placed(bus_id):
            chain = self._tree.chain_of(bus_id)
            if self.own_id in chain:
                return True
            top = chain[-1] if chain else bus_id
            if self._tree.is_placed(top):
                return False
            bus_id = top
        return find_subnet(self.own_subnets, bus_id) is not None

    def _changed(self) -> None:
        self._version += 1
        self._forget_decisions()

    def _forget_decisions(self) -> None:
        self._decisions.clear()
        self._branches.clear()

    def _remember(self, target: int) -> tuple[Decision, BusId | None]:
        # Targets may come from hostile heads; to forget all costs one look-up each.
        if len(self._decisions) >= limits.COMPILED_TARGETS_MAX:
            self._decisions.clear()
        known = self._decisions[target] = self._branches.once(target, self.own_id, self._decide)
        return known

    def _decide(
        self, target: int, exclude: Collection[int] = _NOBODY, no_upstream: bool = False
    ) -> Decision:
        if not target:
            return Refuse(Status.NO_ROUTE, "0 names no node")
        if target == self.own_id:
            return Deliver()
        default = None if no_upstream or self._upstream in exclude else self._upstream
        neighbor = self._neighbors.get(target)
        if neighbor is not None and target not in exclude:
            name = "upstream" if target == self._upstream else "direct neighbor"
            if self._is_cut_peer(neighbor.bus_id):
                other = self._decide(target, {*exclude, target}, no_upstream)
                if isinstance(other, Forward) and other.bus_id != default:
                    return other
            return self._through(target, neighbor.bus_id, name, default)
        if not self._tree.is_placed(target):
            return self._decide_by_subnets(target, target, exclude, default)
        return self._decide_by_record(target, exclude, default)

    def _decide_by_record(
        self, target: int, exclude: Collection[int], default: BusId | None
    ) -> Decision:
        """
        Let the records decide.

        :param target: The destination, which is placed.
        :param exclude: Neighbors that must not be used.
        :param default: The upstream, where it may be used.
        """
        branch = self._branches.of(target, self.own_id, exclude)
        hop = BusId(branch.hop)
        if branch.child:
            if not hop:
                rule = f"record: below us through {format_bus_id(branch.child)}, which is not here"
                return Refuse(Status.NO_ROUTE, rule)
            kind = "child" if hop == branch.child else "neighbor"
            rule = f"record: {kind} {format_bus_id(hop)} on the way down"
            return self._through(target, hop, rule, None)
        if hop and hop != self._upstream:
            rule = f"record: below neighbor {format_bus_id(hop)}"
            return self._through(target, hop, rule, default)
        if not hop and not self._tree.is_placed(branch.top):
            return self._decide_by_subnets(target, branch.top, exclude, default)
        return self._default_route(target, default)

    def _decide_by_subnets(
        self, target: int, of_whom: int, exclude: Collection[int], default: BusId | None
    ) -> Decision:
        """
        Let static subnets decide.

        :param target: The destination.
        :param of_whom: Whose id is looked for: that of the target, or of the last known above it.
        :param exclude: Neighbors that must not be used.
        :param default: The upstream, where it may be used.
        """
        mine = find_subnet(self.own_subnets, of_whom)
        width_max = _WIDEST_BITS if mine is None else mine.mask_bits
        found = self._index.narrowest(of_whom, width_max, exclude)
        if found is not None:
            subnet, owner = found
            rule = f"subnet {subnet} of {format_bus_id(owner)}"
            return self._through(target, owner, rule, default)
        if mine is not None:
            return Refuse(Status.NO_ROUTE, f"inside own subnet {mine}, nobody there")
        return self._default_route(target, default)

    def _default_route(self, target: int, default: BusId | None) -> Decision:
        if default is None:
            rule = "no upstream" if self._upstream is None else "upstream must not be used"
            return Refuse(Status.NO_ROUTE, rule)
        return self._through(target, default, "default route through upstream", default)

    def _is_cut_peer(self, hop: BusId) -> bool:
        return self._links[hop] is _Link.LOST and self._neighbors[hop].position is Position.PEER

    def _through(self, target: int, hop: BusId, rule: str, default: BusId | None) -> Decision:
        """
        Use a neighbor in the state it is in.

        :param target: The destination.
        :param hop: The neighbor that a rule chose.
        :param rule: That rule.
        :param default: The upstream, where it may be used instead.
        :returns: `Forward` or `Hold`.
        """
        relation = self.relation_to(target)
        link = self._links[hop]
        if link is _Link.USABLE:
            return Forward(hop, relation, rule)
        if self._is_cut_peer(hop) and default is not None and self.is_usable(default):
            return Forward(default, relation, f"{rule}, which is cut: through upstream")
        return Hold(hop, relation, f"{rule}, which has no data connection")


def owned_subnets(bus_id: int, announced: Iterable[Subnet]) -> tuple[Subnet, ...]:
    """
    Complete what a node says of its subnets: its own id belongs to it in any case.

    :param bus_id: The id of the node.
    :param announced: The subnets it names.
    :returns: Its subnets, merged and sorted; none for id 0, below which nobody can be.
    """
    return merge_subnets([Subnet(bus_id, 0), *announced]) if bus_id else ()


def _contains(subnets: Iterable[Subnet], bus_id: int) -> bool:
    return any(subnet.contains(bus_id) for subnet in subnets)
