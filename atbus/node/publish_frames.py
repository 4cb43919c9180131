"""
What a PUBLISH frame says besides its publications, and what it has room for (wire protocol, 7.20).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from atbus import limits
from atbus.node.publication import Passing, Publication
from atbus.wire.extras import read_tally
from atbus.wire.messages import Flags
from atbus.wire.runs import TABLE_ENTRY

if TYPE_CHECKING:
    from atbus.wire.messages import Publish

# As plain numbers, which are quicker.
QUEUES_ONLY, HANDED_BACK, REQUEST = map(
    int, (Flags.QUEUES_ONLY, Flags.HANDED_BACK, Flags.REQUEST)
)
# Of the extra, with its type and its length.
_TALLY_BYTES: Final = 24


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


def names_bytes(publication: Publication, passing: Passing) -> int:
    """Count what subjects, groups, branches and a tally take."""
    names = (publication.subject, publication.reply_to, *passing.queues)
    texts = sum(2 + len(name.encode()) for name in names)
    return texts + 8 * len(passing.served) + (_TALLY_BYTES if passing.tally else 0)
