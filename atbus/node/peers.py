"""
Nodes that this one stays connected to: those at certain addresses, and those with certain labels.

Each is dialled until it has registered, with a growing random pause, and dialled again when it is
gone. What is taken back is dialled no more; a connection that has come of it stays.

Of an address nothing is known but where it is. One that turns out to be our own is left alone, and
so is one where a node listens that is registered here already.

Of nodes with labels their records are known, whoever brought them. The policy says who is dialled,
as for every connection between peers; whoever stands above or below is connected by the tree. Each
of two nodes knows of the other, so the one whose dial would stay if they crossed dials at once, and
the other one only when nothing has come of that for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from atbus.address import Address
from atbus.errors import AtbusError, RegistrationRefused, Status
from atbus.node import bounds
from atbus.routing.backoff import Backoff
from atbus.routing.dial_plan import keep_dialled
from atbus.routing.direct import peer_address
from atbus.routing.record import Record
from atbus.routing.registry import NodeDown

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.endpoint import Endpoint
    from atbus.node.registrar import Registrar
    from atbus.node.topology import NodeNews, NodeWatch, Topology

K = TypeVar("K")


@attrs.define(eq=False)
class _Place:
    """
    Where there shall be a peer.

    :param backoff: The pauses between two dials.
    :param due: When it may be dialled; None for never again.
    """

    backoff: Backoff
    due: float | None
    is_dialling: bool = False
    # Who has registered there last.
    bus_id: int = 0


class _Dialling(Generic[K]):
    """
    Dial places again and again.

    What is known of a place is its key.
    """

    def __init__(self, context: Context, registrar: Registrar, dialer: Dialer) -> None:
        self._context = context
        self._registrar = registrar
        self._dialer = dialer
        self._places: dict[K, _Place] = {}

    def keeps(self, bus_id: int) -> bool:
        """Tell whether a node is one of those to stay connected to."""
        return any(place.bus_id == bus_id for place in self._places.values())

    def _new_place(self, wait_seconds: float = 0.0) -> _Place:
        config = self._context.config
        backoff = Backoff(
            config.retry_initial_seconds, config.retry_factor, config.retry_seconds_max
        )
        return _Place(backoff, self._context.now + wait_seconds)

    def _is_due(self, place: _Place) -> bool:
        """Tell whether to dial a place now; one whose node has gone is due after a pause."""
        now = self._context.now
        if place.bus_id and place.bus_id not in self._registrar.endpoints:
            place.bus_id, place.due = 0, now + self._pause(place)
        waits = place.due is None or now < place.due
        return not (place.bus_id or place.is_dialling or waits)

    def _dial(self, place: _Place, address: Address, expected_id: int = 0) -> None:
        place.is_dialling = True
        dialling = self._dialer.connect(address, expected_id=expected_id)
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
            status = failure.value.status
            if status.is_refusal or status is Status.CONNECT_FAILED:
                place.due = self._context.now + place.backoff.refused()
                return
        place.due = self._context.now + self._pause(place)

    def _pause(self, place: _Place) -> float:
        return place.backoff.next(self._context.random.random())


class Peers(_Dialling[Address]):
    """The peers of one node that are known by their addresses."""

    def replace(self, addresses: Iterable[Address]) -> None:
        """
        Stay connected to the nodes at these addresses from now on.

        :param addresses: All of them.
        """
        before = self._places
        self._places = {
            address: before.get(address) or self._new_place() for address in addresses
        }
        for address, place in self._places.items():
            if address in before and place.due is None:
                # What was ours may be another's after a change.
                place.due = self._context.now

    def sweep(self) -> None:
        """Dial what is due; called now and then."""
        if not self._places:
            return
        listening = {
            text: endpoint.bus_id
            for endpoint in self._registrar.endpoints.values()
            for text in endpoint.peer.request.addresses
        }
        for address, place in list(self._places.items()):
            known = listening.get(str(address), 0)
            if known and not place.is_dialling:
                place.bus_id = known
            if self._is_due(place):
                self._dial(place, address)

    def close(self) -> None:
        """Dial nobody any more: the node stops."""
        self._places = {}


class Mesh(_Dialling[int]):
    """The peers of one node that are known by their labels."""

    def __init__(
        self, context: Context, registrar: Registrar, dialer: Dialer, topology: Topology
    ) -> None:
        super().__init__(context, registrar, dialer)
        self._topology = topology
        self._records: dict[int, Record] = {}
        self._watch: NodeWatch | None = None

    def start(self) -> None:
        """Stay connected to the nodes that have the labels of the configuration."""
        self.close()
        labels = self._context.config.peer_labels
        if labels:
            self._watch = self._topology.watch(self._heard, labels)

    def _heard(self, news: NodeNews) -> None:
        bus_id = news.record.bus_id
        if isinstance(news, NodeDown):
            del self._records[bus_id]
            self._places.pop(bus_id, None)
            return
        self._records[bus_id] = news.record
        if bus_id not in self._places:
            is_ours = keep_dialled(self._context.bus_id, bus_id)
            self._places[bus_id] = self._new_place(0.0 if is_ours else bounds.MESH_YIELD_SECONDS)

    def sweep(self) -> None:
        """Dial who is due; called now and then."""
        own = self._topology.own if self._places else None
        if own is None:
            return
        endpoints = self._registrar.endpoints
        for bus_id, place in list(self._places.items()):
            if bus_id in endpoints and not place.is_dialling:
                place.bus_id = bus_id
            if self._is_due(place):
                table, policy = self._context.table, self._context.config.policy
                address = peer_address(table, policy, own, self._records[bus_id])
                if address is not None:
                    self._dial(place, address, bus_id)

    def close(self) -> None:
        """Dial nobody any more: the node stops."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._records, self._places = {}, {}
