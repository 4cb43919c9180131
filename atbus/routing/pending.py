"""
Messages that wait for the connection to their target.

1. Order is kept, and nothing overtakes: while anything waits, what comes later waits behind it.
   The owner asks ``if queue or not connected: queue.push(...)``.
2. Bounded in count, in bytes and in time. A message that does not fit is refused by name and
   changes nothing; a size that reaches the limit exactly fits.
3. Each message leaves exactly once: taken, expired (`Status.TIMEOUT`) or, when the target is
   given up, taken to be answered `Status.CLOSING`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import attrs

from atbus.errors import Status

T = TypeVar("T")


@attrs.define(eq=False)
class PendingQueue(Generic[T]):
    """
    A queue of messages for one target.

    :param bytes_max: How many bytes may wait.
    :param count_max: How many messages may wait.
    :param seconds: How long one may wait.
    """

    bytes_max: int = attrs.field(validator=attrs.validators.ge(0))
    count_max: int = attrs.field(validator=attrs.validators.ge(0))
    seconds: float = attrs.field(validator=attrs.validators.gt(0))
    #: How many bytes wait.
    queued_bytes: int = attrs.field(default=0, init=False)
    # (item, size in bytes, when its time is over), oldest first.
    _waiting: list[tuple[T, int, float]] = attrs.field(factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[T]:
        """Show what waits, oldest first."""
        return (item for item, _, _ in self._waiting)

    @property
    def is_long(self) -> bool:
        """Whether more waits than should for long: half of what may, by bytes or by count."""
        is_many = len(self._waiting) * 2 > self.count_max
        return is_many or self.queued_bytes * 2 > self.bytes_max

    @property
    def deadline(self) -> float | None:
        """When the oldest message's time is over; None when nothing waits."""
        return self._waiting[0][2] if self._waiting else None

    def has_room(self, size_bytes: int, count: int = 1) -> bool:
        """
        Tell whether messages would be taken now.

        :param size_bytes: What they count together.
        :param count: How many they are.
        :returns: Whether `push` takes all of them.
        """
        fits = self.queued_bytes + size_bytes <= self.bytes_max
        return fits and len(self._waiting) + count <= self.count_max

    def push(
        self, item: T, size_bytes: int, now: float, *, behind_bytes: int = 0
    ) -> Status | None:
        """
        Let a message wait behind all others.

        :param item: The message.
        :param size_bytes: What it counts.
        :param now: The time, seconds.
        :param behind_bytes: How much room there is for it besides: it was on its way when its
            feeder was told to pause.
        :returns: None when it waits, `Status.BUFFER_LIMIT` when there is no room for it.
        """
        if not self.has_room(size_bytes - behind_bytes):
            return Status.BUFFER_LIMIT
        self.queued_bytes += size_bytes
        self._waiting.append((item, size_bytes, now + self.seconds))
        return None

    def take(self, count_max: int | None = None) -> list[T]:
        """
        Take messages from the front.

        :param count_max: How many at most; None takes all.
        :returns: The oldest messages, in order.
        """
        return self._take(len(self._waiting) if count_max is None else count_max)

    def is_more_than(self, size_bytes: int, count: int) -> bool:
        """Tell whether more than one message waits, and more than so many, or so many bytes."""
        waiting = len(self._waiting)
        return waiting > 1 and (waiting > count or self.queued_bytes > size_bytes)

    def take_portion(
        self, size_bytes: int, count: int, is_rest: Callable[[T], bool] = lambda _: False
    ) -> list[T]:
        """
        Take one message from the front, and more as long as they are not more than that.

        :param size_bytes: How many bytes at most, but for the first message.
        :param count: How many messages at most.
        :param is_rest: Tells of an item whether it is not to be parted from the one before it.
        :returns: The oldest messages, in order.
        """
        taken = 0
        for item, each_bytes, _ in self._waiting:
            size_bytes -= each_bytes
            is_enough = size_bytes < 0 or taken >= count
            if taken and is_enough and not is_rest(item):
                break
            taken += 1
        return self._take(taken)

    def pick(self, is_wanted: Callable[[T], bool]) -> list[T]:
        """
        Take some messages from wherever they are; the others keep their places and their time.

        :param is_wanted: Asked once for each.
        :returns: Those of which it holds, oldest first.
        """
        picked: list[T] = []
        kept: list[tuple[T, int, float]] = []
        for entry in self._waiting:
            if is_wanted(entry[0]):
                picked.append(entry[0])
                self.queued_bytes -= entry[1]
            else:
                kept.append(entry)
        self._waiting = kept
        return picked

    def expire(self, now: float) -> list[T]:
        """
        Take out the messages whose time is over.

        :param now: The time, seconds.
        :returns: Those messages, oldest first, each to be answered `Status.TIMEOUT`.
        """
        in_time = (place for place, entry in enumerate(self._waiting) if entry[2] > now)
        return self._take(next(in_time, len(self._waiting)))

    def _take(self, count: int) -> list[T]:
        taken = self._waiting[:count]
        del self._waiting[:count]
        self.queued_bytes -= sum(size_bytes for _, size_bytes, _ in taken)
        return [item for item, _, _ in taken]
