"""
Nodes that this one stays connected to, of which it knows where they are and nothing else.

Each address is dialled until a node has registered there, with a growing random pause, and dialled
again when that node is gone. An address that turns out to be our own is left alone, and so is one
where a node listens that is registered here already. An address that is taken back is dialled no
more; a connection that has come of it stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from atbus.errors import AtbusError, RegistrationRefused, Status
from atbus.routing.backoff import Backoff

if TYPE_CHECKING:
    from atbus.address import Address
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.endpoint import Endpoint
    from atbus.node.registrar import Registrar


@attrs.define(eq=False)
class _Place:
    """
    An address at which there shall be a peer.

    :param backoff: The pauses between two dials.
    :param due: When it may be dialled; None for never again.
    """

    backoff: Backoff
    due: float | None
    is_dialling: bool = False
    # Who has registered there last.
    bus_id: int = 0


class Peers:
    """The peers of one node that are known by their addresses."""

    def __init__(self, context: Context, registrar: Registrar, dialer: Dialer) -> None:
        self._context = context
        self._registrar = registrar
        self._dialer = dialer
        self._places: dict[Address, _Place] = {}

    def replace(self, addresses: Iterable[Address]) -> None:
        """
        Stay connected to the nodes at these addresses from now on.

        :param addresses: All of them.
        """
        before = self._places
        self._places = {
            address: before.get(address) or _Place(self._backoff(), self._context.now)
            for address in addresses
        }
        for address, place in self._places.items():
            if address in before and place.due is None:
                # What was ours may be another's after a change.
                place.due = self._context.now

    def _backoff(self) -> Backoff:
        config = self._context.config
        return Backoff(config.retry_initial_seconds, config.retry_factor, config.retry_seconds_max)

    def sweep(self) -> None:
        """Dial what is due; called now and then."""
        if not self._places:
            return
        now, endpoints = self._context.now, self._registrar.endpoints
        listening = {
            text: endpoint.bus_id
            for endpoint in endpoints.values()
            for text in endpoint.peer.request.addresses
        }
        for address, place in list(self._places.items()):
            if place.bus_id and place.bus_id not in endpoints:
                place.bus_id, place.due = 0, now + self._pause(place)
            known = listening.get(str(address), 0)
            if known and not place.is_dialling:
                place.bus_id = known
            if not (place.bus_id or place.is_dialling or place.due is None or now < place.due):
                self._dial(address, place)

    def _dial(self, address: Address, place: _Place) -> None:
        place.is_dialling = True
        dialling = self._dialer.connect(address)
        dialling.addCallbacks(
            self._reached, self._failed, callbackArgs=(place,), errbackArgs=(place,)
        )

    def _reached(self, endpoint: Endpoint, place: _Place) -> None:
        place.is_dialling = False
        place.bus_id = endpoint.bus_id
        place.backoff.reset()

    def _failed(self, failure: Failure, place: _Place) -> None:
        place.is_dialling = False
        failure.trap(AtbusError, CancelledError)
        if isinstance(failure.value, RegistrationRefused):
            if failure.value.status is Status.SELF_CONNECT:
                place.due = None
                return
            if failure.value.status.is_refusal:
                place.due = self._context.now + place.backoff.refused()
                return
        place.due = self._context.now + self._pause(place)

    def _pause(self, place: _Place) -> float:
        return place.backoff.next(self._context.random.random())

    def close(self) -> None:
        """Dial nobody any more: the node stops."""
        self._places = {}
