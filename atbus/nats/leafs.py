"""
All leafs of one gateway: those that it lets in, and those that it dials.
"""

from __future__ import annotations

import hmac
import secrets
from random import Random
from typing import TYPE_CHECKING, Any

from atbus import __version__
from atbus.nats.leaf import LeafDoor, LeafLink, Solicitor
from atbus.nats.leaf_session import LOOP_SUBJECTS, LeafSession, LeafTerms
from atbus.nats.server_link import ServerLinks
from atbus.nats.tls import client_context

if TYPE_CHECKING:
    from atbus.nats.gateway import Gateway
    from atbus.nats.leaf_settings import Remote

#: The version of NATS whose dialect between leafs we speak: neither compression nor pools.
VERSION = "2.9.10"


class Leafs(ServerLinks):
    """
    The leafs of a gateway.

    :param gateway: Whose they are.
    :param random: Spreads attempts.
    :raises ConfigurationError: Certificates cannot be used.
    """

    def __init__(self, gateway: Gateway, random: Random) -> None:
        super().__init__(gateway, random)
        self.door = LeafDoor(self)
        self._gateway = gateway
        self._settings = gateway.settings.leafs
        self._accepted = 0
        self._loop_subject = f"{LOOP_SUBJECTS}{secrets.token_hex(11)}"
        self._solicitors = [
            Solicitor(
                self, remote, {place: client_context(remote, place) for place in remote.places}
            )
            for remote in self._settings.remotes
        ]

    def start(self) -> None:
        """Dial; the node is up."""
        for solicitor in self._solicitors:
            solicitor.start()

    def stop(self) -> None:
        """Close everything."""
        for solicitor in self._solicitors:
            solicitor.stop()
        for link in list(self.links):
            link.close("the node stops")

    def dialing(self, remote: Remote) -> LeafSession:
        """Make our side of a connection that we dial."""
        identity = self._gateway.identity
        about: dict[str, Any] = {
            "version": VERSION,
            "server_id": identity.server_id,
            "name": identity.server_name,
            "lang_server": f"atbus {__version__}",
            "cluster": f"atbus-{identity.server_id}",
            "headers": True,
            "user": remote.user,
            "pass": remote.password,
            "auth_token": remote.token,
        }
        about = {key: value for key, value in about.items() if value}
        terms = LeafTerms(about=about, is_hub=False, tls=True, needs_tls=remote.tls)
        return LeafSession(terms)

    def accepted(self) -> LeafLink:
        """Make our side of a connection that somebody has dialed."""
        self._accepted += 1
        gateway, settings = self._gateway, self._settings
        host, port = gateway.address("leaf_listen") or ("", 0)
        about: dict[str, Any] = {
            "server_id": gateway.identity.server_id,
            "server_name": gateway.identity.server_name,
            "version": VERSION,
            "proto": 1,
            "go": gateway.identity.software,
            "host": host,
            "port": port,
            "headers": True,
            "max_payload": gateway.identity.payload_bytes_max,
            "client_id": self._accepted,
            "leafnode_urls": [f"{host}:{port}"],
            "info_on_connect": True,
            "auth_required": bool(settings.user),
            "tls_required": gateway.tls_context is not None,
        }
        terms = LeafTerms(
            about=about,
            is_hub=True,
            tls=gateway.tls_context is not None,
            needs_tls=gateway.tls_context is not None,
            loop_subject=self._loop_subject,
        )
        return LeafLink(self, LeafSession(terms, self._judge), gateway.tls_context)

    def _judge(self, fields: dict[str, Any]) -> bool:
        """Compare credentials in a time that does not depend on them."""
        settings = self._settings
        if not settings.user:
            return True
        # JSON can hold half of a letter, which is in no name of ours.
        shown = [
            str(fields.get(key, "")).encode(errors="surrogatepass") for key in ("user", "pass")
        ]
        wanted = [settings.user.encode(), settings.password.encode()]
        same = [hmac.compare_digest(*pair) for pair in zip(shown, wanted, strict=True)]
        return all(same)
