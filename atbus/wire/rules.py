"""
What the layout of a message cannot say, once for the schema and for the codec.

These are the bounds of `atbus.limits` and the few rules between fields. They hold in both
directions: a message that breaks one is not written, and is malformed when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from atbus import limits
from atbus.wire import bounds
from atbus.wire.messages import (
    AddressUpdate,
    CommandRequest,
    CommandResponse,
    ConnectNotice,
    Data,
    DataResponse,
    Fragment,
    Interest,
    LinkAck,
    Message,
    Publish,
    RegisterRequest,
    RouteBatch,
    RouteRecord,
    ServiceBatch,
    StreamData,
)


def check(message: Message) -> None:
    """
    Hold a message against the rules of its section.

    :param message: Just read, or about to be written.
    :raises ValueError: When it breaks one.
    """
    match message:
        case Data() | Publish():
            _check_count("messages", message.messages, limits.RUN_COUNT_MAX)
            if not message.messages:
                raise ValueError("a run without a message")
            if isinstance(message, Publish):
                _check_texts("a subject", limits.SUBJECT_BYTES, message.subject, message.reply_to)
                _check_texts("a queue's name", limits.SUBJECT_BYTES, *message.queues)
        case Fragment():
            size = len(message.payload)
            if not size or message.offset + size > message.total:
                raise ValueError(f"{size} bytes at {message.offset} of {message.total}")
        case DataResponse(count=0):
            raise ValueError("an answer about no message")
        case LinkAck():
            _check_count("ranges", message.early, limits.ACK_RANGES_MAX)
            if any(not first or not last for first, last in message.early):
                raise ValueError("a range with frame 0")
        case RegisterRequest():
            _check_count("proofs", message.proofs, limits.ACCESS_TOKENS_MAX + 1)
            for proof in message.proofs:
                if len(proof) > limits.PROOF_BYTES:
                    raise ValueError(f"a proof of {len(proof)} bytes")
            _check_description(message)
            _check_texts("a hostname", limits.HOSTNAME_BYTES, message.hostname)
            _check_texts("a software's name", limits.SOFTWARE_BYTES, message.software)
        case RouteBatch():
            _check_count("records", message.records, limits.ROUTE_BATCH_RECORDS_MAX)
            for record in message.records:
                _check_description(record)
        case AddressUpdate() | ConnectNotice():
            _check_addresses(message.addresses)
        case Interest():
            _check_count("entries", message.entries, limits.INTEREST_ENTRIES_MAX)
            for entry in message.entries:
                _check_texts("a subject", limits.SUBJECT_BYTES, entry.subject, entry.queue)
        case ServiceBatch():
            _check_count("documents", message.services, bounds.SERVICE_ENTRIES_MAX)
            for service in message.services:
                _check_texts("a key", bounds.SERVICE_KEY_BYTES, service.key)
                size = len(service.value)
                if size > bounds.SERVICE_VALUE_BYTES:
                    most = bounds.SERVICE_VALUE_BYTES
                    raise ValueError(f"a document of {size} bytes, {most} are allowed")
        case CommandRequest():
            _check_blobs("arguments", message.arguments, limits.COMMAND_ARGUMENTS_MAX)
        case CommandResponse():
            _check_blobs("lines", message.lines, limits.COMMAND_LINES_MAX)
        case StreamData(data=b""):
            raise ValueError("stream data without data")


def count_of(message: Message) -> int:
    """
    Say what stands in the head's count.

    :param message: Any message.
    :returns: How many application messages the frame holds, whole or in part.
    """
    match message:
        case Data() | Publish():
            return len(message.messages)
        case Fragment():
            return 1
    return 0


def cut_detail(detail: str) -> str:
    """
    Shorten a reason in words to what may travel, between two characters.

    :param detail: Any text.
    :returns: Its beginning.
    """
    if len(detail) * 4 <= limits.DETAIL_BYTES:
        return detail
    return detail.encode()[: limits.DETAIL_BYTES].decode(errors="ignore")


def _check_description(node: RegisterRequest | RouteRecord) -> None:
    _check_count("subnets", node.subnets, limits.SUBNETS_MAX)
    _check_addresses(node.addresses)
    _check_texts("a host", limits.HOST_BYTES, node.host)
    _check_texts("a process", limits.PROCESS_BYTES, node.process)
    if not node.labels:
        return
    _check_count("labels", node.labels, limits.LABELS_MAX)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in node.labels)
    if size > limits.LABELS_BYTES:
        raise ValueError(f"{size} bytes of labels, {limits.LABELS_BYTES} are allowed")
    # Code points sort as their UTF-8 does, so this is also the order of the bytes.
    for (earlier, _), (later, _) in pairwise(node.labels):
        if later <= earlier:
            raise ValueError(f"label {later!r} after {earlier!r}")


def _check_addresses(addresses: Sequence[str]) -> None:
    _check_count("addresses", addresses, limits.ADDRESSES_MAX)
    _check_texts("an address", limits.ADDRESS_BYTES, *addresses)


def _check_blobs(what: str, blobs: Sequence[bytes], count_max: int) -> None:
    _check_count(what, blobs, count_max)
    size = sum(map(len, blobs))
    if size > limits.COMMAND_BYTES:
        raise ValueError(f"{size} bytes of {what}, {limits.COMMAND_BYTES} are allowed")


def _check_count(what: str, items: Sequence[Any], count_max: int) -> None:
    if len(items) > count_max:
        raise ValueError(f"{len(items)} {what}, {count_max} are allowed")


def _check_texts(what: str, bytes_max: int, *texts: str) -> None:
    for text in texts:
        if len(text) * 4 > bytes_max and len(text.encode()) > bytes_max:
            raise ValueError(f"{what} of {len(text.encode())} bytes, {bytes_max} are allowed")
