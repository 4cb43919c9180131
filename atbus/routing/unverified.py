"""
Frames that a neighbor brings in the name of a node for which it may not speak, yet.

The record that shows that it may can travel on another connection, and be a little later. So such
frames wait, in order, and are looked at again with every change of what is known; when their time
is over they are refused. There is little room: who is lied to need not remember the lies.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from atbus.routing.pending import PendingQueue

T = TypeVar("T")


@attrs.define(eq=False)
class Unverified(Generic[T]):
    """
    What waits for word of its source.

    :param seconds: How long it may wait.
    :param bytes_max: How many bytes may wait in all.
    :param count_max: How many frames of one neighbor may wait.
    """

    seconds: float
    bytes_max: int
    count_max: int
    #: How many bytes wait.
    held_bytes: int = attrs.field(default=0, init=False)
    # By neighbor and source, the one that waits longest first.
    _waiting: dict[tuple[int, int], PendingQueue[T]] = attrs.field(factory=dict, init=False)

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
        count = sum(len(queue) for (who, _), queue in self._waiting.items() if who == neighbor)
        if count >= self.count_max or self.held_bytes + size_bytes > self.bytes_max:
            return False
        queue = self._waiting.get((neighbor, source))
        if queue is None:
            queue = PendingQueue(self.bytes_max, self.count_max, self.seconds)
            self._waiting[neighbor, source] = queue
        queue.push(item, size_bytes, now)
        self.held_bytes += size_bytes
        return True

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
        self.held_bytes -= queue.queued_bytes
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
