"""
The normative layout of every message, in construct (wire protocol, sections 2, 3 and 7).

Control messages are built and parsed here at run time. For what is sent often there is
`atbus.wire.codec`, and tests prove the two equal. This is the only module that knows construct.

A body is *open* or *closed*. Open bodies may grow: what follows the fields we know is of a newer
version and is not looked at. In closed ones the payload ends with the frame, so they cannot.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from construct import (
    Array,
    Bytes,
    Const,
    Construct,
    ConstructError,
    ExprAdapter,
    GreedyBytes,
    Int8ul,
    Int16ul,
    Int32sl,
    Int32ul,
    Int64ul,
    Padding,
    PascalString,
    Prefixed,
    PrefixedArray,
    Sequence,
    Struct,
    Terminated,
    this,
)

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import (
    LocalProtocolError,
    MalformedFrame,
    RemoteProtocolError,
    Status,
    UnknownMandatory,
)
from atbus.limits import FRAME_HEAD_BYTES as HEAD_SIZE
from atbus.wire import shapes
from atbus.wire.bounds import SERVICE_ENTRIES_MAX
from atbus.wire.messages import (
    IGNORABLE_BIT,
    MAGIC,
    MANDATORY_EXTRA_BIT,
    MESSAGE_CLASSES,
    Extra,
    ExtraType,
    FlowAction,
    FlowScope,
    Message,
    MessageType,
    Mode,
    Role,
    RouteOperation,
    Unknown,
)
from atbus.wire.rules import check, count_of, cut_detail

if TYPE_CHECKING:
    # Generic only in its stubs; they say little about adapters, the properties in tests say it all.
    Layout = Construct[Any, Any]


# ---- words ---------------------------------------------------------------------------------------


def _adapt(layout: Layout, read: Callable[[Any], Any], write: Callable[[Any], Any]) -> Layout:
    """
    Put a value of ours in the place of a layout's plain one.

    :param layout: What is on the wire.
    :param read: Makes the value; a ValueError says that there is none.
    :param write: Makes what the layout builds.
    :returns: The layout of the value.
    """
    return ExprAdapter(layout, lambda value, _: read(value), lambda value, _: write(value))


def _member(members: type[enum.IntEnum]) -> Layout:
    return _adapt(Int8ul, members, int)


def _tuple(layout: Layout, count_max: int) -> Layout:
    """
    Lay out a list with its count in front.

    :param layout: Of one item.
    :param count_max: More are refused before the first is read: what is hostile is also cheap.
    :returns: The layout of a tuple.
    """
    count = _adapt(Int16ul, lambda number: shapes.read_count(number, count_max), int)
    return _adapt(PrefixedArray(count, layout), tuple, list)


TRUTH = _adapt(Int8ul, shapes.read_truth, int)
STATUS = _adapt(Int16ul, Status.from_wire, int)
TEXT: Layout = PascalString(Int16ul, "utf8")
SHORT_BLOB: Layout = Prefixed(Int16ul, GreedyBytes)
BLOB: Layout = Prefixed(Int32ul, GreedyBytes)
# A reason in words is for people: it is cut on both sides, not refused.
DETAIL = _adapt(TEXT, cut_detail, cut_detail)
LABEL = _adapt(Sequence(TEXT, TEXT), tuple, list)
SUBNET = _adapt(
    Sequence(Int64ul, Int8ul),
    lambda pair: Subnet(*pair),
    lambda subnet: (subnet.first, subnet.mask_bits),
)


# ---- head and extras (sections 2.2 and 3.1) ------------------------------------------------------

HEAD: Layout = Struct(
    "length" / Int32ul,
    "type" / Int8ul,
    "flags" / Int8ul,
    "hop_limit" / Int8ul,
    "reserved" / Int8ul,
    "source" / Int64ul,
    "destination" / Int64ul,
    "sequence" / Int64ul,
    "epoch" / Int32ul,
    "frame" / Int32ul,
    "count" / Int16ul,
    "extras_length" / Int16ul,
    "ack" / Int32ul,
)
EXTRA = _adapt(
    Sequence(Int16ul, SHORT_BLOB),
    lambda pair: Extra(*pair),
    lambda extra: (extra.type, extra.value),
)


# ---- parts of bodies -----------------------------------------------------------------------------

# The table's length is the head's count.
_COUNT = this._params.count  # noqa: SLF001 - construct's own way to what parse() was given
RUN = _adapt(
    Struct(
        "table" / Array(_COUNT, Sequence(Int32ul, Int32sl)),
        "payloads" / Array(_COUNT, Bytes(lambda run: run.table[run["_index"]][0])),
    ),
    shapes.read_run,
    shapes.write_run,
)
PUBLICATION = Struct(
    "subject_length" / Int16ul,
    "reply_to_length" / Int16ul,
    "queue_count" / Int16ul,
    "served_count" / Int16ul,
    "subject" / Bytes(this.subject_length),
    "reply_to" / Bytes(this.reply_to_length),
    "served" / Array(this.served_count, Int64ul),
    "queues" / Array(this.queue_count, TEXT),
    "messages" / RUN,
    Terminated,
)
RECORD: Layout = Prefixed(
    Int16ul,
    Struct(
        "operation" / _member(RouteOperation),
        "node_flags" / Int16ul,
        "bus_id" / Int64ul,
        "upstream_id" / Int64ul,
        "epoch" / Int32ul,
        "seq" / Int64ul,
        "subnet_count" / Int16ul,
        "label_count" / Int16ul,
        "address_count" / Int16ul,
        "host" / Int16ul,
        "process" / Int16ul,
        "subnets" / Array(this.subnet_count, SUBNET),
        "labels" / Array(this.label_count, Sequence(Int16ul, Int16ul)),
        "addresses" / Array(this.address_count, Int16ul),
    ),
    includelength=True,
)
BATCH = Struct(
    "snapshot_id" / Int32ul,
    "index" / Int32ul,
    "last" / TRUTH,
    "dump" / TRUTH,
    "string_count" / Int16ul,
    "record_count" / Int16ul,
    "strings" / Array(this.string_count, TEXT),
    "records" / Array(this.record_count, RECORD),
)
INTEREST = _adapt(Sequence(Int32ul, TEXT, TEXT), shapes.read_interest, shapes.write_interest)
SERVICE = _adapt(
    Sequence(Int64ul, Int32ul, Int64ul, TEXT, BLOB), shapes.read_service, shapes.write_service
)
DIGESTS = Struct("sent_at_us" / Int64ul, "table_digest" / Int64ul, "interest_digest" / Int64ul)
TOKEN = Struct("token" / Int64ul)
RANGE = _adapt(Sequence(Int32ul, Int32ul), tuple, list)
STREAM: Final = ("stream_id" / Int32ul, "from_opener" / TRUTH, Padding(3))


# ---- bodies (section 7, in its order) ------------------------------------------------------------

BODIES: Mapping[MessageType, Layout] = MappingProxyType(
    {
        MessageType.HELLO: Struct(
            Const(MAGIC),
            "version_min" / Int16ul,
            "version_max" / Int16ul,
            "role" / _member(Role),
            "mode" / _member(Mode),
            Padding(2),
            "capabilities" / Int64ul,
            "frame_max" / Int32ul,
            "nonce" / Bytes(limits.NONCE_BYTES),
        ),
        MessageType.REGISTER_REQUEST: Struct(
            "wanted_id" / Int64ul,
            "node_flags" / Int16ul,
            # One more than there may be: it is the proof that is refused then, not the frame.
            "proofs" / _tuple(SHORT_BLOB, limits.ACCESS_TOKENS_MAX + 1),
            "host" / TEXT,
            "process" / TEXT,
            "hostname" / TEXT,
            "software" / TEXT,
            "subnets" / _tuple(SUBNET, limits.SUBNETS_MAX),
            "labels" / _tuple(LABEL, limits.LABELS_MAX),
            "addresses" / _tuple(TEXT, limits.ADDRESSES_MAX),
        ),
        MessageType.REGISTER_RESPONSE: Struct(
            "status" / STATUS,
            "assigned_id" / Int64ul,
            "known_epoch" / Int32ul,
            "detail" / DETAIL,
        ),
        MessageType.PING: DIGESTS,
        MessageType.PONG: DIGESTS,
        MessageType.LINK_ACK: Struct(
            "lane" / Int32ul, "early" / _tuple(RANGE, limits.ACK_RANGES_MAX)
        ),
        MessageType.GOODBYE: Struct("status" / STATUS, "detail" / DETAIL),
        MessageType.GOODBYE_ACK: Struct(),
        MessageType.ADDRESS_UPDATE: Struct("addresses" / _tuple(TEXT, limits.ADDRESSES_MAX)),
        MessageType.CONNECT_NOTICE: Struct(
            "target" / Int64ul, "addresses" / _tuple(TEXT, limits.ADDRESSES_MAX)
        ),
        MessageType.FLOW: Struct(
            "action" / _member(FlowAction), "scope" / _member(FlowScope), "subject_id" / Int64ul
        ),
        MessageType.LANE_OFFER: Struct(
            "lane" / Int32ul, "size_bytes" / Int32ul, "record_max" / Int32ul
        ),
        MessageType.LANE_ACCEPT: Struct("lane" / Int32ul, "status" / STATUS),
        MessageType.LANE_RETIRE: Struct("lane" / Int32ul, "status" / STATUS),
        MessageType.SUBSCRIBE_REQUEST: Struct(
            "want_snapshot" / TRUTH, "known_snapshot_id" / Int32ul
        ),
        MessageType.SUBSCRIBE_RESPONSE: Struct("status" / STATUS, "snapshot_id" / Int32ul),
        MessageType.ROUTE_BATCH: _adapt(BATCH, shapes.read_batch, shapes.write_batch),
        MessageType.INTEREST: Struct(
            "generation" / Int32ul,
            "replay" / TRUTH,
            "last" / TRUTH,
            "barrier" / Int64ul,
            "entries" / _tuple(INTEREST, limits.INTEREST_ENTRIES_MAX),
        ),
        MessageType.INTEREST_ACK: Struct(
            "generation" / Int32ul, "barrier" / Int64ul, "digest" / Int64ul
        ),
        MessageType.PUBLISH: _adapt(PUBLICATION, shapes.read_publication, shapes.write_publication),
        MessageType.DRAIN: Struct("grace_ms" / Int32ul, "detail" / DETAIL),
        MessageType.DRAIN_ACK: Struct("status" / STATUS, "upstream_id" / Int64ul),
        MessageType.DATA: Struct("messages" / RUN, Terminated),
        MessageType.FRAGMENT: Struct(
            "offset" / Int32ul, "total" / Int32ul, "kind" / Int32sl, "payload" / GreedyBytes
        ),
        MessageType.DATA_RESPONSE: Struct(
            "target" / Int64ul,
            "first_sequence" / Int64ul,
            "gave_up_at" / Int64ul,
            "origin_epoch" / Int32ul,
            "count" / Int32ul,
            "status" / STATUS,
            "detail" / DETAIL,
        ),
        MessageType.FLUSH: TOKEN,
        MessageType.FLUSH_ACK: TOKEN,
        MessageType.COMMAND_REQUEST: Struct(
            "arguments" / _tuple(BLOB, limits.COMMAND_ARGUMENTS_MAX)
        ),
        MessageType.COMMAND_RESPONSE: Struct(
            "status" / STATUS,
            "last" / TRUTH,
            "lines" / _tuple(BLOB, limits.COMMAND_LINES_MAX),
            "part" / Int32ul,
            "continues" / TRUTH,
        ),
        MessageType.STREAM_OPEN: Struct(
            "stream_id" / Int32ul, "credit" / Int64ul, "service" / TEXT
        ),
        MessageType.STREAM_DATA: Struct(*STREAM, "offset" / Int64ul, "data" / GreedyBytes),
        MessageType.STREAM_CREDIT: Struct(*STREAM, "limit" / Int64ul),
        MessageType.STREAM_HALF_CLOSE: Struct(*STREAM, "final_offset" / Int64ul),
        MessageType.STREAM_CLOSE: Struct(*STREAM),
        MessageType.STREAM_RESET: Struct(*STREAM, "status" / STATUS, "detail" / DETAIL),
        MessageType.SERVICE_BATCH: Struct(
            "replay" / TRUTH, "last" / TRUTH, "services" / _tuple(SERVICE, SERVICE_ENTRIES_MAX)
        ),
    }
)

_ENVELOPE: Final = tuple(attrs.fields_dict(Message))
_FIELDS: Final = {
    message_type: tuple(name for name in attrs.fields_dict(cls) if name not in _ENVELOPE)
    for message_type, cls in MESSAGE_CLASSES.items()
}
_EXTRA_TYPES: Final = frozenset(map(int, ExtraType))


# ---- whole frames --------------------------------------------------------------------------------


def build_body(message: Message) -> bytes:
    """
    Build what comes behind head and extras.

    :param message: Any message but `Unknown`.
    :returns: The body.
    :raises LocalProtocolError: When a value does not fit into its field, or breaks a rule.
    """
    message_type = cast("MessageType", message.message_type)
    fields = {name: getattr(message, name) for name in _FIELDS[message_type]}
    try:
        check(message)
        return bytes(BODIES[message_type].build(fields, count=count_of(message)))
    except (ConstructError, ValueError) as error:
        raise LocalProtocolError(f"{message_type.name}: {_in_one_line(error)}") from None


def parse_body(
    message_type: MessageType, body: bytes, count: int, envelope: Mapping[str, Any]
) -> Message:
    """
    Parse what comes behind head and extras.

    :param message_type: What the head says it is.
    :param body: All of it.
    :param count: The head's count.
    :param envelope: The message's fields that are not in the body.
    :returns: The message.
    :raises MalformedFrame: When the body is not what the type says.
    :raises RemoteProtocolError: NOT_ATBUS, when a HELLO has another magic.
    """
    if message_type is MessageType.HELLO and body[: len(MAGIC)] != MAGIC:
        raise RemoteProtocolError(Status.NOT_ATBUS, "a first frame without our magic")
    try:
        fields = BODIES[message_type].parse(body, count=count)
        message = MESSAGE_CLASSES[message_type](
            **envelope, **{name: fields[name] for name in _FIELDS[message_type]}
        )
        check(message)
    except (ConstructError, ValueError) as error:
        raise MalformedFrame(f"{message_type.name}: {_in_one_line(error)}") from None
    return message


def build(message: Message, frame: int = 0, ack: int = 0) -> bytes:
    """
    Build a whole frame, the normative way.

    :param message: Any message but `Unknown`.
    :param frame: The link's number for the frame; 0 for none.
    :param ack: Highest frame number discharged in the other direction.
    :returns: The frame.
    :raises LocalProtocolError: When a value does not fit into its field, or breaks a rule.
    """
    if message.message_type is None:
        raise LocalProtocolError("a message of a type that we do not know is never written")
    body = build_body(message)
    fields = {name: getattr(message, name) for name in _ENVELOPE}
    try:
        extras = b"".join(EXTRA.build(extra) for extra in message.extras)
        if len(extras) > limits.EXTRAS_BYTES:
            raise LocalProtocolError(
                f"{len(extras)} bytes of extras, {limits.EXTRAS_BYTES} are allowed"
            )
        fields |= {
            "length": HEAD_SIZE + len(extras) + len(body),
            "type": message.message_type,
            "reserved": 0,
            "frame": frame,
            "count": count_of(message),
            "extras_length": len(extras),
            "ack": ack,
        }
        return bytes(HEAD.build(fields) + extras + body)
    except ConstructError as error:
        raise LocalProtocolError(f"{message.message_type.name}: {_in_one_line(error)}") from None


def parse(frame: bytes) -> Message:
    """
    Parse a whole frame, the normative way.

    :param frame: One frame.
    :returns: The message; `Unknown` when it is of an ignorable type that we do not know.
    :raises MalformedFrame: When the frame is not what it says.
    :raises UnknownMandatory: When its type, or an extra, is unknown and may not be ignored.
    :raises RemoteProtocolError: NOT_ATBUS, when a HELLO has another magic.
    """
    try:
        head = HEAD.parse(frame)
    except ConstructError:
        raise MalformedFrame(f"{len(frame)} bytes are no frame") from None
    start = HEAD_SIZE + head.extras_length
    if head.length != len(frame) or start > len(frame):
        raise MalformedFrame(f"length {head.length} in {len(frame)} bytes")
    envelope: dict[str, Any] = {name: head[name] for name in _ENVELOPE if name != "extras"}
    try:
        message_type = MessageType(head.type)
    except ValueError:
        if not head.type & IGNORABLE_BIT:
            raise UnknownMandatory(f"message type {head.type:#04x}") from None
        return Unknown(type_number=head.type, body=frame[start:], **envelope)
    envelope["extras"] = _parse_extras(frame[HEAD_SIZE:start])
    return parse_body(message_type, frame[start:], head.count, envelope)


def _parse_extras(area: bytes) -> tuple[Extra, ...]:
    if len(area) > limits.EXTRAS_BYTES:
        raise MalformedFrame(f"{len(area)} bytes of extras, {limits.EXTRAS_BYTES} are allowed")
    stream = io.BytesIO(area)
    extras: list[Extra] = []
    while stream.tell() < len(area):
        try:
            extra = EXTRA.parse_stream(stream)
        except ConstructError as error:
            raise MalformedFrame(f"extras: {_in_one_line(error)}") from None
        if extra.type & MANDATORY_EXTRA_BIT and extra.type not in _EXTRA_TYPES:
            raise UnknownMandatory(f"extra {extra.type:#x}")
        extras.append(extra)
    return tuple(extras)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
