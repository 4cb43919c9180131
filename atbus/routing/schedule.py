"""
What is due when, for a machine that waits for many things at once.

Each key has one time at most. The earliest is found without looking at the others, so that a
machine with thousands of neighbors still knows its ``deadline`` for nothing.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# A heap keeps what was put off or cleared until its time comes; beyond this much it is made anew.
_SLACK = 64


class Schedule(Generic[K]):
    """Keys and their times, in seconds on the clock of whoever sets them."""

    def __init__(self) -> None:
        self._times: dict[K, float] = {}
        # The number keeps the order of setting among equal times, and keys from being compared.
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, key: K) -> bool:
        return key in self._times

    def set(self, key: K, at: float) -> None:
        """
        Let a key be due at a time, whatever it had before.

        :param key: What becomes due.
        :param at: When, seconds.
        """
        if self._times.get(key) == at:
            return
        self._times[key] = at
        if len(self._heap) > 2 * len(self._times) + _SLACK:
            self._heap = [entry for entry in self._heap if self._times.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (at, next(self._numbers), key))

    def hasten(self, key: K, at: float) -> None:
        """
        Let a key be due at a time, unless it is due earlier already.

        :param key: What becomes due.
        :param at: When, seconds.
        """
        known = self._times.get(key)
        if known is None or at < known:
            self.set(key, at)

    def clear(self, key: K) -> bool:
        """
        Let a key not be due any more.

        :param key: Any key.
        :returns: Whether it was going to be.
        """
        return self._times.pop(key, None) is not None

    @property
    def deadline(self) -> float | None:
        """When the next key is due, seconds; None when there is none."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._times.get(key) == at:
                return at
            heapq.heappop(self._heap)
        return None

    def due(self, now: float, most: float = math.inf) -> list[K]:
        """
        Take out the keys whose time has come.

        :param now: The time, seconds.
        :param most: How many at most; the others are still due.
        :returns: The keys, in the order of their times.
        """
        found: list[K] = []
        while len(found) < most and (at := self.deadline) is not None and at <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._times[key]
            found.append(key)
        return found
