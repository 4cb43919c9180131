"""
Messages to bytes and back: by struct what is sent often, through the schema the rest.

DATA, FRAGMENT, PUBLISH, STREAM_DATA, STREAM_CREDIT, PING, PONG, LINK_ACK and what may have many
entries (ROUTE_BATCH, INTEREST, SERVICE_BATCH) have code of their own; tests prove it equal to
`atbus.wire.schema`, which stays the norm. A program that moves frames without looking inside needs
`peek` and `patch` only; one that delivers them, `split_run`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from atbus import limits
from atbus.errors import LocalProtocolError, MalformedFrame, UnknownMandatory
from atbus.wire import schema, shapes
from atbus.wire.batches import pack_batch, unpack_batch
from atbus.wire.bounds import SERVICE_ENTRIES_MAX
from atbus.wire.entries import (
    pack_interests,
    pack_services,
    unpack_interests,
    unpack_services,
)
from atbus.wire.extras import pack_extras, unpack_extras
from atbus.wire.head import HEAD, HEAD_SIZE, Head, body_start, patch, peek
from atbus.wire.messages import (
    IGNORABLE_BIT,
    Data,
    Fragment,
    Interest,
    LinkAck,
    Message,
    MessageType,
    Ping,
    Pong,
    Publish,
    RouteBatch,
    ServiceBatch,
    StreamCredit,
    StreamData,
    Unknown,
)
from atbus.wire.rules import check, count_of
from atbus.wire.runs import TABLE_ENTRY, iter_run, pack_run, pack_table, split_run

__all__ = [
    "HEAD",
    "HEAD_SIZE",
    "Head",
    "decode",
    "encode",
    "iter_run",
    "pack_run",
    "patch",
    "peek",
    "size_of_publication",
    "split_run",
]

_FRAGMENT: Final = struct.Struct("<IIi")
_DIGESTS: Final = struct.Struct("<QQQ")
_ACK: Final = struct.Struct("<IH")
_RANGE: Final = struct.Struct("<II")
_PUBLICATION: Final = struct.Struct("<HHHH")
_INTEREST: Final = struct.Struct("<IBBQH")
_SERVICES: Final = struct.Struct("<BBH")
_TEXT_LENGTH: Final = struct.Struct("<H")
_STREAM: Final = struct.Struct("<IB3xQ")
_TYPES: Final = {int(member): member for member in MessageType}


def encode(message: Message, frame: int = 0, ack: int = 0) -> bytes:
    """
    Write a message as one frame.

    :param message: Any message but `Unknown`.
    :param frame: The link's number for the frame; 0 for none.
    :param ack: Highest frame number discharged in the other direction.
    :returns: The frame.
    :raises LocalProtocolError: When a value does not fit into its field, or breaks a rule.
    """
    message_type = message.message_type
    if message_type is None:
        raise LocalProtocolError("a message of a type that we do not know is never written")
    extras = pack_extras(message.extras) if message.extras else b""
    try:
        write = _WRITERS.get(message_type)
        body = schema.build_body(message) if write is None else write(message)
        return b"".join(
            (
                HEAD.pack(
                    HEAD_SIZE + len(extras) + len(body),
                    message_type,
                    message.flags,
                    message.hop_limit,
                    0,
                    message.source,
                    message.destination,
                    message.sequence,
                    message.epoch,
                    frame,
                    count_of(message),
                    len(extras),
                    ack,
                ),
                extras,
                body,
            )
        )
    except (struct.error, ValueError) as error:
        raise LocalProtocolError(f"{message_type.name}: {error}") from None


def decode(frame: bytes) -> Message:
    """
    Read one frame as the node it is meant for.

    :param frame: One whole frame.
    :returns: The message; `Unknown` when it is of an ignorable type that we do not know.
    :raises MalformedFrame: When the frame is not what it says.
    :raises UnknownMandatory: When its type, or an extra, is unknown and may not be ignored.
    :raises RemoteProtocolError: NOT_ATBUS, when a HELLO has another magic.
    """
    head = peek(frame)
    start = body_start(frame, head)
    envelope: dict[str, Any] = {
        "source": head[5],
        "destination": head[6],
        "sequence": head[7],
        "epoch": head[8],
        "hop_limit": head[3],
        "flags": head[2],
    }
    message_type = _TYPES.get(head[1])
    if message_type is None:
        if not head[1] & IGNORABLE_BIT:
            raise UnknownMandatory(f"message type {head[1]:#04x}")
        return Unknown(type_number=head[1], body=frame[start:], **envelope)
    if head[11]:
        envelope["extras"] = unpack_extras(frame[HEAD_SIZE:start])
    read = _READERS.get(message_type)
    if read is None:
        return schema.parse_body(message_type, frame[start:], head[10], envelope)
    try:
        return read(frame, start, head[10], envelope)
    except (struct.error, ValueError) as error:
        raise MalformedFrame(f"{message_type.name}: {error}") from None


# ---- the hot types, each written and read; a struct.error or ValueError is translated above ------

Envelope = dict[str, Any]


def _write_data(message: Data) -> bytes:
    payloads = [payload for _, payload in message.messages]
    table, _ = pack_table([kind for kind, _ in message.messages], payloads)
    return b"".join((table, *payloads))


def _read_data(frame: bytes, start: int, count: int, envelope: Envelope) -> Data:
    return Data(messages=tuple(zip(*split_run(frame, start, count), strict=True)), **envelope)


def _write_fragment(message: Fragment) -> bytes:
    check(message)
    return _FRAGMENT.pack(message.offset, message.total, message.kind) + message.payload


def _read_fragment(frame: bytes, start: int, _count: int, envelope: Envelope) -> Fragment:
    offset, total, kind = _FRAGMENT.unpack_from(frame, start)
    payload = frame[start + _FRAGMENT.size :]
    message = Fragment(offset=offset, total=total, kind=kind, payload=payload, **envelope)
    check(message)
    return message


def _write_digests(message: Ping | Pong) -> bytes:
    return _DIGESTS.pack(message.sent_at_us, message.table_digest, message.interest_digest)


def _read_ping(frame: bytes, start: int, _count: int, envelope: Envelope) -> Ping:
    sent_at_us, table_digest, interest_digest = _DIGESTS.unpack_from(frame, start)
    return Ping(
        sent_at_us=sent_at_us,
        table_digest=table_digest,
        interest_digest=interest_digest,
        **envelope,
    )


def _read_pong(frame: bytes, start: int, _count: int, envelope: Envelope) -> Pong:
    sent_at_us, table_digest, interest_digest = _DIGESTS.unpack_from(frame, start)
    return Pong(
        sent_at_us=sent_at_us,
        table_digest=table_digest,
        interest_digest=interest_digest,
        **envelope,
    )


def _write_link_ack(message: LinkAck) -> bytes:
    check(message)
    ranges = b"".join([_RANGE.pack(*each) for each in message.early])
    return _ACK.pack(message.lane, len(message.early)) + ranges


def _read_link_ack(frame: bytes, start: int, _count: int, envelope: Envelope) -> LinkAck:
    lane, count = _ACK.unpack_from(frame, start)
    start += _ACK.size
    end = start + shapes.read_count(count, limits.ACK_RANGES_MAX) * _RANGE.size
    if end > len(frame):
        raise ValueError(f"{count} ranges in {len(frame) - start} bytes")
    message = LinkAck(
        lane=lane, early=tuple(_RANGE.iter_unpack(memoryview(frame)[start:end])), **envelope
    )
    check(message)
    return message


def _write_batch(message: RouteBatch) -> bytes:
    return pack_batch(message)


def _read_batch(frame: bytes, start: int, _count: int, envelope: Envelope) -> RouteBatch:
    message = RouteBatch(**unpack_batch(frame, start), **envelope)
    check(message)
    return message


def _write_interest(message: Interest) -> bytes:
    check(message)
    head = _INTEREST.pack(
        message.generation, message.replay, message.last, message.barrier, len(message.entries)
    )
    return head + pack_interests(message.entries)


def _read_interest(frame: bytes, start: int, _count: int, envelope: Envelope) -> Interest:
    generation, replay, last, barrier, count = _INTEREST.unpack_from(frame, start)
    # More than there may be are refused before the first is read.
    shapes.read_count(count, limits.INTEREST_ENTRIES_MAX)
    message = Interest(
        generation=generation,
        replay=shapes.read_truth(replay),
        last=shapes.read_truth(last),
        barrier=barrier,
        entries=unpack_interests(frame, start + _INTEREST.size, count),
        **envelope,
    )
    check(message)
    return message


def _write_services(message: ServiceBatch) -> bytes:
    check(message)
    head = _SERVICES.pack(message.replay, message.last, len(message.services))
    return head + pack_services(message.services)


def _read_services(frame: bytes, start: int, _count: int, envelope: Envelope) -> ServiceBatch:
    replay, last, count = _SERVICES.unpack_from(frame, start)
    shapes.read_count(count, SERVICE_ENTRIES_MAX)
    message = ServiceBatch(
        replay=shapes.read_truth(replay),
        last=shapes.read_truth(last),
        services=unpack_services(frame, start + _SERVICES.size, count),
        **envelope,
    )
    check(message)
    return message


def _write_publish(message: Publish) -> bytes:
    check(message)
    subject, reply_to = message.subject.encode(), message.reply_to.encode()
    payloads = [payload for _, payload in message.messages]
    table, _ = pack_table([kind for kind, _ in message.messages], payloads)
    lengths = _PUBLICATION.pack(
        len(subject), len(reply_to), len(message.queues), len(message.served)
    )
    served = struct.pack(f"<{len(message.served)}Q", *message.served)
    queues = [_pack_text(queue) for queue in message.queues]
    return b"".join((lengths, subject, reply_to, served, *queues, table, *payloads))


def size_of_publication(message: Publish) -> int:
    """
    Reckon how long the frame of publications would be, without making it.

    :param message: What `encode` would write.
    :returns: Bytes, head included.
    :raises LocalProtocolError: When it breaks a rule, as in `encode`.
    """
    try:
        check(message)
        names = [message.subject.encode(), message.reply_to.encode()]
        queues = [queue.encode() for queue in message.queues]
    except ValueError as error:
        raise LocalProtocolError(f"PUBLISH: {error}") from None
    return (
        HEAD_SIZE
        + (len(pack_extras(message.extras)) if message.extras else 0)
        + _PUBLICATION.size
        + sum(map(len, names))
        + 8 * len(message.served)
        + sum(map(len, queues))
        + _TEXT_LENGTH.size * len(queues)
        + sum([TABLE_ENTRY.size + len(payload) for _, payload in message.messages])
    )


def _read_publish(frame: bytes, start: int, count: int, envelope: Envelope) -> Publish:
    subject_length, reply_length, queue_count, served_count = _PUBLICATION.unpack_from(frame, start)
    subject_at = start + _PUBLICATION.size
    reply_at = subject_at + subject_length
    served_at = reply_at + reply_length
    position = served_at + 8 * served_count
    if position > len(frame):
        raise ValueError(f"subjects and branches of {position - start} bytes")
    queues: list[str] = []
    for _ in range(queue_count):
        (length,) = _TEXT_LENGTH.unpack_from(frame, position)
        end = position + _TEXT_LENGTH.size + length
        if end > len(frame):
            raise ValueError(f"a queue name of {length} bytes")
        queues.append(frame[position + _TEXT_LENGTH.size : end].decode())
        position = end
    message = Publish(
        subject=frame[subject_at:reply_at].decode(),
        reply_to=frame[reply_at:served_at].decode(),
        queues=tuple(queues),
        served=struct.unpack_from(f"<{served_count}Q", frame, served_at),
        messages=tuple(zip(*split_run(frame, position, count), strict=True)),
        **envelope,
    )
    check(message)
    return message


def _write_stream_data(message: StreamData) -> bytes:
    check(message)
    return _STREAM.pack(message.stream_id, message.from_opener, message.offset) + message.data


def _read_stream_data(frame: bytes, start: int, _count: int, envelope: Envelope) -> StreamData:
    stream_id, from_opener, offset = _STREAM.unpack_from(frame, start)
    message = StreamData(
        stream_id=stream_id,
        from_opener=shapes.read_truth(from_opener),
        offset=offset,
        data=frame[start + _STREAM.size :],
        **envelope,
    )
    check(message)
    return message


def _write_stream_credit(message: StreamCredit) -> bytes:
    return _STREAM.pack(message.stream_id, message.from_opener, message.limit)


def _read_stream_credit(
    frame: bytes, start: int, _count: int, envelope: Envelope
) -> StreamCredit:
    stream_id, from_opener, limit = _STREAM.unpack_from(frame, start)
    return StreamCredit(
        stream_id=stream_id,
        from_opener=shapes.read_truth(from_opener),
        limit=limit,
        **envelope,
    )


def _pack_text(text: str) -> bytes:
    encoded = text.encode()
    return _TEXT_LENGTH.pack(len(encoded)) + encoded


_WRITERS: Final[Mapping[MessageType, Callable[[Any], bytes]]] = {
    MessageType.DATA: _write_data,
    MessageType.FRAGMENT: _write_fragment,
    MessageType.PUBLISH: _write_publish,
    MessageType.PING: _write_digests,
    MessageType.PONG: _write_digests,
    MessageType.LINK_ACK: _write_link_ack,
    MessageType.ROUTE_BATCH: _write_batch,
    MessageType.INTEREST: _write_interest,
    MessageType.SERVICE_BATCH: _write_services,
    MessageType.STREAM_DATA: _write_stream_data,
    MessageType.STREAM_CREDIT: _write_stream_credit,
}
_READERS: Final[Mapping[MessageType, Callable[[bytes, int, int, Envelope], Message]]] = {
    MessageType.DATA: _read_data,
    MessageType.FRAGMENT: _read_fragment,
    MessageType.PUBLISH: _read_publish,
    MessageType.PING: _read_ping,
    MessageType.PONG: _read_pong,
    MessageType.LINK_ACK: _read_link_ack,
    MessageType.ROUTE_BATCH: _read_batch,
    MessageType.INTEREST: _read_interest,
    MessageType.SERVICE_BATCH: _read_services,
    MessageType.STREAM_DATA: _read_stream_data,
    MessageType.STREAM_CREDIT: _read_stream_credit,
}
