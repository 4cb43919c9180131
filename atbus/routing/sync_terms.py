"""
The words between `atbus.routing.sync` and whoever performs it: settings, neighbors, effects.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import attrs

from atbus import limits
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
    """

    record: Record
    position: Position
    tells: bool = True
    batch_bytes_max: int = limits.FRAME_BYTES - limits.FRAME_HEAD_BYTES

    @property
    def bus_id(self) -> int:
        """Who it is."""
        return self.record.bus_id


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
class Ignored:
    """
    Words that a neighbor may not say, or that are too many, were not taken.

    :param bus_id: The neighbor.
    :param status: `SOURCE_REFUSED`, `BUFFER_LIMIT`, `OUT_OF_TURN` or `MALFORMED_FRAME`.
    :param count: How many.
    """

    bus_id: int
    status: Status
    count: int


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


Effect: TypeAlias = Send | Learn | Forget | Announce | LostId | Ignored | Delayed
