"""
What waits for one link, in a queue per destination.

A link that takes everything at once has no backlog. It has one when the channel is full, or when
the node at its other end has asked not to be sent a destination for a while (wire protocol,
section 6.4). Then:

1. Order is kept per destination: what was pushed first leaves first.
2. Destinations take turns, by bytes: one with much to send costs another at most one turn.
3. A paused destination waits, and no other waits for it.
4. A *barrier* leaves behind everything that was pushed before it, whatever its destination, or
   behind that of some destinations; what comes later does not wait for it. The FLUSH between two
   channels of one neighbor is one, and the last word before a link is left.
5. No destination may take all the room: each gets as much as is still free for all (`has_share`).
   So a few that are stuck share most of it, and the rest is there for those that move.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Generic, TypeAlias, TypeVar

import attrs

T = TypeVar("T")

#: How many bytes one destination sends when it is its turn: as much as the longest usual frame.
_TURN_BYTES = 65_536


@attrs.define(eq=False, slots=True)
class _Queue(Generic[T]):
    """What waits for one destination: number of pushing, item, size in bytes."""

    waiting: deque[tuple[int, T, int]] = attrs.field(factory=deque)
    queued_bytes: int = 0
    credit_bytes: int = 0


_Barrier: TypeAlias = tuple[int, T, int, Collection[int] | None]
"""Number of pushing, item, size in bytes, and behind which destinations; None: behind all."""


# What is empty on most links is a list or a dict: an empty deque takes ten times as much memory, an
# empty set three times.
@attrs.define(eq=False)
class Backlog(Generic[T]):
    """The queues of one link."""

    #: How many bytes wait, barriers included.
    queued_bytes: int = attrs.field(default=0, init=False)
    #: Whether something waits, or would have to wait if it came.
    busy: bool = attrs.field(default=False, init=False)
    #: Whether every destination is paused, known or not; `close` and `open` say so.
    shut: bool = attrs.field(default=False, init=False)
    _queues: dict[int, _Queue[T]] = attrs.field(factory=dict, init=False, repr=False)
    # Destinations that wait and are not paused, in the order of their turns.
    _turns: list[int] = attrs.field(factory=list, init=False, repr=False)
    _paused: dict[int, None] = attrs.field(factory=dict, init=False)
    _barriers: list[_Barrier[T]] = attrs.field(factory=list, init=False, repr=False)
    _pushed: int = attrs.field(default=0, init=False)
    _count: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return self._count

    def _look(self) -> None:
        self.busy = bool(self._count or self._paused or self.shut)

    @property
    def ready(self) -> bool:
        """Whether `take` would give anything."""
        return not self.shut and (bool(self._turns) or self._has_free_barrier())

    @property
    def destinations(self) -> int:
        """How many destinations wait."""
        return len(self._queues)

    @property
    def paused(self) -> frozenset[int]:
        """The destinations that are paused, whether anything of theirs waits or not."""
        return frozenset(self._paused)

    def is_free(self, destination: int) -> bool:
        """Tell whether something for a destination may leave without waiting here."""
        return not (destination in self._queues or self.is_paused(destination))

    def is_paused(self, destination: int) -> bool:
        """Tell whether something for a destination would have to wait until it is resumed."""
        return self.shut or destination in self._paused

    def waiting_for(self, destination: int) -> list[T]:
        """Give what waits for a destination, in order."""
        queue = self._queues.get(destination)
        return [] if queue is None else [item for _, item, _ in queue.waiting]

    def bytes_of(self, destination: int) -> int:
        """Give how many bytes wait for a destination."""
        queue = self._queues.get(destination)
        return 0 if queue is None else queue.queued_bytes

    def has_share(self, destination: int, size_bytes: int, free_bytes: int) -> bool:
        """
        Tell whether a destination may have more of the room.

        :param size_bytes: What is to be pushed.
        :param free_bytes: What is left of the room of the whole link.
        :returns: Whether it would then still have no more than is left.
        """
        return self.bytes_of(destination) + size_bytes <= free_bytes

    def push(self, destination: int, item: T, size_bytes: int) -> None:
        """Let an item wait behind all others for its destination."""
        queue = self._queues.get(destination)
        if queue is None:
            queue = self._queues[destination] = _Queue()
            if destination not in self._paused:
                self._turns.append(destination)
        self._pushed += 1
        queue.waiting.append((self._pushed, item, size_bytes))
        queue.queued_bytes += size_bytes
        self.queued_bytes += size_bytes
        self._count += 1
        self.busy = True

    def push_barrier(
        self, item: T, size_bytes: int, behind: Collection[int] | None = None
    ) -> None:
        """
        Let an item wait behind everything that waits now.

        :param behind: Only behind what waits for these destinations.
        """
        self._pushed += 1
        self._barriers.append((self._pushed, item, size_bytes, behind))
        self.queued_bytes += size_bytes
        self._count += 1
        self.busy = True

    def pause(self, destination: int) -> None:
        """Let a destination wait until it is resumed."""
        if destination in self._paused:
            return
        self._paused[destination] = None
        self.busy = True
        if destination in self._queues:
            self._turns.remove(destination)

    def resume(self, destination: int) -> bool:
        """
        Let a destination move again.

        :returns: Whether anything of it waits.
        """
        waits = destination in self._queues
        if destination in self._paused:
            del self._paused[destination]
            if waits:
                self._turns.append(destination)
            self._look()
        return waits

    def close(self) -> None:
        """Let everything wait until `open`."""
        self.shut = self.busy = True

    def open(self) -> None:
        """Let everything that is not paused itself move again."""
        self.shut = False
        self._look()

    def take(self, bytes_max: int) -> list[T]:
        """
        Take what may leave now.

        :param bytes_max: Nothing more is taken once so many bytes are.
        :returns: Items, in the order in which they are to leave.
        """
        taken: list[T] = []
        if self.shut:
            return taken
        size_bytes = 0
        while self._turns and size_bytes < bytes_max:
            size_bytes += self._take_turn(taken, bytes_max - size_bytes)
            self._take_barriers(taken)
        self._take_barriers(taken)
        self._look()
        return taken

    def _take_turn(self, taken: list[T], bytes_max: int) -> int:
        """Let one destination have its turn, or go on with one that was interrupted."""
        destination = self._turns[0]
        queue = self._queues[destination]
        if queue.credit_bytes <= 0:
            queue.credit_bytes += _TURN_BYTES
        size_bytes = 0
        while queue.waiting and queue.credit_bytes > 0 and size_bytes < bytes_max:
            size_bytes += self._pop(queue, taken)
        if not queue.waiting:
            del self._queues[destination]
            del self._turns[0]
        elif queue.credit_bytes <= 0:
            self._turns.append(self._turns.pop(0))
        return size_bytes

    def _pop(self, queue: _Queue[T], taken: list[T]) -> int:
        _, item, size_bytes = queue.waiting.popleft()
        queue.queued_bytes -= size_bytes
        queue.credit_bytes -= size_bytes
        self.queued_bytes -= size_bytes
        self._count -= 1
        taken.append(item)
        return size_bytes

    def _has_free_barrier(self) -> bool:
        return bool(self._barriers) and self._free_barrier() is not None

    def _free_barrier(self) -> int | None:
        """Find the place of the first barrier before which nothing waits that it is behind."""
        heads = {each: queue.waiting[0][0] for each, queue in self._queues.items()}
        for place, (number, _, _, behind) in enumerate(self._barriers):
            if behind is None:
                # Behind other barriers, too.
                is_free = not place and all(number < head for head in heads.values())
            else:
                is_free = all(number < heads[each] for each in behind if each in heads)
            if is_free:
                return place
        return None

    def _take_barriers(self, taken: list[T]) -> None:
        while self._barriers and (place := self._free_barrier()) is not None:
            _, item, size_bytes, _ = self._barriers.pop(place)
            self.queued_bytes -= size_bytes
            self._count -= 1
            taken.append(item)

    def take_all(self) -> list[T]:
        """
        Take everything, paused or not: the link will take nothing more, or has to take it now.

        :returns: All items in the order of pushing; what is paused stays paused.
        """
        entries = [entry for queue in self._queues.values() for entry in queue.waiting]
        entries += [(number, item, size) for number, item, size, _ in self._barriers]
        self._queues.clear()
        self._turns.clear()
        self._barriers.clear()
        self.queued_bytes = self._count = 0
        self._look()
        return [item for _, item, _ in sorted(entries, key=_number_of)]


def _number_of(entry: tuple[int, object, int]) -> int:
    return entry[0]
