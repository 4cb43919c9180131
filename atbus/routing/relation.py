"""
How another node stands to this one in the tree of upstreams.

Relations come from static subnets when nothing better is known (`atbus.routing.table`): an id
inside our own subnets is below us, anything else is reached through the upstream.
"""

from __future__ import annotations

import enum


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
