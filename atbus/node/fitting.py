"""
Cutting what is sent to the length that the next node takes.

Two neighbors settle on the smaller of their longest frames, so a frame may be too long for a link
further on. Whoever puts it there passes it on as several (`atbus.wire.cutting`). All parts of
somebody else's frame share its custody: the link it came on is told when the last of them is
discharged.
"""

from __future__ import annotations

import attrs

from atbus.node.outbox import Relayed, Run
from atbus.node.squeezing import restore_relayed
from atbus.node.stream_run import StreamRun
from atbus.routing.fragments import split
from atbus.wire.cutting import FRAGMENT_BYTES, chunks, cut
from atbus.wire.extras import pack_extras
from atbus.wire.head import HEAD_SIZE, peek
from atbus.wire.messages import Flags
from atbus.wire.runs import TABLE_ENTRY

_ENTRY_BYTES = TABLE_ENTRY.size


def fit(item: Run | Relayed, frame_bytes_max: int) -> list[Run | Relayed]:
    """
    Cut an item into frames of a certain length at most.

    :param item: Not put on a link yet.
    :param frame_bytes_max: The longest frame that the next node takes.
    :returns: The item itself where it fits, else its parts, in order.
    :raises MalformedFrame: It is somebody else's, too long, and makes no sense.
    """
    if isinstance(item, Relayed):
        if len(item.frame) <= frame_bytes_max:
            return [item]
        if item.flags & Flags.COMPRESSED:
            restore_relayed(item)
        return _cut(item, frame_bytes_max)
    if isinstance(item, StreamRun):
        return [*item.cut(frame_bytes_max)]
    extras_bytes = len(pack_extras(item.extras)) if item.extras else 0
    if HEAD_SIZE + extras_bytes + FRAGMENT_BYTES + item.size_bytes <= frame_bytes_max:
        return [item]
    room = frame_bytes_max - HEAD_SIZE - extras_bytes
    if item.fragment is not None:
        offset, total = item.fragment
        return _fragments(item, 0, (offset, total), room)
    parts: list[Run | Relayed] = []
    for first, count in chunks([len(payload) for payload in item.payloads], room):
        payloads = item.payloads[first : first + count]
        size_bytes = sum(map(len, payloads)) + _ENTRY_BYTES * count
        if size_bytes > room:
            parts += _fragments(item, first, (0, len(payloads[0])), room)
            continue
        part = attrs.evolve(
            item,
            first_sequence=item.first_sequence + first,
            kinds=item.kinds[first : first + count],
            payloads=payloads,
            size_bytes=size_bytes,
            count=count,
        )
        parts.append(part)
    return parts


def _fragments(
    run: Run, place: int, offset_and_total: tuple[int, int], room: int
) -> list[Run | Relayed]:
    offset, total = offset_and_total
    return [
        attrs.evolve(
            run,
            first_sequence=run.first_sequence + place,
            fragment=(offset + at, total),
            kinds=[run.kinds[place]],
            payloads=[piece],
            size_bytes=len(piece) + _ENTRY_BYTES,
            count=1,
        )
        for at, piece in split(run.payloads[place], room - FRAGMENT_BYTES)
    ]


def _cut(item: Relayed, frame_bytes_max: int) -> list[Run | Relayed]:
    parts: list[Run | Relayed] = []
    for frame in cut(item.frame, frame_bytes_max):
        head = peek(frame)
        part = attrs.evolve(
            item,
            frame=frame,
            first_sequence=head[7],
            count=max(1, head[10]),
            type=head[1],
            size_bytes=len(frame),
        )
        parts.append(part)
    item.custody.parts += len(parts) - 1
    return parts
