"""
Between the schema's plain layouts and the values of messages.

Each pair of functions is the two directions of one adapter: ``read_*`` takes what construct has
parsed, ``write_*`` makes what it builds. A ValueError says that there is no such value.
"""

from __future__ import annotations

from typing import Any

import attrs

from atbus.wire.messages import InterestEntry, RouteRecord, ServiceEntry


def read_truth(number: int) -> bool:
    """
    Read a byte that is 0 or 1.

    :param number: The byte.
    :returns: What it says.
    :raises ValueError: When it is neither.
    """
    if number > 1:
        raise ValueError(f"{number} is neither 0 nor 1")
    return bool(number)


def read_count(number: int, count_max: int) -> int:
    """
    Read how many items follow.

    :param number: What is there.
    :param count_max: How many there may be.
    :returns: The same number.
    :raises ValueError: When there are too many.
    """
    if number > count_max:
        raise ValueError(f"{number} items, {count_max} are allowed")
    return number


def read_run(run: Any) -> tuple[tuple[int, bytes], ...]:
    """
    Pair the kinds of a run's table with the payloads behind it.

    :param run: ``table`` and ``payloads``.
    :returns: Pairs of kind and payload.
    """
    return tuple(
        (kind, payload) for (_, kind), payload in zip(run.table, run.payloads, strict=True)
    )


def write_run(messages: Any) -> dict[str, Any]:
    """
    Lay out a run.

    :param messages: Pairs of kind and payload.
    :returns: ``table`` and ``payloads``.
    """
    return {
        "table": [(len(payload), kind) for kind, payload in messages],
        "payloads": [payload for _, payload in messages],
    }


def read_publication(body: Any) -> dict[str, Any]:
    """
    Read the fields of a PUBLISH.

    :param body: Its layout.
    :returns: The fields of the message.
    :raises ValueError: When a text is no UTF-8.
    """
    return {
        "subject": body.subject.decode(),
        "reply_to": body.reply_to.decode(),
        "queues": tuple(body.queues),
        "served": tuple(body.served),
        "messages": body.messages,
    }


def write_publication(fields: Any) -> dict[str, Any]:
    """
    Lay out a PUBLISH.

    :param fields: The fields of the message.
    :returns: Its layout, with lengths and counts.
    :raises ValueError: When a text has no UTF-8 form.
    """
    subject, reply_to = fields["subject"].encode(), fields["reply_to"].encode()
    return {
        **fields,
        "subject": subject,
        "reply_to": reply_to,
        "subject_length": len(subject),
        "reply_to_length": len(reply_to),
        "queue_count": len(fields["queues"]),
        "served_count": len(fields["served"]),
    }


def read_interest(entry: Any) -> InterestEntry:
    """
    Read one entry of an INTEREST.

    :param entry: Weight, subject, queue.
    :returns: The entry.
    """
    weight, subject, queue = entry
    return InterestEntry(weight=weight, subject=subject, queue=queue)


def write_interest(entry: InterestEntry) -> tuple[int, str, str]:
    """
    Lay out one entry of an INTEREST.

    :param entry: The entry.
    :returns: Weight, subject, queue.
    """
    return (entry.weight, entry.subject, entry.queue)


def read_service(entry: Any) -> ServiceEntry:
    """
    Read one entry of a SERVICE_BATCH.

    :param entry: Id, epoch, number, key, document.
    :returns: The entry.
    """
    bus_id, epoch, seq, key, value = entry
    return ServiceEntry(bus_id=bus_id, epoch=epoch, seq=seq, key=key, value=value)


def write_service(entry: ServiceEntry) -> tuple[int, int, int, str, bytes]:
    """
    Lay out one entry of a SERVICE_BATCH.

    :param entry: The entry.
    :returns: Id, epoch, number, key, document.
    """
    return (entry.bus_id, entry.epoch, entry.seq, entry.key, entry.value)


def read_batch(body: Any) -> dict[str, Any]:
    """
    Read the fields of a ROUTE_BATCH, with texts in the place of references to them.

    :param body: Its layout.
    :returns: The fields of the message.
    :raises ValueError: When a reference leads nowhere.
    """
    strings: list[str] = ["", *body.strings]

    def text(place: int) -> str:
        if place >= len(strings):
            raise ValueError(f"text {place} of {len(strings) - 1}")
        return strings[place]

    records = tuple(
        RouteRecord(
            operation=record.operation,
            bus_id=record.bus_id,
            epoch=record.epoch,
            seq=record.seq,
            upstream_id=record.upstream_id,
            node_flags=record.node_flags,
            subnets=tuple(record.subnets),
            labels=tuple((text(key), text(value)) for key, value in record.labels),
            addresses=tuple(text(place) for place in record.addresses),
            host=text(record.host),
            process=text(record.process),
        )
        for record in body.records
    )
    return {
        "snapshot_id": body.snapshot_id,
        "index": body.index,
        "last": body.last,
        "dump": body.dump,
        "records": records,
    }


def write_batch(fields: Any) -> dict[str, Any]:
    """
    Lay out a ROUTE_BATCH; texts get their places in the order of first use.

    That order is: host, process, labels, addresses; record after record.

    :param fields: The fields of the message.
    :returns: Its layout, with the table of texts and all counts.
    """
    places: dict[str, int] = {"": 0}

    def place(text: str) -> int:
        return places.setdefault(text, len(places))

    records = [
        {
            **attrs.asdict(record, recurse=False),
            "host": place(record.host),
            "process": place(record.process),
            "labels": [(place(key), place(value)) for key, value in record.labels],
            "addresses": [place(address) for address in record.addresses],
            "subnet_count": len(record.subnets),
            "label_count": len(record.labels),
            "address_count": len(record.addresses),
        }
        for record in fields["records"]
    ]
    strings = list(places)[1:]
    return {
        **fields,
        "records": records,
        "record_count": len(records),
        "strings": strings,
        "string_count": len(strings),
    }
