"""
Bodies of ROUTE_BATCH by struct (wire protocol, section 7.17).

Texts stand once in the batch, in a table, and records point into it: hosts, labels and processes
repeat from record to record, on the wire and then in the receiver's memory.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from atbus import limits
from atbus.busid import MASK_BITS_MAX, Subnet
from atbus.errors import LocalProtocolError, MalformedFrame
from atbus.wire.messages import RouteBatch, RouteOperation, RouteRecord
from atbus.wire.rules import check
from atbus.wire.shapes import read_count

_BATCH: Final = struct.Struct("<IIBBHH")
_RECORD: Final = struct.Struct("<HBHQQIQHHHHH")
_SUBNET: Final = struct.Struct("<QB")
_PAIR: Final = struct.Struct("<HH")
_INDEX: Final = struct.Struct("<H")
_OPERATIONS: Final = {int(operation): operation for operation in RouteOperation}


def pack_batch(batch: RouteBatch) -> bytes:
    """
    Write the body of a ROUTE_BATCH.

    :param batch: The message.
    :returns: The body.
    :raises LocalProtocolError: When a value does not fit into its field, or breaks a rule.
    """
    strings: dict[str, int] = {"": 0}
    try:
        check(batch)
        records = [_pack_record(record, strings) for record in batch.records]
        head = _BATCH.pack(
            batch.snapshot_id, batch.index, batch.last, batch.dump, len(strings) - 1, len(records)
        )
        texts = [_pack_text(text) for text in strings][1:]
    except (struct.error, ValueError) as error:
        raise LocalProtocolError(f"a batch does not fit: {error}") from None
    return b"".join((head, *texts, *records))


def unpack_batch(frame: bytes, start: int) -> dict[str, Any]:
    """
    Read the body of a ROUTE_BATCH; bytes behind the last record are of a newer version.

    :param frame: The whole frame.
    :param start: Where the body begins.
    :returns: The fields of `RouteBatch`.
    :raises MalformedFrame: When the body is not what it says.
    """
    try:
        snapshot_id, index, last, dump, string_count, record_count = _BATCH.unpack_from(
            frame, start
        )
        if last > 1 or dump > 1:
            raise MalformedFrame("a flag that is neither 0 nor 1")
        read_count(record_count, limits.ROUTE_BATCH_RECORDS_MAX)
        strings, position = _unpack_strings(frame, start + _BATCH.size, string_count)
        records: list[RouteRecord] = []
        for _ in range(record_count):
            record, position = _unpack_record(frame, position, strings)
            records.append(record)
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise MalformedFrame(f"a batch cannot be read: {error}") from None
    return {
        "snapshot_id": snapshot_id,
        "index": index,
        "last": bool(last),
        "dump": bool(dump),
        "records": tuple(records),
    }


def _pack_text(text: str) -> bytes:
    encoded = text.encode()
    return _INDEX.pack(len(encoded)) + encoded


def _pack_record(record: RouteRecord, strings: dict[str, int]) -> bytes:
    """
    Write one record; texts that are new get the next place in *strings*.

    :param record: The record.
    :param strings: Place of every text so far; changed.
    :returns: The record, its length in front.
    """
    host = strings.setdefault(record.host, len(strings))
    process = strings.setdefault(record.process, len(strings))
    parts = [b""]
    parts += [_SUBNET.pack(subnet.first, subnet.mask_bits) for subnet in record.subnets]
    for key, value in record.labels:
        first = strings.setdefault(key, len(strings))
        parts.append(_PAIR.pack(first, strings.setdefault(value, len(strings))))
    parts += [
        _INDEX.pack(strings.setdefault(address, len(strings))) for address in record.addresses
    ]
    parts[0] = _RECORD.pack(
        _RECORD.size + sum(map(len, parts)),
        record.operation,
        record.node_flags,
        record.bus_id,
        record.upstream_id,
        record.epoch,
        record.seq,
        len(record.subnets),
        len(record.labels),
        len(record.addresses),
        host,
        process,
    )
    return b"".join(parts)


def _unpack_strings(frame: bytes, position: int, count: int) -> tuple[list[str], int]:
    """
    Read the table of texts.

    :param frame: The whole frame.
    :param position: Where the table begins.
    :param count: How many texts it has.
    :returns: The texts, "" first, and where the records begin.
    :raises MalformedFrame: When it does not fit into the frame.
    """
    strings = [""]
    end = len(frame)
    for _ in range(count):
        (length,) = _INDEX.unpack_from(frame, position)
        stop = position + 2 + length
        if stop > end:
            raise MalformedFrame(f"a text of {length} bytes, {end - position - 2} are left")
        strings.append(frame[position + 2 : stop].decode())
        position = stop
    return strings, position


def _unpack_record(frame: bytes, position: int, strings: list[str]) -> tuple[RouteRecord, int]:
    """
    Read one record; what is longer than we know is of a newer version.

    :param frame: The whole frame.
    :param position: Where the record begins.
    :param strings: The batch's texts.
    :returns: The record, and where the next one begins.
    :raises MalformedFrame: When its length or a subnet is wrong.
    :raises ValueError: When it has more of something than there may be.
    """
    fields = _RECORD.unpack_from(frame, position)
    length, operation, node_flags, bus_id, upstream_id, epoch, seq = fields[:7]
    subnet_count, label_count, address_count, host, process = fields[7:]
    # Refused before the first is read: a record may say that it has seven thousand.
    read_count(subnet_count, limits.SUBNETS_MAX)
    read_count(label_count, limits.LABELS_MAX)
    read_count(address_count, limits.ADDRESSES_MAX)
    subnets_at = position + _RECORD.size
    labels_at = subnets_at + 9 * subnet_count
    addresses_at = labels_at + 4 * label_count
    known_end = addresses_at + 2 * address_count
    end = position + length
    if known_end > end or end > len(frame):
        raise MalformedFrame(f"a record of {length} bytes needs {known_end - position}")
    subnets: tuple[Subnet, ...] = ()
    if subnet_count:
        subnets = _read_subnets(frame[subnets_at:labels_at])
    labels: tuple[tuple[str, str], ...] = ()
    if label_count:
        labels = tuple(
            (strings[key], strings[value])
            for key, value in _PAIR.iter_unpack(frame[labels_at:addresses_at])
        )
    addresses: tuple[str, ...] = ()
    if address_count:
        addresses = tuple(
            strings[place] for (place,) in _INDEX.iter_unpack(frame[addresses_at:known_end])
        )
    record = RouteRecord(
        operation=_OPERATIONS[operation],
        bus_id=bus_id,
        epoch=epoch,
        seq=seq,
        upstream_id=upstream_id,
        node_flags=node_flags,
        subnets=subnets,
        labels=labels,
        addresses=addresses,
        host=strings[host],
        process=strings[process],
    )
    return record, end


def _read_subnets(area: bytes) -> tuple[Subnet, ...]:
    subnets: list[Subnet] = []
    for prefix, mask_bits in _SUBNET.iter_unpack(area):
        if mask_bits > MASK_BITS_MAX:
            raise MalformedFrame(f"a subnet of {mask_bits} bits")
        subnets.append(Subnet(prefix, mask_bits))
    return tuple(subnets)
