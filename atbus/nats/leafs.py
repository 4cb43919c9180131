"""
All leafs of one gateway: those that it lets in, and those that it dials.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from atbus import __version__
from atbus.errors import ConfigurationError
from atbus.nats.authentication import NONCE_BYTES, User
from atbus.nats.connect_options import ConnectOptions, read_options
from atbus.nats.credentials import Credentials, read_credentials
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
        # What was read last for each remote, so that one can be dialed whose file is being written.
        self._credentials = {
            remote.places: read_credentials(remote) for remote in self._settings.remotes
        }
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

    def leave(self) -> Deferred[None]:
        """
        Let other gateways take over the servers that are dialed here, as far as there are any.

        :returns: Fires when that is done, at once if there is nothing to do; never fails.
        """
        leaving = [solicitor.stop() for solicitor in self._solicitors]
        return DeferredList(leaving).addCallback(lambda _: None)

    def stop(self) -> Deferred[None]:
        """
        Close everything: what others take over, then.

        :returns: As for `leave`.
        """
        left = self.leave()
        given = [solicitor.link for solicitor in self._solicitors if solicitor.is_leaving]
        self._close(but=given)
        return left

    def stop_at_once(self) -> None:
        """Close everything, also what another gateway is just taking over."""
        for solicitor in self._solicitors:
            solicitor.stop_at_once()
        self._close()

    def _close(self, but: Sequence[LeafLink | None] = ()) -> None:
        for link in list(self.links):
            if link not in but:
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
        terms = LeafTerms(
            about=about,
            is_hub=False,
            tls=True,
            needs_tls=remote.tls,
            prove=self._newest(remote).prove,
            ping_seconds=self.ping_seconds,
            pings_max=self.pings_max,
        )
        return LeafSession(terms)

    def _newest(self, remote: Remote) -> Credentials:
        try:
            self._credentials[remote.places] = read_credentials(remote)
        except ConfigurationError as fault:
            self.log.warn("{fault}; what was there before is shown", fault=fault)
        return self._credentials[remote.places]

    def accepted(self) -> LeafLink:
        """Make our side of a connection that somebody has dialed."""
        self._accepted += 1
        gateway, authentication = self._gateway, self._settings.authentication
        nonce = ""
        if authentication.needs_nonce:
            nonce = urlsafe_b64encode(secrets.token_bytes(NONCE_BYTES)).decode().rstrip("=")
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
            "auth_required": authentication.needs_login,
            "tls_required": gateway.tls_context is not None,
        }
        if nonce:
            about["nonce"] = nonce

        def judge(fields: dict[str, Any]) -> User | None:
            try:
                options = read_options(fields, ConnectOptions())
            except ValueError:
                return None
            return authentication.judge(options, nonce, gateway.clock)

        terms = LeafTerms(
            about=about,
            is_hub=True,
            tls=gateway.tls_context is not None,
            needs_tls=gateway.tls_context is not None,
            loop_subject=self._loop_subject,
            ping_seconds=self.ping_seconds,
            pings_max=self.pings_max,
        )
        return LeafLink(self, LeafSession(terms, judge), gateway.tls_context)
