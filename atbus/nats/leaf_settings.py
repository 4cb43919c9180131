"""What a gateway is told of leafs, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Remote:
    """
    A server of NATS, or a cluster of them, whose leaf this node is.

    :param places: Where, as ``host:port``, in order of preference.
    :param tls: Whether there is no connection without TLS.
    :param ca_file: Whom to believe that it is the server; empty for the system's authorities.
    :param certificate_file: What we show; empty for nothing.
    """

    places: tuple[str, ...]
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    tls: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


@attrs.frozen(kw_only=True)
class LeafSettings:
    """
    Everything that a gateway is told of leafs.

    :param listen: Where servers of NATS come in as leafs; None for nowhere.
    :param user: What they must show; empty for nothing.
    :param remotes: Whose leaf this node is.
    """

    listen: str | None = None
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    remotes: tuple[Remote, ...] = ()


def read_leafs(table: Mapping[str, Any]) -> LeafSettings:
    """
    Read what the table of a gateway, without faults, says of leafs.

    :param table: It.
    """
    return LeafSettings(
        listen=table.get("leaf_listen"),
        user=table.get("leaf_user", ""),
        password=table.get("leaf_password", ""),
        remotes=tuple(
            Remote(
                places=tuple(entry["urls"]),
                **{key: value for key, value in entry.items() if key != "urls"},
            )
            for entry in table.get("leaf_remotes", ())
        ),
    )
