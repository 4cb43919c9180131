"""What a gateway is told of the cluster that it joins, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class ClusterSettings:
    """
    Everything that a gateway is told of a cluster of NATS; the reference says what each one means.

    :param listen: Where the other members dial us, as ``host:port``.
    :param advertise: What they are told instead of that; empty for where we really listen.
    :param routes: Members that we dial, as ``host:port``.
    :param user: What members show each other; empty for nothing.
    :param allow_insecure: Whether we dial members off loopback, of which others tell.
    """

    name: str
    listen: str
    advertise: str = ""
    routes: tuple[str, ...] = ()
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    allow_insecure: bool = False


def read_cluster(table: Mapping[str, Any]) -> ClusterSettings | None:
    """
    Read what the table of a gateway, without faults, says of a cluster.

    :param table: It.
    :returns: It; None when there is none to be joined.
    """
    cluster = table.get("cluster")
    if cluster is None:
        return None
    return ClusterSettings(
        **{key: value for key, value in cluster.items() if key != "routes"},
        routes=tuple(cluster.get("routes", ())),
        allow_insecure=bool(table.get("allow_insecure")),
    )
