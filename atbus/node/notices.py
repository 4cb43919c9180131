"""
Siblings are told of each other.

A node that relays between two of its children tells the sender where the other one can be dialled;
from then on they talk directly. Only the sending child is told, only about a sibling that it wrote
to itself, and not again for a while (`limits.NOTICE_INTERVAL_SECONDS`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from atbus import limits
from atbus.address import parse_address
from atbus.busid import BusId
from atbus.errors import AddressError, AtbusError
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.outbox import Notice, Relayed
from atbus.routing.dial_plan import notice_address
from atbus.routing.table import Position
from atbus.wire.messages import ConnectNotice

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.link import Link
    from atbus.node.registrar import Registrar
    from atbus.wire.head import Head


class Notices:
    """Send and obey connect notices."""

    def __init__(self, context: Context, registrar: Registrar, dialer: Dialer) -> None:
        self._context = context
        self._registrar = registrar
        self._dialer = dialer
        self._told: dict[tuple[int, int], float] = {}

    def relayed(self, origin: Endpoint, hop: Endpoint, item: Relayed) -> None:
        """Look at something that was just passed from *origin* to *hop*."""
        if (
            origin.position is not Position.DOWNSTREAM
            or hop.position is not Position.DOWNSTREAM
            or item.source != origin.bus_id
            or item.target != hop.bus_id
            or hop.gate is not Gate.OPEN
            or not self._context.config.direct_notice
        ):
            return
        pair = (origin.bus_id, hop.bus_id)
        now = self._context.now
        if self._told.get(pair, now) > now or origin.control_link is None:
            return
        neighbor = self._context.table.get(BusId(hop.bus_id))
        address = notice_address(
            () if neighbor is None else neighbor.listens,
            same_host=origin.peer.request.host == hop.peer.request.host,
        )
        if len(self._told) >= limits.NOTICES_REMEMBERED_MAX:
            self._told.clear()
        self._told[pair] = now + limits.NOTICE_INTERVAL_SECONDS
        if address is None:
            return
        notice = ConnectNotice(
            source=self._context.bus_id,
            destination=origin.bus_id,
            target=hop.bus_id,
            addresses=(str(address),),
        )
        origin.control_link.put(Notice(notice))

    def notice_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Dial a sibling that our upstream tells us of; nobody else's notices are obeyed."""
        endpoint = link.connection.endpoint
        message = link.read(frame, head)
        if (
            not isinstance(message, ConnectNotice)
            or endpoint is None
            or endpoint.position is not Position.UPSTREAM
            or not self._context.config.accept_notices
            or message.target in self._registrar.endpoints
            or message.target == self._context.bus_id
        ):
            self._context.statistics.ignored_frames += 1
            return
        for text in message.addresses[:1]:
            try:
                address = parse_address(text)
            except AddressError:
                self._context.statistics.ignored_frames += 1
                continue
            if not address.is_duplex:
                continue
            dialling = self._dialer.connect(address, expected_id=message.target)
            dialling.addErrback(self._failed, message.target)

    def _failed(self, failure: Failure, target: int) -> None:
        """Go on through the upstream; the next notice is the next attempt."""
        failure.trap(AtbusError)
        self._context.log.info(
            "no direct connection to {target:#x}: {reason}",
            target=target,
            reason=str(failure.value),
        )
