"""
Opening one-way channels, and choosing the one that data takes.

Whoever writes opens: when an endpoint is available and has announced an address in this process,
we connect to it *for that endpoint* (`atbus.handshake.passive_ring`). Whoever reads takes in only
nodes of this process that are registered here, each under its name.

Of all channels to an endpoint data takes the one of the smallest rank - mem, shm, then the stream -
whatever the order in which they have opened; `atbus.node.paths` changes from one to another without
overtaking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from atbus import limits
from atbus.address import Address, Locality, Scheme
from atbus.busid import BusId
from atbus.channels.interfaces import IChannel
from atbus.errors import ConnectFailed, Status
from atbus.handshake.effects import Close, OpenRing, Refused, RingAttached, RingEffect
from atbus.handshake.passive_ring import RingAttachment
from atbus.node.endpoint import Endpoint
from atbus.node.identity import distance_to
from atbus.node.link import Link
from atbus.node.ring import Direction, RingConnection
from atbus.routing.dial_plan import usable_addresses
from atbus.wire.messages import Mode

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.paths import Paths
    from atbus.node.registrar import Registrar


@attrs.define(eq=False)
class Opening:
    """
    A ring that is being opened, and the registration that opens it.

    :param ring: The connection to be.
    :param machine: Its registration, of the third kind.
    """

    ring: RingConnection
    machine: RingAttachment


class Rings:
    """Keep the one-way channels of one node."""

    def __init__(
        self, context: Context, registrar: Registrar, dialer: Dialer, paths: Paths
    ) -> None:
        self._context = context
        self._registrar = registrar
        self._dialer = dialer
        self._paths = paths
        # Set by the node, which wires its parts.
        self.on_ended: Callable[[RingConnection], None]
        self._openings: list[Opening] = []
        # By endpoint and address, until when one that could not be opened is left alone.
        self._refused: dict[tuple[int, Address], float] = {}

    # What we write.

    def look(self, endpoint: Endpoint) -> None:
        """Open what an endpoint has announced and we do not write to yet."""
        if not endpoint.available or endpoint.removed is not None or self._is_temporary(endpoint):
            return
        neighbor = self._context.table.get(BusId(endpoint.bus_id))
        listens = () if neighbor is None else neighbor.listens
        # Most have none, and this is asked at each sweep.
        announced = [address for address in listens if address.scheme is Scheme.MEM]
        if not announced or self.distance_to(endpoint) is not Locality.PROCESS:
            return
        for address in usable_addresses(announced, same_host=True, same_process=True):
            if not self._is_known(endpoint, address):
                self._open(endpoint, address)

    def _is_temporary(self, endpoint: Endpoint) -> bool:
        return endpoint.temporary or self._context.mode is Mode.TEMPORARY

    def _is_known(self, endpoint: Endpoint, address: Address) -> bool:
        rings = [*endpoint.rings, *(opening.ring for opening in self._openings)]
        for ring in rings:
            if (
                ring.endpoint is endpoint
                and ring.address == address
                and ring.direction is Direction.WRITING
            ):
                return True
        return self._refused.get((endpoint.bus_id, address), 0.0) > self._context.now

    def distance_to(self, endpoint: Endpoint) -> Locality:
        """Tell how far away a node says it is; whoever relies on it has it proven."""
        told = endpoint.peer.request
        return distance_to(self._context.identity, told.host, told.process)

    def begin(self, endpoint: Endpoint, address: Address) -> Opening | None:
        """
        Begin to open a ring for an endpoint.

        :returns: What to go on with when the channel is open; None when it must not be opened.
        """
        ring = self.make(endpoint, address, Direction.WRITING)
        machine = RingAttachment(
            address=address,
            endpoint_id=None if endpoint.removed is not None else endpoint.bus_id,
            distance=self.distance_to(endpoint),
            timeout_seconds=self._context.config.handshake_seconds,
        )
        opening = Opening(ring, machine)
        self._openings.append(opening)
        if not self._perform(opening, machine.open(self._context.now)):
            return None
        return opening

    def _open(self, endpoint: Endpoint, address: Address) -> None:
        opening = self.begin(endpoint, address)
        if opening is None:
            return

        def opened(channel: IChannel) -> None:
            if channel.peer == f"mem:{endpoint.bus_id:#x}":
                if self.opened(opening, self._context.config.frame_bytes_max):
                    self.choose(endpoint)
            else:
                # The same name, but another process's: a copied identity.
                self.failed(opening, Status.BUS_ID_MISMATCH, f"{channel.peer} answers there")

        def failed(failure: Failure) -> None:
            if failure.trap(ConnectFailed, CancelledError) is ConnectFailed:
                self.failed(opening, Status.CONNECT_FAILED, str(failure.value))

        self._dialer.open(opening.ring).addCallbacks(opened, failed)

    def make(self, endpoint: Endpoint, address: Address, direction: Direction) -> RingConnection:
        """Make the connection of a ring, not opened yet."""
        kind = _Reading if address.scheme is Scheme.MEM and direction is Direction.READING else None
        return (kind or RingConnection)(
            self._context,
            self._registrar,
            endpoint,
            address=address,
            direction=direction,
        )

    def opened(
        self, opening: Opening, frame_bytes_max: int, kind: Callable[..., Link] = Link
    ) -> bool:
        """
        Go on with a channel that is open; `choose` lets data take it.

        :param frame_bytes_max: The longest frame that it takes.
        :param kind: Makes the ring's link.
        :returns: Whether data may flow; else the ring has ended.
        """
        if not self._perform(opening, opening.machine.opened()):
            return False
        ring, endpoint = opening.ring, opening.ring.endpoint
        if endpoint is None or ring.closed is not None:
            return False
        peer_max = endpoint.peer.frame_max
        ring.attach(self._registrar.link_for(ring, min(frame_bytes_max, peer_max), kind))
        return True

    def failed(self, opening: Opening, status: Status, detail: str) -> None:
        """End a ring that carried nothing."""
        self._perform(opening, opening.machine.failed(status, detail))

    def _perform(self, opening: Opening, effects: list[RingEffect]) -> bool:
        """Obey; tell whether the opening goes on."""
        ring = opening.ring
        goes_on = False
        for effect in effects:
            match effect:
                case OpenRing():
                    goes_on = True
                case RingAttached():
                    goes_on = True
                    self._openings.remove(opening)
                case Refused(status=status, detail=detail):
                    self._context.events.on_error(status, f"{ring}: {detail}")
                    self._remember(ring)
                case Close(status=status, detail=detail):
                    if opening in self._openings:
                        self._openings.remove(opening)
                    ring.close(status, detail)
        return goes_on

    def _remember(self, ring: RingConnection) -> None:
        if len(self._refused) >= limits.RINGS_REFUSED_MAX:
            self._refused.clear()
        until = self._context.now + limits.REFUSED_SECONDS
        bus_id = 0 if ring.peer is None else ring.peer.bus_id
        self._refused[bus_id, ring.address] = until

    # What we read.

    def accept(self, address: Address, peer: str) -> RingConnection | None:
        """
        Take in a writer of this process, if it is registered here.

        :param address: Where it came in.
        :param peer: What the channel says of it.
        """
        endpoint = self._endpoint_named(peer)
        if endpoint is None or self.distance_to(endpoint) is not Locality.PROCESS:
            self._context.events.on_error(Status.UNKNOWN_ENDPOINT, f"{address}: {peer}")
            return None
        return self.make(endpoint, address, Direction.READING)

    def _endpoint_named(self, peer: str) -> Endpoint | None:
        for endpoint in self._registrar.endpoints.values():
            if peer == f"mem:{endpoint.bus_id:#x}":
                return endpoint
        return None

    # Which one is used.

    def choose(self, endpoint: Endpoint) -> None:
        """Let data take the best channel there is."""
        usable = [ring for ring in endpoint.rings if ring.usable and not ring.retiring]
        best = min(usable, key=lambda ring: ring.address.rank, default=None)
        self._paths.change_channel(endpoint, best)

    def lost(self, ring: RingConnection) -> None:
        """Let data take what is left."""
        self.on_ended(ring)
        endpoint = ring.endpoint
        if endpoint is None or endpoint.removed is not None:
            return
        if ring.direction is Direction.WRITING:
            if not ring.retiring:
                self._remember(ring)
            self._paths.channel_lost(endpoint, ring)
            self.choose(endpoint)

    def sweep(self) -> None:
        """Look at the time; try again what could not be opened."""
        for opening in list(self._openings):
            self._perform(opening, opening.machine.tick(self._context.now))
        for endpoint in list(self._registrar.endpoints.values()):
            self.look(endpoint)

    def forget(self, endpoint: Endpoint, status: Status) -> None:
        """Open nothing more for an endpoint that is gone."""
        for opening in list(self._openings):
            if opening.ring.endpoint is endpoint:
                self._perform(opening, opening.machine.endpoint_removed(status, ""))


class _Reading(RingConnection):
    """The reading end: it is attached when its channel opens."""

    def channel_opened(self, channel: IChannel) -> None:
        """Let data flow."""
        super().channel_opened(channel)
        channel.frame_limit = self._context.config.frame_bytes_max
        self.attach(self._registrar.link_for(self, self._context.config.frame_bytes_max))
