"""What a gateway is told of leafs, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from atbus.nats.authentication import Authentication, User
from atbus.nats.nkeys import Kind, read_key
from atbus.nats.permissions import read_permissions


@attrs.frozen(kw_only=True)
class Remote:
    """
    A server of NATS, or a cluster of them, whose leaf this node is.

    :param places: Where, as ``host:port``, in order of preference.
    :param tls: Whether there is no connection without TLS.
    :param ca_file: Whom to believe that it is the server; empty for the system's authorities.
    :param certificate_file: What we show; empty for nothing.
    :param nkey_file: The seed of our key; empty for none.
    :param credentials_file: A token for us, and the seed of its key; empty for none.
    """

    places: tuple[str, ...]
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    tls: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    nkey_file: str = ""
    credentials_file: str = ""


@attrs.frozen(kw_only=True)
class LeafSettings:
    """
    Everything that a gateway is told of leafs.

    :param listen: Where servers of NATS come in as leafs; None for nowhere.
    :param authentication: Which of them, and what each may do.
    :param remotes: Whose leaf this node is.
    """

    listen: str | None = None
    authentication: Authentication = attrs.field(factory=Authentication)
    remotes: tuple[Remote, ...] = ()


def read_leafs(table: Mapping[str, Any]) -> LeafSettings:
    """
    Read what the table of a gateway, without faults, says of leafs.

    :param table: It.
    :raises ValueError: A key in it is none.
    """
    return LeafSettings(
        listen=table.get("leaf_listen"),
        authentication=_read_authentication(table),
        remotes=tuple(
            Remote(
                places=tuple(entry["urls"]),
                **{key: value for key, value in entry.items() if key != "urls"},
            )
            for entry in table.get("leaf_remotes", ())
        ),
    )


def _read_authentication(table: Mapping[str, Any]) -> Authentication:
    users: dict[str, User] = {}
    if table.get("leaf_user"):
        name = table["leaf_user"]
        users[name] = User(name=name, password=table["leaf_password"])
    for entry in table.get("leaf_users", ()):
        rights = read_permissions(entry.get("permissions", {}))
        name = entry["user"]
        users[name] = User(name=name, password=entry["password"], permissions=rights)
    keys: dict[str, User] = {}
    for entry in table.get("leaf_nkeys", ()):
        read_key(entry["nkey"], Kind.USER)
        rights = read_permissions(entry.get("permissions", {}))
        keys[entry["nkey"]] = User(name=entry["nkey"], permissions=rights)
    return Authentication(users=users, keys=keys)
