"""
How a gateway that runs goes on with other settings.

Everything that can fail - files, and what cannot change - is done while nothing has changed yet.
After that the new settings hold for whoever comes, and all who are there are looked at again, the
newest first, as many in a turn of the reactor as there is time for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from atbus.errors import ConfigurationError
from atbus.nats import bounds
from atbus.nats.authentication import Unproven
from atbus.nats.changes import faults_in_change
from atbus.nats.faults import Fault
from atbus.nats.info import renew_identity
from atbus.nats.leafs import equip
from atbus.nats.tls import listener_contexts, route_contexts

if TYPE_CHECKING:
    from atbus.nats.client import Client
    from atbus.nats.gateway import Gateway
    from atbus.nats.settings import GatewaySettings


class Renewal:
    """
    What one change needs.

    :param gateway: Which is to change.
    :param settings: What it is told now; None for that it is not to be any more.
    :raises ConfigurationError: Something cannot change, or a file cannot be used.
    """

    def __init__(self, gateway: Gateway, settings: GatewaySettings | None) -> None:
        faults = faults_in_change(gateway.settings, settings)
        if faults or settings is None:
            raise ConfigurationError(faults)
        self._gateway = gateway
        self._settings = settings
        tls, routes = settings.tls, gateway.routes
        self._tls = None if tls is None else listener_contexts(tls, gateway.tls)
        outfit_of = gateway.leafs.outfit_of
        self._outfits = [equip(each, outfit_of(each)) for each in settings.leafs.remotes]
        cluster = settings.cluster
        has_tls = cluster is not None and cluster.has_tls
        before = None if routes is None else routes.contexts
        self._route_contexts = route_contexts(cluster, before) if cluster and has_tls else None

    def apply(self) -> None:
        """Change over; this never fails."""
        gateway, settings, before = self._gateway, self._settings, self._gateway.settings
        identity = renew_identity(gateway.identity, settings)
        is_told = identity != gateway.identity or settings.advertised != before.advertised
        gateway.settings, gateway.identity, gateway.tls = settings, identity, self._tls
        gateway.stall_bytes = settings.stall_bytes
        gateway.configured_at = gateway.wall_seconds()
        gateway.logins.renew(settings.authentication)
        gateway.leafs.renew(settings.leafs, self._outfits)
        if gateway.routes is not None and settings.cluster is not None:
            gateway.routes.renew(settings.cluster, self._route_contexts)
        if settings != before:
            gateway.review.begin(judges=settings.authentication != before.authentication)
        if is_told:
            gateway.move()
        gateway.flush()


class Review:
    """
    Looks at all clients again.

    :param gateway: Whose they are.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._left: Iterator[Client] = iter(())
        self._judges = False
        self._next: IDelayedCall | None = None

    def begin(self, *, judges: bool) -> None:
        """
        Begin; one that is under way begins anew.

        :param judges: Whether somebody may not be here any more, or may do something else.
        """
        # What was to be looked at before, and was not, is now.
        self._judges = judges or (self._judges and self._next is not None)
        self.stop()
        self._left = reversed(list(self._gateway.clients.values()))
        self._go_on()

    def stop(self) -> None:
        """End; who was not looked at stays as he is."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _go_on(self) -> None:
        self._next = None
        gateway = self._gateway
        began = gateway.now
        for client in self._left:
            if not client.is_gone:
                self._look_at(client)
            if gateway.now - began > bounds.READ_SECONDS:
                self._next = gateway.timers.callLater(0, self._go_on)
                break
        else:
            self._close_surplus()
        gateway.flush()

    def _look_at(self, client: Client) -> None:
        gateway, session = self._gateway, client.session
        was_strange = session.is_strange
        client.renew(gateway.terms())
        if not self._judges or session.closed or session.is_strange or session.is_waiting:
            # Who waits is judged by those who may be here then.
            return
        if session.user is None and not was_strange and gateway.settings.authentication.is_open:
            # It has not said who it is, and needs not.
            return
        verdict = gateway.logins.judge_again(client)
        if not isinstance(verdict, Unproven):
            client.become(verdict)

    def _close_surplus(self) -> None:
        """Close the newest of those who are more than may be here now."""
        gateway = self._gateway
        there = [each for each in gateway.clients.values() if not each.session.closed]
        more = len(there) - gateway.settings.connections_max
        for client in reversed(there):
            fault = gateway.logins.surplus(client, client.session.user)
            if more > 0:
                fault = fault or Fault.TOO_MANY_CONNECTIONS
                more -= 1
            if fault is not None:
                client.refuse(fault)
