"""What stands in a PUBLISH frame beside a publication, and how much fits into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from atbus import limits
from atbus.node.publication import Passing
from atbus.wire.extras import read_counted, read_zone
from atbus.wire.messages import Flags, Publish
from atbus.wire.runs import TABLE_ENTRY

# As plain numbers, which are quicker.
QUEUES_ONLY: Final = int(Flags.QUEUES_ONLY)
HANDED_BACK: Final = int(Flags.HANDED_BACK)
_REQUEST: Final = int(Flags.REQUEST)

_EXTRA_BYTES: Final = 4
#: What a frame has besides its payload, its subjects, groups, branches, zone and siblings: head,
#: lengths, an entry of the table, two extras.
OVERHEAD_BYTES: Final = limits.FRAME_HEAD_BYTES + 8 + 8 + 8 + 12


def flags_of(passing: Passing) -> int:
    """Write what publications bring along, as far as it is flags."""
    return (
        (QUEUES_ONLY if passing.queues_only else 0)
        | (HANDED_BACK if passing.handed_back else 0)
        | (_REQUEST if passing.is_sole else 0)
    )


def passing_of(neighbor: int, message: Publish) -> Passing:
    """
    Read what publications bring along.

    :param neighbor: The one who has sent them.
    :raises MalformedFrame: The zone is none, or the siblings are.
    """
    flags = int(message.flags)
    return Passing(
        came_from=neighbor,
        epoch=message.epoch,
        hop_limit=message.hop_limit - 1,
        queues=message.queues,
        served=message.served,
        queues_only=bool(flags & QUEUES_ONLY),
        handed_back=bool(flags & HANDED_BACK),
        zone=read_zone(message.extras) if message.queues else "",
        counted=read_counted(message.extras) if message.queues else (),
        is_sole=bool(flags & _REQUEST),
    )


def cuts(payloads: Sequence[bytes], room: int) -> Iterator[tuple[int, int]]:
    """Cut a run into frames: where each begins and ends; what is too long for one stands alone."""
    start = 0
    size_bytes = 0
    for place, payload in enumerate(payloads):
        cost = TABLE_ENTRY.size + len(payload)
        if place > start and (size_bytes + cost > room or place - start == limits.RUN_COUNT_MAX):
            yield start, place
            start, size_bytes = place, 0
        size_bytes += cost
    yield start, len(payloads)


def names_bytes(passing: Passing, *subjects: str) -> int:
    """Count what subjects, groups, branches, a zone and siblings take."""
    texts = sum(2 + len(name.encode()) for name in (*subjects, *passing.queues))
    zone = _EXTRA_BYTES + len(passing.zone.encode()) if passing.zone else 0
    counted = _EXTRA_BYTES + 8 * len(passing.counted) if passing.counted else 0
    return texts + zone + counted + 8 * len(passing.served)
