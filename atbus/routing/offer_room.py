"""
The memory for what neighbors tell of services: so much for each, and so much for all of them.

One may have as much as is left for all others, so many that are hostile leave some for the next.
"""

from __future__ import annotations

import attrs

from atbus.wire import bounds
from atbus.wire.messages import ServiceEntry


@attrs.define(eq=False)
class Part:
    """
    What one neighbor has of it.

    :param value_bytes: The bytes of its documents.
    :param kept_bytes: All that they cost.
    """

    value_bytes: int = 0
    kept_bytes: int = 0


class OfferRoom:
    """The memory for the documents of all neighbors."""

    def __init__(self) -> None:
        self._kept_bytes = 0

    def take(self, part: Part, entry: ServiceEntry, before: ServiceEntry | None) -> bool:
        """
        Count a document in place of the one that it replaces, if it may be kept.

        :param part: Of the neighbor that tells of it.
        :param entry: The document.
        :param before: The one before, if there was one.
        :returns: Whether it may; else nothing is counted.
        """
        value_bytes = len(entry.value) - (0 if before is None else len(before.value))
        kept_bytes = _cost(entry) - (0 if before is None else _cost(before))
        if part.value_bytes + value_bytes > bounds.SERVICES_PER_NEIGHBOR_BYTES:
            return False
        left_bytes = bounds.SERVICES_BYTES - self._kept_bytes
        if kept_bytes > 0 and part.kept_bytes + kept_bytes > left_bytes:
            return False
        self._count(part, value_bytes, kept_bytes)
        return True

    def give_back(self, part: Part, entry: ServiceEntry) -> None:
        """
        Count a document no longer.

        :param part: Of the neighbor that has told of it.
        :param entry: The document.
        """
        self._count(part, -len(entry.value), -_cost(entry))

    def _count(self, part: Part, value_bytes: int, kept_bytes: int) -> None:
        part.value_bytes += value_bytes
        part.kept_bytes += kept_bytes
        self._kept_bytes += kept_bytes


def _cost(entry: ServiceEntry) -> int:
    return len(entry.value) + len(entry.key) + bounds.SERVICE_COST_BYTES
