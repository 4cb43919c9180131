"""
The messages of a measurement: made, checked one by one where they arrive, and timed.

Numbers count from 0 for each target. The time is the machine's monotonic clock, which is the same
in all its processes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

_HEAD: Final = Struct("<QQ")
_PATTERN: Final = bytes(place * 131 % 251 for place in range(251))

# So many messages, about, are timed: enough for one in a thousand, and no burden.
_TIMED: Final = 50_000


class Messages:
    """
    What is sent: a number, a time, and bytes that fill up.

    :param size: Bytes of each, at least 16.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        length = size - _HEAD.size
        self.filling = (_PATTERN * (length // len(_PATTERN) + 1))[:length]

    def make(self, number: int, sent_ns: int) -> bytes:
        """
        Make one message.

        :param number: Which to its target.
        :param sent_ns: When.
        :returns: The payload.
        """
        return _HEAD.pack(number, sent_ns) + self.filling


class Times:
    """Time spans, in whole microseconds."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, nanoseconds: int) -> None:
        """
        Take one.

        :param nanoseconds: How long it was.
        """
        self.counts[nanoseconds // 1000] += 1

    def merge(self, counts: Mapping[str, int]) -> None:
        """
        Take those of another process.

        :param counts: For each number of microseconds, as text, how many.
        """
        for microseconds, count in counts.items():
            self.counts[int(microseconds)] += count

    def quantile_seconds(self, part: float) -> float | None:
        """
        Say what a part of them does not exceed.

        :param part: Above 0, at most 1.
        :returns: Seconds; None when there are none.
        """
        left = part * self.counts.total()
        for microseconds in sorted(self.counts):
            left -= self.counts[microseconds]
            if left <= 0:
                return microseconds / 1e6
        return None


class Arrivals:
    """
    Check what arrives at one target.

    :param messages: What it should look like.
    :param count: How many there will be, about: more are timed in part.
    """

    def __init__(self, messages: Messages, count: int) -> None:
        self.received = self.duplicated = self.reordered = self.damaged = 0
        self.last_ns = 0
        self.times = Times()
        self._messages = messages
        self._every = max(1, count // _TIMED)
        self._next = 0
        self._missing: set[int] = set()

    def take(self, payload: bytes) -> None:
        """
        Take one message. This is in the way of every message that is measured.

        :param payload: It.
        """
        messages = self._messages
        if len(payload) != messages.size or not payload.endswith(messages.filling):
            self.damaged += 1
            return
        number, sent_ns = _HEAD.unpack_from(payload)
        if number == self._next:
            self._next = number + 1
            self.received += 1
        else:
            self._take_odd(number)
        if not number % self._every:
            self.last_ns = now = time.monotonic_ns()
            self.times.add(now - sent_ns)

    def _take_odd(self, number: int) -> None:
        if number > self._next:
            # Those between are lost, unless they still come.
            self._missing.update(range(self._next, number))
            self._next = number + 1
            self.received += 1
        elif number in self._missing:
            self._missing.remove(number)
            self.reordered += 1
            self.received += 1
        else:
            self.duplicated += 1

    def stop_clock(self) -> None:
        """Take note that what has just been taken was the last."""
        self.last_ns = time.monotonic_ns()

    def report(self) -> dict[str, Any]:
        """Say what came."""
        return {
            "received": self.received,
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "damaged": self.damaged,
            "last_ns": self.last_ns,
            "times": self.times.counts,
        }
