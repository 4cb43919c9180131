"""
The links to other nodes, told as nats-server tells its routes.

A connection between two servers of NATS is a *route*; here it is what leads to a registered node.
What is counted is what routes carry, publications; other messages are in the statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atbus.address import parse_address
from atbus.busid import BusId
from atbus.errors import AddressError
from atbus.node.report import PeerReport
from atbus.routing.table import Position
from atbus.subjects.neighbor import wholes

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.interest_talk import InterestTalk
    from atbus.node.registrar import Registrar
    from atbus.node.sources import Sources


class PeerLinks:
    """
    Tell of the links to other nodes.

    :param sources: Knows whom the node is to stay connected to.
    :param talk: Knows what each of them wants.
    """

    def __init__(
        self, context: Context, registrar: Registrar, sources: Sources, talk: InterestTalk
    ) -> None:
        self._context = context
        self._registrar = registrar
        self._sources = sources
        self._talk = talk

    def reports(self) -> list[PeerReport]:
        """Describe each registered node, in the order of ids."""
        return [self._report(each) for _, each in sorted(self._registrar.endpoints.items())]

    def _report(self, endpoint: Endpoint) -> PeerReport:
        now, control = self._context.now, endpoint.control
        channel = None if control is None else control.channel
        host, port = ("", 0) if channel is None else _place(channel.peer)
        is_upstream = endpoint.position is Position.UPSTREAM
        links = [each.link for each in endpoint.connections if each.link is not None]
        return PeerReport(
            id=BusId(endpoint.bus_id),
            hostname=endpoint.peer.request.hostname,
            dialled=control is not None and control.dialled,
            configured=is_upstream or self._sources.keeps(endpoint.bus_id),
            ip=host,
            port=port,
            age_seconds=round(now - endpoint.added_at, 3),
            idle_seconds=round(max(0.0, now - endpoint.heartbeat.heard_at), 3),
            rtt_seconds=endpoint.rtt_seconds,
            pending_bytes=endpoint.pending.queued_bytes + sum(each.queued_bytes for each in links),
            in_publications=endpoint.in_publications,
            out_publications=endpoint.out_publications,
            in_bytes=endpoint.in_publication_bytes,
            out_bytes=endpoint.out_publication_bytes,
            subscriptions=len(wholes(self._talk.wanted_by(endpoint.bus_id))),
        )


def _place(peer: str) -> tuple[str, int]:
    """Read host and port of what a channel says of its other end; there may be none."""
    try:
        address = parse_address(peer)
    except AddressError:
        return "", 0
    return (address.host, address.port) if address.port else ("", 0)
