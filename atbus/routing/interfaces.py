"""
The contract of a router: what the rest of a node may ask, and what it may rely on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from atbus.routing.decision import Decision, Forward
    from atbus.routing.relation import Relation

# zope interfaces declare methods without `self`.
# ruff: noqa: N805


class IRouter(Interface):
    """
    Decide where messages go and who may send them.

    A router answers from what it knows at this moment and changes nothing by answering: the same
    question under the same `version` has the same answer. It never raises for an id it does not
    know, never calls back, and may be asked from any callback.
    """

    version = Attribute(
        "A number that grows with every change that can change an answer. Whoever keeps an answer"
        " compares it before use."
    )

    def next_hop(
        target: int,
        *,
        came_from: int | None = None,
        exclude: Collection[int] = frozenset(),
        no_upstream: bool = False,
    ) -> Decision:
        """
        Decide where a message goes now.

        The next hop is never `came_from` and never in `exclude`. A `Forward` names a neighbor that
        had a usable data connection when the router was last told, a `Hold` one that has none at
        this moment. `no_upstream` closes the upstream as a way to others; the upstream as the
        target itself stays reachable.

        :param target: The destination.
        :param came_from: The neighbor the message came from; None when it starts here.
        :param exclude: Neighbors that must not be used.
        :param no_upstream: Whether the default route is closed.
        :returns: `Deliver`, `Forward`, `Hold` or `Refuse`, each with the rule that decided.
        """

    def alternative(
        target: int,
        failed_hop: int,
        came_from: int | None = None,
        *,
        no_upstream: bool = False,
    ) -> Forward | None:
        """
        Decide on a second chance for a message that its next hop did not take.

        There is one at most, through the upstream; never for a target below us, for what came from
        the upstream or failed there, or over an upstream without a usable data connection. A caller
        asks once per message and reports the *first* failure when there is none.

        :param target: The destination.
        :param failed_hop: The next hop that did not take the message.
        :param came_from: The neighbor the message came from; None when it starts here.
        :param no_upstream: Whether the default route is closed.
        :returns: The upstream, or None when there is no second way.
        """

    def relation_to(bus_id: int) -> Relation:
        """
        Say how a node stands to us.

        What is known exactly (ourselves, upstream and downstreams) comes before what records say,
        and that before what ranges suggest. Static subnets do not tell the generations apart:
        whatever is inside ours and no neighbor is `TRANSITIVE_DOWNSTREAM`, also when it does not
        exist; inside a peer's subnets it is `OTHER_UPSTREAM_PEER`; else inside the upstream's
        subnets `SAME_UPSTREAM_PEER`; else, for it can only be reached above our upstream,
        `TRANSITIVE_UPSTREAM`.

        :param bus_id: Any id.
        :returns: The relation; `INVALID` for 0 and, without an upstream, for ids nobody claims.
        """

    def may_speak(neighbor_id: int, source: int) -> bool:
        """
        Tell whether a neighbor may send in the name of another node.

        Every neighbor may speak for itself. A downstream and a peer also speak for what stands
        below them by its record or lies inside their subnets, the upstream for everybody that is
        neither us nor below us. Nobody speaks for us or for id 0, and strangers do not speak at
        all.

        :param neighbor_id: The neighbor a message came from, as its connection was registered.
        :param source: The id the message names as its origin.
        :returns: Whether to believe it.
        """
