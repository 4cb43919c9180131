"""
Frames that a neighbor brings in the name of a node for which it may not speak, yet.

The record that shows that it may can travel on another connection, and be a little later. So such
frames wait, in order, and are looked at again with every change of what is known; when their time
is over they are refused. There is little room: who is lied to need not remember the lies.
"""

from __future__ import annotations

from typing import Final, Generic, NamedTuple, TypeVar

import attrs

from atbus.routing.pending import PendingQueue

T = TypeVar("T")


class _Count(NamedTuple):
    """How much of one neighbor waits."""

    frames: int
    sources: int
    size_bytes: int


_NOTHING: Final = _Count(0, 0, 0)


@attrs.define(eq=False)
class Unverified(Generic[T]):
    """
    What waits for word of its source.

    :param seconds: How long it may wait.
    :param bytes_max: How many bytes may wait in all.
    :param share_max: How many of them one neighbor may have brought.
    :param count_max: How many frames of one neighbor may wait.
    :param sources_max: In the names of how many nodes they may be.
    """

    seconds: float
    bytes_max: int
    share_max: int
    count_max: int
    sources_max: int
    #: How many bytes wait.
    held_bytes: int = attrs.field(default=0, init=False)
    # By neighbor and source, the one that waits longest first.
    _waiting: dict[tuple[int, int], PendingQueue[T]] = attrs.field(factory=dict, init=False)
    # By neighbor: how many frames of how many sources, and how many bytes.
    _counts: dict[int, _Count] = attrs.field(factory=dict, init=False)

    @property
    def deadline(self) -> float | None:
        """When the time of the oldest is over, seconds; None when nothing waits."""
        return min(
            (at for queue in self._waiting.values() if (at := queue.deadline) is not None),
            default=None,
        )

    @property
    def flows(self) -> list[tuple[int, int]]:
        """Of which neighbors and sources something waits."""
        return list(self._waiting)

    def held_of(self, neighbor: int) -> int:
        """
        Say how many bytes of a neighbor wait.

        :param neighbor: The neighbor.
        """
        return self._counts.get(neighbor, _NOTHING).size_bytes

    def hold(self, neighbor: int, source: int, item: T, size_bytes: int, now: float) -> bool:
        """
        Let something wait.

        :param neighbor: Who has brought it.
        :param source: In whose name.
        :param item: What.
        :param size_bytes: What it counts.
        :param now: The time, seconds.
        :returns: Whether it waits; otherwise there is no room, and it is to be refused.
        """
        queue = self._waiting.get((neighbor, source))
        count = self._counts.get(neighbor, _NOTHING)
        if (
            count.frames >= self.count_max
            or (queue is None and count.sources >= self.sources_max)
            or count.size_bytes + size_bytes > self.share_max
            or self.held_bytes + size_bytes > self.bytes_max
        ):
            return False
        if queue is None:
            queue = PendingQueue(self.share_max, self.count_max, self.seconds)
            self._waiting[neighbor, source] = queue
            self._add(neighbor, 0, 1, 0)
        queue.push(item, size_bytes, now)
        self._add(neighbor, 1, 0, size_bytes)
        return True

    def _add(self, neighbor: int, frames: int, sources: int, size_bytes: int) -> None:
        count = self._counts.get(neighbor, _NOTHING)
        count = _Count(
            count.frames + frames, count.sources + sources, count.size_bytes + size_bytes
        )
        if count.sources:
            self._counts[neighbor] = count
        else:
            del self._counts[neighbor]
        self.held_bytes += size_bytes

    def has(self, neighbor: int, source: int) -> bool:
        """
        Tell whether something waits that a neighbor has brought in the name of a source.

        :param neighbor: The neighbor.
        :param source: The source.
        """
        return (neighbor, source) in self._waiting

    def waiting(self, neighbor: int, source: int) -> list[T]:
        """
        Show what a neighbor has brought in the name of a source.

        :param neighbor: The neighbor.
        :param source: The source.
        :returns: All of it, in order; it goes on waiting.
        """
        queue = self._waiting.get((neighbor, source))
        return [] if queue is None else list(queue)

    def take(self, neighbor: int, source: int) -> list[T]:
        """
        Take out what a neighbor has brought in the name of a source.

        :param neighbor: The neighbor.
        :param source: The source.
        :returns: All of it, in order.
        """
        queue = self._waiting.pop((neighbor, source), None)
        if queue is None:
            return []
        self._add(neighbor, -len(queue), -1, -queue.queued_bytes)
        return queue.take()

    def expire(self, now: float) -> list[T]:
        """
        Take out what has waited too long, with what came behind it.

        :param now: The time, seconds.
        :returns: It, in order within each flow, to be refused.
        """
        late: list[T] = []
        for flow, queue in list(self._waiting.items()):
            if queue.deadline is not None and queue.deadline <= now:
                late += self.take(*flow)
        return late

    def drop(self, neighbor: int) -> None:
        """
        Forget what a neighbor has brought that is gone: its frames are not answered any more.

        :param neighbor: The neighbor.
        """
        for flow in self.flows:
            if flow[0] == neighbor:
                self.take(*flow)
