"""
What a PUBLISH frame says besides its publications, and what it has room for (wire protocol, 7.20).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from atbus import limits
from atbus.node.publication import Passing
from atbus.wire.extras import read_counted, read_tally, read_zone
from atbus.wire.messages import Flags, Publish
from atbus.wire.runs import TABLE_ENTRY

# As plain numbers, which are quicker.
QUEUES_ONLY, HANDED_BACK, REQUEST = map(
    int, (Flags.QUEUES_ONLY, Flags.HANDED_BACK, Flags.REQUEST)
)
# Of an extra, its type and its length; and a whole one that names a tally.
_EXTRA_BYTES: Final = 4
_TALLY_BYTES: Final = _EXTRA_BYTES + 20
#: What a frame has besides its payload and what `names_bytes` counts: head, lengths, an entry of
#: the table, two extras.
OVERHEAD_BYTES: Final = limits.FRAME_HEAD_BYTES + 8 + 8 + 8 + 12


def flags_of(passing: Passing) -> int:
    """Give the flags of a frame by what its publications bring along."""
    return (
        (QUEUES_ONLY if passing.queues_only else 0)
        | (HANDED_BACK if passing.handed_back else 0)
        | (REQUEST if passing.is_sole else 0)
    )


def passing_of(neighbor: int, message: Publish) -> Passing:
    """
    Read what publications bring along.

    :param neighbor: Where the frame came from.
    :raises MalformedFrame: An extra is none.
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
        is_sole=bool(flags & REQUEST),
        tally=read_tally(message.extras) if flags & REQUEST else None,
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
    """Count what subjects, groups, branches, a zone, siblings and a tally take."""
    texts = sum(2 + len(name.encode()) for name in (*subjects, *passing.queues))
    zone = _EXTRA_BYTES + len(passing.zone.encode()) if passing.zone else 0
    counted = _EXTRA_BYTES + 8 * len(passing.counted) if passing.counted else 0
    tally = _TALLY_BYTES if passing.tally else 0
    return texts + zone + counted + tally + 8 * len(passing.served)
