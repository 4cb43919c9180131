"""
The tree of static subnets, as one node knows it.

A node owns subnets; what lies inside them is below it. Everything else is reached directly, through
a neighbor whose subnets contain it, or through the one upstream this node was configured with.
Neighbors are added when they register and removed when they are gone. The rules, first match wins:

1. Our own id is delivered here.
2. A neighbor is reached over its own connection, the upstream like any other.
3. A target inside a neighbor's subnets goes to that neighbor; of nested subnets the narrowest wins,
   and our own subnets take part: a neighbor with a wider range than ours never draws away what is
   ours. The subnets of the upstream take no part, for it is the default.
4. A target inside our own subnets that nobody registered is refused. It is not sent upwards: the
   upstream would send it back.
5. Everything else goes to the upstream.
6. Without an upstream it is refused.

A neighbor that registered and has no data connection *yet* is answered with `Hold`. A *peer* that
lost its data connection is bypassed through the upstream while there is a usable one; downstreams
have no second way. No answer ever leads back to where the message came from.

Only a neighbor added with `Position.UPSTREAM` is the upstream. Wide subnets make nobody upstream.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from typing import Final, TypeAlias

import attrs
from zope.interface import implementer

from atbus import limits
from atbus.address import Address
from atbus.busid import BusId, Subnet, find_subnet, format_bus_id, merge_subnets
from atbus.errors import LocalProtocolError, Status
from atbus.routing.interfaces import IRouter
from atbus.routing.relation import Relation
from atbus.routing.subnet_index import SubnetIndex


class Position(enum.Enum):
    """On which side of us a neighbor is."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    PEER = "peer"


@attrs.frozen
class Neighbor:
    """
    A node that is registered here.

    :param bus_id: Its id, never 0.
    :param subnets: What it owns; its own id belongs to it in any case.
    :param position: On which side of us it is.
    :param listens: The addresses it announced.
    """

    bus_id: BusId
    subnets: tuple[Subnet, ...]
    position: Position
    listens: tuple[Address, ...] = ()


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


class _Link(enum.Enum):
    """What is known of the data connections of a neighbor."""

    AWAITED = enum.auto()
    USABLE = enum.auto()
    LOST = enum.auto()


_WIDEST_BITS: Final = 64
_NOBODY: Final[frozenset[int]] = frozenset()


@implementer(IRouter)
class Table:
    """
    Decide next hops and relations from static subnets (see the rules at the top of this file).

    :param own_id: The id of this node; 0 for a temporary node, and for one not numbered yet.
    :param own_subnets: What lies below this node. Its own id belongs to it in any case.
    """

    def __init__(self, own_id: int, own_subnets: Iterable[Subnet] = ()) -> None:
        self.own_id = BusId(own_id)
        self.own_subnets = owned_subnets(own_id, own_subnets)
        self.version = 0
        self._neighbors: dict[int, Neighbor] = {}
        self._links: dict[int, _Link] = {}
        self._index = SubnetIndex()
        self._upstream: BusId | None = None
        self._decisions: dict[int, tuple[Decision, BusId | None]] = {}

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
        if exclude or no_upstream:
            decision = self._decide(target, exclude, no_upstream)
            hop = _hop_of(decision)
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
        if target == self.own_id or find_subnet(self.own_subnets, target) is not None:
            return None
        if not self.is_usable(upstream):
            return None
        rule = f"second chance through upstream after {format_bus_id(failed_hop)}"
        return Forward(upstream, self.relation_to(target), rule)

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
        if neighbor is not None:
            return self._relation_to_neighbor(neighbor)
        if find_subnet(self.own_subnets, bus_id) is not None:
            return Relation.TRANSITIVE_DOWNSTREAM
        if self._index.narrowest(bus_id, _WIDEST_BITS, _NOBODY) is not None:
            return Relation.OTHER_UPSTREAM_PEER
        upstream = self.upstream
        if upstream is None:
            return Relation.INVALID
        if _contains(upstream.subnets, bus_id):
            return Relation.SAME_UPSTREAM_PEER
        return Relation.TRANSITIVE_UPSTREAM

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
        if neighbor.position is Position.UPSTREAM:
            return find_subnet(self.own_subnets, source) is None
        return _contains(neighbor.subnets, source)

    def _relation_to_neighbor(self, neighbor: Neighbor) -> Relation:
        if neighbor.position is Position.UPSTREAM:
            return Relation.IMMEDIATE_UPSTREAM
        if neighbor.position is Position.DOWNSTREAM:
            return Relation.IMMEDIATE_DOWNSTREAM
        upstream = self.upstream
        if upstream is not None and _contains(upstream.subnets, neighbor.bus_id):
            return Relation.SAME_UPSTREAM_PEER
        return Relation.OTHER_UPSTREAM_PEER

    def _changed(self) -> None:
        self.version += 1
        self._decisions.clear()

    def _remember(self, target: int) -> tuple[Decision, BusId | None]:
        # Targets may come from hostile heads; to forget all costs one look-up each.
        if len(self._decisions) >= limits.COMPILED_TARGETS_MAX:
            self._decisions.clear()
        decision = self._decide(target, _NOBODY, no_upstream=False)
        known = self._decisions[target] = (decision, _hop_of(decision))
        return known

    def _decide(self, target: int, exclude: Collection[int], no_upstream: bool) -> Decision:
        if not target:
            return Refuse(Status.NO_ROUTE, "0 names no node")
        if target == self.own_id:
            return Deliver()
        default = None if no_upstream or self._upstream in exclude else self._upstream
        neighbor = self._neighbors.get(target)
        if neighbor is not None and target not in exclude:
            name = "upstream" if target == self._upstream else "direct neighbor"
            return self._through(target, neighbor.bus_id, name, default)
        mine = find_subnet(self.own_subnets, target)
        width_max = _WIDEST_BITS if mine is None else mine.mask_bits
        found = self._index.narrowest(target, width_max, exclude)
        if found is not None:
            subnet, owner = found
            rule = f"subnet {subnet} of {format_bus_id(owner)}"
            return self._through(target, owner, rule, default)
        if mine is not None:
            return Refuse(Status.NO_ROUTE, f"inside own subnet {mine}, nobody there")
        if default is None:
            rule = "no upstream" if self._upstream is None else "upstream must not be used"
            return Refuse(Status.NO_ROUTE, rule)
        return self._through(target, default, "default route through upstream", default)

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
        is_cut_peer = link is _Link.LOST and self._neighbors[hop].position is Position.PEER
        if is_cut_peer and default is not None and self.is_usable(default):
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


def _hop_of(decision: Decision) -> BusId | None:
    return decision.bus_id if isinstance(decision, Forward | Hold) else None
