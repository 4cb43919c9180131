"""Messages that teach neighbors who is where: route table sync, and leaving without loss."""

from __future__ import annotations

from typing import ClassVar

import attrs

from atbus.busid import Subnet
from atbus.errors import Status
from atbus.wire.messages.envelope import Message, sorted_pairs
from atbus.wire.messages.numbers import MessageType, RouteOperation


@attrs.frozen(kw_only=True)
class SubscribeRequest(Message):
    """
    "Tell me what you know of the topology" (wire protocol, section 7.15).

    :param want_snapshot: Whether everything known is sent before the changes.
    :param known_snapshot_id: The last snapshot that arrived whole on this connection; 0 for none.
    """

    message_type: ClassVar[MessageType] = MessageType.SUBSCRIBE_REQUEST

    want_snapshot: bool = True
    known_snapshot_id: int = 0


@attrs.frozen(kw_only=True)
class SubscribeResponse(Message):
    """
    The answer to a SUBSCRIBE_REQUEST (wire protocol, section 7.16).

    :param status: OK, or why nothing will be told.
    :param snapshot_id: The id under which the snapshot follows; 0 when none follows.
    """

    message_type: ClassVar[MessageType] = MessageType.SUBSCRIBE_RESPONSE

    status: Status = Status.OK
    snapshot_id: int = 0


@attrs.frozen(kw_only=True)
class RouteRecord:
    """
    One entry of a ROUTE_BATCH (wire protocol, section 7.17).

    A removal needs *operation*, *bus_id*, *epoch* and *seq* only.

    :param operation: What to do with the record.
    :param bus_id: The node it is about.
    :param epoch: First half of the stamp, made by that node: its incarnation.
    :param seq: Second half of the stamp: grows with each change of the record.
    :param upstream_id: The node's upstream; 0 for none.
    :param node_flags: See `NodeFlag`.
    :param subnets: As in REGISTER_REQUEST.
    :param labels: As in REGISTER_REQUEST.
    :param addresses: As in REGISTER_REQUEST.
    :param host: As in REGISTER_REQUEST.
    :param process: As in REGISTER_REQUEST.
    """

    operation: RouteOperation = RouteOperation.ADD
    bus_id: int
    epoch: int
    seq: int
    upstream_id: int = 0
    node_flags: int = 0
    subnets: tuple[Subnet, ...] = ()
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=sorted_pairs)
    addresses: tuple[str, ...] = ()
    host: str = ""
    process: str = ""


@attrs.frozen(kw_only=True)
class RouteBatch(Message):
    """
    A part of a snapshot, or changes after it (wire protocol, section 7.17).

    :param snapshot_id: Which snapshot this is a part of; 0 for changes.
    :param index: Place among the batches of the snapshot, from 0.
    :param last: Whether the snapshot is complete with this batch.
    :param dump: Whether this is a part of a snapshot.
    :param records: At most 1,000, to be applied in this order.
    """

    message_type: ClassVar[MessageType] = MessageType.ROUTE_BATCH

    snapshot_id: int = 0
    index: int = 0
    last: bool = False
    dump: bool = False
    records: tuple[RouteRecord, ...] = ()


@attrs.frozen(kw_only=True)
class Drain(Message):
    """
    "I am leaving: move your traffic elsewhere" (wire protocol, section 7.21).

    :param grace_ms: How long the sender goes on forwarding, in milliseconds.
    :param detail: Why, in words.
    """

    message_type: ClassVar[MessageType] = MessageType.DRAIN

    grace_ms: int
    detail: str = ""


@attrs.frozen(kw_only=True)
class DrainAck(Message):
    """
    "I have moved", or why not (wire protocol, section 7.22).

    :param status: OK once nothing more is sent through the drained node.
    :param upstream_id: The new upstream; 0 for none.
    """

    message_type: ClassVar[MessageType] = MessageType.DRAIN_ACK

    status: Status = Status.OK
    upstream_id: int = 0
