"""
Hostile neighbors that tell of services, for `atbus.testing.hostile`.

An input is what two neighbors tell by SERVICE_BATCH: documents that are damaged, stand where they
should not, or belong to others. Whatever it is, what is not to be believed is not passed on, what
is passed on fits the frames of who gets it, and the watcher of the documents goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from atbus import limits
from atbus.discovery.documents import service_key, topology_key
from atbus.discovery.records import Directory, Entry
from atbus.routing.offers import Offers
from atbus.routing.table import Position
from atbus.testing.nats_fuzz import damaged
from atbus.wire import codec
from atbus.wire.bounds import SERVICE_KEY_BYTES, SERVICE_VALUE_BYTES
from atbus.wire.messages import ServiceBatch, ServiceEntry

_PREFIX: Final = "bus/"
_UPSTREAM: Final = 0x1_0000
_DOWNSTREAM: Final = 0x1_0002
_IDS: Final = (0, 1, 5, _UPSTREAM, _DOWNSTREAM, (1 << 64) - 1)
_NUMBERS: Final = (0, 1, 2, (1 << 32) - 1)
_BATCHES_MAX: Final = 5
_ENTRIES_MAX: Final = 4
_VALUES: Final = (
    b"",
    b'{"id": "0x5", "upstream": "0x1", "labels": {"a": "b"}, "epoch": 1, "seq": 2}',
    b'{"id": "0x5", "name": "name", "endpoints": [{"address": "ipv4://192.0.2.1:5"}]}',
    b"[" * 5_000,
    b"x" * SERVICE_VALUE_BYTES,
)


def hostile_neighbor(random: Random) -> tuple[bytes, Callable[[], str]]:
    """
    Make what neighbors tell.

    :param random: Draws.
    :returns: It, as frames, and what has it read.
    """
    told = [
        (random.choice((_UPSTREAM, _DOWNSTREAM)), _batch(random))
        for _ in range(random.randint(1, _BATCHES_MAX))
    ]
    # As it comes from the wire, not as it was made.
    frames = [(teller, codec.encode(batch)) for teller, batch in told]
    believes = random.random() < 0.5
    said = b"".join(frame for _, frame in frames)
    return said, lambda: _take(frames, believes=believes)


def _batch(random: Random) -> ServiceBatch:
    return ServiceBatch(
        source=_UPSTREAM,
        destination=1,
        replay=random.random() < 0.5,
        last=random.random() < 0.5,
        services=tuple(_entry(random) for _ in range(random.randint(0, _ENTRIES_MAX))),
    )


def _entry(random: Random) -> ServiceEntry:
    bus_id = random.choice(_IDS)
    make: Callable[[], bytes] = random.choice(
        (
            lambda: topology_key(_PREFIX, bus_id or 5),
            lambda: service_key(_PREFIX, bus_id or 6, "name"),
        )
    )
    key, value = make(), random.choice(_VALUES)
    if random.random() < 0.3:
        key = damaged(random, key)
    if value and random.random() < 0.3:
        value = damaged(random, value)
    return ServiceEntry(
        bus_id=bus_id,
        epoch=random.choice(_NUMBERS),
        seq=random.choice(_NUMBERS),
        # A letter that could not be read is three bytes.
        key=key.decode(errors="replace")[: SERVICE_KEY_BYTES // 3],
        value=value[:SERVICE_VALUE_BYTES],
    )


def _take(frames: list[tuple[int, bytes]], *, believes: bool) -> str:
    refused: list[str] = []
    offers = Offers(1, lambda _teller, _bus_id: believes)
    directory = Directory(_PREFIX, lambda key, _fault: refused.append(key))
    offers.open(_UPSTREAM, Position.UPSTREAM, limits.FRAME_BYTES_MIN)
    offers.open(_DOWNSTREAM, Position.DOWNSTREAM, limits.FRAME_BYTES)
    found = 0
    for teller, frame in frames:
        message = codec.decode(frame)
        assert isinstance(message, ServiceBatch)
        offers.heard(teller, message)
        news = offers.news()
        if news and not believes:
            raise AssertionError(f"{news!r} though it is not to be believed")
        entries = [Entry(one.key.encode(), one.value, one.version) for one in news]
        found += len(directory.changed(entries))
        for bus_id, batch in offers.changes():
            longest = limits.FRAME_BYTES_MIN if bus_id == _UPSTREAM else limits.FRAME_BYTES
            if len(codec.encode(batch)) > longest:
                raise AssertionError("more than a neighbor takes")
    for teller in (_UPSTREAM, _DOWNSTREAM):
        offers.lost(teller, 1.0)
    offers.tick(1e9)
    if [one for one in offers.posted() if one.value is not None]:
        raise AssertionError("documents of neighbors that are gone")
    if found:
        return "services found"
    return "services refused" if refused else "services ignored"
