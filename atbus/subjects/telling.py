"""
How it is written what is wanted: entries, their digest, and as much of them as fits a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from atbus import limits
from atbus.subjects.gate import BRIDGES
from atbus.subjects.pattern import OWN_SUBJECTS
from atbus.wire.digests import DIGEST_MODULUS, interest_digest
from atbus.wire.messages import InterestEntry

if TYPE_CHECKING:
    from atbus.subjects.interest import Wanted

# Fits every frame that a neighbor can ask for.
_BATCH_BYTES: Final = limits.FRAME_BYTES_MIN - 2 * limits.FRAME_HEAD_BYTES


def entry_of(wanted: Wanted, weight: int) -> InterestEntry:
    """Write how much something is wanted."""
    weight = min(weight, limits.INTEREST_WEIGHT_MAX)
    return InterestEntry(subject=wanted.pattern, queue=wanted.queue, weight=weight)


def place_in_replay(entry: InterestEntry) -> int:
    """
    Say whether something is told first, next, or last.

    The other side may have to shut us out before it hears the rest, and to tell that before it
    tells of the gateways.
    """
    subject = entry.subject
    return 0 if subject.startswith(BRIDGES) else 1 if subject.startswith(OWN_SUBJECTS) else 2


def exchanged(digest: int, wanted: Wanted, before: int, weight: int) -> int:
    """Give the digest when a weight is another one."""
    if before:
        digest -= interest_digest(entry_of(wanted, before))
    if weight:
        digest += interest_digest(entry_of(wanted, weight))
    return digest % DIGEST_MODULUS


def batches(entries: Sequence[InterestEntry]) -> Iterator[tuple[InterestEntry, ...]]:
    """Cut what is to be told to frames: by number and by bytes."""
    batch: list[InterestEntry] = []
    size_bytes = 0
    for entry in entries:
        # u32 weight and two texts with their lengths; the texts are in bytes at most.
        cost = 8 + len(entry.subject.encode()) + len(entry.queue.encode())
        if len(batch) == limits.INTEREST_ENTRIES_MAX or size_bytes + cost > _BATCH_BYTES:
            yield tuple(batch)
            batch, size_bytes = [], 0
        batch.append(entry)
        size_bytes += cost
    if batch:
        yield tuple(batch)
