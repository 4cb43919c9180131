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
    :param certificate_file: What we show to members; with it there is TLS. Empty for none.
    :param ca_file: Whom to believe that it is a member; empty for the system's authorities.
    :param allow_insecure: Whether we dial members off loopback, of which others tell, in the clear.
    """

    name: str
    listen: str
    advertise: str = ""
    routes: tuple[str, ...] = ()
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    certificate_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    allow_insecure: bool = False

    @property
    def has_tls(self) -> bool:
        """Whether routes are encrypted."""
        return bool(self.certificate_file)


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
