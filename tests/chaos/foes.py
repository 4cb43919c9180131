"""
What registered neighbors do that are hostile, each its worst within the words of the protocol.

A foe tells what is said on its two connections: messages, raw bytes, or None for a moment's rest.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

import attrs

from atbus import limits
from atbus.wire.compression import compression_extra
from atbus.wire.messages import (
    AddressUpdate,
    CommandRequest,
    CompressionAlgorithm,
    ConnectNotice,
    Data,
    Drain,
    Flags,
    Flow,
    FlowAction,
    FlowScope,
    Flush,
    Fragment,
    Interest,
    InterestEntry,
    Message,
    Ping,
    Publish,
    RouteBatch,
    RouteRecord,
    ServiceBatch,
    ServiceEntry,
    StreamData,
    StreamOpen,
    SubscribeRequest,
)

RELAY: Final = 0x1000000
RANGE_BITS: Final = 16
ONE, TWO = RELAY + 1, RELAY + 2
#: How many there are at most.
FOES_MAX: Final = 200

Said = Iterator[Message | bytes | None]
Speech = Callable[[int], Said]


def id_of(number: int) -> int:
    """Give the id of a foe by its place; 65,536 ids are its own."""
    return RELAY + ((number + 1) << RANGE_BITS)


def _nothing(_: int) -> Said:
    return iter(())


@attrs.frozen
class Foe:
    """
    A kind of hostile neighbor.

    :param name: What it does.
    :param controls: What it says on its connection for control.
    :param sends: The same for data.
    :param reads: Whether it reads at all.
    :param acknowledges: Whether it acknowledges what it reads.
    :param answers_pings: Whether it answers them.
    """

    name: str
    controls: Speech = _nothing
    sends: Speech = _nothing
    reads: bool = True
    acknowledges: bool = True
    answers_pings: bool = True


# On the connection for control.


def _interest(me: int) -> Said:
    """More subjects than may be kept, each as dear as there is."""
    numbers = count()
    for generation in count(1):
        entries = []
        for _ in range(200):
            number = next(numbers)
            subject = ".".join(f"{number:07x}{place:08x}" for place in range(15))
            entries.append(InterestEntry(subject=subject))
        yield Interest(source=me, generation=generation, entries=tuple(entries))


def _questions_of_interest(me: int) -> Said:
    """What is to be known everywhere is asked for without end."""
    for barrier in count(1):
        entries = (InterestEntry(subject=f"asked.{me:x}.{barrier}"),)
        yield Interest(source=me, generation=1, barrier=barrier, entries=entries)


def _routes(me: int) -> Said:
    """Nodes without end, each as long as one may be."""
    labels = tuple((f"label{number:02}", "x" * 20) for number in range(limits.LABELS_MAX))
    addresses = tuple(f"ipv4://10.0.0.{number}:1" for number in range(limits.ADDRESSES_MAX))
    for seq in count(1):
        for first in range(1, 60_000, 100):
            records = tuple(
                RouteRecord(
                    bus_id=me + number,
                    epoch=1,
                    seq=seq,
                    upstream_id=me,
                    labels=labels,
                    addresses=addresses,
                    host="h" * 64,
                    process=f"h:{number}:1",
                )
                for number in range(first, first + 100)
            )
            yield RouteBatch(source=me, records=records)


def _short_routes(me: int) -> Said:
    """The same, as short as they may be."""
    for seq in count(1):
        for first in range(1, 60_000, 1_000):
            records = tuple(
                RouteRecord(bus_id=me + number, epoch=1, seq=seq, upstream_id=me)
                for number in range(first, first + 1_000)
            )
            yield RouteBatch(source=me, records=records)


def _services(me: int) -> Said:
    """What its nodes offer is another thing all the time."""
    for seq in count(1):
        services = tuple(
            ServiceEntry(
                bus_id=me + number, epoch=1, seq=seq, key=f"a/b/{number}", value=b"{}" + b" " * 900
            )
            for number in range(60)
        )
        yield ServiceBatch(source=me, services=services)


def _pauses(me: int) -> Said:
    """Everybody is to be paused."""
    for subject in count(1):
        action, scope = FlowAction.PAUSE, FlowScope.DESTINATION
        yield Flow(source=me, action=action, scope=scope, subject_id=subject)


def _pings(me: int) -> Said:
    """What has to be answered, without end."""
    for sequence in count(1):
        yield Ping(source=me, sequence=sequence % (1 << 32))


def _orders(me: int) -> Said:
    """All that may be told and asked of a neighbor, in turn."""
    for number in count(1):
        yield SubscribeRequest(source=me)
        yield AddressUpdate(source=me, addresses=(f"ipv4://10.0.{number % 250}.1:1",))
        yield ConnectNotice(source=me, target=number, addresses=("ipv4://10.0.0.1:1",))
        yield Drain(source=me, grace_ms=1)
        command = (b"atbus.records", b"atbus.interests", b"atbus.links")[number % 3]
        yield CommandRequest(
            source=me, destination=RELAY, sequence=number, epoch=1, arguments=(command,)
        )


def _wants_all(me: int) -> Said:
    yield Interest(source=me, generation=1, entries=(InterestEntry(subject=">"),))
    yield from _orders(me)


def _half(_: int) -> Said:
    """A frame as long as may be that never ends."""
    size = limits.FRAME_BYTES_NEAR
    yield size.to_bytes(4, "little") + bytes(size - 5)


# On the connection for data.


def _fragments(me: int) -> Said:
    """Messages that are begun and never ended, from all ids of its range."""
    payload = bytes(60_000)
    for number in count():
        yield Fragment(
            source=me + number % 65_536,
            destination=RELAY,
            sequence=number + 1,
            epoch=1,
            offset=0,
            total=limits.MESSAGE_BYTES,
            kind=1,
            payload=payload,
        )


def _streams(me: int) -> Said:
    """Streams that are opened, filled and left, from many ids."""
    for number in count():
        source, stream = me + number % 4_096, number // 4_096 + 1
        yield StreamOpen(
            source=source, destination=RELAY, epoch=1, stream_id=stream, service="echo", credit=0
        )
        for place in range(8):
            yield StreamData(
                source=source,
                destination=RELAY,
                epoch=1,
                stream_id=stream,
                from_opener=True,
                offset=place * 16_384,
                data=bytes(16_384),
            )


def _requests(size: int, destinations: Callable[[int, int], int]) -> Speech:
    """Ask without end, of so many bytes each, whoever is drawn."""

    def says(me: int) -> Said:
        payload = bytes(size)
        for number in count():
            yield Data(
                source=me + number % 251,
                destination=destinations(me, number),
                epoch=1,
                sequence=number + 1,
                flags=Flags.REQUEST | Flags.ANSWER,
                messages=((0, payload),),
            )

    return says


def _flushes(me: int) -> Said:
    """Ways are said to end, to everybody."""
    for number in count(1):
        to = (RELAY, id_of(number % FOES_MAX), number)[number % 3]
        yield Flush(source=me, destination=to, epoch=1, token=number)


def _publications(me: int) -> Said:
    """Of ever new publishers, on ever new subjects, for replies nobody sends."""
    for number in count(1):
        yield Publish(
            source=me + number % 65_536,
            sequence=number,
            epoch=1,
            subject=f"s.{me:x}.{number}",
            reply_to=f"r.{number}",
            messages=((0, bytes(2_000)),),
        )


def _bombs(me: int) -> Said:
    """Frames that become a thousand times as long as they are."""
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    inside = press.compress(bytes(1_000_000)) + press.flush()
    for number in count(1):
        yield Data(
            source=me,
            destination=RELAY,
            sequence=number,
            epoch=1,
            flags=Flags.COMPRESSED,
            messages=((0, struct.pack("<I", 1_000_000) + inside),),
            extras=(compression_extra(CompressionAlgorithm.DEFLATE),),
        )


def _forgeries(_: int) -> Said:
    """Long messages of others."""
    for number in count(1):
        yield Data(
            source=(ONE, TWO, RELAY, id_of(number % FOES_MAX))[number % 4],
            destination=RELAY,
            sequence=number,
            epoch=1,
            messages=((0, bytes(200_000)),),
        )


def _everybody(_: int, number: int) -> int:
    return (id_of(number % FOES_MAX) + number % 7, number + 1)[number % 2]


def _deaf(_: int, number: int) -> int:
    """Those that do not read."""
    return id_of(_DEAF_PLACE + number % 8 * len(FOES))


def _relay(_me: int, _number: int) -> int:
    return RELAY


FOES: Final = (
    Foe("interest", controls=_interest),
    Foe("barriers", controls=_questions_of_interest),
    Foe("routes", controls=_routes),
    Foe("short routes", controls=_short_routes),
    Foe("services", controls=_services),
    Foe("pauses", controls=_pauses),
    Foe("deaf", controls=_wants_all, sends=_requests(60_000, _relay), reads=False),
    Foe("deaf to pings", controls=_pings, reads=False),
    Foe("orders", controls=_orders, answers_pings=False),
    Foe("halves", controls=_half, sends=_half, acknowledges=False, answers_pings=False),
    Foe("fragments", sends=_fragments),
    Foe("streams", sends=_streams),
    Foe("owing", sends=_requests(10, _relay), acknowledges=False),
    Foe("to everybody", sends=_requests(10, _everybody), acknowledges=False),
    Foe("to the deaf", sends=_requests(30_000, _deaf)),
    Foe("flushes", sends=_flushes),
    Foe("publications", sends=_publications),
    Foe("bombs", sends=_bombs),
    Foe("forgeries", sends=_forgeries),
)
_DEAF_PLACE: Final = next(place for place, foe in enumerate(FOES) if foe.name == "deaf")
