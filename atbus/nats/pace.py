"""
How much of a client is read at once: so much that others need not wait for long.

The shortest sentences of the protocol have a few bytes and cost as much as any, so bytes say little
about time: what a read has taken decides about the next one.
"""

from __future__ import annotations

from typing import Final

from atbus.nats import bounds

#: A read that has taken less may be twice as large the next time.
_SHORT_SECONDS: Final = bounds.READ_SECONDS / 5


class ReadPace:
    """The size of one client's reads."""

    __slots__ = ("read_bytes",)

    def __init__(self) -> None:
        #: Of the next read.
        self.read_bytes = bounds.READ_BYTES_LEAST

    def took(self, size: int, seconds: float) -> None:
        """
        Take note of what a read has taken.

        :param size: Bytes that were read.
        :param seconds: How long it took to deal with them.
        """
        if seconds > bounds.READ_SECONDS:
            self.read_bytes = max(self.read_bytes // 2, bounds.READ_BYTES_LEAST // 4)
        elif size >= self.read_bytes and seconds < _SHORT_SECONDS:
            self.read_bytes = min(self.read_bytes * 2, bounds.READ_BYTES_MOST)
