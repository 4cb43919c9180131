"""
Keeping a data stream to an endpoint, and the best one.

Whoever dialled the control stream dials the data stream (`atbus.routing.dial_plan`): when there is
none, until the endpoint is given up; and when there is one, each better address that the other side
announces or has announced, at longer and longer intervals while that fails. Which stream data takes
each side decides for what it sends, by the same rule (`Endpoint.best_stream`), and both leave the
worse one; who has dialled that ends it when it is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from atbus import limits
from atbus.address import Address, Locality
from atbus.busid import BusId
from atbus.errors import ConnectFailed, Status
from atbus.node import bounds
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.identity import distance_to
from atbus.routing.dial_plan import data_addresses
from atbus.wire.messages import Mode

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.registrar import Registrar


@attrs.define(eq=False)
class _Tries:
    """Dials of better streams to one endpoint: the last one, the wait after it, their number."""

    dialled_at: float
    seconds: float
    number: int = 0


class DataStreams:
    """Dial data streams, and end those that nobody uses any more."""

    def __init__(self, context: Context, registrar: Registrar, dialer: Dialer) -> None:
        # Set by the node, which wires its parts: lets data take the best channel.
        self.choose: Callable[[Endpoint], None]
        self._context = context
        self._registrar = registrar
        self._dialer = dialer
        self._tries: dict[Endpoint, _Tries] = {}
        # What was dialled last, as long as it may register.
        self._dialled: dict[Endpoint, Connection] = {}

    # One that is missing.

    def need(self, endpoint: Endpoint) -> None:
        """Dial a data stream if there is none that both sides use, and it is for us to dial."""
        if endpoint.has_stream:
            return
        now = self._context.now
        if endpoint.data_missing_since is None:
            endpoint.data_missing_since = now
        control = endpoint.control
        if control is None or endpoint.gate is Gate.DRAINING or not self._may_dial(endpoint):
            return
        addresses = self._addresses(endpoint, control.address)
        address = addresses[min(endpoint.data_attempts, len(addresses) - 1)]
        endpoint.data_attempts += 1
        self._dial(endpoint, address, is_last=address == control.address)

    def _may_dial(self, endpoint: Endpoint) -> bool:
        return (
            endpoint.removed is None
            and not endpoint.data_dialling
            and not self.is_registering(endpoint)
            and endpoint.control is not None
            and endpoint.control.dialled
            and self._context.mode is not Mode.TEMPORARY
        )

    def is_registering(self, endpoint: Endpoint) -> bool:
        """Tell whether a stream that was dialled just now may come yet: two would be too many."""
        dialled = self._dialled.get(endpoint)
        if dialled is None:
            return False
        is_recent = self._context.now - endpoint.data_dialled_at < limits.DATA_REDIAL_SECONDS
        if is_recent and dialled.is_registering:
            return True
        del self._dialled[endpoint]
        return False

    def _dial(
        self, endpoint: Endpoint, address: Address, *, is_last: bool = False, is_told: bool = True
    ) -> None:
        endpoint.data_dialling = True
        endpoint.data_dialled_at = self._context.now
        dialled = self._dialled[endpoint] = self._dialer.data_connection(endpoint, address)
        dialling = self._dialer.open(dialled)

        def failed(failure: Failure) -> None:
            self._dialled.pop(endpoint, None)
            if failure.trap(ConnectFailed, CancelledError) is ConnectFailed:
                if is_told:
                    self._context.events.on_error(Status.CONNECT_FAILED, str(failure.value))
                if not is_last:
                    self.need(endpoint)

        def done(result: object) -> object:
            endpoint.data_dialling = False
            return result

        dialling.addBoth(done).addErrback(failed)

    def _addresses(self, endpoint: Endpoint, control: Address) -> list[Address]:
        """
        List where to dial data, the best first, one for each attempt; the control stream's is last.

        What a certificate has proven is not left for a stream that proves nothing.
        """
        neighbor = self._context.table.get(BusId(endpoint.bus_id))
        if neighbor is None or control.is_tls:
            return [control]
        told = endpoint.peer.request
        distance = distance_to(self._context.identity, told.host, told.process)
        near = distance is not Locality.NETWORK
        # One-way channels are opened by those who write to them.
        found = data_addresses(
            control, neighbor.listens, dialled=True, same_host=near, same_process=False
        )
        return [address for address in found if address.is_duplex]

    # A better one.

    def addresses_changed(self, endpoint: Endpoint) -> None:
        """Look at once at what an endpoint has announced anew, unless one was dialled just now."""
        tries = self._tries.get(endpoint)
        if tries is not None:
            tries.seconds = bounds.BETTER_STREAM_SECONDS
        self._look_for_better(endpoint)

    def _look_for_better(self, endpoint: Endpoint) -> None:
        """Dial a stream that is better than the best there is, if there may be one."""
        control, tries, now = endpoint.control, self._tries.get(endpoint), self._context.now
        if (
            control is None
            or not self._may_dial(endpoint)
            or endpoint.gate is not Gate.OPEN
            or self._context.draining
            or (tries is not None and now - tries.dialled_at < tries.seconds)
        ):
            return
        best = endpoint.best_stream
        if best is None:
            return
        rank, neighbor = best.address.rank, self._context.table.get(BusId(endpoint.bus_id))
        told = () if neighbor is None else neighbor.listens
        # Every sweep asks this of every neighbor, and hardly any has one.
        if not any(each.rank < rank and each.is_duplex for each in (*told, control.address)):
            return
        better = [each for each in self._addresses(endpoint, control.address) if each.rank < rank]
        if not better:
            return
        longest = bounds.BETTER_STREAM_SECONDS_MAX
        is_first = tries is None or now - tries.dialled_at >= 2 * longest
        if tries is None or is_first:
            tries = self._tries[endpoint] = _Tries(now, bounds.BETTER_STREAM_SECONDS)
        else:
            tries.dialled_at, tries.seconds = now, min(longest, 2 * tries.seconds)
        # Of those that fail in a row the first is told.
        self._dial(endpoint, better[tries.number % len(better)], is_told=is_first)
        tries.number += 1

    # One that is not used any more.

    def left_by_peer(self, stream: Connection) -> None:
        """Take note that the other side sends no data on a stream any more."""
        endpoint = stream.endpoint
        if endpoint is None or stream not in endpoint.data or endpoint.removed is not None:
            return
        stream.is_left_by_peer = True
        self.choose(endpoint)
        if not endpoint.has_stream and endpoint.data_missing_since is None:
            # Usually the better one is about to be registered; if not, the sweep dials.
            endpoint.data_missing_since = self._context.now

    def _end_left(self, endpoint: Endpoint) -> None:
        """Take leave of our streams that are empty, when both sides have left them."""
        for stream in endpoint.data:
            is_left = stream.is_left and stream.is_left_by_peer and stream.dialled
            if is_left and not stream.leaving and stream.link is not None and stream.link.idle:
                stream.say_goodbye(Status.REPLACED, "a better stream stays")

    def sweep(self) -> None:
        """Dial what is missing or better; give up endpoints that stay without data too long."""
        now = self._context.now
        for endpoint in list(self._registrar.endpoints.values()):
            if len(endpoint.data) > 1:
                self.choose(endpoint)
                self._end_left(endpoint)
            since = endpoint.data_missing_since
            if since is None:
                self._look_for_better(endpoint)
            elif endpoint.gate is Gate.DRAINING:
                continue
            elif now - since >= limits.DATA_CONNECTION_SECONDS:
                self._registrar.remove(endpoint, Status.NO_DATA_CONNECTION)
            elif now - endpoint.data_dialled_at >= limits.DATA_REDIAL_SECONDS:
                self.need(endpoint)

    def forget(self, endpoint: Endpoint) -> None:
        """Keep nothing of an endpoint that is gone."""
        self._tries.pop(endpoint, None)
        self._dialled.pop(endpoint, None)
