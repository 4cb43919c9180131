"""
How it is written what is wanted: entries, their digest, and as much of them as fits a frame.

All entries of one frame are of the same zone, or of none in particular; the latter come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from atbus import limits
from atbus.subjects.gate import BRIDGES
from atbus.subjects.pattern import OWN_SUBJECTS
from atbus.wire.digests import DIGEST_MODULUS, interest_digest
from atbus.wire.extras import zone_extra
from atbus.wire.messages import Interest, InterestEntry

if TYPE_CHECKING:
    from atbus.subjects.interest import Row

# Fits every frame that a neighbor can ask for.
_BATCH_BYTES: Final = limits.FRAME_BYTES_MIN - 2 * limits.FRAME_HEAD_BYTES
# Type and length of an extra.
_EXTRA_BYTES: Final = 4


def entry_of(wanted: Row, weight: int) -> InterestEntry:
    """Write how much something is wanted; in which zone the frame says."""
    weight = min(weight, limits.INTEREST_WEIGHT_MAX)
    return InterestEntry(subject=wanted.pattern, queue=wanted.queue, weight=weight)


def digest_of(wanted: Row, weight: int) -> int:
    """Give what adds to the digest that something is so much wanted."""
    return interest_digest(entry_of(wanted, weight), wanted.zone)


def place_in_replay(wanted: Row) -> int:
    """
    Say whether something is told first, next, or last.

    The other side may have to shut us out before it hears the rest, and to tell that before it
    tells of the gateways.
    """
    subject = wanted.pattern
    return 0 if subject.startswith(BRIDGES) else 1 if subject.startswith(OWN_SUBJECTS) else 2


def exchanged(digest: int, wanted: Row, before: int, weight: int) -> int:
    """Give the digest when a weight is another one."""
    if before:
        digest -= digest_of(wanted, before)
    if weight:
        digest += digest_of(wanted, weight)
    return digest % DIGEST_MODULUS


def written(told: Iterable[tuple[Row, int]], generation: int) -> list[Interest]:
    """
    Write what is wanted, as changes of it.

    :param told: What, and how much; what is about no zone keeps its order.
    """
    zones: dict[str, list[InterestEntry]] = {"": []}
    for wanted, weight in told:
        zones.setdefault(wanted.zone, []).append(entry_of(wanted, weight))
    messages: list[Interest] = []
    for zone, entries in zones.items():
        extras = (zone_extra(zone),) if zone else ()
        taken = sum(_EXTRA_BYTES + len(extra.value) for extra in extras)
        messages += [
            Interest(generation=generation, extras=extras, entries=batch)
            for batch in batches(entries, _BATCH_BYTES - taken)
        ]
    return messages


def batches(
    entries: Sequence[InterestEntry], room: int = _BATCH_BYTES
) -> Iterator[tuple[InterestEntry, ...]]:
    """Cut what is to be told to frames: by number and by bytes."""
    batch: list[InterestEntry] = []
    size_bytes = 0
    for entry in entries:
        # u32 weight and two texts with their lengths; the texts are in bytes at most.
        cost = 8 + len(entry.subject.encode()) + len(entry.queue.encode())
        if len(batch) == limits.INTEREST_ENTRIES_MAX or size_bytes + cost > room:
            yield tuple(batch)
            batch, size_bytes = [], 0
        batch.append(entry)
        size_bytes += cost
    if batch:
        yield tuple(batch)
