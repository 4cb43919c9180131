"""
The words between `atbus.routing.sync` and whoever performs it: settings, neighbors, effects.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import attrs

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import Status
from atbus.routing import bounds
from atbus.routing.batch import Batch
from atbus.routing.record import Record, Stamp
from atbus.routing.table import Position
from atbus.wire.messages import RouteBatch, SubscribeRequest, SubscribeResponse


class TableMode(enum.Enum):
    """How much of the topology a node wants to know; the value is what a configuration says."""

    #: Everything, from when it has a downstream or a peer; without them its upstream will do.
    AUTO = "auto"
    #: Everything.
    FULL = "full"
    #: Its upstream only. It still tells of itself and of what is below it.
    UPSTREAM = "upstream"
    #: It neither asks nor tells: routing goes by subnets and upstream.
    OFF = "off"


@attrs.frozen(kw_only=True)
class SyncTimes:
    """How long what is waited for, seconds; see `atbus.limits` for the reasons."""

    gather: float = limits.ROUTE_GATHER_SECONDS
    parting: float = bounds.PARTING_SECONDS
    child_grace: float = limits.CHILD_GRACE_SECONDS
    upstream_patience: float = limits.UPSTREAM_PATIENCE_SECONDS
    parent_grace: float = limits.PARENT_GRACE_SECONDS
    tombstone: float = limits.TOMBSTONE_SECONDS
    refutation: float = limits.REFUTATION_SECONDS
    own_word: float = limits.OWN_WORD_SECONDS
    snapshot: float = limits.SNAPSHOT_SECONDS
    change: float = limits.ROUTE_CHANGE_SECONDS


@attrs.frozen(kw_only=True)
class Peer:
    """
    A neighbor that can be reached.

    :param record: What it said of itself when it registered, under its epoch and seq 0.
    :param position: On which side of us it registered.
    :param tells: Whether both sides have the capability ROUTE_TABLE.
    :param batch_bytes_max: The longest body of a frame to it.
    :param certified: The ids that its certificate names; None without one.
    """

    record: Record
    position: Position
    tells: bool = True
    batch_bytes_max: int = limits.FRAME_BYTES - limits.FRAME_HEAD_BYTES
    certified: Subnet | None = None

    @property
    def bus_id(self) -> int:
        """Who it is."""
        return self.record.bus_id

    @property
    def life(self) -> tuple[int, int]:
        """Which life of which node it is: its id and its epoch."""
        return self.record.bus_id, self.record.stamp.epoch

    def is_certified(self, record: Record) -> bool:
        """
        Tell whether its certificate lets it tell of a node.

        :param record: What it tells.
        :returns: Whether the id and all ranges are within its range, or there is no certificate.
        """
        certified = self.certified
        return certified is None or (
            certified.contains(record.bus_id)
            and all(certified.contains_subnet(subnet) for subnet in record.subnets)
        )


SyncMessage: TypeAlias = SubscribeRequest | SubscribeResponse | Batch | RouteBatch


@attrs.frozen
class Send:
    """
    Send a message on the control connection of a neighbor, behind those before.

    :param bus_id: To whom.
    :param message: What. When a `Batch` has left this process, `RouteSync.sent` is to be called.
    """

    bus_id: int
    message: SyncMessage


@attrs.frozen
class Learn:
    """
    A node is known now, or by a newer record.

    :param record: The best record of it.
    """

    record: Record


@attrs.frozen
class Forget:
    """
    Nothing is known of a node any more.

    :param bus_id: The node.
    """

    bus_id: int


@attrs.frozen
class Announce:
    """
    Our own record has changed.

    :param record: What is told from now on.
    """

    record: Record


@attrs.frozen
class LostId:
    """
    Another process has our id, and is the newer one.

    :param process: Which one.
    :param stamp: What it tells.
    """

    process: str
    stamp: Stamp


@attrs.frozen
class Contested:
    """
    A neighbor is registered here, and another one tells that a newer process has its id.

    :param bus_id: The neighbor.
    :param told_by: Who tells it.
    :param process: Which process has its id.
    """

    bus_id: int
    told_by: int
    process: str


@attrs.frozen
class Ignored:
    """
    Words that a neighbor may not say, or that are too many, were not taken.

    :param bus_id: The neighbor.
    :param status: `SOURCE_REFUSED`, `BUFFER_LIMIT`, `OUT_OF_TURN` or `MALFORMED_FRAME`.
    :param count: How many.
    :param about: A node of which the neighbor has told and which its certificate does not name,
        the first time that this happens; else None.
    """

    bus_id: int
    status: Status
    count: int
    about: int | None = None


@attrs.frozen
class Delayed:
    """
    A neighbor tells more than it may in this time; what has arrived now is read later.

    :param bus_id: The neighbor.
    :param is_first: Whether it has not been named for it since it was last within its rate.
    :param is_long: Whether so much of it waits that it is not to be heard for a while.
    """

    bus_id: int
    is_first: bool
    is_long: bool = False


Effect: TypeAlias = Send | Learn | Forget | Announce | LostId | Contested | Ignored | Delayed
