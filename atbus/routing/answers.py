"""
Answers that somebody waits for, each until its deadline.

Deadlines differ from one to the next, so they stand in a heap. An answer that comes in time
leaves its place in the heap empty; such places are skipped when they come to the top, and swept
out when they outnumber the living, so that a long deadline costs memory only while it is awaited.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

from atbus.errors import LocalProtocolError, Status

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# Below this many places sweeping gains nothing.
_SWEEP_MIN = 64


def check_seconds(seconds: object) -> None:
    """
    Refuse what cannot be a time to wait for an answer, before anything is asked.

    :param seconds: What a program gave as one.
    :raises LocalProtocolError: It is no number, or never over.
    """
    if not (isinstance(seconds, int | float) and math.isfinite(seconds)):
        raise LocalProtocolError(f"a timeout of {seconds!r} is not a number of seconds")


@attrs.define(eq=False)
class Expectations(Generic[K, T]):
    """
    What we asked and have not been told.

    :param count_max: How many answers may be awaited at once.
    """

    count_max: int = attrs.field(validator=attrs.validators.ge(1))
    # The number tells two expectations of one key apart, and orders equal deadlines.
    _awaited: dict[K, tuple[int, T]] = attrs.field(factory=dict, init=False, repr=False)
    _heap: list[tuple[float, int, K]] = attrs.field(factory=list, init=False, repr=False)
    _added: int = attrs.field(default=0, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._awaited)

    def __contains__(self, key: K) -> bool:
        return key in self._awaited

    @property
    def deadline(self) -> float | None:
        """When the first of them is over; None when nothing is awaited."""
        self._drop_answered()
        return self._heap[0][0] if self._heap else None

    def add(self, key: K, token: T, deadline: float) -> Status | None:
        """
        Await an answer.

        :param key: What the answer will be known by.
        :param token: What `resolve` or `expire` gives back.
        :param deadline: When to stop waiting, seconds.
        :returns: None when it is awaited, `Status.BUFFER_LIMIT` when too many are.
        :raises LocalProtocolError: if an answer with this key is awaited already.
        """
        if key in self._awaited:
            raise LocalProtocolError(f"an answer to {key!r} is awaited already")
        if self.full:
            return Status.BUFFER_LIMIT
        self._added += 1
        self._awaited[key] = (self._added, token)
        heapq.heappush(self._heap, (deadline, self._added, key))
        return None

    def keys(self) -> list[K]:
        """
        Give what is awaited.

        :returns: The keys in the order in which they were added.
        """
        return list(self._awaited)

    @property
    def full(self) -> bool:
        """Whether no more answers can be awaited."""
        return len(self._awaited) >= self.count_max

    def get(self, key: K) -> T | None:
        """
        Look at what waits for an answer, and let it wait.

        :returns: The token, or None when nobody waits.
        """
        entry = self._awaited.get(key)
        return None if entry is None else entry[1]

    def resolve(self, key: K) -> T | None:
        """
        Take out what waits for an answer that came.

        :param key: What the answer is known by.
        :returns: The token, or None when nobody waits: never asked, answered before, or too late.
        """
        entry = self._awaited.pop(key, None)
        if entry is None:
            return None
        if len(self._heap) > _SWEEP_MIN and len(self._heap) > 2 * len(self._awaited):
            self._sweep()
        return entry[1]

    def give_up(self) -> None:
        """Stop waiting for what is over first, to make room for another one."""
        self._drop_answered()
        if self._heap:
            del self._awaited[heapq.heappop(self._heap)[2]]

    def expire(self, now: float) -> list[tuple[K, T]]:
        """
        Take out all whose time is over.

        :param now: The time, seconds.
        :returns: Keys and tokens, the earliest deadline first.
        """
        expired: list[tuple[K, T]] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, number, key = heapq.heappop(heap)
            if self._is_awaited(number, key):
                expired.append((key, self._awaited.pop(key)[1]))
        return expired

    def clear(self) -> list[tuple[K, T]]:
        """
        Stop waiting for anything.

        :returns: Keys and tokens in the order in which they were added.
        """
        cleared = [(key, token) for key, (_, token) in self._awaited.items()]
        self._awaited.clear()
        self._heap.clear()
        return cleared

    def _is_awaited(self, number: int, key: K) -> bool:
        entry = self._awaited.get(key)
        return entry is not None and entry[0] == number

    def _drop_answered(self) -> None:
        heap = self._heap
        while heap and not self._is_awaited(heap[0][1], heap[0][2]):
            heapq.heappop(heap)

    def _sweep(self) -> None:
        self._heap = [place for place in self._heap if self._is_awaited(place[1], place[2])]
        heapq.heapify(self._heap)
