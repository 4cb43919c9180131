"""
Whether a node shares memory with others of its host, and if not, why not: said once, and shown.

Shared memory is an offer of speed and nothing that anybody depends on. Where it cannot be had a
node runs without it, over its sockets, however it was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from atbus.address import Address, Scheme
from atbus.busid import format_bus_id
from atbus.channels.interfaces import IDescriptorChannel
from atbus.errors import Status

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint

#: Traffic from one neighbor in a second that makes a lane worth its memory.
LANE_WORTH_BYTES: Final = 65_536

_NO_STREAM: Final = (
    "there is no unix socket between us to offer memory over; listen on unix:// as well"
)


class Sharing:
    """
    What one node knows of sharing memory.

    :param why_not: Why there are no lanes here; empty where there can be.
    """

    def __init__(self, context: Context, why_not: str) -> None:
        self.why_not = why_not
        self._context = context
        self._has_told = False
        self._without: Endpoint | None = None
        # When an endpoint was looked at, and how many bytes had come from it by then.
        self._heard: dict[Endpoint, tuple[float, int]] = {}

    @property
    def state(self) -> str:
        """Whether memory is shared, for people: ``on``, or ``off`` and why."""
        if not any(address.scheme is Scheme.SHM for address in self._context.config.listen):
            return "off"
        if self.why_not:
            return f"off: {self.why_not}"
        if self._without is not None:
            return f"not with {format_bus_id(self._without.bus_id)}: {_NO_STREAM}"
        return "on"

    def places(self) -> list[Address]:
        """Give the addresses to listen on when the node starts, and say if some are left out."""
        listen = self._context.config.listen
        places = [each for each in listen if not (self.why_not and each.scheme is Scheme.SHM)]
        if len(places) < len(listen):
            self._tell(f"memory is not shared: {self.why_not}")
        return places

    def has_no_stream(self, endpoint: Endpoint) -> None:
        """Say of a neighbor that deserves a lane that none can be offered to it."""
        self._without = self._without or endpoint
        self._tell(f"memory is not shared with {format_bus_id(endpoint.bus_id)}: {_NO_STREAM}")

    def offered(self, endpoint: Endpoint) -> None:
        """Take note that a neighbor has been offered a lane: there is a stream by now."""
        if self._without is endpoint:
            self._without = None

    def _tell(self, sentence: str) -> None:
        if not self._has_told:
            self._has_told = True
            self._context.events.on_error(Status.POLICY_DENIED, sentence)

    def deserves(self, endpoint: Endpoint, now: float) -> bool:
        """
        Tell whether what an endpoint sends us over its streams is worth a lane.

        :param now: The time, seconds.
        """
        channels = (connection.channel for connection in endpoint.data)
        heard = sum(each.read_bytes for each in channels if IDescriptorChannel.providedBy(each))
        since, before = self._heard.setdefault(endpoint, (now, heard))
        if now - since < 1.0:
            return False
        self._heard[endpoint] = (now, heard)
        return heard - before >= LANE_WORTH_BYTES * (now - since)

    def forget(self, endpoint: Endpoint) -> None:
        """Keep nothing of an endpoint that is gone."""
        self._heard.pop(endpoint, None)
        self.offered(endpoint)
