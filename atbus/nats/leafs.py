"""
All leafs of one gateway: those that it lets in, and those that it dials.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from atbus import __version__
from atbus.errors import ConfigurationError
from atbus.nats import bounds
from atbus.nats.authentication import NONCE_BYTES, User
from atbus.nats.connect_options import ConnectOptions, read_options
from atbus.nats.credentials import Credentials, read_credentials
from atbus.nats.leaf import LeafLink, Solicitor
from atbus.nats.leaf_session import LOOP_SUBJECTS, LeafSession, LeafTerms
from atbus.nats.loops import draw_loop_subject
from atbus.nats.server_link import ServerLinks
from atbus.nats.tls import remote_contexts

if TYPE_CHECKING:
    from atbus.nats.files import Latest
    from atbus.nats.gateway import Gateway
    from atbus.nats.leaf_settings import LeafSettings, Remote

#: The version of NATS whose dialect between leafs we speak: neither compression nor pools.
VERSION = "2.9.10"


@attrs.define
class Outfit:
    """
    A remote, and what a connection to it needs that is in files.

    :param contexts: For each of its places what to begin TLS with.
    :param credentials: What was read last, so that it can be dialed while its file is written.
    """

    remote: Remote
    contexts: Latest[Mapping[str, Any]]
    credentials: Credentials

    @property
    def key(self) -> tuple[str, ...]:
        """Which remote it is, in whatever order its places are tried."""
        return tuple(sorted(self.remote.places))


def equip(remote: Remote, before: Outfit | None = None) -> Outfit:
    """
    Read what a remote needs.

    :param remote: It.
    :param before: What it has had until now, if it was there.
    :raises ConfigurationError: A file cannot be used.
    """
    contexts = remote_contexts(remote, None if before is None else before.contexts)
    return Outfit(remote, contexts, read_credentials(remote))


class LeafDoor(Factory):
    """
    Accepts leafs.

    :param leafs: Whose they are.
    """

    noisy = False

    def __init__(self, leafs: Leafs) -> None:
        self._leafs = leafs

    def buildProtocol(self, addr: IAddress | None) -> LeafLink | None:
        """Make one side of a connection; None, which closes it, when there are too many."""
        if len(self._leafs.links) >= bounds.LEAFS_MAX:
            self._leafs.log.warn("a leaf is closed: there are {count}", count=bounds.LEAFS_MAX)
            return None
        return self._leafs.accepted()


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
        self._settings = gateway.settings.leafs
        self._loop_subject = f"{LOOP_SUBJECTS}{secrets.token_hex(11)}"
        self._solicitors = [Solicitor(self, equip(each)) for each in self._settings.remotes]
        self._is_started = False

    def start(self) -> None:
        """Dial; the node is up."""
        self._is_started = True
        for solicitor in self._solicitors:
            solicitor.start()

    def renew(self, settings: LeafSettings, outfits: Sequence[Outfit]) -> None:
        """
        Let other settings hold: for servers that come, and for those that are there.

        A remote that is configured no more is left, as when the node stops. What is shown to one
        that stays counts from the next connection on.

        :param settings: They.
        :param outfits: The remotes in them.
        """
        self._settings = settings
        for link in list(self.links):
            if not link.session.is_spoke:
                link.judge_again()
        wanted = {outfit.key: outfit for outfit in outfits}
        for solicitor in [each for each in self._solicitors if not each.is_leaving]:
            outfit = wanted.pop(solicitor.outfit.key, None)
            if outfit is None:
                self._dismiss(solicitor)
            else:
                solicitor.outfit = outfit
        added = [Solicitor(self, outfit) for outfit in wanted.values()]
        self._solicitors += added
        if self._is_started:
            for solicitor in added:
                solicitor.start()

    def outfit_of(self, remote: Remote) -> Outfit | None:
        """Give what a remote has, if it is one of ours, in whatever order its places are."""
        places = sorted(remote.places)
        there = (each.outfit for each in self._solicitors if not each.is_leaving)
        return next((each for each in there if sorted(each.remote.places) == places), None)

    @property
    def remotes(self) -> list[Remote]:
        """The servers whose leaf this node is, when it is its turn."""
        return [solicitor.remote for solicitor in self._solicitors]

    def _dismiss(self, solicitor: Solicitor) -> None:
        # While another gateway takes the server over, who stops waits for that, too.
        left = solicitor.stop()
        left.addCallback(lambda _: self._solicitors.remove(solicitor))

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

    def dialing(self, outfit: Outfit) -> LeafSession:
        """Make our side of a connection that we dial."""
        identity, remote = self._gateway.identity, outfit.remote
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
            prove=self._newest(outfit).prove,
            loop_subject=draw_loop_subject(self.node.bus_id),
            ping_seconds=self.ping_seconds,
            pings_max=self.pings_max,
        )
        return LeafSession(terms)

    def _newest(self, outfit: Outfit) -> Credentials:
        try:
            outfit.credentials = read_credentials(outfit.remote)
        except ConfigurationError as fault:
            self.log.warn("{fault}; what was there before is shown", fault=fault)
        return outfit.credentials

    def accepted(self) -> LeafLink:
        """Make our side of a connection that somebody has dialed."""
        number = self.next_number()
        gateway, authentication = self._gateway, self._settings.authentication
        context = gateway.tls_context
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
            "client_id": number,
            "leafnode_urls": [f"{host}:{port}"],
            "info_on_connect": True,
            "auth_required": authentication.needs_login,
            "tls_required": context is not None,
        }
        if nonce:
            about["nonce"] = nonce
        if gateway.identity.cluster:
            # Servers that are in it have routes that lead here.
            about["cluster"] = gateway.identity.cluster

        def judge(fields: dict[str, Any]) -> User | None:
            try:
                options = read_options(fields.items(), ConnectOptions())
            except ValueError:
                return None
            # As it is then: who was let in is judged again when it has changed.
            found = self._settings.authentication.judge(options, nonce, gateway.clock)
            # Of what servers show there is no hash.
            return found if isinstance(found, User) else None

        terms = LeafTerms(
            about=about,
            is_hub=True,
            tls=context is not None,
            needs_tls=context is not None,
            loop_subject=self._loop_subject,
            ping_seconds=self.ping_seconds,
            pings_max=self.pings_max,
        )
        return LeafLink(self, LeafSession(terms, judge), context, number=number)
