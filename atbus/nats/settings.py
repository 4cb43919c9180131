"""
What a gateway is told: the table ``[nats]`` of a node's configuration, read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from atbus.errors import ConfigurationError
from atbus.nats import bounds
from atbus.nats.authentication import Authentication, User
from atbus.nats.cluster_settings import ClusterSettings, read_cluster
from atbus.nats.leaf_settings import LeafSettings, read_leafs
from atbus.nats.nkeys import Kind, read_key
from atbus.nats.permissions import read_permissions
from atbus.nats.tokens import Chain
from atbus.node.reading_nats import seconds_in

if TYPE_CHECKING:
    from atbus.node.config import NodeConfig


_STALL_SHARE: Final = 0.75


@attrs.frozen(kw_only=True)
class TlsSettings:
    """
    How connections are encrypted.

    :param certificate_file: Our certificate, and what leads from it to an authority, in PEM.
    :param key_file: Its private key.
    :param ca_file: Whom clients' certificates are believed from; empty for the system's.
    :param verify: Whether clients must show one.
    :param optional: Whether a client may do without TLS.
    :param first: Whether TLS comes before INFO: "yes", "no", or "auto" for as the client likes.
    :param first_seconds: How long a client may be silent that is to say so; None for the usual
        time.
    """

    certificate_file: str
    key_file: str
    ca_file: str = ""
    verify: bool = False
    optional: bool = False
    first: str = "no"
    first_seconds: float | None = None


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """
    Everything that a gateway is told; the reference (configuration) says what each one means.

    :param listen: Where clients of NATS come in, as ``host:port``; None for nowhere.
    :param monitor: Where ``/varz`` and the others are; likewise.
    :param websocket: Where the same clients come in by WebSocket; likewise.
    :param advertise: Addresses to tell clients of instead of our own; empty for none, None for
        where we really listen.
    :param websocket_advertise: The same for those who come in by WebSocket; None for where we
        really listen, unless there is ``advertise``.
    """

    listen: str | None = None
    monitor: str | None = None
    websocket: str | None = None
    advertise: tuple[str, ...] | None = None
    websocket_advertise: tuple[str, ...] | None = None
    name: str = ""
    authentication: Authentication = attrs.field(factory=Authentication)
    tls: TlsSettings | None = None
    leafs: LeafSettings = attrs.field(factory=LeafSettings)
    cluster: ClusterSettings | None = None
    payload_bytes_max: int = bounds.PAYLOAD_BYTES
    line_bytes_max: int = bounds.LINE_BYTES
    pending_bytes_max: int = bounds.PENDING_BYTES
    connections_max: int = bounds.CONNECTIONS_MAX
    subscriptions_max: int = 0
    pings_max: int = bounds.PINGS_MAX
    ping_seconds: float = bounds.PING_SECONDS
    write_seconds: float = bounds.WRITE_SECONDS
    authentication_seconds: float = bounds.AUTHENTICATION_SECONDS
    tls_seconds: float = bounds.TLS_SECONDS
    lame_duck_seconds: float = bounds.LAME_DUCK_SECONDS
    lame_duck_grace_seconds: float = bounds.LAME_DUCK_GRACE_SECONDS

    @property
    def stall_bytes(self) -> int:
        """From how many bytes on that wait for a client who publishes for it is slowed down."""
        return int(self.pending_bytes_max * _STALL_SHARE)

    @property
    def advertised(self) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        """Where clients are told to come in, over TCP and by WebSocket."""
        return self.advertise, self.websocket_advertise


_ADVERTISED = ("advertise", "websocket_advertise")
_PLAIN = frozenset(
    field.name
    for field in attrs.fields(GatewaySettings)
    if field.name not in ("authentication", "tls", *_ADVERTISED, "leafs", "cluster")
)


def read_gateway(config: NodeConfig) -> GatewaySettings | None:
    """
    Read what a node's configuration says of a gateway.

    :param config: It.
    :returns: The settings; None when there is to be none.
    :raises ConfigurationError: Keys or tokens in it are none.
    """
    table = config.nats
    if not table:
        return None
    try:
        authentication, leafs = _read_authentication(table), read_leafs(table)
    except ValueError as fault:
        raise ConfigurationError([f"nats: {fault}"]) from fault
    plain = {name: table[name] for name in _PLAIN if name in table}
    plain["payload_bytes_max"] = min(
        table.get("payload_bytes_max", bounds.PAYLOAD_BYTES), config.message_bytes_max
    )
    plain |= {name: tuple(table[name]) for name in _ADVERTISED if name in table}
    if table.get("certificate_file") and "authentication_seconds" not in table:
        # The handshake is a part of that time.
        seconds = table.get("tls_seconds", bounds.TLS_SECONDS)
        plain["authentication_seconds"] = seconds + bounds.LOGIN_BEHIND_TLS_SECONDS
    return GatewaySettings(
        authentication=authentication,
        tls=_read_tls(table),
        leafs=leafs,
        cluster=read_cluster(table),
        **plain,
    )


def _read_tls(table: Mapping[str, Any]) -> TlsSettings | None:
    if not table.get("certificate_file"):
        return None
    first = table.get("tls_first", False)
    return TlsSettings(
        certificate_file=table["certificate_file"],
        key_file=table["key_file"],
        ca_file=table.get("ca_file", ""),
        verify=table.get("tls_verify", False),
        optional=table.get("tls_optional", False),
        first={True: "yes", False: "no"}.get(first, "auto"),
        first_seconds=seconds_in(first) if isinstance(first, str) else None,
    )


def _read_authentication(table: Mapping[str, Any]) -> Authentication:
    default, account = table.get("permissions", {}), table.get("account", "")
    users: dict[str, User] = {}
    for entry in (table, *table.get("users", ())):
        if entry.get("user"):
            users[entry["user"]] = User(
                name=entry["user"],
                password=entry["password"],
                permissions=read_permissions(entry.get("permissions", default)),
                account=entry.get("account", account),
            )
    keys: dict[str, User] = {}
    for entry in table.get("nkeys", ()):
        read_key(entry["nkey"], Kind.USER)
        rights = read_permissions(entry.get("permissions", default))
        keys[entry["nkey"]] = User(
            name=entry["nkey"], permissions=rights, account=entry.get("account", account)
        )
    operator = table.get("operator")
    separate = bool(table.get("separate_accounts"))
    nobody = table.get("no_auth_user")
    return Authentication(
        users=users,
        keys=keys,
        token=table.get("token") or None,
        nobody=users[nobody] if nobody else None,
        voucher=(
            Chain(operator, table.get("accounts", ()), separate=separate) if operator else None
        ),
        permissions=read_permissions(default),
        account=account,
    )
