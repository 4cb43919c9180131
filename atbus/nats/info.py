"""
The INFO line: what a gateway says of itself.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from atbus import __version__
from atbus.nats.nkeys import Kind, write_key

if TYPE_CHECKING:
    from atbus.nats.settings import GatewaySettings

#: The version of NATS whose client protocol we speak: the first with TLS before INFO. Clients take
#: what they may ask for from it.
VERSION: Final = "2.10.0"

#: 1: INFO may come at any time.
PROTOCOL: Final = 1

_KEY_BYTES: Final = 32


@attrs.frozen(kw_only=True)
class Identity:
    """
    What is the same for all clients of a gateway.

    :param server_id: Unique; looks like the key of a server.
    :param server_name: For people.
    :param software: What we are.
    :param cluster: The cluster of NATS that it is a member of, or waits to be; empty for none.
    """

    server_id: str
    server_name: str
    software: str
    payload_bytes_max: int
    cluster: str = ""
    needs_login: bool = False
    tls_required: bool = False
    tls_verify: bool = False
    tls_available: bool = False


def make_identity(settings: GatewaySettings, node_name: str) -> Identity:
    """
    Make what a gateway is for others, anew for each life of it.

    :param settings: What it is told.
    :param node_name: What it is called unless they say otherwise; empty for its server id.
    """
    server_id = write_key(Kind.SERVER, secrets.token_bytes(_KEY_BYTES))
    return Identity(
        server_id=server_id,
        server_name=settings.name or node_name or server_id,
        software=f"atbus {__version__}",
        **_read(settings),
    )


def renew_identity(identity: Identity, settings: GatewaySettings) -> Identity:
    """
    Make what a gateway is for others that is told something else.

    :param identity: What it has been; it keeps its id and its name.
    :param settings: What it is told now.
    """
    return attrs.evolve(identity, **_read(settings))


def _read(settings: GatewaySettings) -> dict[str, Any]:
    tls = settings.tls
    return {
        "payload_bytes_max": settings.payload_bytes_max,
        "cluster": settings.cluster.name if settings.cluster is not None else "",
        "needs_login": settings.authentication.needs_login,
        "tls_required": tls is not None and (not tls.optional or tls.first == "yes"),
        "tls_verify": tls is not None and tls.verify,
        "tls_available": tls is not None and tls.optional,
    }


def info_line(
    identity: Identity,
    *,
    host: str,
    port: int,
    client_id: int,
    client_ip: str,
    nonce: str = "",
    urls: Sequence[str] = (),
    websocket_urls: Sequence[str] = (),
    leaving: bool = False,
) -> bytes:
    """
    Write an INFO line, its fields in the order in which nats-server has them.

    :param host: Where the gateway says that it is.
    :param nonce: What it is to sign; empty for nothing.
    :param urls: Where else on the bus it could come in.
    :param leaving: Whether this gateway will soon be gone.
    :returns: The line.
    """
    fields: dict[str, Any] = {
        "server_id": identity.server_id,
        "server_name": identity.server_name,
        "version": VERSION,
        "proto": PROTOCOL,
        "go": identity.software,
        "host": host,
        "port": port,
        "headers": True,
        "auth_required": identity.needs_login,
        "tls_required": identity.tls_required,
        "tls_verify": identity.tls_verify,
        "tls_available": identity.tls_available,
        "max_payload": identity.payload_bytes_max,
        "client_id": client_id,
        "client_ip": client_ip,
        "nonce": nonce,
        "cluster": identity.cluster,
        "connect_urls": list(urls),
        "ws_connect_urls": list(websocket_urls),
        "ldm": leaving,
    }
    # What is not so is left out.
    text = json.dumps({key: value for key, value in fields.items() if value}, separators=(",", ":"))
    return f"INFO {text} \r\n".encode()
