"""
Who is registered here: endpoints come, get connections, and go.

Whether a peer may register is judged by `atbus.routing.admission`; this performs the verdict, keeps
the routes and the events in step with it, and takes everything back when a registration fails or a
connection dies. The order of events is that of registration (DESIGN of the flows):
``on_new_connection``, ``on_endpoint_added``, ``on_register``, and at the end
``on_endpoint_removed``, once for each added endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from atbus import limits
from atbus.address import Address, Locality, parse_address
from atbus.busid import BusId
from atbus.channels.interfaces import IChannel, IDescriptorChannel
from atbus.errors import AddressError, Status
from atbus.handshake.effects import AskAdmission
from atbus.handshake.terms import PeerTerms
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.link import Link
from atbus.node.readers import DataReader, FrameReader
from atbus.node.ring import RingConnection
from atbus.routing.slow_readers import SlowReaders
from atbus.routing.table import Neighbor, Position
from atbus.wire.head import Head
from atbus.wire.messages import AddressUpdate, Capability, Mode, Role

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.judging import Judge
    from atbus.node.traffic import Traffic


class Registrar:
    """
    Keep the endpoints of one node.

    :param endpoints: By id; shared with those who route.
    """

    def __init__(self, context: Context, endpoints: dict[int, Endpoint]) -> None:
        self.endpoints = endpoints
        self.temporary: set[Endpoint] = set()
        self.known_epochs: dict[int, int] = {}
        #: Who was cut because it did not read.
        self.slow_readers = SlowReaders()
        self._context = context
        # Set by the node, which wires its parts.
        self.judge: Judge
        self.traffic: Traffic
        self.data_reader: DataReader
        self.publication_reader: DataReader
        self.readers: dict[int, FrameReader]
        self.pass_on: FrameReader
        self.on_available: Callable[[Endpoint], None]
        self.on_removed: Callable[[Endpoint, Status], None]
        self.on_refused: Callable[[Connection, Status, str, bool], None]
        self.on_closed: Callable[[Connection, Status, str], None]
        self.is_expected: Callable[[int], bool]
        self.on_entered: Callable[[Endpoint], None]
        self.on_left: Callable[[Endpoint], None]
        self.on_addresses: Callable[[int, tuple[str, ...]], None]
        self.on_control: Callable[[Endpoint], None]
        self.on_control_lost: Callable[[Endpoint], None]
        self.on_data: Callable[[Endpoint], None]
        self.on_data_stream: Callable[[Connection], None]
        self.on_gate: Callable[[Endpoint], None]
        self.on_leaving: Callable[[Endpoint], None]
        self.on_data_lost: Callable[[Endpoint], None]
        self.on_needs_data: Callable[[Endpoint], None]
        self.on_stream_closed: Callable[[Connection], None]
        self.on_stream: Callable[[Endpoint], None]
        self.on_stream_lost: Callable[[Endpoint, Connection], None]
        self.on_ring_lost: Callable[[RingConnection], None]

    # A registration.

    def ask(self, connection: Connection, question: AskAdmission) -> None:
        """Judge a peer; the verdict may come later, when another node had to be asked first."""
        self.judge.judge(connection, question)

    def add(self, connection: Connection, peer: PeerTerms) -> None:
        """Make an endpoint of an admitted peer, or add a data connection to the one it has."""
        if peer.mode is Mode.TEMPORARY:
            return
        if peer.my_id and not self._context.bus_id:
            self.judge.take_id(peer.my_id)
        known = self.endpoints.get(peer.bus_id)
        if known is not None and peer.role is Role.CONTROL:
            self._replace(known, connection, peer)
            return
        if known is not None:
            connection.endpoint = known
            return
        position = self.judge.position_of(connection, peer)
        endpoint = Endpoint(self._context, peer, position)
        endpoint.control = connection
        connection.endpoint = endpoint
        self.endpoints[peer.bus_id] = endpoint
        self._come(endpoint)
        self._context.events.on_endpoint_added(endpoint)

    def _come(self, endpoint: Endpoint) -> None:
        """Take in what an endpoint says of itself, whether it is new or registers again."""
        tree = self._context.table.registry.tree
        endpoint.came_from = tree.upstream_of(endpoint.bus_id) or 0
        self._remember_epoch(endpoint.peer)
        self._enter(endpoint)

    def _enter(self, endpoint: Endpoint) -> None:
        """Enter an endpoint, or what it says of itself now, into the table."""
        request = endpoint.peer.request
        endpoint.vouched.clear()
        # Who is about to be the upstream, or was it, speaks for others and is the way to none.
        passes = endpoint.is_next_upstream or endpoint.was_upstream
        self._context.table.add(
            Neighbor(
                bus_id=BusId(endpoint.bus_id),
                subnets=() if passes else request.subnets,
                position=endpoint.position,
                listens=_addresses(request.addresses),
                passes=passes,
                certified=endpoint.certified,
            )
        )
        self.on_entered(endpoint)
        self.traffic.changed()

    def _remember_epoch(self, peer: PeerTerms) -> None:
        """Keep the highest epoch of an id, so that its next life continues above it."""
        self.known_epochs[peer.bus_id] = max(peer.epoch, self.known_epochs.get(peer.bus_id, 0))
        while len(self.known_epochs) > limits.EPOCHS_REMEMBERED_MAX:
            self.known_epochs.pop(next(iter(self.known_epochs)))

    def _replace(self, endpoint: Endpoint, connection: Connection, peer: PeerTerms) -> None:
        """Give an endpoint a new control stream; the old one is closed after it is empty."""
        old = endpoint.control
        endpoint.control = connection
        endpoint.peer = peer
        if endpoint.position is not Position.UPSTREAM:
            endpoint.position = self.judge.position_of(connection, peer)
        connection.endpoint = endpoint
        self._come(endpoint)
        if old is not None and old is not connection:
            old.say_goodbye(Status.REPLACED, "another control stream stays")

    def look_where(self, endpoint: Endpoint) -> None:
        """Take a downstream that is below another node by now for the peer that it is."""
        upstream_id = self._context.table.registry.tree.upstream_of(endpoint.bus_id)
        is_elsewhere = upstream_id not in (0, None, self._context.bus_id)
        neighbor = self._context.table.get(BusId(endpoint.bus_id))
        if endpoint.position is Position.DOWNSTREAM and is_elsewhere and neighbor is not None:
            endpoint.position = Position.PEER
            self._context.table.add(attrs.evolve(neighbor, position=Position.PEER))
            self.traffic.changed()

    def registered(self, connection: Connection, peer: PeerTerms) -> None:
        """Open the link: from now on frames flow."""
        self._context.registered_with(peer.known_epoch)
        if connection.endpoint is not None:
            connection.peer = peer = _share(peer, connection.endpoint.peer)
        if peer.mode is Mode.TEMPORARY:
            endpoint = Endpoint(self._context, peer, Position.DOWNSTREAM)
            endpoint.control = connection
            connection.endpoint = endpoint
            self.temporary.add(endpoint)
        channel = connection.channel
        if channel is not None:
            channel.frame_limit = peer.frame_max
            if IDescriptorChannel.providedBy(channel):
                shares = peer.capabilities & Capability.LANES
                channel.takes_descriptors = bool(shares)
        connection.link = self.link_for(connection, self._frame_bytes_to(channel, peer))
        self._context.events.on_register(peer.bus_id, connection, Status.OK)
        if connection.endpoint is not None and not connection.endpoint.temporary:
            self._connected(connection.endpoint, connection)

    def _frame_bytes_to(self, channel: IChannel | None, peer: PeerTerms) -> int:
        """Give the longest frame to send on a channel: longer ones than a network's on the host."""
        if channel is not None and channel.address.locality is not Locality.NETWORK:
            return peer.frame_max
        return min(peer.frame_max, self._context.config.frame_bytes_far)

    def link_for(
        self, connection: Connection, frame_bytes_max: int, kind: Callable[..., Link] = Link
    ) -> Link:
        """
        Make the link of a connection that is registered, or of a ring.

        :param frame_bytes_max: The longest frame the other side takes.
        :param kind: Makes it.
        """
        return kind(
            self._context,
            connection,
            frame_bytes_max=frame_bytes_max,
            data_reader=self.data_reader,
            publication_reader=self.publication_reader,
            readers=self.readers,
            pass_on=self.pass_on,
        )

    def _connected(self, endpoint: Endpoint, connection: Connection) -> None:
        if connection.role is Role.DATA:
            endpoint.data.append(connection)
            endpoint.data_missing_since = None
            endpoint.data_attempts = 0
            self.on_data_stream(connection)
            self.on_data(endpoint)
            self.on_stream(endpoint)
            if endpoint.gate is Gate.CLOSED:
                self.on_gate(endpoint)
            return
        if self._context.mode is Mode.TEMPORARY:
            self.on_available(endpoint)
            return
        endpoint.heartbeat.open(self._context.now, self._context.random.random())
        self.on_control(endpoint)
        if endpoint.gate is Gate.OPEN:
            # It took the place of another control stream; data flows already.
            self.on_available(endpoint)
        else:
            self.on_needs_data(endpoint)

    def refused(self, connection: Connection, status: Status, detail: str, by_peer: bool) -> None:
        """Report a failed registration and take back what it had added."""
        peer_id = connection.bus_id or connection.hello_id
        self._context.events.on_register(peer_id, connection, status)
        if status not in ANOTHER_STAYS:
            who = "the other side refused" if by_peer else "we refused"
            if status.is_loss and not by_peer:
                who = "it has come to nothing"
            why = f": {detail}" if detail else ""
            self._context.events.on_error(status, f"{connection}: {who}{why}")
        self.on_refused(connection, status, detail, by_peer)
        self._forget_connection(connection, status)

    # The end of connections and endpoints.

    def left(self, connection: Connection, status: Status, detail: str) -> None:
        """Stop using a connection whose other side has said goodbye."""
        endpoint = connection.endpoint
        if endpoint is None:
            return
        if connection is endpoint.control and status is not Status.REPLACED:
            self.on_leaving(endpoint)
        self.traffic.changed()

    def closed(self, connection: Connection, status: Status, detail: str) -> None:
        """Report what a connection held, and remove the endpoint that cannot be without it."""
        events = self._context.events
        if not isinstance(connection, RingConnection):
            if connection.link is not None:
                # Its channel takes nothing more, whatever is answered to what is read at last.
                connection.link.muted = True
            self.on_stream_closed(connection)
        link, connection.link = connection.link, None
        if link is None:
            events.on_invalid_connection(connection, status)
        kept, unsent = ([], []) if link is None else link.end()
        endpoint = connection.endpoint
        self._forget_connection(connection, status)
        if endpoint is not None:
            self.traffic.changed()
        self.traffic.lost(kept, Status.UNCERTAIN)
        if isinstance(connection, RingConnection):
            # The stream is still there.
            self.traffic.resubmit(unsent, Status.NOT_CONNECTED)
        else:
            self.traffic.lost(unsent, Status.NOT_CONNECTED)
        events.on_close_connection(connection, status)
        self.on_closed(connection, status, detail)

    def _forget_connection(self, connection: Connection, status: Status) -> None:
        if isinstance(connection, RingConnection):
            self._forget_ring(connection)
            return
        endpoint, connection.endpoint = connection.endpoint, None
        if endpoint is None:
            # It may have been the stream for which another one was given up.
            known = self.endpoints.get(connection.hello_id)
            if known is not None and not (known.control or self.is_expected(known.bus_id)):
                self.remove(known, status)
            return
        if endpoint.control is connection:
            endpoint.control = None
            self.on_control_lost(endpoint)
            self._without_control(endpoint, status)
        elif connection in endpoint.data:
            endpoint.data.remove(connection)
            if endpoint.removed is not None:
                return
            self.on_stream_lost(endpoint, connection)
            if endpoint.gate is Gate.DRAINING:
                return
            if endpoint.stream_link is None:
                self._without_data(endpoint)
            else:
                self.on_needs_data(endpoint)

    def _forget_ring(self, ring: RingConnection) -> None:
        """Take a ring from its endpoint, which goes on over the stream."""
        endpoint = ring.endpoint
        if endpoint is not None and ring in endpoint.rings:
            endpoint.rings.remove(ring)
            self.on_ring_lost(ring)
            if endpoint.data_link is None and endpoint.gate in (Gate.OPEN, Gate.CHANGING):
                self._without_data(endpoint)
        ring.endpoint = None

    def _without_control(self, endpoint: Endpoint, status: Status) -> None:
        """Remove an endpoint, unless a stream that crossed the lost one is about to register."""
        if not (status in ANOTHER_STAYS and self.is_expected(endpoint.bus_id)):
            self.remove(endpoint, status)

    def _without_data(self, endpoint: Endpoint) -> None:
        if endpoint.data_link is not None:
            # A ring carries data; the stream is dialled again all the same.
            self.on_needs_data(endpoint)
            return
        self._context.table.set_usable(BusId(endpoint.bus_id), False)
        if endpoint.gate is not Gate.RETURNING:
            endpoint.gate = Gate.CLOSED
        self.traffic.changed()
        self.on_data_lost(endpoint)
        if endpoint.gate is Gate.CLOSED:
            self.on_needs_data(endpoint)

    def remove(self, endpoint: Endpoint, status: Status) -> None:
        """Remove an endpoint, answer what waited for it, and close its connections."""
        if endpoint.removed is not None:
            return
        endpoint.removed = status
        self.judge.forget(endpoint)
        if endpoint.temporary:
            self.temporary.discard(endpoint)
        elif self.endpoints.get(endpoint.bus_id) is endpoint:
            del self.endpoints[endpoint.bus_id]
            self._context.table.remove(BusId(endpoint.bus_id))
            self.on_left(endpoint)
            self.traffic.changed()
        waiting = endpoint.pending.take()
        for connection in list(endpoint.connections):
            if connection.link is not None and status in _ORDERLY:
                connection.say_goodbye(status)
            else:
                connection.close(status)
        self.traffic.resubmit(waiting, Status.CLOSING)
        if not endpoint.temporary:
            self.on_removed(endpoint, status)
            self._context.events.on_endpoint_removed(endpoint, status)

    def expire_pending(self) -> None:
        """Answer messages that have waited too long for their endpoint."""
        now = self._context.now
        for endpoint in list(self.endpoints.values()):
            if endpoint.pending:
                late = endpoint.pending.expire(now)
                if late:
                    self.traffic.lost(late, Status.TIMEOUT)

    def addresses_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the new list of a neighbor's addresses."""
        message = link.read(frame, head)
        endpoint = link.connection.endpoint
        neighbor = None if endpoint is None else self._context.table.get(BusId(endpoint.bus_id))
        if isinstance(message, AddressUpdate) and neighbor is not None:
            listens = _addresses(message.addresses)
            self._context.table.add(attrs.evolve(neighbor, listens=listens))
            self.on_addresses(neighbor.bus_id, message.addresses)
            self.traffic.changed()

    def count_waiting(self) -> int:
        """Count the items that wait for endpoints, for a stop that loses nothing."""
        return sum(len(endpoint.pending) for endpoint in self.endpoints.values())


# Two dials crossed: what ends is one stream, not the way to the other node.
ANOTHER_STAYS = frozenset({Status.CROSSED_DIAL, Status.REPLACED})
_ORDERLY = frozenset(
    {
        Status.DISCONNECTED,
        Status.STOPPED,
        Status.REPLACED,
        Status.NO_DATA_CONNECTION,
        Status.GOODBYE,
    }
)


def _addresses(texts: tuple[str, ...]) -> tuple[Address, ...]:
    """Read what a peer announced; an address of a kind that we do not know is no fault."""
    found = []
    for text in texts:
        try:
            found.append(parse_address(text))
        except AddressError:
            continue
    return tuple(found)


def _share(said: PeerTerms, known: PeerTerms) -> PeerTerms:
    """Give what was said on a connection, without keeping twice what its endpoint has anyway."""
    if said == known:
        return known
    # Who a node is, its control connection has said.
    return attrs.evolve(said, request=known.request) if said.role is Role.DATA else said
